"""A gallery's map, beside its vectors: `map.npy`, and `map.json`, which says of which vectors it is.

It stands outside the manifest: a map that is missing, damaged or of other vectors is drawn anew, the gallery stays.

t-SNE (van der Maaten and Hinton, 2008; Barnes-Hut, 2014) keeps who is near whom and gives up distances, axes and the
space between groups. Of LFW by `mtcnn-reid` it keeps 43 % of every photo's ten nearest; the two first principal
components, and two discriminants fitted on the people with 20 photos or more, keep 1 % each and show one cloud.

It is no function that takes new vectors. A new one goes where the vector is that it is nearest to. Of 1,000 photos of
LFW that a map was drawn without, 696 show somebody who is on it, and 99.6 % of these come to stand with such a photo
among their ten nearest. At the mean of five neighbours 65 % do, at their median 85 %: between two groups lies a third
that the photo has nothing to do with.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.core.files import digest, read_sealed, replacing, sealed, write_json
from pipeline.core.types import FloatArray, IntArray
from pipeline.embeddings.store import Embeddings

MAX_LAID_OUT = 20_000  # vectors that are laid out among themselves, which takes a minute; further ones are placed
NEIGHBOURS = 10  # of which is measured how many the map keeps
MEASURED_VECTORS = 1000  # vectors for which it is: the figure is good to about 1 %
PLACED_DISTANCE = (
    0.002  # of the map's extent: how far from its nearest a vector goes that is placed, so that both are seen
)
PERPLEXITY = 30.0
STEPS = 500  # of 300 the map keeps 28 % instead of 42 %
ANGLE = 0.8  # of Barnes and Hut: as good as the usual 0.5 here, in two thirds of the time
# Numbers a vector may have, and principal components of longer ones: their distances take minutes.
MAX_DIMENSION, PCA_COMPONENTS = 512, 256
MIN_VECTORS = 4  # for which there is anything to lay out
SEED = 1


def project(vectors: FloatArray) -> FloatArray:
    """A point (n, 2) for each unit vector (n, d), both coordinates from -1 to 1; the same vectors give the same map."""
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
    """What share of a vector's ten nearest are among the ten nearest of its point, on average.

    None where there are so few vectors that the ten nearest are about half of all.
    """
    if len(vectors) <= 2 * NEIGHBOURS:
        return None
    rows = np.random.default_rng(SEED).permutation(len(vectors))[:MEASURED_VECTORS]
    pairs = zip(_others(vectors, rows), _others(points, rows), strict=True)
    return float(np.mean([len(set(near) & set(shown)) / NEIGHBOURS for near, shown in pairs]))


def _layout(vectors: FloatArray) -> FloatArray:
    """Points (n, 2) in no particular scale."""
    count = len(vectors)
    if count < MIN_VECTORS or not np.ptp(vectors, axis=0).max() > 1e-6:
        # Side by side; of vectors that are all one, whichever order they come in.
        return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float32)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if vectors.shape[1] > MAX_DIMENSION and count > PCA_COMPONENTS:
        vectors = PCA(PCA_COMPONENTS, svd_solver="randomized", random_state=SEED).fit_transform(vectors)
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
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(n_neighbors=k).fit(vectors)
    rows: list[list[int]] = fitted.kneighbors(queries, return_distance=False).tolist()
    return rows


POINTS, FACTS = "map.npy", "map.json"
FORMAT = 1  # another one where maps are drawn otherwise
MAX_COLOURS = 12  # people with a colour of their own: more cannot be told apart
MIN_PHOTOS = 3  # photos that make a group

log = logging.getLogger(__name__)
_drawing = threading.Lock()  # one takes all the cores there are


@dataclass(frozen=True)
class GalleryMap:
    """The `points` (n, 2) of a gallery's rows, from -1 to 1.

    `kept` is the share of a row's ten nearest that are among the ten nearest of its point; None for a few photos.
    """

    points: FloatArray
    kept: float | None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2 or not np.all(np.abs(self.points) <= 1.001):
            raise ValueError(f"a map needs points (n, 2) from -1 to 1, not {self.points.shape}")
        if not (self.kept is None or (isinstance(self.kept, float) and 0 <= self.kept <= 1)):
            raise ValueError(f"a share is a number from 0 to 1, not {self.kept!r}")


def open_map(embeddings: Embeddings) -> GalleryMap:
    """The gallery's map as it was drawn once; drawn now if it was not, which takes a minute for 13,000 photos."""
    found = load_map(embeddings)
    if found is not None:
        return found
    with _drawing:
        return load_map(embeddings) or _drawn(embeddings)


def load_map(embeddings: Embeddings) -> GalleryMap | None:
    """The map that is beside the gallery's vectors; None if there is none of just these vectors."""
    try:
        facts = read_sealed(embeddings.folder / FACTS)
        expected = {"format": FORMAT, "vectors": _vectors(embeddings), "points": digest(embeddings.folder / POINTS)}
        if {name: facts[name] for name in expected} != expected:
            return None
        drawn = GalleryMap(np.load(embeddings.folder / POINTS, allow_pickle=False), facts["kept"])
        return drawn if len(drawn.points) == len(embeddings) else None
    except (OSError, ValueError, KeyError, EOFError):  # whatever it is, no map
        return None


def well_known(embeddings: Embeddings) -> list[tuple[str, int]]:
    """The people to be told apart on the map, with their number of photos: those with the most, the most first."""
    counts = sorted(Counter(embeddings.people).items(), key=lambda each: (-each[1], each[0]))
    return [(person, count) for person, count in counts[:MAX_COLOURS] if count >= MIN_PHOTOS]


def _drawn(embeddings: Embeddings) -> GalleryMap:
    vectors = np.asarray(embeddings.vectors)
    points = project(vectors)
    drawn = GalleryMap(points, kept(vectors, points))
    try:
        _keep(embeddings, drawn)
    except OSError as error:  # a full disk, or a visitor's gallery that was removed meanwhile
        log.warning(
            "The map of %s is not kept: %s", embeddings.manifest["recipe"]["name"], os.strerror(error.errno or 0)
        )
    return drawn


def _keep(embeddings: Embeddings, drawn: GalleryMap) -> None:
    folder: Path = embeddings.folder
    folder.stat()  # writing would make the folder anew
    with replacing(folder / POINTS) as beside, beside.open("wb") as stream:
        np.save(stream, drawn.points, allow_pickle=False)
    facts = {"format": FORMAT, "vectors": _vectors(embeddings), "points": digest(folder / POINTS), "kept": drawn.kept}
    write_json(folder / FACTS, sealed(facts))


def _vectors(embeddings: Embeddings) -> str:
    """The hash of the gallery's vectors, as its manifest has it."""
    return str(embeddings.manifest["files"]["vectors.npy"])
