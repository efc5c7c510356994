"""Annoy compiled for another processor: one index less, found out by a child process that dies of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import make_people

ROOT = Path(__file__).parents[2]
DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
BROKEN = "raise ImportError('undefined symbol')\n"


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line with such a module in place of Annoy's."""
    (folder / "modules" / "annoy").mkdir(parents=True, exist_ok=True)
    (folder / "modules" / "annoy" / "__init__.py").write_text(module)
    environment = os.environ | {
        "PYTHONPATH": str(folder / "modules"),
        "FACESEARCH_DATASET": f"imagefolder:{folder / 'photos'}",
        "FACESEARCH_INDEX": str(folder / "index"),
    }
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_people(tmp_path / "photos")
    return tmp_path


@pytest.mark.slow
def test_an_annoy_that_dies_is_one_unavailable_index(folder: Path) -> None:
    built = run(folder, DIES, "build", "--recipe", "mini-whole")
    assert built.returncode == 0, built.stderr
    assert "24 of 24 photos of 6 people indexed" in built.stdout
    assert "without Annoy" in built.stdout
    photo = str(folder / "photos" / "Ada" / "0.png")
    found = run(folder, DIES, "search", photo, "--recipe", "mini-whole", "--k", "1", "--whole-photo")
    assert found.returncode == 0, found.stderr
    assert "the same photo" in found.stdout
    refused = run(folder, DIES, "search", photo, "--index", "annoy")
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "The index annoy was compiled for another processor than this (SIGILL); install it"
    )
    assert "ANNOY_COMPILER_ARGS=-O3," in refused.stderr


@pytest.mark.slow
def test_the_doctor_names_it_and_the_remedy(folder: Path) -> None:
    (line,) = [line for line in run(folder, DIES, "doctor").stdout.splitlines() if "index annoy" in line]
    assert line.startswith("warn")
    assert "(SIGILL)" in line
    assert "ANNOY_COMPILER_ARGS" in line


def test_an_annoy_that_cannot_be_loaded_is_said_to_be_so(folder: Path) -> None:
    refused = run(folder, BROKEN, "search", str(folder / "photos" / "Ada" / "0.png"), "--index", "annoy")
    assert refused.returncode == 2
    assert refused.stderr.startswith("The index annoy cannot be loaded; install it again")
