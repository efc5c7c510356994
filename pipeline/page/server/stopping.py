"""Waiting for the signal to stop, without a lock in a signal handler.

Python runs a handler in the main thread between two of its instructions, whatever they are: in the middle of
`Event.wait`, or of the handler itself where two signals come in quick succession. A handler that sets an event then
waits for a lock which its own thread holds, for ever.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class StopSignal:
    """SIGTERM, and SIGINT while it is waited for; to be made and waited for in the main thread."""

    def __init__(self) -> None:
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        signal.signal(signal.SIGTERM, self._note)

    def wait(self) -> None:
        """Returns when a signal has come, also where it came earlier. From then on signals change nothing."""
        signal.signal(signal.SIGINT, self._note)
        os.read(self._told, 1)

    def _note(self, *_: object) -> None:
        with suppress(BlockingIOError):  # so many signals have come that the pipe is full
            os.write(self._tell, b"\0")
