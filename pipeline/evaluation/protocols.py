"""The protocols of search: what is asked of a gallery's vectors, how the answer is counted, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import IndexUnavailable
from pipeline.core.recipes import DEFAULT_K
from pipeline.core.types import FloatArray, IntArray, VectorIndex
from pipeline.encoder.encoder import Encoder
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Bools, Estimate, Floats, Resampled
from pipeline.evaluation.ranking import Ranking, Subject
from pipeline.indexes.recall import share_found

SPLIT_SEEDS = (0, 1, 2, 3, 4)
TEST_SHARE = 0.2
VOTES = 3
CMC_RANKS = 20
FALSE_ALARMS = 0.01
INDEX_QUERIES = 500
NOBODY = -1  # whom a face shows that nobody named
INDEX_SEED = 3
ROUNDS = 5  # of measuring costs


@dataclass(frozen=True)
class Split:
    """80/20 over photos, by the majority of the three nearest. The ceiling is who is present in the 80 %."""

    accuracy: Estimate
    spread: float
    accuracies: tuple[float, ...]
    ceilings: tuple[float, ...]
    seeds: tuple[int, ...]


def split_accuracy(subject: Subject, ranking: Ranking, drawn: Floats) -> tuple[Split, Resampled]:
    """Photos drawn at random, as the ancestors did it, once for each seed."""
    photos, people = len(subject.people), subject.people[subject.photos]
    right, shown, ceilings = [], [], []
    for seed in SPLIT_SEEDS:
        shuffled = np.random.default_rng(seed).permutation(photos)
        tested = shuffled[: round(TEST_SHARE * photos)]
        known = np.ones(photos, bool)
        known[tested] = False
        guesses = np.full(photos, -1, np.int64)
        guesses[subject.photos] = _votes(ranking, known[subject.photos], people)
        right.append(guesses[tested] == subject.people[tested])
        shown.append(subject.people[tested])
        ceilings.append(float(np.isin(subject.people[tested], subject.people[known]).mean()))
    accuracies = tuple(float(each.mean()) for each in right)
    named = metrics.mean_over_people(np.concatenate(right).astype(float), np.concatenate(shown), drawn)
    spread = float(np.std(accuracies, ddof=1))
    return Split(named.estimate, spread, accuracies, tuple(ceilings), SPLIT_SEEDS), named


def _votes(ranking: Ranking, known: Bools, people: IntArray) -> IntArray:
    """Who the nearest three known vectors show, for every vector (n,).

    Fewer than three of the 50 nearest in a part of 80 % happens once in 10^31 queries.
    """
    usable = known[ranking.rows]
    first = np.argsort(~usable, axis=1, kind="stable")[:, :VOTES]
    labels = np.where(np.take_along_axis(usable, first, 1), people[np.take_along_axis(ranking.rows, first, 1)], -1)
    return metrics.majority(labels)


@dataclass(frozen=True)
class Retrieval:
    """Leave-one-out over the photos with another one of the same person. `chance` is what top-1 is by guessing."""

    queries: int
    top1: Estimate
    recall_at_20: Estimate
    r_precision: Estimate
    map_at_r: Estimate
    precision_at_20: float
    precision_ceiling: float
    chance: float
    cmc: tuple[float, ...]


def retrieve(subject: Subject, ranking: Ranking, drawn: Floats) -> tuple[Retrieval, Resampled]:
    """A query without a face finds nothing; a relevant photo without one cannot be found.

    Returns top-1 resampled, too.
    """
    queries = np.flatnonzero(subject.others > 0)
    relevant, totals, people = _relevant(subject, ranking, queries), subject.others[queries], subject.people[queries]
    first = metrics.mean_over_people(relevant[:, 0].astype(float), people, drawn)

    def estimate(values: Floats) -> Estimate:
        return metrics.mean_over_people(values, people, drawn).estimate

    figures = Retrieval(
        queries=len(queries),
        top1=first.estimate,
        recall_at_20=estimate(metrics.recall_at(relevant, totals, DEFAULT_K)),
        r_precision=estimate(metrics.r_precision(relevant, totals)),
        map_at_r=estimate(metrics.average_precision_at_r(relevant, totals)),
        precision_at_20=float(metrics.precision_at(relevant, DEFAULT_K).mean()),
        precision_ceiling=float(np.minimum(totals, DEFAULT_K).mean()) / DEFAULT_K,
        chance=float(totals.mean()) / (len(subject.people) - 1),
        cmc=tuple(metrics.cmc(relevant, CMC_RANKS).tolist()),
    )
    return figures, first


def _relevant(subject: Subject, ranking: Ranking, photos: IntArray) -> npt.NDArray[np.bool_]:
    """The rankings of these photos, (q, k); nothing is relevant in that of a photo without a face."""
    rows = subject.rows[photos]
    return ranking.relevant[rows] & (rows >= 0)[:, None]


@dataclass(frozen=True)
class OpenSet:
    """Detection and identification at rank 1, the limit letting 1 % of the people not in the gallery pass."""

    identified: Estimate
    limit: float
    false_alarms: float
    queries: int
    impostors: int


def identify(subject: Subject, ranking: Ranking, drawn: Floats) -> OpenSet | None:
    """People with one photo are impostors: with the query out of it, the gallery does not hold them.

    None where there are no impostors or nobody else.
    """
    queries, impostors = np.flatnonzero(subject.others > 0), np.flatnonzero(subject.others == 0)
    if not len(queries) or not len(impostors):
        return None
    nearest = np.append(ranking.nearest, np.inf).astype(np.float64)  # the last for photos without a face
    found = np.where(_relevant(subject, ranking, queries)[:, 0], nearest[subject.rows[queries]], np.inf)
    alarms = nearest[subject.rows[impostors]]
    estimate = metrics.tar_over_people(
        (found, subject.people[queries]), (alarms, subject.people[impostors]), FALSE_ALARMS, drawn
    )
    limit = metrics.tar_at_far(found, alarms, FALSE_ALARMS)[1]
    return OpenSet(estimate, limit, FALSE_ALARMS, len(queries), len(impostors))


@dataclass(frozen=True)
class PersonSearch:
    """A person searched for by one photo: `found` of the `of` photos that the first 20 can hold, itself included."""

    photo_id: str
    person: str
    found: int
    of: int
    hits: tuple[str, ...]
    right: tuple[bool, ...]


def search_people(subject: Subject, ranking: Ranking, photo_ids: tuple[str, ...]) -> tuple[PersonSearch, ...]:
    """The ancestors' figure: the 20 nearest photos, the query itself being the first."""
    answers, photos = [], subject.photos
    for photo_id in photo_ids:
        query = subject.photo(photo_id)
        row = int(subject.rows[query])
        hits = [query, *photos[ranking.rows[row, : DEFAULT_K - 1]].tolist()] if row >= 0 else []
        right = [bool(subject.people[hit] == subject.people[query]) for hit in hits]
        answers.append(
            PersonSearch(
                photo_id,
                subject.names[query],
                sum(right),
                min(int(subject.others[query]) + 1, DEFAULT_K),
                tuple(subject.photo_ids[hit] for hit in hits),
                tuple(right),
            )
        )
    return tuple(answers)


