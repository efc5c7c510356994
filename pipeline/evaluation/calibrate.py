"""Measuring what results mean, on a gallery of LFW: pairs by View 1, hits by strangers, people by searches.

Every photo in turn is taken out and searched with. Strangers are the people with one photo; in a part of the gallery,
also everybody who is not in that part. What a list shows is in `search/person.py`, what is made of it in
`search/calibration.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.core.types import FloatArray, IntArray
from pipeline.embeddings.corrections import Corrections
from pipeline.embeddings.store import Embeddings
from pipeline.evaluation.metrics import Bools, Floats
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.ranking import Subject, neighbours, pair_distances, pair_ends, subject_of
from pipeline.photos.photos import Photos
from pipeline.photos.sources import UNKNOWN
from pipeline.search.calibration import RATES, Calibration, Limits, PersonModel
from pipeline.search.person import FEATURES, LISTED, NAMELESS, evidence

# Parts to draw: so many people, so many times. The small ones are like somebody's own photos: people with several.
PARTS = ((1, 60), (3, 40), (10, 30), (30, 20), (100, 12), (300, 6), (1_000, 3), (5_000, 1))
OWN = 100  # parts of fewer people are drawn of those with two photos or more
STRANGERS = 12_000  # searched for in all parts of one size together
DEEP = 2 * LISTED  # of all of the gallery's neighbours; some may be left out
SEED, FOLDS = 7, 5
ALL = 0  # the part that is all of the gallery
NEGLIGIBLE = 1e4  # inverse of the weights' penalty
STEP = 0.002  # of the distances at which strangers are counted
EDGES = np.arange(0, 2 + STEP, STEP)
CHUNK = 256  # queries at a time
DIGITS = 6


@dataclass(frozen=True)
class Searches:
    """n searches: what each list shows (n, FEATURES), whether its first name is `right` and the person `present`.

    `people` are searched for, `named` come first, `part` is how many people the gallery was drawn of, or ALL.
    """

    evidence: Floats
    right: Bools
    present: Bools
    people: IntArray
    named: IntArray
    part: IntArray

    def __getitem__(self, chosen: Bools) -> Searches:
        return Searches(*(values[chosen] for values in vars(self).values()))

    @property
    def faces(self) -> Floats:
        """How many faces each gallery has."""
        return np.exp(self.evidence[:, FEATURES.index("faces")])

    @property
    def weights(self) -> Floats:
        """Each part weighs as much as another, and in each half are searches for people who are there."""
        kinds = 2 * self.part + self.present
        _, kind, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        shares: Floats = len(kinds) / len(counts) / counts[kind]
        return shares


def together(searches: Iterable[Searches]) -> Searches:
    """All of these."""
    columns = zip(*(vars(each).values() for each in searches), strict=True)
    return Searches(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class Faces:
    """Unit vectors (n, d), who they show (n,), and the rows (n, DEEP) nearest to each with their distances."""

    vectors: FloatArray
    people: IntArray
    rows: IntArray
    distances: Floats
    strangers: float  # median distance of two people

    @property
    def others(self) -> IntArray:
        """How many other photos of the same person there are, (n,)."""
        counts: IntArray = np.bincount(self.people)[self.people] - 1
        return counts


def faces_of(vectors: FloatArray, people: IntArray) -> Faces:
    """The vectors with their neighbours; rows whose person is negative are nobody's, and left out."""
    known = np.flatnonzero(people >= 0)
    numbers = np.unique(people[known], return_inverse=True)[1]
    kept = np.ascontiguousarray(vectors[known])
    rows, distances = neighbours(kept, np.arange(len(kept)), np.arange(len(kept)), DEEP)
    drawn = np.random.default_rng(SEED).integers(len(kept), size=(2, STRANGERS))
    two = drawn[:, numbers[drawn[0]] != numbers[drawn[1]]]
    apart = np.linalg.norm(kept[two[0]] - kept[two[1]], axis=1)
    return Faces(kept, numbers, rows, distances, float(np.median(apart)) if len(apart) else 0.0)


