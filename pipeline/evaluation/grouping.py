"""How well a gallery's faces are grouped into people, their names hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from pipeline.core.types import FloatArray, IntArray
from pipeline.search.calibration import Calibration
from pipeline.search.grouping import group_faces, limits_of

GALLERIES, PEOPLE, STRANGERS, MIN_PHOTOS = 20, 30, 200, 4
SEED = 0
ALL, DRAWN = "all", f"{GALLERIES} galleries of {PEOPLE} people"


@dataclass(frozen=True)
class GroupingScore:
    """Shares from 0 to 1. `groups` is how many were made, `people` how many there are.

    Pairwise: of pairs in one group the share of one person, and the other way round. BCubed: the same for each face and
    the faces in its group, averaged over faces, and the harmonic mean of both (Bagga and Baldwin, 1998). V-measure:
    Rosenberg and Hirschberg, 2007.
    """

    pair_precision: float
    pair_recall: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    v_measure: float
    groups: float
    people: float

    @staticmethod
    def mean(scores: Sequence[GroupingScore]) -> GroupingScore:
        """Those of several galleries, in the mean."""
        return GroupingScore(*np.mean([astuple(score) for score in scores], axis=0).tolist())


def score_grouping(people: IntArray, groups: IntArray) -> GroupingScore:
    """Compare groups with the people who are shown, both as numbers (n,) from 0."""
    from sklearn.metrics import v_measure_score

    shared, together = np.unique(np.stack((people, groups), axis=1), axis=0, return_counts=True)
    of_person, in_group = np.bincount(people), np.bincount(groups)
    right = _pairs(together).sum()
    precision = float((together**2 / in_group[shared[:, 1]]).sum() / len(people))
    recall = float((together**2 / of_person[shared[:, 0]]).sum() / len(people))
    return GroupingScore(
        _share(right, _pairs(in_group).sum()),
        _share(right, _pairs(of_person).sum()),
        precision,
        recall,
        2 * precision * recall / (precision + recall),
        float(v_measure_score(people, groups)),
        int((in_group > 0).sum()),
        int((of_person > 0).sum()),
    )


def _pairs(count: IntArray) -> IntArray:
    return count * (count - 1) // 2


def _share(part: int, whole: int) -> float:
    """Of no pairs, all are right."""
    return float(part / whole) if whole else 1.0


def draw_galleries(people: IntArray) -> Iterator[IntArray]:
    """The rows of 20 galleries: all photos of 30 people who have four or more, and one photo each of up to 200 others.

    `people` (n,) says whom each row shows, numbered from 0. None where there are not so many people.
    """
    random, photos = np.random.default_rng(SEED), np.bincount(people)
    often = np.flatnonzero(photos >= MIN_PHOTOS)
    for _ in range(GALLERIES if len(often) >= PEOPLE else 0):
        chosen = random.choice(often, PEOPLE, replace=False)
        others = random.permutation(np.setdiff1d(np.unique(people), chosen))[:STRANGERS]
        strangers = [random.choice(np.flatnonzero(people == other)) for other in others]
        yield np.concatenate((np.flatnonzero(np.isin(people, chosen)), strangers))


def judge_grouping(vectors: FloatArray, people: IntArray, calibration: Calibration | None) -> dict[str, GroupingScore]:
    """The scores of all faces, and the mean of galleries drawn from them; none where nothing was ever calibrated.

    `people` (n,) says whom each vector (n, d) shows; -1 where nobody knows.
    """
    if calibration is None or not (people >= 0).any():
        return {}
    vectors, people = vectors[people >= 0], people[people >= 0]

    def score(rows: IntArray) -> GroupingScore:
        return score_grouping(people[rows], group_faces(vectors[rows], limits_of(calibration, len(rows))))

    drawn = [score(rows) for rows in draw_galleries(people)]
    whole = {ALL: score(np.arange(len(people)))}
    return whole | {DRAWN: GroupingScore.mean(drawn)} if drawn else whole
