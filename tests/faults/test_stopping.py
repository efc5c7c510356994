"""The page ends within the five seconds that a process is given, however often it is told to.

The threat: `timeout`, service managers and impatient people signal twice, and a page that hangs then keeps its port,
its memory and its visitors' photos until somebody kills it.

Found and mended on the way: the signal's handler set an event, and where the second signal came while the first one was
handled, or while the main thread was about to wait, it waited for a lock that its own thread held, for ever.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Tally
from tests.faults.conftest import Served


@pytest.fixture
def again(tmp_path: Path) -> Path:
    """A folder for one page after the other, built once."""
    Served(tmp_path).stop()
    return tmp_path


def test_two_signals_in_quick_succession_end_it_within_five_seconds(again: Path, tally: Tally, full: bool) -> None:
    for run in range(6 if full else 2):
        page = Served(again)
        time.sleep(0.5)  # until it waits: before that, Ctrl+C ends a program that starts
        began = time.monotonic()
        for _ in range(2):
            page.process.send_signal(signal.SIGINT if run % 2 else signal.SIGTERM)
        try:
            page.process.wait(30)
        finally:
            page.process.kill()
        took = time.monotonic() - began
        tally.most("two signals to end, s", took)
        assert took < 5
        assert page.process.returncode == 0
        assert page.process.stdout
        page.process.stdout.close()
        assert "Traceback" not in page.log.read_text()
