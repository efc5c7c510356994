"""Vectors as points of a plane, so that what is near in the gallery is near on the map: t-SNE, and its honesty.

t-SNE (van der Maaten and Hinton, 2008; Barnes-Hut, 2014) keeps who is near whom and gives up distances, axes and the
space between groups. Of LFW by `mtcnn-reid` it keeps 43 % of every photo's ten nearest; the two first principal
components, and two discriminants fitted on the people with 20 photos or more, keep 1 % each and show one cloud.

It is no function that takes new vectors. A new one goes where the vector is that it is nearest to. Of 1,000 photos of
LFW that a map was drawn without, 696 show somebody who is on it, and 99.6 % of these come to stand with such a photo
among their ten nearest. At the mean of five neighbours 65 % do, at their median 85 %: between two groups lies a third
that the photo has nothing to do with.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.types import FloatArray, IntArray

MOST = 20_000  # vectors that are laid out among themselves, which takes a minute; further ones are placed
NEIGHBOURS = 10  # of which is measured how many the map keeps
MEASURED = 1000  # vectors for which it is: the figure is good to about 1 %
BESIDE = 0.002  # of the map's extent: how far from its nearest a vector goes that is placed, so that both are seen
PERPLEXITY = 30.0
STEPS = 500  # of 300 the map keeps 28 % instead of 42 %
ANGLE = 0.8  # of Barnes and Hut: as good as the usual 0.5 here, in two thirds of the time
# Numbers a vector may have, and principal components of longer ones: their distances take minutes.
WIDEST, REDUCED = 512, 256
FEWEST = 4  # for which there is anything to lay out
BLOCK = 256  # queries at a time: with 20,000 vectors 20 MB
SEED = 1


def project(vectors: FloatArray) -> FloatArray:
    """A point (n, 2) for each unit vector (n, d), both coordinates from -1 to 1; the same vectors give the same map."""
    if len(vectors) <= MOST:
        return _scaled(_layout(vectors))
    random = np.random.default_rng(SEED)
    chosen = np.sort(random.choice(len(vectors), MOST, replace=False))
    laid_out, points = _scaled(_layout(vectors[chosen])), np.empty((len(vectors), 2), np.float32)
    points[chosen] = laid_out
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    nearest = [each[0] for each in _nearest(vectors[chosen], vectors[others], 1)]
    points[others] = laid_out[nearest] + random.normal(0, BESIDE, (len(others), 2))
    return _scaled(points)


def kept(vectors: FloatArray, points: FloatArray) -> float | None:
    """What share of a vector's ten nearest are among the ten nearest of its point, on average.

    None where there are so few vectors that the ten nearest are about half of all.
    """
    if len(vectors) <= 2 * NEIGHBOURS:
        return None
    rows = np.random.default_rng(SEED).permutation(len(vectors))[:MEASURED]
    pairs = zip(_others(vectors, rows), _others(points, rows), strict=True)
    return float(np.mean([len(set(near) & set(shown)) / NEIGHBOURS for near, shown in pairs]))


def _layout(vectors: FloatArray) -> FloatArray:
    """Points (n, 2) in no particular scale."""
    count = len(vectors)
    if count < FEWEST or not np.ptp(vectors, axis=0).max() > 1e-6:
        # Side by side; of vectors that are all one, whichever order they come in.
        return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float32)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if vectors.shape[1] > WIDEST and count > REDUCED:
        vectors = PCA(REDUCED, svd_solver="randomized", random_state=SEED).fit_transform(vectors)
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    fitted = TSNE(2, perplexity=perplexity, max_iter=STEPS, angle=ANGLE, init="pca", random_state=SEED)
    # Of this thread only. Several would wait for each other a thousand times, which takes minutes on a busy machine,
    # even for a few photos; and visitors are to have the other cores.
    with threadpool_limits(1, user_api="openmp"):
        points: FloatArray = fitted.fit_transform(vectors).astype(np.float32)
    return points


def _scaled(points: FloatArray) -> FloatArray:
    """The points about 0, as large as fits into -1 to 1; across and down by the same measure."""
    if not len(points):
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: FloatArray = ((points - (low + high) / 2) * (2 / max(float((high - low).max()), 1e-9))).astype(np.float32)
    return np.clip(scaled, -1, 1)  # rounding may go beyond


def _others(vectors: FloatArray, rows: IntArray) -> list[list[int]]:
    """The rows of the nearest of each of these rows, itself left out."""
    found = _nearest(vectors, vectors[rows], NEIGHBOURS + 1)
    return [[near for near in each if near != row][:NEIGHBOURS] for row, each in zip(rows.tolist(), found, strict=True)]


def _nearest(vectors: FloatArray, queries: FloatArray, k: int) -> list[list[int]]:
    """The rows of the k nearest of vectors (n, d) to each query (q, d), nearest first."""
    squares, nearest = np.einsum("nd,nd->n", vectors, vectors), []
    for start in range(0, len(queries), BLOCK):
        # Squared distances but for the query's own square, which is the same for all: one product instead of n.
        far = squares - 2 * queries[start : start + BLOCK] @ vectors.T
        near = np.argpartition(far, min(k, len(vectors)) - 1, axis=1)[:, :k]
        order = np.take_along_axis(far, near, axis=1).argsort(axis=1, kind="stable")
        nearest += np.take_along_axis(near, order, axis=1).tolist()
    return nearest
