"""As a Hugging Face Space: README's first lines are true of this repository, and ZeroGPU finds what it wants."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import metadata_load
from packaging.requirements import Requirement

from pipeline.encoder.weights import WEIGHT_FILES
from pipeline.photos.sources import LFW_ON_THE_HUB

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
LICENCES = {"mit": "MIT License"}
ZERO_GPU_PYTHONS = ("3.10.13", "3.12.12")


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """README's front matter."""
    loaded = metadata_load(README)
    assert loaded is not None
    return loaded


def requirement(name: str) -> Requirement:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return next(Requirement(line) for line in lines if line and Requirement(line).name == name)


def test_the_space_runs_the_page_with_a_gradio_that_is_allowed(space: dict[str, Any]) -> None:
    assert (space["sdk"], space["app_file"]) == ("gradio", "app.py")
    assert (ROOT / space["app_file"]).is_file()
    assert space["sdk_version"] in requirement("gradio").specifier


def test_its_python_is_one_that_zero_gpu_has_and_the_tests_cover(space: dict[str, Any]) -> None:
    assert space["python_version"] in ZERO_GPU_PYTHONS
    supported = next(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("Python 3"))
    assert supported.startswith("Python 3.10 to 3.13 ")
    assert (3, 10) <= tuple(map(int, space["python_version"].split(".")[:2])) <= (3, 13)


def test_its_licence_is_that_of_the_file(space: dict[str, Any]) -> None:
    assert (ROOT / "LICENSE").read_text().splitlines()[0] == LICENCES[space["license"]]


def test_what_it_names_on_the_hub_is_what_is_fetched_from_there(space: dict[str, Any]) -> None:
    assert space["datasets"] == [LFW_ON_THE_HUB[0].repo]
    hosts = {file.host for files in WEIGHT_FILES.values() for file in files}
    assert ("models" in space) == ("huggingface.co" in hosts)


def test_its_words_fit(space: dict[str, Any]) -> None:
    assert README.read_text(encoding="utf-8").startswith("---\ntitle: ")
    assert f"\n---\n\n# {space['title']}\n" in README.read_text(encoding="utf-8")
    assert 0 < len(space["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {space["colorFrom"], space["colorTo"]} <= colours
    assert len(space["emoji"]) == 1


STAND_IN = """
decorated = []
def GPU(task=None, *, duration=None):
    def decorate(function):
        decorated.append((function, duration))
        return function
    return decorate if task is None else decorate(task)
"""
# The page as `python app.py` starts it, up to the launch; nothing is prepared and nothing is served.
START = """
import sys
import app
app.Galleries.start = lambda self: None

def launch(galleries, **options):
    print("decorated", len(getattr(sys.modules.get("spaces"), "decorated", ())))
    raise SystemExit

app.launch = launch
app.main()
"""


def started(folder: Path, *, zero_gpu: str, package: bool = True) -> str:
    (folder / "packages").mkdir()
    if package:
        (folder / "packages" / "spaces.py").write_text(STAND_IN)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": f"{folder / 'packages'}:{ROOT}",
        "SPACES_ZERO_GPU": zero_gpu,
        "FACESEARCH_INDEX": str(folder / "index"),
    }
    done = subprocess.run([sys.executable, "-c", START], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_zero_gpu_finds_a_function_before_the_page_is_launched(tmp_path: Path) -> None:
    assert started(tmp_path, zero_gpu="true") == "decorated 1"


@pytest.mark.slow
def test_anywhere_else_nothing_is_decorated(tmp_path: Path) -> None:
    assert started(tmp_path, zero_gpu="") == "decorated 0"


@pytest.mark.slow
def test_zero_gpu_without_its_package_starts_all_the_same(tmp_path: Path) -> None:
    assert started(tmp_path, zero_gpu="true", package=False) == "decorated 0"


def refusal(tmp_path: Path, port: object) -> str:
    """The one line of the page's process that ends because of its port."""
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "FACESEARCH_DATASET": "sample",
        "FACESEARCH_INDEX": str(tmp_path / "index"),
    }
    command = [sys.executable, "app.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_and_no_other_one_is_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(tmp_path, port) == (
            f"The page cannot be served on port {port}, which GRADIO_SERVER_PORT names (Address already in use); end "
            "what is served there, or name another port."
        )


@pytest.mark.slow
@pytest.mark.parametrize("port", ["abc", "0", "99999"])
def test_a_port_that_is_none_is_said(tmp_path: Path, port: str) -> None:
    assert refusal(tmp_path, port) == f"GRADIO_SERVER_PORT is {port!r}; name a port, a number from 1 to 65535."
