"""How far a long task is, and who is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """How far a long task is: `done` of `total` units after `seconds` of work on `worked` of them.

    `worked` is less than `done` where a build continues an earlier one; speed counts only this run's work.
    """

    task: str
    unit: str
    done: int
    total: int
    worked: int
    seconds: float

    @property
    def rate(self) -> float:
        """Units a second in this run."""
        return self.worked / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left; None while nothing has been measured."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The report of a caller who does not want one."""


class Meter:
    """Counts the units of one task and reports its progress: at the start, and with every `advance`."""

    def __init__(self, task: str, unit: str, total: int, report: Report, done: int = 0) -> None:
        """`done` of the `total` units were finished by an earlier run."""
        self._task = task
        self._unit = unit
        self._total = total
        self._report = report
        self._done_before = done
        self._worked = 0
        self._started = time.perf_counter()
        self.advance(0)

    def advance(self, count: int = 1) -> None:
        """Reports that `count` more units are done."""
        self._worked += count
        seconds = time.perf_counter() - self._started
        done = self._done_before + self._worked
        self._report(Progress(self._task, self._unit, done, self._total, self._worked, seconds))


def tracked(items: Collection[Item], task: str, unit: str, report: Report, done: int = 0) -> Iterator[Item]:
    """The items, one by one, with a progress report before the first and after each of them; none without items.

    Args:
        items: the work, one unit each.
        task: its name, as shown to the user.
        unit: the items' name in the plural.
        report: receives the progress.
        done: items that an earlier run finished, counted in addition.
    """
    if not len(items):
        return
    meter = Meter(task, unit, done + len(items), report, done)
    for item in items:
        yield item
        meter.advance()


def tracked_slices(count: int, size: int, task: str, unit: str, report: Report) -> Iterator[slice]:
    """Slices of at most `size` that together cover `count` rows, with progress in rows as `tracked` reports it."""
    if not count:
        return
    meter = Meter(task, unit, count, report)
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield slice(start, stop)
        meter.advance(stop - start)
