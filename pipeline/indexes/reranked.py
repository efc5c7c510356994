"""What the indexes share: each proposes candidates, and the exact distance ranks them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.core.geometry import rerank
from pipeline.core.types import FloatArray, IntArray, Neighbours


class RerankedIndex(ABC):
    """An index of a gallery's vectors; see `types.VectorIndex`."""

    def __init__(self, vectors: FloatArray) -> None:
        """`vectors` are the gallery's, (n, d), of unit length."""
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query, (d,) or (q, d), by exact distance; fewer where the gallery has fewer."""
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        k = min(k, len(self))
        candidates = self._candidates(queries, k) if k and len(queries) else [np.empty(0, np.int64)] * len(queries)
        return rerank(self._vectors, queries, candidates, k)

    @abstractmethod
    def _candidates(self, queries: FloatArray, k: int) -> Iterable[IntArray]:
        """At least k rows for each query; there is at least one query (q, d), and k is from 1 to n."""
