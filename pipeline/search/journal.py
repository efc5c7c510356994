"""One line in the log for each search: who asked is a random number, and nothing says what was asked or found.

No file name, no photo, no person, no words of the visitor's: only names of ours, counts and times.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pipeline.core.types import Answer

log = logging.getLogger(__name__)

STEPS = ("detect", "embed", "search", "total")


@dataclass
class Entry:
    """A request to the page: its random id and when it came."""

    request: str = field(default_factory=lambda: secrets.token_hex(4))
    started: float = field(default_factory=time.perf_counter)


_current: ContextVar[Entry | None] = ContextVar("request", default=None)


@contextmanager
def request() -> Iterator[Entry]:
    """What is logged within belongs to one request; so do threads that are started with its context."""
    token = _current.set(Entry())
    entry = _current.get()
    assert entry is not None
    try:
        yield entry
    finally:
        _current.reset(token)


def answered(answer: Answer) -> None:
    """Notes a search that has an answer; outside of requests, such as while warming up, nothing."""
    entry = _current.get()
    if entry is not None:
        times = " ".join(f"{step}_ms={answer.timings_ms[step]:.1f}" for step in STEPS)
        outcome = "found" if answer.found_face else "no_face"
        log.info(
            "search request=%s recipe=%s index=%s gallery=%s faces=%d outcome=%s %s",
            entry.request, answer.recipe, answer.index, answer.gallery, len(answer.faces), outcome, times,
        )  # fmt: skip


def refused(error: Exception) -> None:
    """Notes a search that got a sentence instead of an answer; the sentence may hold the visitor's words."""
    entry = _current.get()
    if entry is not None:
        took = 1000 * (time.perf_counter() - entry.started)
        log.info("search request=%s outcome=refused error=%s total_ms=%.1f", entry.request, type(error).__name__, took)


def failed(error: Exception) -> str:
    """Notes what should not have happened, by kind and place, and returns the request's id; its text stays out."""
    entry = _current.get() or Entry()
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "-"
    log.error("search request=%s outcome=failed error=%s at=%s", entry.request, type(error).__name__, place)
    return entry.request
