"""Waiting for the signal to stop, without a lock in a signal handler.

Python runs a handler in the main thread between two of its instructions, whatever they are: in the middle of
`Event.wait`, or of the handler itself where two signals come in quick succession. A handler that sets an event then
waits for a lock which its own thread holds, for ever.
"""

from __future__ import annotations

import os
import signal


class StopSignal:
    """SIGTERM, and SIGINT while it is waited for; to be made and waited for in the main thread."""

    def __init__(self) -> None:
        self._told, tell = os.pipe()
        os.set_blocking(tell, False)
        # Written to by the interpreter as soon as the signal comes: a handler in Python runs only between two
        # instructions, which a main thread that has just begun to read from the pipe does not reach.
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, _nothing)

    def wait(self) -> None:
        """Returns when a signal has come, also where it came earlier. From then on signals change nothing."""
        signal.signal(signal.SIGINT, _nothing)
        os.read(self._told, 1)


def _nothing(*_: object) -> None:
    """The handler: with one, a signal ends nothing, and is written to the pipe."""
