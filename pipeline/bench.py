"""Benchmarks: what each index costs and finds on a gallery, measured in one run."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.gallery import Gallery
from pipeline.indexes import available, build_index, open_index
from pipeline.indexes.recall import share_found
from pipeline.recipes import DEFAULT_K
from pipeline.types import FloatArray, Progress, Report, VectorIndex, silent

QUERIES = 200
ROUNDS = 5  # interleaved, so that a busy moment of the machine meets every index
SEED = 2  # not the seed of the self-check: other queries than those the effort was chosen with


@dataclass(frozen=True)
class IndexFigures:
    """One index on one gallery: recall@20 against exact, a search's time, and what building and keeping it costs."""

    index: str
    recall_at_20: float
    search_ms_median: float
    search_ms_p95: float
    build_s: float
    disk_bytes: int

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def bench_indexes(gallery: Gallery, report: Report = silent) -> list[IndexFigures]:
    """Builds every index that can be had here afresh and searches each with the same queries from the gallery.

    `disk_bytes` counts the index's own files; the vectors, which every index also needs, come on top.
    """
    queries = np.random.default_rng(SEED).permutation(len(gallery))[:QUERIES]
    vectors = np.array(gallery.vectors)  # in memory: the page's are too, once they have been searched
    names, started, done = available(), time.perf_counter(), 0
    steps = len(names) * (1 + ROUNDS)
    indexes: dict[str, VectorIndex] = {}
    costs: dict[str, tuple[float, int]] = {}
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(1 + ROUNDS):
            for name in names:
                report(Progress("Measuring the indexes", "steps", done, steps, done, time.perf_counter() - started))
                if turn == 0:
                    indexes[name], costs[name] = _built(name, vectors, Path(scratch))
                else:
                    times[name] += _search_times(indexes[name], vectors[queries[turn - 1 :: ROUNDS]])
                done += 1
        report(Progress("Measuring the indexes", "steps", done, steps, done, time.perf_counter() - started))
        truth = _found(indexes["exact"], vectors[queries])
        return [
            IndexFigures(
                name,
                round(share_found(truth, _found(index, vectors[queries])), 4),
                round(float(np.median(times[name])), 3),
                round(float(np.percentile(times[name], 95)), 3),
                *costs[name],
            )
            for name, index in indexes.items()
        ]


def _built(name: str, vectors: FloatArray, scratch: Path) -> tuple[VectorIndex, tuple[float, int]]:
    """The index, and the seconds and bytes it took."""
    started = time.perf_counter()
    facts = build_index(name, vectors, scratch)
    index = open_index(name, vectors, scratch, facts)
    seconds = time.perf_counter() - started
    return index, (round(seconds, 2), sum((scratch / file).stat().st_size for file in facts["files"]))


def _search_times(index: VectorIndex, queries: FloatArray) -> list[float]:
    """Milliseconds of each query, one at a time as a visitor asks them."""
    times = []
    for query in queries:
        started = time.perf_counter()
        index.search(query, DEFAULT_K)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _found(index: VectorIndex, queries: FloatArray) -> list[set[int]]:
    return [set(rows) for rows in index.search(queries, DEFAULT_K).rows.tolist()]
