"""Times as a median with its tail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def median_and_p95(times: Sequence[float], digits: int = 3) -> tuple[float, float]:
    """The median and the 95th percentile, rounded."""
    return round(float(np.median(times)), digits), round(float(np.percentile(times, 95)), digits)
