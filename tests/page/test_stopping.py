"""A process that is told to stop does so, however many signals come and whenever they do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

RUNS = 60
SECONDS = 5.0
# What is started is the wait alone, so that many runs take little time.
WAIT = """
import os
from pipeline.page.server.stopping import StopSignal
stop = StopSignal()
print("ready", flush=True)
stop.wait()
print("stopped", flush=True)
os._exit(0)  # as a page does
"""
EARLY = """
import signal, time
from pipeline.page.server.stopping import StopSignal
stop = StopSignal()
signal.raise_signal(signal.SIGTERM)
stop.wait()
"""
MANY = """
import os
from pipeline.page.server.stopping import StopSignal
stop = StopSignal()
print("ready", flush=True)
for _ in range(2_000):
    stop.wait()
os._exit(0)
"""


def test_two_signals_in_quick_succession_end_it() -> None:
    for _ in range(RUNS):
        process = subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
        try:
            assert process.communicate(timeout=SECONDS)[0] == "stopped\n"
        finally:
            process.kill()
        assert process.returncode == 0


def test_ctrl_c_twice_is_no_traceback() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # until it waits: before that, Ctrl+C ends a program that starts
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=SECONDS) == ("stopped\n", "")


def test_a_signal_before_the_wait_is_not_lost() -> None:
    assert subprocess.run([sys.executable, "-c", EARLY], timeout=30).returncode == 0


def test_signals_without_a_pause_wait_for_no_lock() -> None:
    """Sooner or later one comes while another is handled, at any instruction; handlers then pile up on a lock."""
    process = subprocess.Popen([sys.executable, "-c", MANY], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        process.send_signal(signal.SIGTERM)
        time.sleep(50e-6)
    process.kill()
    process.communicate()
    assert process.returncode == 0


def test_no_handler_takes_a_lock() -> None:
    """Handlers are registered in one place, so that there is one to look at."""
    root = Path(__file__).parents[2]
    registering = [
        path.relative_to(root).as_posix()
        for path in [root / "app.py", *(root / "pipeline").rglob("*.py")]
        if "signal.signal(" in path.read_text(encoding="utf-8")
    ]
    assert registering == ["pipeline/page/server/stopping.py"]
