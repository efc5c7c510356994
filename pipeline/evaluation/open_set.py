"""How often the verdict about a person is right, and how often strangers get a name: see `calibrate.py`.

On LFW it is judged by models that were fitted to searches for other people, in five folds; elsewhere by the one in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from pipeline.core.types import IntArray
from pipeline.core.verdicts import Limit, Words
from pipeline.embeddings.corrections import Corrections
from pipeline.evaluation import metrics
from pipeline.evaluation.calibrate import (
    ALL,
    SEED,
    Faces,
    Searches,
    corrected_people,
    cross_fitted,
    doubts_of,
    faces_of,
    fold_of_each,
    search_all,
    search_parts,
    together,
)
from pipeline.evaluation.metrics import Bools, Estimate, Floats, Reliability
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.ranking import Subject, pair_distances, pair_ends
from pipeline.search.calibration import Calibration, PersonModel, logistic, word

BINS = 10
ENOUGH = 1_000  # strangers, for one in a thousand
ASKED, LEAST_PHOTOS, DRAWS = 200, 4, 5
NAMED = ("very likely", "likely")


@dataclass(frozen=True)
class Identified:
    """Of searches for people who are there, the share named rightly while 1 and 0.1 % of strangers get a name."""

    at_1e2: Estimate
    at_1e3: Estimate | None
    queries: int
    strangers: int


@dataclass(frozen=True)
class InPart:
    """The same in galleries of so many people, 0 for all, and how far the probabilities can be believed there."""

    people: int
    faces: int
    at_1e2: float
    queries: int
    strangers: int
    error: float


@dataclass(frozen=True)
class WordFigures:
    """How often a search's first name is called so: of searches for `present` people, and of those for `absent` ones.

    `right` is the share of those called so whose name is right, where half of the searches are for people who are
    there; None where none is called so.
    """

    words: Words
    present: float
    absent: float
    right: float | None


@dataclass(frozen=True)
class Asked:
    """Searches for ASKED people drawn evenly among those with LEAST_PHOTOS or more, and for as many strangers.

    `right` is the share of the former whose right name is likely or better, `named` that of the latter with a name;
    means of DRAWS draws, the lowest and the highest of which are given too.
    """

    right: Estimate
    named: Estimate


@dataclass(frozen=True)
class PersonFigures:
    """What the verdicts about people are worth. What needs LFW is None, or empty, elsewhere."""

    as_they_are: Identified | None
    corrected: Identified | None
    without_apart: Identified | None
    parts: tuple[InPart, ...]
    asked: Asked | None
    reliability: Reliability
    words: tuple[WordFigures, ...]


def judge_persons(
    subject: Subject, corrections: Corrections, calibration: Calibration, drawn: Floats, *, of_lfw: bool
) -> PersonFigures | None:
    """The figures; None where nobody can be searched for."""
    people, apart = corrected_people(subject, corrections)
    faces = faces_of(subject.vectors, people)
    everything = search_all(faces)
    if not everything.present.any():
        return None
    if everything.present.all():  # nobody has one photo: strangers are those whose photos are all left out
        everything = together([everything, search_all(faces, without_person=True)])
    if not of_lfw:
        doubts = calibration.person.doubt(everything.evidence)
        worth = _worth(everything, doubts, [calibration.person] * len(doubts))
        return PersonFigures(None, None, None, (), None, *worth)
    folds = fold_of_each(faces)
    searches = together([everything, *search_parts(faces)])
    models = cross_fitted(searches, folds, faces.strangers)
    doubts = doubts_of(searches, [models[fold] for fold in folds[searches.people].tolist()])
    whole = searches.part == ALL
    alike = _are_apart(searches, faces, people, apart)
    raw = faces_of(subject.vectors, subject.people[subject.photos])
    found = search_all(raw)
    own = cross_fitted(found, fold_of_each(raw), raw.strangers)
    as_they_are = doubts_of(found, [own[fold] for fold in fold_of_each(raw)[found.people].tolist()])
    return PersonFigures(
        _identified(found, as_they_are, len(drawn)),
        _identified(searches[whole], doubts[whole], len(drawn)),
        _identified(searches[whole & ~alike], doubts[whole & ~alike], len(drawn)),
        tuple(_in_part(searches[mine], doubts[mine]) for mine in _parts(searches)),
        _ask(faces, models, folds),
        *_worth(searches[whole], doubts[whole], [models[fold] for fold in folds[searches.people[whole]].tolist()]),
    )


def _parts(searches: Searches) -> Iterator[Bools]:
    return (searches.part == part for part in np.unique(searches.part).tolist())


def _are_apart(searches: Searches, faces: Faces, people: IntArray, apart: set[tuple[int, int]]) -> Bools:
    """Whether somebody absent was named by their twin, sister or double."""
    number = np.unique(people[people >= 0])  # `faces_of` numbers them anew
    pairs = zip(number[searches.people].tolist(), number[searches.named].tolist(), strict=True)
    return np.array([pair in apart for pair in pairs]) & ~searches.present


def _identified(searches: Searches, doubts: Floats, resamples: int) -> Identified:
    there, found = searches.present, np.where(searches.right, doubts, np.inf)
    drawn = metrics.resampled_people(int(searches.people.max()) + 1, resamples, SEED)

    def at(share: float) -> Estimate:
        genuine, strangers = (found[there], searches.people[there]), (doubts[~there], searches.people[~there])
        return metrics.tar_over_people(genuine, strangers, share, drawn)

    strangers = int((~there).sum())
    return Identified(at(1e-2), at(1e-3) if strangers >= ENOUGH else None, int(there.sum()), strangers)


def _in_part(searches: Searches, doubts: Floats) -> InPart:
    there, found = searches.present, np.where(searches.right, doubts, np.inf)
    return InPart(
        int(searches.part[0]),
        round(float(searches.faces.mean())),
        metrics.tar_at_far(found[there], doubts[~there], 1e-2)[0],
        int(there.sum()),
        int((~there).sum()),
        metrics.reliability(logistic(-doubts), searches.right, BINS, searches.weights).error,
    )


def _words(doubts: Floats, faces: Floats, models: Sequence[PersonModel]) -> list[Words]:
    """What each search's first name is called, by the model that judges it."""
    probabilities = logistic(-doubts).tolist()
    sizes = faces.round().astype(int).tolist()
    return [
        word(probability, float(model.doubts.false_alarms(doubt, size)))
        for probability, doubt, size, model in zip(probabilities, doubts.tolist(), sizes, models, strict=True)
    ]


