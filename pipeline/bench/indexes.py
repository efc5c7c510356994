"""Benchmarks: what each index costs and finds on a gallery, measured in one run."""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.bench.results import Figures, middle_and_tail
from pipeline.core.progress import Progress, Report, silent
from pipeline.core.recipes import DEFAULT_K
from pipeline.core.settings import EMBEDDED, Milvus
from pipeline.core.types import Collection, FloatArray, VectorIndex
from pipeline.embeddings.store import Embeddings
from pipeline.indexes.recall import share_found
from pipeline.indexes.registry import available, build_index, drop_index, open_index

QUERIES = 200
ROUNDS = 5  # interleaved, so that a busy moment of the machine meets every index
SEED = 2  # not the seed of the self-check: other queries than those the effort was chosen with


@dataclass(frozen=True)
class IndexFigures(Figures):
    """One index on one gallery: recall@20 against exact, a search's time, and what building and keeping it costs."""

    index: str
    recall_at_20: float
    search_ms_median: float
    search_ms_p95: float
    build_s: float
    disk_bytes: int | None  # None: a server keeps them


def bench_indexes(embeddings: Embeddings, report: Report = silent, milvus: Milvus = EMBEDDED) -> list[IndexFigures]:
    """Builds every index that can be had here afresh and searches each with the same queries from the gallery.

    `disk_bytes` counts the index's own files; the vectors, which every index also needs, come on top. A Milvus server
    is measured with a collection of its own, dropped in the end, and Milvus Lite in a temporary file.
    """
    place = embeddings.collection(milvus if "://" in milvus.uri else replace(milvus, uri=""))
    place = replace(place, name=f"bench_{secrets.token_hex(8)}")
    queries = np.random.default_rng(SEED).permutation(len(embeddings))[:QUERIES]
    vectors = np.array(embeddings.vectors)  # in memory: the page's are too, once they have been searched
    names, started, done = available(), time.perf_counter(), 0
    steps = len(names) * (1 + ROUNDS)
    indexes: dict[str, VectorIndex] = {}
    costs: dict[str, tuple[float, int | None]] = {}
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as left_over:
        for turn in range(1 + ROUNDS):
            for name in names:
                report(Progress("Measuring the indexes", "steps", done, steps, done, time.perf_counter() - started))
                if turn == 0:
                    scratch = Path(folder) / name
                    scratch.mkdir()
                    left_over.callback(drop_index, name, scratch, place)
                    indexes[name], costs[name] = _built(name, vectors, scratch, place)
                else:
                    times[name] += search_times(indexes[name], vectors[queries[turn - 1 :: ROUNDS]])
                done += 1
        report(Progress("Measuring the indexes", "steps", done, steps, done, time.perf_counter() - started))
        truth = found_rows(indexes["exact"], vectors[queries])
        return [
            IndexFigures(
                name,
                round(share_found(truth, found_rows(index, vectors[queries])), 4),
                *middle_and_tail(times[name]),
                *costs[name],
            )
            for name, index in indexes.items()
        ]


def _built(
    name: str, vectors: FloatArray, scratch: Path, place: Collection
) -> tuple[VectorIndex, tuple[float, int | None]]:
    """The index, and the seconds and bytes it took."""
    started = time.perf_counter()
    facts = build_index(name, vectors, scratch, place)
    index = open_index(name, vectors, scratch, facts, place)
    seconds = time.perf_counter() - started
    return index, (round(seconds, 2), None if name == "milvus" and place.uri else occupied(scratch))


def search_times(index: VectorIndex, queries: FloatArray) -> list[float]:
    """Milliseconds of each query, one at a time as a visitor asks them."""
    times = []
    for query in queries:
        started = time.perf_counter()
        index.search(query, DEFAULT_K)
        times.append((time.perf_counter() - started) * 1000)
    return times


def found_rows(index: VectorIndex, queries: FloatArray) -> list[set[int]]:
    """The rows that the index finds for each query, as many as the page asks for."""
    return [set(rows) for rows in index.search(queries, DEFAULT_K).rows.tolist()]


def occupied(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
