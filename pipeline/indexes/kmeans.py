"""k-means, then exact search inside the query's cluster, as one of the ancestors did it.

With one cluster probed, neighbours across a border are missed. How many is measured when the index is built and shown
with every answer.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from pipeline.core.files import replacing
from pipeline.core.geometry import distances, rerank
from pipeline.core.types import FloatArray, IntArray, Neighbours
from pipeline.indexes.recall import RecallCheck

FILE = "kmeans.npz"
CLUSTERS = 6
PROBES = 1
SEED = 1


class KmeansClusters:
    """The gallery's rows by cluster. `probes` clusters are searched, and more only where they hold fewer than k."""

    def __init__(self, vectors: FloatArray, centres: FloatArray, labels: IntArray, probes: int = PROBES) -> None:
        """Unit vectors (n, d), cluster centres (c, d), and each vector's cluster (n,)."""
        self._vectors = vectors
        self._centres = centres
        self._members = [np.flatnonzero(labels == cluster) for cluster in range(len(centres))]
        self._probes = probes

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query, (d,) or (q, d), within the clusters probed."""
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        k = min(k, len(self))
        return rerank(self._vectors, queries, (self._candidates(query, k) for query in queries), k)

    def _candidates(self, query: FloatArray, k: int) -> IntArray:
        chosen: list[IntArray] = [np.empty(0, np.int64)]
        for probed, cluster in enumerate(np.argsort(distances(self._centres, query)), start=1):
            chosen.append(self._members[cluster])
            if probed >= self._probes and sum(map(len, chosen)) >= k:
                break
        return np.concatenate(chosen)


def build(vectors: FloatArray, folder: Path) -> dict[str, Any]:
    """Clusters the unit vectors (n, d) into `folder` and measures what searching one cluster loses."""
    from sklearn.cluster import KMeans  # takes a second, which no start of the page waits for
    from sklearn.exceptions import ConvergenceWarning

    clusters = min(CLUSTERS, len(vectors))
    centres, labels = np.empty((0, vectors.shape[1]), np.float32), np.empty(0, np.int64)
    if clusters:
        with warnings.catch_warnings():
            # Fewer clusters than asked for are found where many vectors are the same; that is no mistake.
            warnings.simplefilter("ignore", ConvergenceWarning)
            with threadpool_limits(1):  # several threads add up in any order, and end in other clusters every time
                fitted = KMeans(clusters, random_state=SEED, n_init=1).fit(np.asarray(vectors))
        centres, labels = fitted.cluster_centers_.astype(np.float32), fitted.labels_.astype(np.int64)
    with replacing(folder / FILE) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, centres=centres, labels=labels)
    recall = RecallCheck(vectors).recall(KmeansClusters(vectors, centres, labels))
    return {"files": [FILE], "clusters": len(centres), "probes": PROBES, "seed": SEED, "recall_at_20": round(recall, 4)}


def open_clusters(vectors: FloatArray, folder: Path, facts: dict[str, Any]) -> KmeansClusters:
    """The clusters that `build` wrote."""
    with np.load(folder / FILE, allow_pickle=False) as kept:
        return KmeansClusters(vectors, kept["centres"], kept["labels"], int(facts["probes"]))