def _worth(
    searches: Searches, doubts: Floats, models: Sequence[PersonModel]
) -> tuple[Reliability, tuple[WordFigures, ...]]:
    """How far probabilities and words can be believed."""
    said, there = np.array(_words(doubts, searches.faces, models)), searches.present
    figures = []
    for words in get_args(Words):
        called = said == words
        present, absent = float(called[there].mean()), float(called[~there].mean())
        right = float((called & searches.right)[there].mean())
        figures.append(WordFigures(words, present, absent, right / (present + absent) if present + absent else None))
    believed = metrics.reliability(logistic(-doubts), searches.right, BINS, searches.weights)
    return believed, tuple(figures)


def _ask(faces: Faces, models: Sequence[PersonModel], folds: IntArray) -> Asked:
    """Each by the model that was fitted, and whose limits were set, without their fold."""
    counts, outcomes = np.bincount(faces.people), []
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        shuffled = random.permutation(len(faces.people))
        photo = shuffled[np.unique(faces.people[shuffled], return_index=True)[1]]  # of each person, any
        there = photo[random.permutation(np.flatnonzero(counts >= LEAST_PHOTOS))[:ASKED]]
        absent = photo[random.permutation(np.flatnonzero(counts == 1))[:ASKED]]
        asking = np.isin(np.arange(len(faces.people)), [*there, *absent])
        searches = search_all(faces, asking)[asking]
        judged_by = [models[fold] for fold in folds[searches.people].tolist()]
        named = np.isin(_words(doubts_of(searches, judged_by), searches.faces, judged_by), NAMED)
        outcomes.append(((named & searches.right)[searches.present].mean(), named[~searches.present].mean()))
    right, strangers = (Estimate(float(np.mean(each)), min(each), max(each)) for each in zip(*outcomes, strict=True))
    return Asked(right, strangers)


@dataclass(frozen=True)
class VerdictFigures:
    """What one recipe's verdicts are worth. `reliability` is on View 2's pairs, None where there are none."""

    middle: float
    width: float
    limit: Limit
    reliability: Reliability | None
    person: PersonFigures | None


def judge_verdicts(
    subject: Subject, pairs: Pairs | None, calibration: Calibration | None, corrections: Corrections, drawn: Floats
) -> VerdictFigures | None:
    """Of the calibration that is in use; None where there is none."""
    if calibration is None:
        return None
    return VerdictFigures(
        calibration.middle,
        calibration.width,
        calibration.presence(len(subject.vectors) - 1),
        _reliability(subject, pairs, calibration) if pairs else None,
        judge_persons(subject, corrections, calibration, drawn, of_lfw=pairs is not None),
    )


def _reliability(subject: Subject, pairs: Pairs, calibration: Calibration) -> Reliability:
    measured = pair_distances(subject, pair_ends(subject, pairs), pairs.same)
    compared = np.isfinite(measured)
    return metrics.reliability(calibration.probability(measured[compared]), pairs.same[compared], BINS)
