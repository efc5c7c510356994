"""The scale run: what an index of millions of faces costs, on faces drawn by numbers.

The vectors are clustered like identities, with the distances of `mtcnn-reid` on LFW; they lie in a memory-mapped file,
so that no more of them is in memory than an index asks for.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.bench.indexes import ROUNDS, found_rows, occupied, search_times
from pipeline.bench.results import Figures, middle_and_tail
from pipeline.core.errors import SettingsError
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Progress, Report, silent
from pipeline.core.settings import EMBEDDED, Milvus
from pipeline.core.types import Collection, FloatArray, VectorIndex
from pipeline.indexes.exact import ExactIndex
from pipeline.indexes.recall import share_found
from pipeline.indexes.registry import build_index, drop_index, open_index, why_unavailable

EACH = 20  # photos of a person
PEOPLE = 500  # drawn at a time
QUERIES = 200
SEED = 1
# On LFW the distances of mtcnn-reid are 0.81 (standard deviation 0.12) within a person and 1.41 (0.07) between two.
# These give 0.80 (0.12) and 1.41 (0.06).
SPREAD, SPREAD_OF_SPREADS = 0.7, 0.2  # of a person's photos around the person, and its own among people (log-normal)
DECAY = 0.55  # the variance of the i-th direction is 1 / i ** DECAY: equal ones would put all strangers at sqrt(2)
EFFORTS = ("search_k", "nprobe", "ef", "probes")
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Scale:
    """What to draw, which indexes to build of it, and where: `milvus` is a server's address, or one is started."""

    rows: int
    dim: int = 256
    indexes: tuple[str, ...] = ("annoy", "milvus")
    milvus: Milvus = EMBEDDED
    start_server: bool = False

    def __post_init__(self) -> None:
        if self.rows < 2 or self.dim < 2:
            raise SettingsError(f"{self.rows} rows of {self.dim} numbers cannot be searched; give two or more of both.")
        for name in self.indexes:
            if (reason := why_unavailable(name)) is not None:
                raise SettingsError(reason)


@dataclass(frozen=True)
class ScaleFigures(Figures):
    """One index of so many rows. `peak_bytes` is this process at its largest, `children_peak_bytes` what it started.

    Both count the mapped pages of files too, which the system may take back. `disk_bytes` is None where a server that
    is not ours keeps them; of our own it is all that the server wrote, its message log included.
    """

    index: str
    rows: int
    build_s: float
    disk_bytes: int | None
    recall_at_20: float
    effort: str
    search_ms_median: float
    search_ms_p95: float
    peak_bytes: int
    children_peak_bytes: int


