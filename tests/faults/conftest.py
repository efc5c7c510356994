"""What these tests share: the page and the searching process, each started once, and the table of what was tried."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.recipes import PACKAGED
from tests.conftest import TALLY, Tally

ROOT = Path(__file__).parent.parent.parent
KEEP_SECONDS = 8  # uploads, for the test that waits for them to go
START_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is slow, and Gradio's client leaves sockets to the garbage collector."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """What `--report` prints."""
    return request.config.stash[TALLY]


def environment(folder: Path) -> dict[str, str]:
    """The sample gallery, with everything that is written in `folder`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FACESEARCH_")}
    return clean | {
        "FACESEARCH_DATASET": "sample",
        "FACESEARCH_INDEX": str(folder / "index"),
        "FACESEARCH_CACHE": str(folder / "cache"),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "PYTHONWARNINGS": "ignore",
    }


class Searching:
    """The process that searches with the files it is told."""

    def __init__(self, folder: Path) -> None:
        # By another process, for what is measured is searching: building takes more memory, and Python keeps it.
        build = [sys.executable, "-m", "pipeline", "build", "--recipe", *PACKAGED]
        subprocess.run(build, cwd=ROOT, env=environment(folder), check=True, capture_output=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.page_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=environment(folder),
        )  # fmt: skip
        assert self._line() == "ready\n"

    def search(self, photo: Path) -> dict[str, dict[str, Any]]:
        """What the command line and the page say, by door."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(str(photo)) + "\n")
        self._process.stdin.flush()
        answer: dict[str, dict[str, Any]] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the process ended with {self._process.wait()}"
        return line

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


IDLE_SECONDS = 100  # with pymilvus' own pings, Milvus Lite ended the connection between 75 and 100 seconds
IDLE = """
import sys, time
from pipeline.core.types import Collection
from pipeline.indexes.milvus_connection import connected
client = connected(Collection(sys.argv[1]))
client.list_collections()
time.sleep(float(sys.argv[2]))
client.list_collections()
"""


@pytest.fixture(scope="session", autouse=True)
def idle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str] | None]:
    """A connection to Milvus Lite that nobody uses, from the first test on, so that others run while it waits."""
    wanted = any(item.name.startswith("test_an_idle_connection") for item in request.session.items)
    if not wanted or find_spec("milvus_lite") is None:
        yield None
        return
    folder = tmp_path_factory.mktemp("idle")
    command = [sys.executable, "-c", IDLE, str(folder / "milvus.db"), str(IDLE_SECONDS)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        yield process
        process.kill()


@pytest.fixture(scope="session")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searching]:
    """One process for all photos."""
    process = Searching(tmp_path_factory.mktemp("searching"))
    yield process
    process.close()


class Served:
    """A page in a process of its own; see `page.py`."""

    def __init__(self, folder: Path, keep_seconds: int = KEEP_SECONDS) -> None:
        self.folder, self.uploads = folder, folder / "uploads"
        self.connections = folder / "connections"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.page", str(folder), str(keep_seconds)],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment(folder),
            )  # fmt: skip
        assert self.process.stdout
        self.url = next((line for line in self.process.stdout if line.startswith("http")), "").strip()
        assert self.url, self.log.read_text()

    def stop(self) -> float:
        """SIGTERM; the seconds until it ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()
        return time.monotonic() - started


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One page for all requests; its log and its folder are looked at by the tests about leaks."""
    page = Served(tmp_path_factory.mktemp("served"))
    yield page
    if page.process.poll() is None:
        page.stop()
