"""The command line as a process of its own."""

from __future__ import annotations

import subprocess
import sys


def test_a_reader_that_has_enough_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `head` does once it has its lines
        assert process.stderr.read() == ""
        assert process.wait() == 141
