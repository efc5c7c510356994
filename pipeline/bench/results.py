"""What the benchmarks share: figures as JSON, and times as a median with its tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figures:
    """Base of what a benchmark measured."""

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def middle_and_tail(times: Sequence[float], digits: int = 3) -> tuple[float, float]:
    """The median and the 95th percentile, rounded."""
    return round(float(np.median(times)), digits), round(float(np.percentile(times, 95)), digits)
