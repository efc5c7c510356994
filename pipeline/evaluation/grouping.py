"""How well faces are grouped into people: pairwise precision and recall, BCubed, V-measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.types import IntArray


@dataclass(frozen=True)
class GroupingScore:
    """Shares from 0 to 1. `groups` is how many were made, `people` how many there are.

    Pairwise: of pairs in one group the share of one person, and the other way round. BCubed: the same for each face and
    the faces in its group, averaged over faces (Bagga and Baldwin, 1998). V-measure: Rosenberg and Hirschberg, 2007.
    """

    pair_precision: float
    pair_recall: float
    bcubed_precision: float
    bcubed_recall: float
    v_measure: float
    groups: int
    people: int

    @property
    def bcubed_f(self) -> float:
        """The harmonic mean of BCubed precision and recall."""
        both = self.bcubed_precision + self.bcubed_recall
        return 2 * self.bcubed_precision * self.bcubed_recall / both if both else 0.0


def score_grouping(people: IntArray, groups: IntArray) -> GroupingScore:
    """Compare groups with the people who are shown, both as numbers (n,) from 0."""
    from sklearn.metrics import v_measure_score

    shared, together = np.unique(np.stack((people, groups), axis=1), axis=0, return_counts=True)
    of_person, in_group = np.bincount(people), np.bincount(groups)
    right = _pairs(together).sum()
    return GroupingScore(
        _share(right, _pairs(in_group).sum()),
        _share(right, _pairs(of_person).sum()),
        float((together**2 / in_group[shared[:, 1]]).sum() / len(people)),
        float((together**2 / of_person[shared[:, 0]]).sum() / len(people)),
        float(v_measure_score(people, groups)),
        int((in_group > 0).sum()),
        int((of_person > 0).sum()),
    )


def _pairs(count: IntArray) -> IntArray:
    return count * (count - 1) // 2


def _share(part: int, whole: int) -> float:
    """Of no pairs, all are right."""
    return part / whole if whole else 1.0
