"""One gate around all decoding and searching, whatever the door: page, endpoints, the tool, Live.

A decoded photo takes up to 260 MB, so how many there are at once must not depend on how many ask. Gradio's queue limits
the events under way, but one that is cancelled leaves the queue while its thread goes on, and not every request passes
the queue. So whoever decodes takes a turn here first, in the thread that does it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import gradio as gr

from pipeline.core.errors import Busy

AT_ONCE = 2  # two cores: more at once would only make each slower
WAITING = 16  # threads, of the forty that a server has
BUSY = "The server is busy with other searches; ask again in a while."


class Gate:
    """Lets `at_once` threads through at the same time; `waiting` more may wait for that, and the rest are refused."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._within = threading.Semaphore(at_once)
        self._admitted = threading.Semaphore(at_once + waiting)
        self._counting = threading.Lock()
        self.running = self.waiting = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for a turn and keeps it while in the block, or in the function that this decorates.

        Busy where too many wait already.
        """
        if not self._admitted.acquire(blocking=False):
            raise Busy(BUSY)
        self._count(waiting=1)
        try:
            with self._within:
                self._count(running=1, waiting=-1)
                try:
                    yield
                finally:
                    self._count(running=-1)
        finally:
            self._admitted.release()

    def _count(self, running: int = 0, waiting: int = 0) -> None:
        with self._counting:
            self.running += running
            self.waiting += waiting

    @contextmanager
    def turn_at_once(self) -> Iterator[bool]:
        """Whether there is a turn without waiting, which is kept while in the block."""
        free = self._within.acquire(blocking=False)
        self._count(running=int(free))
        try:
            yield free
        finally:
            if free:
                self._count(running=-1)
                self._within.release()


def around_events(page: gr.Blocks, gate: Gate, others: Mapping[str, Gate]) -> None:
    """Sends every event of the page through the gate, or through that of its `concurrency_id`; but none that is quick.

    Quick are those without a limit to how many run at once, for they neither decode nor search.
    """
    for event in page.fns.values():
        if event.fn is not None and event.concurrency_limit is not None:
            event.fn = others.get(event.concurrency_id, gate).turn()(event.fn)
