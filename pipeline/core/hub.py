"""Whether the Hub can be reached. HF_ENDPOINT and HF_TOKEN are honoured, by the Hub's own client."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from pipeline.core.types import Progress, Report

PROBE_SECONDS = 5


def endpoint() -> str:
    """The Hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def reachable() -> bool:
    """Whether the Hub answers within PROBE_SECONDS."""
    # One request with a short timeout, because the Hub's own client retries a dead host for half a minute.
    import requests

    try:
        requests.head(endpoint(), timeout=PROBE_SECONDS, allow_redirects=False)
    except requests.RequestException:
        return False
    return True


def snapshot_meter(task: str, report: Report) -> type[tqdm[Any]]:
    """What the Hub's client takes for the progress bar of a whole repository, turned into our Progress in bytes."""
    started = time.perf_counter()

    class Meter(tqdm):  # type: ignore[type-arg]  # no generic class when it runs
        def __init__(self, files: Iterable[Any] | None = None, *, unit: str = "", **options: Any) -> None:  # noqa: ANN401
            super().__init__(files, total=options.get("total"), disable=True)
            self._in_bytes = unit == "B"  # another bar counts files

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self._in_bytes and self.total:
                done, total = int(self.n), int(self.total)
                report(Progress(task, "B", min(done, total), total, done, time.perf_counter() - started))

    return Meter