def search_all(faces: Faces, left_out: Bools | None = None, *, without_person: bool = False) -> Searches:
    """Every face searched for among all the others, but for those that are `left_out` of the gallery.

    With `without_person`, also all others of the same person, who is absent then.
    """
    count = len(faces.people)
    gone = np.zeros(count, bool) if left_out is None else left_out
    hidden = (faces.rows < 0) | gone[faces.rows]
    if without_person:
        hidden |= faces.people[faces.rows] == faces.people[:, None]
    order = np.argsort(hidden, axis=1, kind="stable")[:, :LISTED]
    rows = np.where(np.take_along_axis(hidden, order, 1), -1, np.take_along_axis(faces.rows, order, 1))
    queries = np.arange(count)
    found = _searches(faces, queries, np.flatnonzero(~gone), (rows, np.take_along_axis(faces.distances, order, 1)), ALL)
    return Searches(*(vars(found) | {"present": found.present & (not without_person)}).values())


def search_parts(faces: Faces) -> Iterator[Searches]:
    """Searches in the parts of `PARTS`, as far as there are people enough."""
    random = np.random.default_rng(SEED)
    several = np.flatnonzero(np.bincount(faces.people) > 1)
    everybody = int(faces.people.max()) + 1
    for size, times in PARTS:
        drawn_of = several if size < OWN else np.arange(everybody)
        if size >= len(drawn_of):  # no part but all
            return
        for _ in range(times):
            inside = np.isin(faces.people, random.permutation(drawn_of)[:size])
            # One photo of each stranger: in a small gallery the people with hundreds of photos would outweigh all.
            shuffled = random.permutation(np.flatnonzero(~inside))
            one_each = shuffled[np.unique(faces.people[shuffled], return_index=True)[1]]
            strangers = random.permutation(one_each)[: STRANGERS // times]
            gallery = np.flatnonzero(inside)
            queries = np.concatenate([gallery[faces.others[gallery] > 0], strangers])
            yield _searches(faces, queries, gallery, neighbours(faces.vectors, queries, gallery, LISTED), size)


def _searches(
    faces: Faces, queries: IntArray, gallery: IntArray, found: tuple[IntArray, Floats], part: int
) -> Searches:
    """What was found (q, LISTED) for these rows in a gallery of those rows."""
    rows, distances = found
    counts = np.bincount(faces.people[gallery], minlength=int(faces.people.max()) + 1)
    inside = np.isin(queries, gallery)
    own, shown = faces.people[queries], np.where(rows >= 0, faces.people[rows], -1)
    named = shown[:, 0]
    photos = counts[named] - (inside & (named == own))
    seen = evidence(shown, distances, photos, len(gallery) - inside, faces.strangers)
    present = counts[own] - inside > 0
    searches = Searches(seen, named == own, present, own, named, np.full(len(queries), part))
    return searches[named >= 0]


def fit_person(searches: Searches, strangers: float) -> PersonModel:
    """The logistics that fit these best, and how sure they are of strangers."""
    weights = fit_logistic(searches.evidence, searches.right, searches.weights)
    nameless = [FEATURES.index(name) for name in NAMELESS]
    alone = fit_logistic(searches.evidence[:, nameless], searches.right, searches.weights)
    model = PersonModel(weights, alone, strangers, Limits(RATES, (1,), ((0.0,) * len(RATES),)))
    sizes, values = [], []
    absent = searches[~searches.present]
    for part in np.unique(absent.part).tolist():
        mine = absent[absent.part == part]
        sizes.append(round(float(mine.faces.mean())))
        values.append(tuple(np.quantile(model.doubt(mine.evidence), RATES).round(4).tolist()))
    order = np.argsort(sizes)
    limits = Limits(RATES, tuple(sizes[row] for row in order), tuple(values[row] for row in order))
    return PersonModel(weights, alone, strangers, limits)


def fold_of_each(faces: Faces) -> IntArray:
    """The fold of each person, at random."""
    return np.random.default_rng(SEED).permutation(int(faces.people.max()) + 1) % FOLDS


def cross_fitted(searches: Searches, folds: IntArray, strangers: float) -> list[PersonModel]:
    """For each fold, what fits the searches for the people of all the others."""
    return [fit_person(searches[folds[searches.people] != fold], strangers) for fold in range(FOLDS)]


def doubts_of(searches: Searches, models: Sequence[PersonModel]) -> Floats:
    """The doubt of each search by the model that judges it."""
    doubts = np.empty(len(searches.right))
    for model in dict.fromkeys(models):
        mine = np.array([each is model for each in models])
        doubts[mine] = model.doubt(searches.evidence[mine])
    return doubts


def fit_logistic(columns: Floats, outcomes: Bools, weights: Floats | None = None) -> tuple[float, ...]:
    """Weights of these columns (n, f) and a constant, by which a logistic says most likely what came out (n,)."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    spread[spread == 0] = np.inf  # what never varies says nothing
    fitted = LogisticRegression(C=NEGLIGIBLE, max_iter=1000).fit((columns - centre) / spread, outcomes, weights)
    slopes = fitted.coef_[0] / spread
    return (*(round(each, 6) for each in slopes.tolist()), round(float(fitted.intercept_[0] - slopes @ centre), 6))


def corrected_people(subject: Subject, corrections: Corrections) -> tuple[IntArray, set[tuple[int, int]]]:
    """Who each vector shows, (n,), -1 where nobody knows; and pairs of people who look alike but are two."""
    names = corrections.people(subject.photo_ids, subject.names)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))} | {UNKNOWN: -1}
    of_photo = {photo_id: numbers[name] for photo_id, name in zip(subject.photo_ids, names, strict=True)}
    apart = {(of_photo[one], of_photo[other]) for one, other in corrections.apart}
    return np.array(list(of_photo.values()), np.int64)[subject.photos], apart | {(two, one) for one, two in apart}


def calibrate(
    embeddings: Embeddings, photos: Photos, pairs: Pairs, corrections: Corrections, report: Report = silent
) -> Calibration:
    """What is measured on a gallery of all of LFW; `pairs` are View 1's."""
    subject = subject_of(embeddings, photos)
    measured = pair_distances(subject, pair_ends(subject, pairs), pairs.same)
    compared = np.isfinite(measured)
    slope, offset = fit_logistic(measured[compared, None], pairs.same[compared])
    faces = faces_of(subject.vectors, corrected_people(subject, corrections)[0])
    hits = stranger_limits(faces, f"Calibrating {embeddings.manifest['recipe']['name']}", report)
    searches = together([search_all(faces), *search_parts(faces)])
    return Calibration(
        recipe=embeddings.manifest["recipe"]["name"],
        version=embeddings.manifest["recipe"]["version"],
        weights=(embeddings.manifest["weights"]["sha256"],),
        photos_revision=embeddings.manifest["photos_revision"],
        middle=round(-offset / slope, DIGITS),
        width=round(-1 / slope, DIGITS),
        hits=hits,
        person=fit_person(searches, faces.strangers),
    )


def stranger_limits(faces: Faces, task: str, report: Report = silent) -> Limits:
    """The distances within which RATES of strangers' searches have a hit, in galleries of several sizes.

    Strangers are the people with one photo, searched for among all the others. A smaller gallery is any part of the
    others, all parts being as likely: of n photos out of M, c of them too near, none is in it with the probability
    (M - c choose n) / (M choose n), so no part need be drawn.
    """
    count = len(faces.vectors) - 1
    sizes = (*(size for size in (1, 10, 100, 1_000, 10_000) if size < count), count)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])  # of factorials
    alarms, queries = np.zeros((len(sizes), len(EDGES) - 1)), 0
    for near in _counts_within(faces, task, report):
        for row, size in enumerate(sizes):
            beyond = count - near
            possible = beyond >= size
            chances = logs[beyond] + logs[count - size] - logs[count] - logs[np.where(possible, beyond - size, 0)]
            alarms[row] += np.where(possible, -np.expm1(np.minimum(chances, 0)), 1).sum(axis=0)
        queries += len(near)
    # Equal shares stand at the first distances, before anybody is near, and at the last.
    rising = np.maximum.accumulate(alarms / max(queries, 1), axis=1)
    return Limits(RATES, sizes, tuple(tuple(np.interp(RATES, row, EDGES[1:]).round(4).tolist()) for row in rising))


def _counts_within(faces: Faces, task: str, report: Report) -> Iterator[IntArray]:
    """How many photos each stranger has within each distance, (q, distances), some queries at a time."""
    queries = np.flatnonzero(faces.others == 0)
    bins = len(EDGES) - 1
    for part in tracked_slices(len(queries), CHUNK, task, "strangers", report):
        rows = queries[part]
        similarity = faces.vectors[rows] @ faces.vectors.T
        apart = np.sqrt(np.maximum(2 - 2 * similarity, 0))
        numbers = np.minimum((apart / STEP).astype(np.int64), bins - 1)
        numbers[np.arange(len(rows)), rows] = bins  # the query itself, which no stranger is
        numbers += np.arange(len(rows))[:, None] * (bins + 1)
        counts = np.bincount(numbers.ravel(), minlength=len(rows) * (bins + 1)).reshape(len(rows), bins + 1)
        yield np.cumsum(counts[:, :bins], axis=1)
