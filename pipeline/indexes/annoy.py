"""Annoy's trees (angular, which IS the Euclidean distance of unit vectors), with a search effort that was checked.

With Annoy's default effort recall@20 on hard vectors is 0.24 to 0.44. So building ends with a self-check: queries drawn
from the gallery, each without itself, against exact search; the effort doubles until recall@20 is at least 0.99.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from annoy import AnnoyIndex

from pipeline.core.files import apart, replacing
from pipeline.core.geometry import rerank
from pipeline.core.types import FloatArray, Neighbours
from pipeline.indexes.recall import K, least_effort

FILE = "annoy.ann"
TREES = 50
SEED = 1


class AnnoyTrees:
    """Annoy proposes, exact distance decides: candidates are re-ranked by it."""

    def __init__(self, trees: AnnoyIndex, vectors: FloatArray, search_k: int) -> None:
        """`search_k` is how many nodes Annoy looks at for a query."""
        self._trees = trees
        self._vectors = vectors
        self._search_k = search_k

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query, (d,) or (q, d); the recall of k = 20 is in the gallery's manifest."""
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        k = min(k, len(self))
        return rerank(self._vectors, queries, (self._candidates(query, k) for query in queries), k)

    def _candidates(self, query: FloatArray, k: int) -> npt.NDArray[np.int64]:
        # Annoy may return fewer than were asked for; looking at every node of every tree, it cannot.
        everything = 2 * TREES * max(len(self), 1)
        effort = max(self._search_k, TREES * k)
        while True:
            rows = np.array(self._trees.get_nns_by_vector(query, k, search_k=effort), np.int64)
            if len(rows) >= k or effort >= everything:
                return rows
            effort *= 2


def build(vectors: FloatArray, folder: Path) -> dict[str, Any]:
    """Builds the trees of unit vectors (n, d) into `folder` and finds the search effort they need."""
    trees = AnnoyIndex(vectors.shape[1], "angular")
    trees.set_seed(SEED)
    with replacing(folder / FILE) as beside:
        trees.on_disk_build(str(beside))  # the same bytes as in memory, and millions of rows need not fit there
        for row, vector in enumerate(vectors):
            trees.add_item(row, vector)
        trees.build(TREES, n_jobs=1)  # every thread has a seed of its own; with one, all machines grow the same trees
    every_node = 2 * TREES * max(len(vectors), 1)
    search_k, recall = least_effort(vectors, partial(AnnoyTrees, trees, vectors), TREES * K, every_node)
    return {"files": [FILE], "trees": TREES, "seed": SEED, "search_k": search_k, "recall_at_20": recall}


def open_trees(vectors: FloatArray, folder: Path, facts: dict[str, Any]) -> AnnoyTrees:
    """The trees that `build` wrote, memory-mapped."""
    trees = AnnoyIndex(vectors.shape[1], "angular")
    with apart(folder / FILE) as own:
        trees.load(str(own))
    return AnnoyTrees(trees, vectors, int(facts["search_k"]))
