"""Servers that are started for measuring and for tests: a port for them, and their end."""

from __future__ import annotations

import socket
import subprocess


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Asks a process to end, waits so many seconds, and then ends it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
