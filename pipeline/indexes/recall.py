"""recall@20 of an index against exact search, on queries drawn from the gallery."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.core.types import FloatArray, Neighbours, VectorIndex
from pipeline.indexes.exact import ExactIndex

K = 20
QUERIES = 500
SEED = 1
TARGET_RECALL = 0.99
FEW_QUERIES, TOO_LOW = 50, 0.95  # an effort whose recall over the first few queries is lower is not measured further


def share_found(truth: Sequence[set[int]], found: Sequence[set[int]]) -> float:
    """Mean recall: the share of each query's true neighbours (its set of rows) that are among the rows found."""
    return float(np.mean([len(true & rows) / len(true) for true, rows in zip(truth, found, strict=True)]))


class RecallCheck:
    """Exact answers to queries from a gallery, computed once, to measure any number of indexes against."""

    def __init__(self, vectors: FloatArray) -> None:
        """`vectors` are the gallery's, (n, d); with fewer than two the recall is 1."""
        self._rows = np.random.default_rng(SEED).permutation(len(vectors))[:QUERIES]
        self._queries = vectors[self._rows]
        self._truth = self._others(ExactIndex(vectors).search(self._queries, K + 1)) if len(vectors) > 1 else []

    def recall(self, index: VectorIndex, queries: int = QUERIES) -> float:
        """recall@20 of the index over the first `queries` queries, each of which is left out of its own neighbours."""
        if not self._truth:
            return 1.0
        found = self._others(index.search(self._queries[:queries], K + 1))
        return share_found(self._truth[:queries], found)

    def _others(self, neighbours: Neighbours) -> list[set[int]]:
        """The rows of each query's neighbours without itself: every index finds that."""
        rows = neighbours.rows.tolist()
        return [set(row) - {itself} for row, itself in zip(rows, self._rows[: len(rows)].tolist(), strict=True)]


def least_effort(
    vectors: FloatArray, searching: Callable[[int], VectorIndex], first: int, most: int
) -> tuple[int, float]:
    """The least search effort that reaches the target recall, and the recall it reaches.

    Args:
        vectors: the gallery's, (n, d).
        searching: opens the index with a search effort.
        first: the effort to begin with; it doubles until the target is reached.
        most: the highest effort; it is taken even where it does not reach the target.
    """
    check, effort = RecallCheck(vectors), min(first, most)
    while True:
        index = searching(effort)
        if effort >= most or check.recall(index, FEW_QUERIES) >= TOO_LOW:
            recall = check.recall(index)
            if effort >= most or recall >= TARGET_RECALL:
                return effort, round(recall, 4)
        effort = min(2 * effort, most)
