"""scikit-learn's NearestNeighbors, as the ancestors used it. Compares with every photo, so it is never wrong."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.core.geometry import rerank
from pipeline.core.types import FloatArray, Neighbours

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors


class KnnIndex:
    """All of a gallery's unit vectors (n, d)."""

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors

    @cached_property
    def _fitted(self) -> NearestNeighbors:
        from sklearn.neighbors import NearestNeighbors  # takes a second, which no start of the page waits for

        return NearestNeighbors(algorithm="brute", metric="euclidean").fit(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query, (d,) or (q, d), re-measured: scikit-learn's distance is rounded near 0."""
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        k = min(k, len(self))
        if not len(self) or not len(queries):
            return Neighbours(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32))
        rows = self._fitted.kneighbors(queries, k, return_distance=False)
        return rerank(self._vectors, queries, rows, k)
