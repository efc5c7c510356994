"""A gallery's map, beside its vectors: the points in `map.npy`, and the digest of its vectors in `map.json`.

The manifest does not list these files: a map that is missing, damaged or of other vectors is drawn again.

t-SNE (van der Maaten and Hinton, 2008; Barnes-Hut, 2014) preserves neighbourhoods, but not distances, axes or the space
between groups. On LFW by `mtcnn-reid` it preserves 43 % of every photo's ten nearest neighbours; the first two
principal components, and two discriminants fitted on the people with 20 photos or more, preserve 1 % each and show one
cloud.

t-SNE cannot place new vectors, so a new one gets the position of its nearest neighbour. Of 1,000 photos of LFW that
were left out of a map, 696 show somebody who is on it, and 99.6 % of these then have a photo of the person among the
ten nearest points. At the mean position of five neighbours it is 65 %, at their median 85 %: between two groups often
lies a third one.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.core.files import digest, read_sealed, replacing, sealed, write_json
from pipeline.core.types import FloatArray, IntArray
from pipeline.embeddings.store import Embeddings

MAX_LAID_OUT = 20_000  # vectors for t-SNE, which takes a minute; further ones are placed at their nearest
NEIGHBOURS = 10  # of which the preserved share is measured
MEASURED_VECTORS = 1000  # for which the share is measured, to about 1 %
PLACED_DISTANCE = (
    0.002  # of the map's extent: how far from its nearest a vector goes that is placed, so that both are seen
)
PERPLEXITY = 30.0
STEPS = 500  # with 300 the map preserves 28 % instead of 42 %
ANGLE = 0.8  # of Barnes-Hut: as good here as the usual 0.5, in two thirds of the time
# Longer vectors are reduced by PCA, because their distances take minutes.
MAX_DIMENSION, PCA_COMPONENTS = 512, 256
MIN_VECTORS = 4  # for t-SNE
SEED = 1


def project(vectors: FloatArray) -> FloatArray:
    """Points (n, 2) from -1 to 1 for unit vectors (n, d); the same vectors give the same points."""
    if len(vectors) <= MAX_LAID_OUT:
        return _scaled(_layout(vectors))
    random = np.random.default_rng(SEED)
    chosen = np.sort(random.choice(len(vectors), MAX_LAID_OUT, replace=False))
    laid_out, points = _scaled(_layout(vectors[chosen])), np.empty((len(vectors), 2), np.float32)
    points[chosen] = laid_out
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    nearest = [each[0] for each in _nearest(vectors[chosen], vectors[others], 1)]
    points[others] = laid_out[nearest] + random.normal(0, PLACED_DISTANCE, (len(others), 2))
    return _scaled(points)


def kept(vectors: FloatArray, points: FloatArray) -> float | None:
    """The mean share of a vector's ten nearest neighbours that are among the ten nearest of its point.

    None for 20 vectors or fewer, of which ten are half.
    """
    if len(vectors) <= 2 * NEIGHBOURS:
        return None
    rows = np.random.default_rng(SEED).permutation(len(vectors))[:MEASURED_VECTORS]
    pairs = zip(_others(vectors, rows), _others(points, rows), strict=True)
    return float(np.mean([len(set(near) & set(shown)) / NEIGHBOURS for near, shown in pairs]))


def _layout(vectors: FloatArray) -> FloatArray:
    """Points (n, 2) of any scale."""
    count = len(vectors)
    if count < MIN_VECTORS or not np.ptp(vectors, axis=0).max() > 1e-6:
        # Side by side, also for vectors that are all the same.
        return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float32)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if vectors.shape[1] > MAX_DIMENSION and count > PCA_COMPONENTS:
        vectors = PCA(PCA_COMPONENTS, svd_solver="randomized", random_state=SEED).fit_transform(vectors)
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    fitted = TSNE(2, perplexity=perplexity, max_iter=STEPS, angle=ANGLE, init="pca", random_state=SEED)
    # In one thread. Several would wait for each other a thousand times, which takes minutes on a busy machine even for
    # a few photos; and the other cores are for visitors.
    with threadpool_limits(1, user_api="openmp"):
        points: FloatArray = fitted.fit_transform(vectors).astype(np.float32)
    return points


def _scaled(points: FloatArray) -> FloatArray:
    """The points centred and scaled to fit into -1 to 1, with the same factor in both directions."""
    if not len(points):
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: FloatArray = ((points - (low + high) / 2) * (2 / max(float((high - low).max()), 1e-9))).astype(np.float32)
    return np.clip(scaled, -1, 1)  # because of rounding


def _others(vectors: FloatArray, rows: IntArray) -> list[list[int]]:
    """The rows of the ten nearest neighbours of each of these rows, without itself."""
    found = _nearest(vectors, vectors[rows], NEIGHBOURS + 1)
    return [[near for near in each if near != row][:NEIGHBOURS] for row, each in zip(rows.tolist(), found, strict=True)]


def _nearest(vectors: FloatArray, queries: FloatArray, k: int) -> list[list[int]]:
    """The rows of the k nearest of vectors (n, d) to each query (q, d), nearest first."""
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(n_neighbors=k).fit(vectors)
    rows: list[list[int]] = fitted.kneighbors(queries, return_distance=False).tolist()
    return rows


POINTS, FACTS = "map.npy", "map.json"
FORMAT = 1  # incremented when maps are drawn differently
MAX_COLOURS = 12  # people with a colour each; more cannot be told apart
MIN_PHOTOS = 3  # of a person with a colour

log = logging.getLogger(__name__)
_drawing = threading.Lock()  # drawing one map takes all cores


@dataclass(frozen=True)
class GalleryMap:
    """The `points` (n, 2) of a gallery's rows, from -1 to 1, and what `kept` measured of them."""

    points: FloatArray
    kept: float | None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2 or not np.all(np.abs(self.points) <= 1.001):
            raise ValueError(f"a map needs points (n, 2) from -1 to 1, not {self.points.shape}")
        if not (self.kept is None or (isinstance(self.kept, float) and 0 <= self.kept <= 1)):
            raise ValueError(f"a share is a number from 0 to 1, not {self.kept!r}")


