"""The command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_reader_that_has_enough_is_no_error() -> None:
    command, environment = [sys.executable, "-m", "pipeline", "info"], {**os.environ, "FACESEARCH_DATASET": "sample"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `head` does once it has its lines
        assert process.stderr.read() == ""
        assert process.wait() == 141
