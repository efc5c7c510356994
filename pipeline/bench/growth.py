"""Growth: how an index's searches, building and memory grow with the gallery, on faces drawn by numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from pipeline.bench.indexes import ROUNDS, found_rows, search_times
from pipeline.bench.results import Figures, middle_and_tail
from pipeline.bench.scale import Drawn, Place, Scale, built, draw_faces, peaks_of_memory, place_for
from pipeline.core.errors import SettingsError
from pipeline.core.types import FloatArray, Report, VectorIndex, silent
from pipeline.indexes.exact import ExactIndex
from pipeline.indexes.recall import share_found

ROWS = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class GrowthFigures(Figures):
    """One index of so many rows. `added_bytes` is by how much the process and its children grew at most, building it.

    The vectors themselves, which every index needs, are read before and do not count.
    """

    index: str
    rows: int
    build_s: float
    added_bytes: int
    recall_at_20: float
    search_ms_median: float
    search_ms_p95: float


def bench_growth(
    scale: Scale, sizes: Sequence[int], folder: Path | None = None, report: Report = silent
) -> Iterator[GrowthFigures]:
    """Builds the scale's indexes of the first so many faces, for each of the sizes, and searches them in turns.

    SettingsError if there are fewer than two sizes, from which nothing can be said of growth.
    """
    if len(set(sizes)) < 2:
        raise SettingsError("Growth is seen between two sizes or more; give at least two numbers of rows.")
    for rows in sorted(set(sizes)):
        with tempfile.TemporaryDirectory(dir=folder) as scratch, ExitStack() as stack:
            drawn = draw_faces(Path(scratch) / "vectors.npy", replace(scale, rows=rows), report)
            in_memory = Drawn(np.array(drawn.vectors), drawn.queries)
            places = {name: stack.enter_context(place_for(name, scale, Path(scratch))) for name in scale.indexes}
            yield from _measured(in_memory, places, report)


def _measured(drawn: Drawn, places: dict[str, Place], report: Report) -> list[GrowthFigures]:
    indexes = {name: _built(name, drawn.vectors, place, report) for name, place in places.items()}
    times: dict[str, list[float]] = {name: [] for name in indexes}
    for turn in range(ROUNDS):  # interleaved, so that a busy moment of the machine meets every index
        for name, (index, _, _) in indexes.items():
            times[name] += search_times(index, drawn.queries[turn::ROUNDS])
    truth = found_rows(ExactIndex(drawn.vectors), drawn.queries)
    return [
        GrowthFigures(
            name,
            len(drawn.vectors),
            round(build_s, 2),
            added,
            round(share_found(truth, found_rows(index, drawn.queries)), 4),
            *middle_and_tail(times[name]),
        )
        for name, (index, build_s, added) in indexes.items()
    ]


def _built(name: str, vectors: FloatArray, place: Place, report: Report) -> tuple[VectorIndex, float, int]:
    """The index, the seconds it took and the bytes of memory it added."""
    this = psutil.Process()
    before = this.memory_info().rss + sum(child.memory_info().rss for child in this.children(recursive=True))
    with peaks_of_memory() as peaks:
        index, _, build_s = built(name, vectors, place, report)
    return index, build_s, max(0, sum(peaks) - before)


def exponents(figures: Sequence[GrowthFigures], of: str) -> dict[str, float]:
    """By index, the b of a * rows ** b fitted to a figure such as `search_ms_median`, in logarithms."""
    fitted = {}
    for name in dict.fromkeys(one.index for one in figures):
        mine = [one for one in figures if one.index == name]
        values = [max(float(getattr(one, of)), 1e-3) for one in mine]
        fitted[name] = float(np.polyfit(np.log([one.rows for one in mine]), np.log(values), 1)[0])
    return fitted


def faster_from(figures: Sequence[GrowthFigures], name: str, than: str = "exact") -> int | None:
    """The smallest of the measured sizes from which on an index has the smaller median; None if there is none."""
    medians = {(one.index, one.rows): one.search_ms_median for one in figures}
    first = None
    for rows in sorted({one.rows for one in figures}, reverse=True):
        if medians[name, rows] >= medians[than, rows]:
            break
        first = rows
    return first