def open_map(embeddings: Embeddings) -> GalleryMap:
    """The map of these embeddings; drawn now if it is missing, which takes a minute for 13,000 photos."""
    found = load_map(embeddings)
    if found is not None:
        return found
    with _drawing:
        return load_map(embeddings) or _drawn(embeddings)


def load_map(embeddings: Embeddings) -> GalleryMap | None:
    """The map in the embeddings' folder; None if it is missing, damaged or of other vectors."""
    try:
        facts = read_sealed(embeddings.folder / FACTS)
        expected = {"format": FORMAT, "vectors": _vectors(embeddings), "points": digest(embeddings.folder / POINTS)}
        if {name: facts[name] for name in expected} != expected:
            return None
        drawn = GalleryMap(np.load(embeddings.folder / POINTS, allow_pickle=False), facts["kept"])
        return drawn if len(drawn.points) == len(embeddings) else None
    except (OSError, ValueError, KeyError, EOFError):  # missing or damaged
        return None


def well_known(embeddings: Embeddings) -> list[tuple[str, int]]:
    """The people who get a colour on the map, with their number of photos, the most first."""
    named = compress(embeddings.people, embeddings.named)
    counts = sorted(Counter(named).items(), key=lambda each: (-each[1], each[0]))
    return [(person, count) for person, count in counts[:MAX_COLOURS] if count >= MIN_PHOTOS]


def _drawn(embeddings: Embeddings) -> GalleryMap:
    vectors = np.asarray(embeddings.vectors)
    points = project(vectors)
    drawn = GalleryMap(points, kept(vectors, points))
    try:
        _keep(embeddings, drawn)
    except OSError as error:  # a full disk, or a visitor's gallery removed meanwhile
        log.warning(
            "The map of %s is not kept: %s", embeddings.manifest["recipe"]["name"], os.strerror(error.errno or 0)
        )
    return drawn


def _keep(embeddings: Embeddings, drawn: GalleryMap) -> None:
    folder: Path = embeddings.folder
    folder.stat()  # fails if the folder is gone, which writing would make again
    with replacing(folder / POINTS) as beside, beside.open("wb") as stream:
        np.save(stream, drawn.points, allow_pickle=False)
    facts = {"format": FORMAT, "vectors": _vectors(embeddings), "points": digest(folder / POINTS), "kept": drawn.kept}
    write_json(folder / FACTS, sealed(facts))


def _vectors(embeddings: Embeddings) -> str:
    """The digest of the vectors, from the manifest."""
    return str(embeddings.manifest["files"]["vectors.npy"])
