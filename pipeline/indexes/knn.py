"""scikit-learn's NearestNeighbors, as two earlier projects used it. Compares with every photo, so it is never wrong."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.core.types import FloatArray, IntArray
from pipeline.indexes.reranked import RerankedIndex

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors


class KnnIndex(RerankedIndex):
    """scikit-learn's neighbours, reranked because its distances are rounded near 0."""

    @cached_property
    def _fitted(self) -> NearestNeighbors:
        from sklearn.neighbors import NearestNeighbors  # takes a second, which no start of the page waits for

        return NearestNeighbors(algorithm="brute", metric="euclidean").fit(self._vectors)

    def _candidates(self, queries: FloatArray, k: int) -> Iterable[IntArray]:
        rows: IntArray = self._fitted.kneighbors(queries, k, return_distance=False)
        return rows
