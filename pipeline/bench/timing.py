"""Times, step by step or as a median with its tail."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

Milliseconds = dict[str, float]


class Clock:
    """Adds up the milliseconds of each step."""

    def __init__(self) -> None:
        self.ms: Milliseconds = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds the time of the block to this step."""
        started = time.perf_counter()
        yield
        self.ms[name] += (time.perf_counter() - started) * 1000


def median_and_p95(times: Sequence[float], digits: int = 3) -> tuple[float, float]:
    """The median and the 95th percentile, rounded."""
    return round(float(np.median(times)), digits), round(float(np.percentile(times, 95)), digits)
