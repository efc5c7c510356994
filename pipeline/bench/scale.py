"""Benchmarks of the indexes on up to millions of synthetic faces.

The vectors are clustered like identities, with the distances of `mtcnn-reid` on LFW. `bench_scale` leaves them in a
memory-mapped file, so that only what an index reads is in memory; `bench_growth` compares sizes.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.bench.indexes import QUERIES, IndexFigures, Where, measure_indexes
from pipeline.core.errors import SettingsError
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.core.settings import EMBEDDED, Milvus
from pipeline.core.types import Collection, FloatArray
from pipeline.indexes.registry import why_unavailable

ROWS = (10_000, 100_000, 1_000_000)  # of `bench_growth`, where none are given
PHOTOS_PER_PERSON = 20
PEOPLE = 500  # drawn at a time
SEED = 1
# On LFW the distances of mtcnn-reid are 0.81 (standard deviation 0.12) within a person and 1.41 (0.07) between two.
# These give 0.80 (0.12) and 1.41 (0.06).
SPREAD, SPREAD_OF_SPREADS = 0.7, 0.2  # of a person's photos around the person, and its own among people (log-normal)
DECAY = 0.55  # the variance of the i-th direction is 1 / i ** DECAY: equal ones would put all strangers at sqrt(2)


@dataclass(frozen=True)
class Scale:
    """How many vectors to draw, and which indexes to build of them.

    `milvus` names the server, if any; `start_server` starts one for this instead.
    """

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

    def measured(self, drawn: Drawn, names: Sequence[str], folder: Path | None, report: Report) -> list[IndexFigures]:
        """The figures of these indexes, built in a temporary folder inside `folder`."""
        milvus = self.milvus
        collection = Collection(milvus.uri, milvus.token, f"scale_{secrets.token_hex(8)}", kind=milvus.kind)
        return measure_indexes(names, *drawn, Where(collection, folder, self.start_server), report)


def bench_scale(scale: Scale, folder: Path | None = None, report: Report = silent) -> Iterator[IndexFigures]:
    """Draws the faces in a temporary folder inside `folder`, then measures one index after the other.

    The queries are further photos of people in the gallery, so that no query finds itself.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        drawn = draw_faces(Path(scratch) / "vectors.npy", scale, report)
        for name in scale.indexes:
            yield from scale.measured(drawn, [name], folder, report)


def bench_growth(
    scale: Scale, sizes: Sequence[int], folder: Path | None = None, report: Report = silent
) -> Iterator[IndexFigures]:
    """Measures the scale's indexes at each of the sizes, on vectors in memory; all of one size are searched in turns.

    SettingsError for fewer than two sizes, from which no growth follows.
    """
    if len(set(sizes)) < 2:
        raise SettingsError("Growth is seen between two sizes or more; give at least two numbers of rows.")
    for rows in sorted(set(sizes)):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            drawn = draw_faces(Path(scratch) / "vectors.npy", replace(scale, rows=rows), report)
            drawn = Drawn(np.array(drawn.vectors), drawn.queries)
        yield from scale.measured(drawn, scale.indexes, folder, report)


class Drawn(NamedTuple):
    """Memory-mapped unit vectors (rows, dim), and `queries`: one more photo each of up to 200 of their people."""

    vectors: FloatArray
    queries: FloatArray


def draw_faces(path: Path, scale: Scale, report: Report = silent) -> Drawn:
    """Draws the vectors into an npy file; the same ones every time, and the first of a larger scale."""
    further, step = [], PEOPLE * PHOTOS_PER_PERSON
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (scale.rows, scale.dim))
    for number, part in enumerate(tracked_slices(scale.rows, step, "Drawing faces", "rows", report)):
        photos = _people(number, scale.dim)
        rows = part.stop - part.start
        vectors[part] = photos[:, :PHOTOS_PER_PERSON].reshape(-1, scale.dim)[:rows]
        further.append(photos[: -(-rows // PHOTOS_PER_PERSON), PHOTOS_PER_PERSON])
    vectors.flush()
    everybody = np.concatenate(further)
    chosen = np.random.default_rng(SEED).permutation(len(everybody))[:QUERIES]
    return Drawn(np.lib.format.open_memmap(path, "r"), everybody[chosen])


def _people(number: int, dim: int) -> FloatArray:
    """The `number`-th 500 people with 21 photos each, (500, 21, dim)."""
    random = np.random.default_rng((SEED, number))
    scales = np.arange(1, dim + 1, dtype=np.float32) ** (-DECAY / 2)
    centres = random.standard_normal((PEOPLE, 1, dim), np.float32)
    spreads = SPREAD * np.exp(SPREAD_OF_SPREADS * random.standard_normal((PEOPLE, 1, 1), np.float32))
    photos = (centres + spreads * random.standard_normal((PEOPLE, PHOTOS_PER_PERSON + 1, dim), np.float32)) * scales
    rows: FloatArray = unit_rows(photos.reshape(-1, dim)).reshape(photos.shape)
    return rows


def exponents(figures: Sequence[IndexFigures], of: str) -> dict[str, float]:
    """By index, the exponent b of a * rows ** b fitted to the figure `of`, such as `search_ms_median`."""
    fitted = {}
    for name in dict.fromkeys(one.index for one in figures):
        mine = [one for one in figures if one.index == name]
        values = [max(float(getattr(one, of)), 1e-3) for one in mine]
        fitted[name] = float(np.polyfit(np.log([one.rows for one in mine]), np.log(values), 1)[0])
    return fitted


def faster_from(figures: Sequence[IndexFigures], name: str) -> int | None:
    """The smallest measured size from which on the index `name` has a smaller median than `exact`; None if none."""
    medians = {(one.index, one.rows): one.search_ms_median for one in figures}
    first = None
    for rows in sorted({one.rows for one in figures}, reverse=True):
        if medians[name, rows] >= medians["exact", rows]:
            break
        first = rows
    return first
