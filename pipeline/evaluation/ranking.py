"""Every photo of a gallery as a query against all the others: the neighbours and distances that protocols count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.geometry import distances
from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.core.types import FloatArray, IntArray
from pipeline.embeddings.store import Embeddings
from pipeline.evaluation.pairs import Pairs
from pipeline.photos.photos import Photos

CHUNK = 512  # queries at a time: 27 MB of similarities at LFW's size, where all at once would be 700
LEAST_NEIGHBOURS = 50  # more than any protocol but R-precision looks at
SAMPLE = 300  # queries that stand for all in choosing a limit: 4 million pairs at LFW's size


@dataclass(frozen=True)
class Subject:
    """What is evaluated: unit vectors (n, d), and all N photos of the dataset they were made from.

    `rows` (N,) says which vector is a photo's, -1 where no face was found; `people` (N,) who it shows, numbered from 0.
    `gallery_rows` (n,) are the vectors' rows in the gallery, where that has faces besides, which nobody named.
    """

    vectors: FloatArray
    rows: IntArray
    people: IntArray
    photo_ids: tuple[str, ...]
    names: tuple[str, ...]
    gallery_rows: IntArray | None = None

    @property
    def photos(self) -> IntArray:
        """Which photo each vector was made from, (n,)."""
        found = np.empty(len(self.vectors), np.int64)
        found[self.rows[self.rows >= 0]] = np.flatnonzero(self.rows >= 0)
        return found

    @property
    def others(self) -> IntArray:
        """How many other photos of the same person there are, for each photo (N,)."""
        counts: IntArray = np.bincount(self.people)[self.people] - 1
        return counts

    def photo(self, photo_id: str) -> int:
        """The photo's number."""
        return self.photo_ids.index(photo_id)


def subject_of(embeddings: Embeddings, photos: Photos) -> Subject:
    """The gallery's named vectors with all photos of its dataset, those without a face included."""
    named = np.flatnonzero(embeddings.named)
    row_of = {embeddings.photo_ids[place]: row for row, place in enumerate(named.tolist())}
    rows = np.array([row_of.get(photo_id, -1) for photo_id in photos.photo_ids], np.int64)
    numbers = {person: number for number, person in enumerate(dict.fromkeys(photos.people))}
    people = np.array([numbers[person] for person in photos.people], np.int64)
    vectors = np.array(embeddings.vectors if len(named) == len(embeddings) else embeddings.vectors[named])
    return Subject(vectors, rows, people, photos.photo_ids, photos.people, named)


def pair_ends(subject: Subject, pairs: Pairs) -> IntArray:
    """The numbers (n, 2) of the photos of pairs."""
    number = {photo_id: index for index, photo_id in enumerate(subject.photo_ids)}
    return np.array([(number[first], number[second]) for first, second in pairs.photo_ids], np.int64)


