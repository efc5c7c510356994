"""Benchmark of the indexes: build time, size, memory, search time and recall of each on the same vectors."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.bench.timing import median_and_p95
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import DEFAULT_K
from pipeline.core.settings import EMBEDDED, Milvus
from pipeline.core.types import Collection, FloatArray, VectorIndex
from pipeline.embeddings.store import Embeddings
from pipeline.indexes.exact import ExactIndex
from pipeline.indexes.recall import share_found
from pipeline.indexes.registry import available, build_index, drop_index, open_index

QUERIES = 200
ROUNDS = 5  # interleaved, so that a busy moment of the machine affects every index
SEED = 2  # not the seed of the self-check: other queries than those the search effort was chosen with
EFFORTS = ("search_k", "nprobe", "ef", "effort", "probes")
SAMPLE_SECONDS = 0.2  # between two measurements of the memory


@dataclass(frozen=True)
class IndexFigures:
    """What one index of so many `rows` costs and finds.

    Attributes:
        recall_at_20: against exact search, over the queries.
        effort: the search effort that building chose, such as `nprobe 32`.
        search_ms_median: milliseconds of one query.
        search_ms_p95: the 95th percentile of the same.
        build_s: seconds.
        disk_bytes: the index's own files, without the vectors, which every index needs; None where a server that is not
            ours stores them. Of our own server all that it wrote, its message log included.
        added_bytes: by how much this process and its children grew at most while the index was built.
        peak_bytes: resident memory of this process at its largest; pages of mapped files, which the system may take
            back, are included.
        children_peak_bytes: the same of the processes it started, together.
    """

    index: str
    rows: int
    recall_at_20: float
    effort: str
    search_ms_median: float
    search_ms_p95: float
    build_s: float
    disk_bytes: int | None
    added_bytes: int
    peak_bytes: int
    children_peak_bytes: int


@dataclass(frozen=True)
class Where:
    """Where indexes are built: a temporary folder inside `folder`, the system's for None, and what Milvus stores.

    Milvus is the server that the collection names, a new one with `start_server`, else Milvus Lite in the folder.
    """

    collection: Collection
    folder: Path | None = None
    start_server: bool = False


@dataclass(frozen=True)
class _Place:
    """An index's folder, its collection, and the folder of all its bytes; None where a server has them."""

    folder: Path
    collection: Collection
    stored: Path | None


@contextmanager
def _place(name: str, scratch: Path, where: Where) -> Iterator[_Place]:
    folder, on_server = scratch / name, "://" in where.collection.uri
    folder.mkdir()
    with ExitStack() as stack:
        place = _Place(folder, where.collection if on_server else replace(where.collection, uri=""), folder)
        if name == "milvus" and where.start_server:
            from pipeline.bench.milvus_server import MilvusServer

            server = stack.enter_context(MilvusServer(scratch / "server"))
            place = _Place(folder, replace(where.collection, uri=server.uri, token=""), server.data)
        elif name == "milvus" and on_server:
            place = replace(place, stored=None)
        stack.callback(drop_index, name, folder, place.collection)
        yield place


def _resident() -> tuple[int, int]:
    """The bytes of memory that are resident now in this process, and in all its children together."""
    process, children = psutil.Process(), 0
    for child in process.children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            children += child.memory_info().rss
    return process.memory_info().rss, children


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most bytes resident in this process, and in all its children together, sampled while the block runs."""
    peaks, done = [0, 0], threading.Event()

    def sample() -> None:
        while True:
            peaks[:] = map(max, peaks, _resident())
            if done.wait(SAMPLE_SECONDS):
                return

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peaks
    finally:
        done.set()
        sampler.join()


def measure_indexes(
    names: Sequence[str], vectors: FloatArray, queries: FloatArray, where: Where, report: Report = silent
) -> list[IndexFigures]:
    """Builds indexes of the same vectors, then searches them in turns with the same queries.

    Args:
        names: of the indexes.
        vectors: of unit length, (n, d).
        queries: (q, d); each is timed alone, as a visitor's is.
        where: where they are built; nothing is left there.
        report: receives the progress.
    """
    with tempfile.TemporaryDirectory(dir=where.folder) as scratch, ExitStack() as stack:
        places = {name: stack.enter_context(_place(name, Path(scratch), where)) for name in names}
        building = tracked(places, "Building the indexes", "indexes", report)
        built = {name: _built(name, vectors, places[name], report) for name in building}
        times: dict[str, list[float]] = {name: [] for name in places}
        with peak_memory() as searching:
            for turn, name in tracked(list(product(range(ROUNDS), places)), "Searching the indexes", "rounds", report):
                times[name] += _search_ms(built[name].index, queries[turn::ROUNDS])
            found = {name: _found_rows(one.index, queries) for name, one in built.items()}
        truth = _found_rows(ExactIndex(vectors), queries)
        return [
            IndexFigures(
                name,
                len(vectors),
                round(share_found(truth, found[name]), 4),
                next((f"{effort} {one.facts[effort]:,}" for effort in EFFORTS if effort in one.facts), "-"),
                *median_and_p95(times[name]),
                round(one.seconds, 2),
                _bytes_in(places[name].stored),
                max(0, sum(one.peaks) - one.before),
                *map(max, one.peaks, searching),
            )
            for name, one in built.items()
        ]


@dataclass(frozen=True)
class _Built:
    """An index, its facts, the seconds that building took, and the bytes of memory `before` and at the `peaks`."""

    index: VectorIndex
    facts: dict[str, Any]
    seconds: float
    before: int
    peaks: list[int]


def _built(name: str, vectors: FloatArray, place: _Place, report: Report) -> _Built:
    before = sum(_resident())
    with peak_memory() as peaks:
        started = time.perf_counter()
        facts = build_index(name, vectors, place.folder, place.collection, report)
        seconds = time.perf_counter() - started
        index = open_index(name, vectors, place.folder, facts, place.collection)
        index.search(vectors[:1], 1)  # a database connects now
    return _Built(index, facts, seconds, before, peaks)


def _search_ms(index: VectorIndex, queries: FloatArray) -> list[float]:
    """Milliseconds of each query, searched one at a time."""
    times = []
    for query in queries:
        started = time.perf_counter()
        index.search(query, DEFAULT_K)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _found_rows(index: VectorIndex, queries: FloatArray) -> list[set[int]]:
    """The rows that the index finds for each query, as many as the page shows."""
    return [set(rows) for rows in index.search(queries, DEFAULT_K).rows.tolist()]


def _bytes_in(folder: Path | None) -> int | None:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder else None


def bench_indexes(embeddings: Embeddings, report: Report = silent, milvus: Milvus = EMBEDDED) -> list[IndexFigures]:
    """Measures every index whose package is installed, built in a temporary folder, on a gallery's vectors.

    The queries are drawn from the gallery and find themselves too. A Milvus server gets a collection of its own, which
    is dropped in the end.
    """
    collection = replace(embeddings.collection(milvus), name=f"bench_{secrets.token_hex(8)}")
    queries = np.random.default_rng(SEED).permutation(len(embeddings))[:QUERIES]
    vectors = np.array(embeddings.vectors)  # in memory, as the page's are once they have been searched
    return measure_indexes(available(), vectors, vectors[queries], Where(collection), report)
