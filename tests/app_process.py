"""`python app.py` in a process of its own, as a stranger starts it, with what it printed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.bench.processes import free_port
from pipeline.bench.visitor import Visitor
from pipeline.core.errors import ServingError

APP = Path(__file__).parent.parent / "app.py"
START_SECONDS = 120


@dataclass
class AppProcess:
    """A visitor of the page and its address; `out` and `err`, what it printed, are filled once it has ended."""

    visitor: Visitor
    url: str
    out: str = ""
    err: str = ""


@contextmanager
def app_process(environment: Mapping[str, str], before: Sequence[str] = ()) -> Iterator[AppProcess]:
    """The page from when it answers; it gets a SIGTERM at the end. `before` is a command that runs it."""
    port = free_port()
    with subprocess.Popen(
        [*before, sys.executable, str(APP)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"},
    ) as process:  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            with closing(Visitor(url)) as visitor:
                page = AppProcess(visitor, url)
                until = time.monotonic() + START_SECONDS
                while not visitor.page():
                    assert process.poll() is None and time.monotonic() < until, process.communicate()
                    time.sleep(0.1)
                yield page
        finally:
            (psutil.Process(process.pid).children()[0] if before else process).terminate()
            said = process.communicate(timeout=30)
        page.out, page.err = said


def found_by(visitor: Visitor, photo: Path, recipe: str, index: str) -> str:
    """The person that a search finds first, as soon as the gallery can be searched."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return str(visitor.search(photo.read_bytes(), recipe, index, 5).answer["hits"][0]["person"])
        except ServingError:
            assert time.monotonic() < until
            time.sleep(0.2)
