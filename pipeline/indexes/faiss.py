"""FAISS: a graph of near neighbours, or cells where a graph takes too long to build, over vectors of 8-bit numbers.

The effort is chosen as Annoy's is: doubled until recall@20 is at least 0.99 on queries drawn from the gallery.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.core.files import replacing
from pipeline.core.processors import usable_cores
from pipeline.core.types import FloatArray, IntArray
from pipeline.indexes.recall import least_effort
from pipeline.indexes.reranked import RerankedIndex

if TYPE_CHECKING:
    from faiss import Index

FILE = "faiss.index"
GRAPH = "HNSW32,SQ8"
MOST_IN_A_GRAPH = 500_000  # a graph of more takes longer to build than Annoy's trees
TRAINING_ROWS_A_CELL = 64  # FAISS wants at least 39; by default it takes 256, which take four times as long
LEAST_EFFORT = 32


class FaissIndex(RerankedIndex):
    """FAISS proposes twice as many as are wanted, since 8-bit numbers put the last ones in a different order."""

    def __init__(self, index: Index, vectors: FloatArray, effort: int) -> None:
        """`effort` is how many candidates a graph keeps while it is searched, or how many cells are looked into."""
        super().__init__(vectors)
        self._index = index
        self._effort = effort

    def _candidates(self, queries: FloatArray, k: int) -> Iterator[IntArray]:
        import faiss

        wanted = min(2 * k, len(self))
        parameters = (
            faiss.SearchParametersHNSW(efSearch=max(self._effort, wanted))
            if isinstance(self._index, faiss.IndexHNSW)
            else faiss.SearchParametersIVF(nprobe=self._effort)
        )
        for found in self._index.search(queries, wanted, params=parameters)[1]:
            rows = found[found >= 0]
            # A graph may have parts that cannot be reached, and cells may hold too few: then every row is compared.
            yield rows if len(rows) >= k else np.arange(len(self))


def kind_for(rows: int) -> str:
    """The name, in the language of FAISS' index factory, of the index for so many vectors."""
    return GRAPH if rows <= MOST_IN_A_GRAPH else f"IVF{4 * int(rows**0.5)},SQ8"


def build(vectors: FloatArray, folder: Path, *_: object) -> dict[str, Any]:
    """Builds the index of unit vectors (n, d) in `folder` and finds the search effort it needs."""
    import faiss  # only where one is built or opened, not where the indexes are listed

    kind = kind_for(len(vectors))
    index, most, threads = faiss.index_factory(vectors.shape[1], kind), len(vectors), 1  # the same graph everywhere
    if isinstance(index, faiss.IndexIVF):
        index.cp.max_points_per_centroid, most, threads = TRAINING_ROWS_A_CELL, index.nlist, usable_cores()
    if len(vectors):
        with threadpool_limits(threads, user_api="openmp"):
            index.train(vectors)
            index.add(vectors)
    with replacing(folder / FILE) as beside:
        faiss.write_index(index, str(beside))
    effort, recall = least_effort(vectors, partial(FaissIndex, index, vectors), LEAST_EFFORT, max(most, 1))
    return {"files": [FILE], "kind": kind, "effort": effort, "recall_at_20": recall}


def open_index(vectors: FloatArray, folder: Path, facts: dict[str, Any], *_: object) -> FaissIndex:
    """The index that `build` wrote."""
    import faiss

    return FaissIndex(faiss.read_index(str(folder / FILE)), vectors, int(facts["effort"]))