@dataclass(frozen=True)
class IndexFigures:
    """What an index finds of the true 20, and what that costs in top-1, on a sample of the leave-one-out queries."""

    index: str
    recall_at_20: float
    top1: float
    top1_lost: float
    queries: int


def judge_indexes(
    subject: Subject, indexes: Mapping[str, VectorIndex]
) -> tuple[tuple[IndexFigures, ...], dict[str, str]]:
    """Every index against the one called exact, which must be among them; and why one could not be asked."""
    rows = subject.rows[(subject.others > 0) & (subject.rows >= 0)]
    sample = np.random.default_rng(INDEX_SEED).permutation(rows)[:INDEX_QUERIES]
    places = np.arange(len(subject.vectors)) if subject.gallery_rows is None else subject.gallery_rows
    people, answers, unavailable = np.full(len(indexes["exact"]), NOBODY), {}, {}
    people[places] = subject.people[subject.photos]
    for name, index in indexes.items():
        try:
            answers[name] = _without_query(index, subject.vectors[sample], places[sample])
        except IndexUnavailable as error:  # a server may be down; the others can be measured all the same
            unavailable[name] = str(error)
    top1 = {name: float(np.mean([_first_right(people, *one) for one in each])) for name, each in answers.items()}
    figures = tuple(
        IndexFigures(
            name,
            share_found([set(true) for _, true in answers["exact"]], [set(found) for _, found in each]),
            top1[name],
            top1["exact"] - top1[name],
            len(sample),
        )
        for name, each in answers.items()
    )
    return figures, unavailable


def _without_query(index: VectorIndex, vectors: FloatArray, sample: IntArray) -> list[tuple[int, list[int]]]:
    """Each query's row with the 20 rows nearest to it; the query itself is dropped by its row."""
    found = index.search(vectors, DEFAULT_K + 1).rows.tolist()
    return [
        (row, [other for other in each if other != row][:DEFAULT_K])
        for row, each in zip(sample.tolist(), found, strict=True)
    ]


def _first_right(people: IntArray, row: int, found: list[int]) -> bool:
    return next((bool(people[other] == people[row]) for other in found if people[other] != NOBODY), False)


@dataclass(frozen=True)
class Cost:
    """Milliseconds a photo takes in a batch: to find its faces, and to cut one out and embed it."""

    detect_ms: float
    embed_ms: float


def measure_costs(encoders: Sequence[Encoder], images: Sequence[Image.Image]) -> list[Cost]:
    """What these RGB images cost each encoder, the medians of five rounds; one before them is not counted."""
    times = np.empty((1 + ROUNDS, len(encoders), 2))
    for turn in range(1 + ROUNDS):
        for number, encoder in enumerate(encoders):
            first = encoder.encode(images, encoder.of_gallery)[0]
            times[turn, number] = first.detect_ms, first.embed_ms
    return [Cost(detect_ms, embed_ms) for detect_ms, embed_ms in np.median(times[1:], axis=0).tolist()]
