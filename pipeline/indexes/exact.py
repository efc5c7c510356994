"""Exact search: a matrix product, then the k best re-measured. The reference every other index is held against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.core.geometry import nearest_among, stack
from pipeline.core.types import FloatArray, Neighbours

BLOCK = 2**26  # similarities worked out at a time, 256 MiB; 500 queries against two million rows would be 4 GB


class ExactIndex:
    """All of a gallery's unit vectors (n, d)."""

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query, (d,) or (q, d), by exact distance."""
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        k = min(k, len(self))
        at_a_time = max(1, BLOCK // max(len(self), 1))
        answers: list[Neighbours] = []
        for start in range(0, len(queries), at_a_time):
            answers += self._answers(queries[start : start + at_a_time], k)
        return stack(answers, k)

    def _answers(self, queries: FloatArray, k: int) -> Iterator[Neighbours]:
        for query, row in zip(queries, queries @ self._vectors.T, strict=True):
            best = np.argpartition(row, len(row) - k)[len(row) - k :] if k else np.empty(0, np.int64)
            yield nearest_among(self._vectors, query, best, k)