def bench_scale(scale: Scale, folder: Path | None = None, report: Report = silent) -> Iterator[ScaleFigures]:
    """Draws the faces in a temporary folder inside `folder`, builds each index of them and searches it.

    The queries are further photos of people who are there, so that no query finds itself.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        drawn = draw_faces(Path(scratch) / "vectors.npy", scale, report)
        for name in scale.indexes:
            with place_for(name, scale, Path(scratch)) as place:
                figures = _measured(name, drawn, place, report)
            yield figures


@dataclass(frozen=True)
class Place:
    """Where an index is built: its folder, its collection in a vector database, and where all its bytes come to lie."""

    folder: Path
    collection: Collection
    kept: Path


@contextmanager
def place_for(name: str, scale: Scale, scratch: Path) -> Iterator[Place]:
    """A place for an index in `scratch`, with a Milvus server of its own if that is asked for; dropped in the end."""
    folder = scratch / name
    folder.mkdir()
    with ExitStack() as own:
        milvus, kept = scale.milvus, folder
        if name == "milvus" and scale.start_server:
            from pipeline.bench.milvus_server import MilvusServer

            server = own.enter_context(MilvusServer(scratch / "server"))
            milvus, kept = Milvus(server.uri, kind=milvus.kind), server.data
        place = Place(folder, Collection(milvus.uri, milvus.token, f"scale_{scratch.name}", kind=milvus.kind), kept)
        own.callback(drop_index, name, folder, place.collection)
        yield place


@dataclass(frozen=True)
class Drawn:
    """Unit vectors (rows, dim), mapped, and one more photo each of up to 200 of their people."""

    vectors: FloatArray
    queries: FloatArray


def draw_faces(path: Path, scale: Scale, report: Report = silent) -> Drawn:
    """Draws them into an npy file: always the same ones."""
    started, further = time.perf_counter(), []
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (scale.rows, scale.dim))
    for number, start in enumerate(range(0, scale.rows, PEOPLE * EACH)):
        photos = _people(number, scale.dim)
        stop = min(start + PEOPLE * EACH, scale.rows)
        vectors[start:stop] = photos[:, :EACH].reshape(-1, scale.dim)[: stop - start]
        further.append(photos[: -(-(stop - start) // EACH), EACH])
        report(Progress("Drawing faces", "rows", stop, scale.rows, stop, time.perf_counter() - started))
    vectors.flush()
    everybody = np.concatenate(further)
    chosen = np.random.default_rng(SEED).permutation(len(everybody))[:QUERIES]
    return Drawn(np.lib.format.open_memmap(path, "r"), everybody[chosen])


def _people(number: int, dim: int) -> FloatArray:
    """The number-th 500 people with 21 photos each, (500, 21, dim)."""
    random = np.random.default_rng((SEED, number))
    scales = np.arange(1, dim + 1, dtype=np.float32) ** (-DECAY / 2)
    middles = random.standard_normal((PEOPLE, 1, dim), np.float32)
    spreads = SPREAD * np.exp(SPREAD_OF_SPREADS * random.standard_normal((PEOPLE, 1, 1), np.float32))
    photos = (middles + spreads * random.standard_normal((PEOPLE, EACH + 1, dim), np.float32)) * scales
    rows: FloatArray = unit_rows(photos.reshape(-1, dim)).reshape(photos.shape)
    return rows


def _measured(name: str, drawn: Drawn, place: Place, report: Report) -> ScaleFigures:
    vectors, queries = drawn.vectors, drawn.queries
    with peaks_of_memory() as peaks:
        index, facts, build_s = built(name, vectors, place, report)
        times = search_times(index, queries)
        found = found_rows(index, queries)
    recall = share_found(found_rows(ExactIndex(vectors), queries), found)
    elsewhere = "://" in place.collection.uri and place.kept == place.folder
    disk_bytes = None if name == "milvus" and elsewhere else occupied(place.kept)
    effort = next((f"{effort} {facts[effort]:,}" for effort in EFFORTS if effort in facts), "-")
    return ScaleFigures(
        name,
        len(vectors),
        round(build_s, 1),
        disk_bytes,
        round(recall, 4),
        effort,
        *middle_and_tail(times),
        peaks[0],
        peaks[1],
    )


def built(name: str, vectors: FloatArray, place: Place, report: Report) -> tuple[VectorIndex, dict[str, Any], float]:
    """The index, searched once, what is remembered of it, and the seconds that building took."""
    started = time.perf_counter()
    facts = build_index(name, vectors, place.folder, place.collection, report)
    build_s = time.perf_counter() - started
    index = open_index(name, vectors, place.folder, facts, place.collection)
    index.search(vectors[:1], 1)  # a database connects now
    return index, facts, build_s


@contextmanager
def peaks_of_memory() -> Iterator[list[int]]:
    """The most bytes resident in this process, and in all its children together, sampled while the block runs."""
    peaks, done, this = [0, 0], threading.Event(), psutil.Process()

    def sample() -> None:
        while True:
            children = 0
            for child in this.children(recursive=True):
                try:
                    children += child.memory_info().rss
                except psutil.Error:
                    continue  # it has just ended
            peaks[:] = max(peaks[0], this.memory_info().rss), max(peaks[1], children)
            if done.wait(SAMPLE_SECONDS):
                return

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peaks
    finally:
        done.set()
        sampler.join()


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
            yield from _measured_growth(in_memory, places, report)


def _measured_growth(drawn: Drawn, places: dict[str, Place], report: Report) -> list[GrowthFigures]:
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
