"""How much of the truth an index finds: recall@20 against exact search, on queries drawn from the gallery."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.core.types import FloatArray, Neighbours, VectorIndex
from pipeline.indexes.exact import ExactIndex

K = 20
QUERIES = 500
SEED = 1
WANTED = 0.99
A_LOOK, HOPELESS = 50, 0.95  # so many queries rule out an effort with which they find less than that


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

    def recall(self, index: VectorIndex, queries: int = QUERIES) -> float:
        """The mean share of each query's 20 true neighbours that the index finds, over the first so many queries."""
        if not self._truth:
            return 1.0
        found = self._others(index.search(self._queries[:queries], K + 1))
        return share_found(self._truth[:queries], found)

    def _others(self, neighbours: Neighbours) -> list[set[int]]:
        """The neighbours of each query without itself, for finding itself proves nothing."""
        rows = neighbours.rows.tolist()
        return [set(row) - {itself} for row, itself in zip(rows, self._rows[: len(rows)].tolist(), strict=True)]


def least_effort(
    vectors: FloatArray, searching: Callable[[int], VectorIndex], first: int, most: int
) -> tuple[int, float]:
    """The least effort, doubling from `first` to `most`, with which an index finds what is wanted, and its recall."""
    check, effort = RecallCheck(vectors), min(first, most)
    while True:
        index = searching(effort)
        if effort >= most or check.recall(index, A_LOOK) >= HOPELESS:
            recall = check.recall(index)
            if effort >= most or recall >= WANTED:
                return effort, round(recall, 4)
        effort = min(2 * effort, most)
