"""Grouping faces into people, without a query and without names.

Average linkage: the two groups whose faces are nearest on average are joined, as long as that is within a limit. Of
unit vectors the mean squared distance between two groups is 2 - 2 (a . b) for their mean vectors a and b, so a group is
one row, and no n x n matrix is kept. Joining every pair of groups that are each other's nearest gives the same groups
as joining the nearest pair first, in a few rounds (Murtagh, 1983, "reciprocal nearest neighbours").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.progress import Meter, Report, silent
from pipeline.core.types import FloatArray, IntArray
from pipeline.search.calibration import Calibration

# Of searches for strangers, the share that has a hit within the limit. Half of it and twice as much gave a BCubed F on
# LFW that was lower by at most 0.03, for either of the two best recipes, before there was a limit of its own for pairs.
FALSE_ALARMS = 0.1
# Two faces who have nobody else rest on one distance, where three rest on two: by chance both are to be as rare.
FALSE_PAIRS = FALSE_ALARMS**2
BLOCK_FLOATS = 1 << 25  # of similarities in memory at once: 128 MiB


def limits_of(calibration: Calibration, faces: int) -> tuple[float, float]:
    """The distances within which faces are one person, in a gallery of so many: several faces, and two alone."""
    return calibration.hits.value(FALSE_ALARMS, faces), calibration.hits.value(FALSE_PAIRS, faces)


def group_faces(
    vectors: FloatArray, limits: tuple[float, float], photos: Sequence[str] = (), report: Report = silent
) -> IntArray:
    """Group faces into people.

    Args:
        vectors: unit vectors (n, d), one a face.
        limits: the distance that the faces of two groups may have on average (root mean square) to be joined, and that
            of two faces who are alone in a group.
        photos: which photo each face is in, if faces of one photo are to be different people; unless they are as near
            as two who are alone have to be: it is a collage, or there is a mirror.
        report: receives how many faces are done with; what it raises ends the work, within a second or two.

    Returns:
        The number of each face's group (n,), from 0, the largest group first.
    """
    limit, of_two = limits
    vectors = np.asarray(vectors, np.float32)
    meter = Meter("Grouping the faces", "faces", len(vectors), report)
    groups = _Groups(vectors, limit, _rivals(vectors, photos, of_two), meter)
    while groups.join():
        pass
    meter.advance(len(groups.active))
    return _by_size(_without_pairs(vectors, groups.labels(), of_two))


def _without_pairs(vectors: FloatArray, labels: IntArray, limit: float) -> IntArray:
    """The groups but for those of two faces farther apart: each by its first face, as `_Groups` has them."""
    sizes = np.bincount(labels, minlength=len(labels))
    second = np.flatnonzero((sizes[labels] == 2) & (labels != np.arange(len(labels))))
    far = np.linalg.norm(vectors[second] - vectors[labels[second]], axis=1) > limit
    labels = labels.copy()
    labels[second[far]] = second[far]
    return labels


def _by_size(labels: IntArray) -> IntArray:
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return number[inverse]


def _rivals(vectors: FloatArray, photos: Sequence[str], limit: float) -> dict[int, set[int]]:
    """For each face those that must be others: the faces of the same photo beyond this distance."""
    faces: dict[str, list[int]] = defaultdict(list)
    for face, photo in enumerate(photos):
        faces[photo].append(face)
    rivals: dict[int, set[int]] = {}
    for together in faces.values():
        near = vectors[together] @ vectors[together].T > 1 - limit**2 / 2
        near |= near.T  # of two who are as far apart as the limit, to the last bit
        for row, face in enumerate(together):
            others = {other for other, same in zip(together, near[row], strict=True) if not same} - {face}
            if others:
                rivals[face] = others
    return rivals


@dataclass
class _Groups:
    """Groups of faces, each called by its first face. `limit` is a distance; `rivals` must never be joined."""

    vectors: FloatArray
    limit: float
    rivals: dict[int, set[int]]
    meter: Meter
    _sums: FloatArray = field(init=False)
    _means: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.vectors)
        self._sums, self._means = self.vectors.copy(), self.vectors.copy()
        self._sizes = np.ones(count, np.float32)
        self._joined = np.arange(count)  # each face's group, or the group that took it in
        self._nearest = np.full(count, -1)
        self._distances = np.full(count, np.inf, np.float32)  # squared
        self.active = self._changed = np.arange(count)  # those who may be joined yet

    def labels(self) -> IntArray:
        """Each face's group."""
        labels = self._joined
        while (labels[labels] != labels).any():
            labels = labels[labels]
        return labels

    def join(self) -> bool:
        """Joins all groups that are each other's nearest; False once nobody is within the limit of anybody."""
        if len(self.active) < 2:
            return False
        self._look()
        within = self.active[self._distances[self.active] <= self.limit**2]
        if not len(within):
            return False
        # Groups only come nearer to nobody: who is too far from all is done with.
        mutual = within[self._nearest[self._nearest[within]] == within]
        first = mutual[mutual < self._nearest[mutual]]
        if not len(first):  # of equal distances no two may be mutual
            face = within[self._distances[within].argmin()]
            first = np.array([min(face, self._nearest[face])])
            self._nearest[first] = max(face, self._nearest[face])
        self._take_in(first, self._nearest[first])
        changed = np.zeros(len(self.vectors), bool)
        changed[first] = changed[self._nearest[first]] = True
        before, self.active = len(self.active), within[self._joined[within] == within]
        self.meter.advance(before - len(self.active))
        self._changed = self.active[changed[self.active] | changed[self._nearest[self.active]]]
        return True

    def _look(self) -> None:
        """The nearest active group of each group that has changed, or whose nearest has."""
        others = self._means[self.active]
        step = max(1, BLOCK_FLOATS // len(others))
        for start in range(0, len(self._changed), step):
            self.meter.advance(0)
            rows = self._changed[start : start + step]
            similar = self._means[rows] @ others.T
            similar[np.arange(len(rows)), np.searchsorted(self.active, rows)] = -np.inf
            for number, row in enumerate(rows.tolist()):
                if row in self.rivals:
                    rivals = np.array(sorted(self.rivals[row]))
                    places = np.searchsorted(self.active, rivals)
                    here = np.take(self.active, places, mode="clip") == rivals  # others are done with
                    similar[number, places[here]] = -np.inf
            best = similar.argmax(axis=1)
            self._nearest[rows] = self.active[best]
            self._distances[rows] = 2 - 2 * similar[np.arange(len(rows)), best]

    def _take_in(self, first: IntArray, second: IntArray) -> None:
        self._sums[first] += self._sums[second]
        self._sizes[first] += self._sizes[second]
        self._means[first] = self._sums[first] / self._sizes[first, None]
        self._joined[second] = first
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            for rival in self.rivals.pop(other, set()):
                self.rivals[rival].discard(other)
                self.rivals[rival].add(one)
                self.rivals.setdefault(one, set()).add(rival)
