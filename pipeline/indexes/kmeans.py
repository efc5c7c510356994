"""k-means, then exact search within the query's cluster, as one of the earlier projects did it.

With one cluster probed, neighbours in other clusters are missed. The recall is measured when the index is built and
shown with every answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.core.files import replacing
from pipeline.core.geometry import distances
from pipeline.core.types import FloatArray, IntArray
from pipeline.indexes.recall import RecallCheck
from pipeline.indexes.reranked import RerankedIndex

FILE = "kmeans.npz"
CLUSTERS = 6
PROBES = 1
SEED = 1


class KmeansClusters(RerankedIndex):
    """The gallery's rows by cluster. The `probes` nearest are searched, more if these have fewer than k rows."""

    def __init__(self, vectors: FloatArray, centres: FloatArray, labels: IntArray, probes: int = PROBES) -> None:
        """Unit vectors (n, d), cluster centres (c, d), and each vector's cluster (n,)."""
        super().__init__(vectors)
        self._centres = centres
        self._members = [np.flatnonzero(labels == cluster) for cluster in range(len(centres))]
        self._probes = probes

    def _candidates(self, queries: FloatArray, k: int) -> Iterator[IntArray]:
        for query in queries:
            members = [self._members[cluster] for cluster in np.argsort(distances(self._centres, query))]
            needed = int(np.searchsorted(np.cumsum([len(rows) for rows in members]), k)) + 1
            yield np.concatenate(members[: max(needed, self._probes)])


def build(vectors: FloatArray, folder: Path, *_: object) -> dict[str, Any]:
    """Clusters the unit vectors (n, d), writes the clusters to `folder` and measures the recall of searching one."""
    from sklearn.cluster import KMeans  # takes a second, which no start of the page waits for
    from sklearn.exceptions import ConvergenceWarning

    clusters = min(CLUSTERS, len(vectors))
    centres, labels = np.empty((0, vectors.shape[1]), np.float32), np.empty(0, np.int64)
    if clusters:
        with warnings.catch_warnings():
            # Fewer clusters than requested are found where many vectors are the same; that is no error.
            warnings.simplefilter("ignore", ConvergenceWarning)
            with threadpool_limits(1):  # several threads sum in varying order, which changes the clusters
                fitted = KMeans(clusters, random_state=SEED, n_init=1).fit(np.asarray(vectors))
        centres, labels = fitted.cluster_centers_.astype(np.float32), fitted.labels_.astype(np.int64)
    with replacing(folder / FILE) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, centres=centres, labels=labels)
    recall = RecallCheck(vectors).recall(KmeansClusters(vectors, centres, labels))
    return {"files": [FILE], "clusters": len(centres), "probes": PROBES, "seed": SEED, "recall_at_20": round(recall, 4)}


def open_index(vectors: FloatArray, folder: Path, facts: dict[str, Any], *_: object) -> KmeansClusters:
    """The clusters that `build` wrote."""
    with np.load(folder / FILE, allow_pickle=False) as kept:
        return KmeansClusters(vectors, kept["centres"], kept["labels"], int(facts["probes"]))
