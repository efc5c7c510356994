"""Exact search: one matrix product, then the k best re-measured. The reference every other index is held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.geometry import nearest_among, stack
from pipeline.types import FloatArray, Neighbours


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
        similarity = queries @ self._vectors.T
        answers = []
        for query, row in zip(queries, similarity, strict=True):
            best = np.argpartition(row, len(row) - k)[len(row) - k :] if k else np.empty(0, np.int64)
            answers.append(nearest_among(self._vectors, query, best, k))
        return stack(answers, k)