def pair_distances(subject: Subject, ends: IntArray, same: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The distance of each pair of photos (n, 2); where one has no face, infinity if they show one person, else minus.

    So such a pair is an error at every threshold.
    """
    rows = subject.rows[ends]
    measured = np.where(same, np.inf, -np.inf)
    for pair in np.flatnonzero((rows >= 0).all(axis=1)):
        first, second = subject.vectors[rows[pair]]
        measured[pair] = distances(first[None], second)[0]
    return measured


@dataclass(frozen=True)
class Ranking:
    """For each of n vectors its k nearest `rows` (n, k) without itself, and which of them show the same person.

    `nearest` (n,) is the first one's distance. Of all pairs with this vector, `genuine` and `impostor` (n,) are the
    mean distances of those of one person and of two, and `misses` and `matches` (n,) the shares of them that `limit`
    gets wrong; NaN where there is no such pair.
    """

    rows: npt.NDArray[np.int32]
    relevant: npt.NDArray[np.bool_]
    nearest: FloatArray
    limit: float
    genuine: FloatArray
    impostor: FloatArray
    misses: FloatArray
    matches: FloatArray


def rank(subject: Subject, limit: float, report: Report = silent) -> Ranking:
    """Ranks every vector's neighbours, at least as many as there are other photos of the person."""
    vectors, people = subject.vectors, subject.people[subject.photos]
    count = len(vectors)
    k = min(count - 1, max(LEAST_NEIGHBOURS, int(subject.others.max())))
    rows, statistics = np.empty((count, k), np.int32), np.empty((count, 4), np.float32)
    for part in tracked_slices(count, CHUNK, "Ranking", "photos", report):
        chunk = np.arange(part.start, part.stop)
        similarity = vectors[chunk] @ vectors.T
        similarity[np.arange(len(chunk)), chunk] = -np.inf  # the query itself is no answer
        rows[chunk] = _best(similarity, k)
        statistics[chunk] = _pair_statistics(similarity, people[chunk][:, None] == people, limit)
    relevant = people[rows] == people[:, None]
    nearest = _distances(vectors, rows[:, 0]) if k else np.full(count, np.inf, np.float32)
    return Ranking(rows, relevant, nearest, limit, *statistics.T)


def neighbours(
    vectors: FloatArray, queries: IntArray, gallery: IntArray, k: int
) -> tuple[IntArray, npt.NDArray[np.float64]]:
    """The k rows of `gallery` nearest to each row of `queries` (q, k), itself left out, and their distances.

    Where there are fewer: -1, at an infinite distance.
    """
    among, place = vectors[gallery], np.full(len(vectors), -1)
    place[gallery] = np.arange(len(gallery))
    rows, distances = np.full((len(queries), k), -1), np.full((len(queries), k), np.inf)
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        similarity = vectors[chunk] @ among.T
        inside = np.flatnonzero(place[chunk] >= 0)
        similarity[inside, place[chunk[inside]]] = -np.inf
        best = _best(similarity, min(k, len(gallery)))
        alike = np.take_along_axis(similarity, best, axis=1)
        part = slice(start, start + CHUNK), slice(best.shape[1])
        rows[part] = np.where(np.isneginf(alike), -1, gallery[best])
        distances[part] = np.sqrt(np.maximum(2 - 2 * alike, 0))
    return rows, distances


def _best(similarity: FloatArray, k: int) -> IntArray:
    """The columns of the k largest in each row (q, n), largest first, ties to the lower column."""
    best = np.argpartition(similarity, similarity.shape[1] - k, axis=1)[:, similarity.shape[1] - k :]
    order = np.lexsort((best, -np.take_along_axis(similarity, best, axis=1)), axis=1)
    columns: IntArray = np.take_along_axis(best, order, axis=1)
    return columns


def _distances(vectors: FloatArray, others: npt.NDArray[np.int32]) -> FloatArray:
    """The distance of each vector from another one, taken from the differences, as everywhere."""
    result = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), CHUNK):
        chunk = slice(start, start + CHUNK)
        result[chunk] = np.linalg.norm(vectors[chunk] - vectors[others[chunk]], axis=1)
    return result


def _pair_statistics(similarity: FloatArray, same: npt.NDArray[np.bool_], limit: float) -> FloatArray:
    """Columns genuine, impostor, misses, matches of `Ranking`, (q, 4), from similarities (q, n), -inf for itself."""
    itself = np.isneginf(similarity)
    # Near 0 this is 0.0003 off, which no mean over thousands of pairs shows.
    distance = np.sqrt(np.maximum(2 - 2 * np.where(itself, 1, similarity), 0))
    close, genuine = distance < limit, same & ~itself
    impostors = np.maximum((~same).sum(axis=1), np.where(same.all(axis=1), np.nan, 1))
    genuines = np.where(genuine.any(axis=1), genuine.sum(axis=1), np.nan)
    summed = distance.sum(axis=1, where=genuine)
    columns: FloatArray = np.stack(
        [
            summed / genuines,
            distance.sum(axis=1, where=~same) / impostors,
            (genuine & ~close).sum(axis=1) / genuines,
            (~same & close).sum(axis=1) / impostors,
        ],
        axis=1,
    ).astype(np.float32)
    return columns


def impostor_limit(subject: Subject, share: float, seed: int) -> float:
    """The distance below which this share of all pairs of different people lies, on a sample of the queries."""
    people = subject.people[subject.photos]
    chosen = np.random.default_rng(seed).permutation(len(people))[:SAMPLE]
    similarity = (subject.vectors[chosen] @ subject.vectors.T)[people[chosen][:, None] != people]
    if not len(similarity):
        return 0.0
    return float(np.sqrt(max(0.0, 2 - 2 * float(np.quantile(similarity, 1 - share)))))
