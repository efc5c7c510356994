"""Waiting for what another thread, process or browser does."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60


def until(true: Callable[[], object], seconds: float = SECONDS, about: str = "") -> None:
    """Waits until `true` returns something true; AssertionError, which says what it is `about`, if it never does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, about or "waited in vain"
        time.sleep(0.01)
