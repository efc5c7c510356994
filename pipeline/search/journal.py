"""One line in the log for each search: who asked is a random number, and nothing says what was asked or found.

No file name, no photo, no person, no words of the visitor's: only names of ours, counts and times.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.types import Answer

log = logging.getLogger(__name__)

STEPS = ("detect", "embed", "search", "total")


# Called with every answer, and with every error that took the place of one: who counts searches adds to it.
watchers: list[Callable[[Answer | Exception], None]] = []


@dataclass
class Entry:
    """A request: its random id, when it came, and where it has one line in the log, what that says of its search."""

    request: str = field(default_factory=lambda: secrets.token_hex(4))
    started: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] | None = None
    noted: bool = False  # what came of it

    @property
    def milliseconds(self) -> float:
        """Since it came."""
        return round(1000 * (time.perf_counter() - self.started), 1)


_current: ContextVar[Entry | None] = ContextVar("request", default=None)


def current() -> Entry:
    """The request that this thread or task belongs to."""
    return _current.get() or Entry()


@contextmanager
def request(entry: Entry | None = None) -> Iterator[Entry]:
    """What is logged within belongs to one request; so do threads that are started with its context.

    One that has a line in the log already stays itself.
    """
    known = _current.get()
    entry = entry or (known if known and known.facts is not None else Entry())
    token = _current.set(entry)
    try:
        yield entry
    finally:
        _current.reset(token)


def answered(answer: Answer) -> None:
    """Notes a search that has an answer; outside of requests, such as while warming up, nothing."""
    entry = _current.get()
    if entry is None:
        return
    entry.noted = True
    for watcher in watchers:
        watcher(answer)
    outcome = "found" if answer.found_face else "no_face"
    if entry.facts is not None:
        said = {"recipe": answer.recipe, "index": answer.index, "faces": len(answer.faces), "outcome": outcome}
        entry.facts |= said | {f"{step}_ms": round(answer.timings_ms[step], 1) for step in STEPS}
    else:
        times = " ".join(f"{step}_ms={answer.timings_ms[step]:.1f}" for step in STEPS)
        log.info(
            "search request=%s recipe=%s index=%s gallery=%s faces=%d outcome=%s %s",
            entry.request, answer.recipe, answer.index, answer.gallery, len(answer.faces), outcome, times,
        )  # fmt: skip


def refused(error: Exception) -> None:
    """Notes a search that got a sentence instead of an answer; the sentence may hold the visitor's words."""
    entry = _current.get()
    if entry is None or entry.noted:
        return
    for watcher in watchers:
        watcher(error)
    entry.noted = True
    kind = type(error).__name__
    if entry.facts is not None:
        entry.facts |= {"outcome": "refused", "error": kind}
    else:
        log.info("search request=%s outcome=refused error=%s total_ms=%.1f", entry.request, kind, entry.milliseconds)


def turned_away(status: int) -> str:
    """Notes a request that has no answer, unless it is noted already, and returns its id; it need be no search."""
    entry = current()
    if not entry.noted and entry.facts is None:
        log.info("request=%s refused status=%d", entry.request, status)
    return entry.request


def failed(error: Exception) -> str:
    """Notes what should not have happened, by kind and place, and returns the request's id; its text stays out."""
    entry = current()
    for watcher in watchers:
        watcher(error)
    entry.noted = True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "-"
    if entry.facts is not None:
        entry.facts |= {"outcome": "failed", "error": type(error).__name__, "at": place}
        return entry.request
    log.error("search request=%s outcome=failed error=%s at=%s", entry.request, type(error).__name__, place)
    return entry.request
