"""The page in a process of its own, to be measured: `python app.py` with the environment's settings."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline.core.errors import ServingError
from pipeline.core.settings import environment_of_child


def free_port() -> int:
    """A port of this machine that is not in use."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Terminates a process, and kills it if it still runs after `seconds`."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


APP = Path(__file__).parents[2] / "app.py"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
BUSY_PERCENT = 20  # of one core


class Memory(NamedTuple):
    """Bytes of resident memory, and of it `own`: without the pages of mapped files.

    Pages of libraries, vectors and Annoy's trees become resident as they are read, and the system may take them back.
    """

    resident: int
    own: int


@dataclass(frozen=True)
class Running:
    """A page's address, its process, and when that was started (of `time.perf_counter`)."""

    url: str
    process: subprocess.Popen[bytes]
    began: float

    def until(self, there: Callable[[], bool]) -> float:
        """Waits until `there()` is true; returns the seconds since the start. ServingError if it takes too long."""
        while not there():
            if self.process.poll() is not None or time.perf_counter() - self.began > START_SECONDS:
                raise ServingError("The page did not come up; start `python app.py` and see what it says.")
            time.sleep(0.02)
        return time.perf_counter() - self.began

    def rest(self) -> None:
        """Waits, two minutes at most, until the page has done what it does after its start: opening, drawing maps."""
        process, until = psutil.Process(self.process.pid), time.perf_counter() + START_SECONDS
        while process.cpu_percent(1.0) > BUSY_PERCENT and time.perf_counter() < until:
            pass

    def memory(self) -> Memory:
        """The memory of the process and its children now."""
        process = psutil.Process(self.process.pid)
        each = [one.memory_info() for one in (process, *process.children(recursive=True))]
        # Only Linux counts the pages of files separately.
        return Memory(sum(one.rss for one in each), sum(one.rss - getattr(one, "shared", 0) for one in each))


@contextmanager
def running(**settings: str) -> Iterator[Running]:
    """The page on a free port, with these environment variables added; it ends with the block."""
    port = free_port()
    environment = environment_of_child(GRADIO_SERVER_PORT=str(port), GRADIO_SERVER_NAME="127.0.0.1", **settings)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(APP)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Running(f"http://127.0.0.1:{port}", process, began)
    finally:
        end(process, STOP_SECONDS)
