"""How far a long task is, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a long task is: `done` of `total` units after `seconds` of work on `worked` of them.

    `worked` is less than `done` where a build goes on from an earlier one; speed counts only this run's work.
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
    """The report of who does not want one."""
