"""Once its files are here, no command, no page and no child of theirs connects to anybody or looks a name up.

strace watches from outside (`tests/network.py`). Files that are not the published weights lie in their place: of those
that are missing, `info`, `doctor` and the page ask the host whether they can be had.
"""

from __future__ import annotations

import argparse
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import pipeline
from pipeline.__main__ import _parser
from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE
from pipeline.encoder.weights import WEIGHT_FILES
from tests.app_process import app_process, found_by
from tests.conftest import REAL, Tally
from tests.faults.conftest import ROOT
from tests.network import left_at_home, left_the_machine, needs_strace, plain_environment, strace

PHOTO = SAMPLE / "Composite 01" / "1.jpg"
WATCHED: dict[str, list[str]] = {
    "build": ["--recipe", MINI, "mini-whole"],
    "search": ["--recipe", MINI, "--index", "milvus", str(PHOTO)],
    "explain": ["--recipe", MINI, "--json", str(PHOTO)],
    "people": ["--recipe", MINI, str(PHOTO.parent)],
    "info": [],
    "own": ["list"],
    "doctor": [],
    "evaluate": ["--recipes", MINI],
    "audit": ["--recipes", MINI, "mini-whole"],
    "copy-mtcnn": ["--out", "mtcnn.safetensors"],
    "bench": ["--growth", "--rows", "500", "1000", "--indexes", "exact,annoy"],
    "bench-indexes": ["--recipe", MINI],
    "bench-scale": ["--rows", "1000", "--dim", "16", "--indexes", "annoy"],
    "bench-serving": ["--recipe", MINI, "--clients", "2", "--seconds", "1"],
}
ELSEWHERE = {
    "publish": "speaks to the Hub, which is what it is for",
    "train-head": "needs ResNet-50's weights; its modules are imported below",
    "distil": "needs LFW and the teacher's weights; its modules are imported below",
    "calibrate": "needs LFW; what it calculates is evaluate's",
    "compose-sample": "needs LFW; its module is imported below",
}
DOCTOR_FINDS_FAULTS = 1  # the weights that are not published ones


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is written, with files in place of all weights."""
    needs_strace()
    folder = tmp_path_factory.mktemp("connections")
    for wanted in (file for files in WEIGHT_FILES.values() for file in files):
        (folder / wanted.name).write_bytes(b"not the published file")
    return folder


def environment(place: Path) -> dict[str, str]:
    return plain_environment(place) | {"FACESEARCH_MODELS": str(place)}


def traced(place: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Runs Python with these arguments; its exit code and what it said, once nothing has left the machine."""
    trace = place / f"{name}.trace"
    command = [*strace(trace), sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=place, env=environment(place) | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert left_the_machine(trace) == []
    assert left_at_home(place) == set()
    return done.returncode, done.stdout + done.stderr


def test_every_command_is_watched_or_excused() -> None:
    (commands,) = (one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    assert set(commands.choices) == {*WATCHED, *ELSEWHERE}


@pytest.mark.parametrize("name", WATCHED)
def test_a_command_asks_nobody(name: str, place: Path, tally: Tally) -> None:
    code, said = traced(place, name, "-m", "pipeline", name, *WATCHED[name])
    assert code == (DOCTOR_FINDS_FAULTS if name == "doctor" else 0), said
    tally.add("commands watched by strace, children too")
    tally.add("connections and name look-ups that left the machine", 0)


def test_importing_everything_asks_nobody(place: Path) -> None:
    """Training and benchmarks too, with PyTorch, Gradio, datasets, matplotlib and Milvus below them."""
    modules = [one.name for one in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
    code, said = traced(place, "imports", "-c", f"import {', '.join(modules)}, app, datasets, matplotlib.pyplot")
    assert code == 0, said


def test_a_page_that_is_visited_and_searched_asks_nobody(place: Path, tally: Tally) -> None:
    trace = place / "page.trace"
    with app_process(environment(place), strace(trace)) as page:
        assert found_by(page.visitor, PHOTO, MINI, "milvus") == "Composite 01"
        assert page.visitor.page()
        assert page.visitor.compare(PHOTO.read_bytes(), "exact", 5).answer
        by_rest = requests.post(f"{page.url}/api/v1/search", files={"photo": PHOTO.read_bytes()}, timeout=60)
        assert by_rest.json()["hits"][0]["person"] == "Composite 01"
        for path in ("api/docs", "api/openapi.json", "health", "metrics"):
            assert requests.get(f"{page.url}/{path}", timeout=60).status_code == 200
    assert left_the_machine(trace) == []
    assert left_at_home(place) == set()
    assert "127.0.0.1" in trace.read_text(), "Milvus Lite's own connection, so strace did watch"
    tally.add("pages watched by strace, from start to end")


@pytest.mark.parametrize("recipe", ["mtcnn-facenet", "mtcnn-reid"])
def test_networks_whose_weights_are_published_ask_nobody(recipe: str, place: Path) -> None:
    network = recipe.removeprefix("mtcnn-")
    if network not in REAL.custom_weights and REAL.models is None:
        pytest.skip("needs the published weights: set FACESEARCH_MODELS to their folder")
    own = {f"FACESEARCH_{name.upper()}_WEIGHTS": str(path) for name, path in REAL.custom_weights.items()}
    trace = place / f"{recipe}.trace"
    done = subprocess.run(
        [*strace(trace), sys.executable, "-m", "pipeline", "build", "--recipe", recipe], cwd=ROOT,
        env=plain_environment(place) | own | ({"FACESEARCH_MODELS": str(REAL.models)} if REAL.models else {}),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert left_the_machine(trace) == []
