"""How much of the truth an index finds: recall@20 against exact search, on queries drawn from the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.indexes.exact import ExactIndex
from pipeline.types import FloatArray, Neighbours, VectorIndex

K = 20
QUERIES = 500
SEED = 1


def share_found(truth: Sequence[set[int]], found: Sequence[set[int]]) -> float:
    """The mean share of each query's true rows that are among the rows found."""
    return float(np.mean([len(true & rows) / len(true) for true, rows in zip(truth, found, strict=True)]))


class RecallCheck:
    """Exact answers to queries from a gallery, worked out once, for measuring any number of indexes against."""

    def __init__(self, vectors: FloatArray) -> None:
        """`vectors` are the gallery's, (n, d); with fewer than two there is nothing to find."""
        self._rows = np.random.default_rng(SEED).permutation(len(vectors))[:QUERIES]
        self._queries = vectors[self._rows]
        self._truth = self._others(ExactIndex(vectors).search(self._queries, K + 1)) if len(vectors) > 1 else []

    def recall(self, index: VectorIndex) -> float:
        """The mean share of each query's 20 true neighbours that the index finds."""
        if not self._truth:
            return 1.0
        found = self._others(index.search(self._queries, K + 1))
        return share_found(self._truth, found)

    def _others(self, neighbours: Neighbours) -> list[set[int]]:
        """The neighbours of each query without itself, for finding itself proves nothing."""
        return [set(row) - {itself} for row, itself in zip(neighbours.rows.tolist(), self._rows.tolist(), strict=True)]
