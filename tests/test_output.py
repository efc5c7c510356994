"""A normal start prints lines of ours only, with the optional packages installed that say the most."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE
from tests.app_process import app_process, found_by
from tests.network import plain_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PHOTO = SAMPLE / "Composite 01" / "1.jpg"
DATED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO "
TIMES = r"(\w+_ms=[\d.]+ ?)+"
FOUND = rf"search request=\w+ recipe={MINI} index=milvus gallery=sample faces=1 outcome=found {TIMES}"
REFUSED = r"search request=\w+ outcome=refused error=\w+ total_ms=[\d.]+"
TASKS = "Indexing|Drawing|Building the indexes|Filling Milvus|Looking|Measuring"
PROGRESS = re.compile(rf"({TASKS})[^:]*: +\d+%\|.*(/s|s/ \w+)\]")  # below one a second tqdm says how long each takes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gallery is built, by the command line and then by the page."""
    if find_spec("milvus_lite") is None:
        pytest.skip("needs Milvus Lite: pip install 'pymilvus[milvus-lite]'")
    return tmp_path_factory.mktemp("output")


@pytest.mark.parametrize(
    "command",
    [
        ["build", "--recipe", MINI],
        ["search", "--recipe", MINI, "--index", "milvus", str(PHOTO)],
        ["info"],
        ["doctor"],
        ["explain", "--recipe", MINI, str(PHOTO), "--json"],
        ["evaluate", "--recipes", MINI],
    ],
    ids=lambda command: command[0],
)
def test_a_command_says_nothing_on_stderr_but_its_progress(command: list[str], place: Path) -> None:
    line = [sys.executable, "-m", "pipeline", *command]
    done = subprocess.run(line, cwd=ROOT, env=plain_environment(place), capture_output=True, text=True)
    assert done.stdout
    assert "WARN" not in done.stdout
    said = [line for line in re.split(r"[\r\n]+", done.stderr) if line.strip()]
    assert [line for line in said if not PROGRESS.fullmatch(line.strip())] == []


def test_the_page_says_where_it_is_what_was_searched_and_that_it_stops(tmp_path: Path, place: Path) -> None:
    with app_process(plain_environment(tmp_path)) as page:
        assert found_by(page.visitor, PHOTO, MINI, "milvus") == "Composite 01"
    assert page.out == ""
    start = f"{DATED}the page is at {re.escape(page.url)}/\n"
    assert re.fullmatch(rf"{start}({DATED}{REFUSED}\n)*{DATED}{FOUND}\n{DATED}stopping\n", page.err), page.err
