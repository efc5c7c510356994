"""Annoy's random-projection trees, with a search effort chosen by measurement.

Annoy's `angular` is the Euclidean distance of unit vectors. With Annoy's default effort recall@20 on hard vectors is
0.24 to 0.44, so building doubles the effort until recall@20 is at least 0.99 on queries drawn from the gallery.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.core.files import apart, replacing
from pipeline.core.types import FloatArray, IntArray
from pipeline.indexes.recall import K, least_effort
from pipeline.indexes.reranked import RerankedIndex

if TYPE_CHECKING:
    from annoy import AnnoyIndex

FILE = "annoy.ann"
TREES = 50
SEED = 1
TRIED = """
from annoy import AnnoyIndex
trees = AnnoyIndex(8, "angular")
trees.add_item(0, [1.0] * 8)
trees.build(1)
trees.get_nns_by_item(0, 1)
"""
PORTABLE = "-O3,-ffast-math,-fno-associative-math,-fpermissive,-std=c++14,-DANNOYLIB_MULTITHREADED_BUILD"


class AnnoyTrees(RerankedIndex):
    """Annoy proposes candidates; the recall of the 20 nearest is in the gallery's manifest."""

    def __init__(self, trees: AnnoyIndex, vectors: FloatArray, search_k: int) -> None:
        """`search_k` is how many nodes Annoy inspects for a query."""
        super().__init__(vectors)
        self._trees = trees
        self._search_k = search_k

    def _candidates(self, queries: FloatArray, k: int) -> Iterator[IntArray]:
        # Annoy may return fewer rows than requested; when it inspects every node of every tree, it cannot.
        every_node = 2 * TREES * len(self)
        for query in queries:
            search_k, rows = max(self._search_k, TREES * k), list[int]()
            while len(rows) < k:
                rows = self._trees.get_nns_by_vector(query, k, search_k=search_k)
                if search_k >= every_node:
                    break
                search_k *= 2
            yield np.array(rows, np.int64)


def build(vectors: FloatArray, folder: Path, *_: object) -> dict[str, Any]:
    """Builds the trees of unit vectors (n, d) in `folder` and finds the search effort they need."""
    trees = _empty_trees(vectors)
    trees.set_seed(SEED)
    with replacing(folder / FILE) as beside:
        trees.on_disk_build(str(beside))  # the same bytes as in memory, which millions of rows may not fit into
        for row, vector in enumerate(vectors):
            trees.add_item(row, vector)
        trees.build(TREES, n_jobs=1)  # the same trees everywhere: each thread has a seed of its own
    every_node = 2 * TREES * max(len(vectors), 1)
    search_k, recall = least_effort(vectors, partial(AnnoyTrees, trees, vectors), TREES * K, every_node)
    return {"files": [FILE], "trees": TREES, "seed": SEED, "search_k": search_k, "recall_at_20": recall}


def open_index(vectors: FloatArray, folder: Path, facts: dict[str, Any], *_: object) -> AnnoyTrees:
    """The trees that `build` wrote, memory-mapped."""
    trees = _empty_trees(vectors)
    with apart(folder / FILE) as own:
        trees.load(str(own))
    return AnnoyTrees(trees, vectors, int(facts["search_k"]))


@cache
def why_unusable() -> str | None:
    """One sentence if Annoy does not run here, else None; tried once, by a child process, which it may end.

    Its package is compiled for the processor that it is installed on, and an older one ends whoever calls it (SIGILL).
    """
    tried = subprocess.run([sys.executable, "-B", "-c", TRIED], capture_output=True, check=False)
    if tried.returncode == 0:
        return None
    if tried.returncode < 0:
        return (
            f"The index annoy was compiled for another processor than this ({signal.Signals(-tried.returncode).name}); "
            f"install it again by `ANNOY_COMPILER_ARGS={PORTABLE} pip install --force-reinstall --no-cache-dir annoy`."
        )
    return "The index annoy cannot be loaded; install it again by `pip install --force-reinstall --no-cache-dir annoy`."


def _empty_trees(vectors: FloatArray) -> AnnoyIndex:
    from annoy import AnnoyIndex  # only where one is built or opened, not where the indexes are listed

    return AnnoyIndex(vectors.shape[1], "angular")
