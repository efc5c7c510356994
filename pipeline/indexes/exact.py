"""Exact search: a matrix product with all vectors. The reference for every other index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.core.types import FloatArray, IntArray
from pipeline.indexes.reranked import RerankedIndex

MAX_SIMILARITIES = 2**26  # computed at a time, 256 MiB; 500 queries against two million rows would be 4 GB


class ExactIndex(RerankedIndex):
    """Compares each query with every vector."""

    def _candidates(self, queries: FloatArray, k: int) -> Iterator[IntArray]:
        size = max(1, MAX_SIMILARITIES // len(self))
        for start in range(0, len(queries), size):
            for similarities in queries[start : start + size] @ self._vectors.T:
                yield np.argpartition(similarities, len(self) - k)[len(self) - k :]
