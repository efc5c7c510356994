"""LFW's View 2: are two photos of one person? 6,000 pairs in ten folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.types import IntArray
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Bools, Estimate, Floats, Outcomes
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.ranking import Subject, pair_distances, pair_ends

BINS = 80  # of the distance histograms, over 0 to 2
WORST = 20


@dataclass(frozen=True)
class PairError:
    """A pair that was judged wrongly; no distance where one photo has no face."""

    photo_ids: tuple[str, str]
    people: tuple[str, str]
    distance: float | None


@dataclass(frozen=True)
class Verification:
    """LFW's View 2. `roc` are (FAR, TAR), the histograms count distances in equal bins over 0 to 2."""

    accuracy: Estimate
    standard_error: float
    folds: tuple[float, ...]
    thresholds: tuple[float, ...]
    auc: float
    equal_error_rate: float
    tar_at_far_1e2: float
    tar_at_far_1e3: Estimate
    pairs: int
    compared: int
    roc: tuple[tuple[float, float], ...]
    genuine_histogram: tuple[int, ...]
    impostor_histogram: tuple[int, ...]
    false_matches: tuple[PairError, ...]
    false_misses: tuple[PairError, ...]


def verify(subject: Subject, pairs: Pairs, drawn: Floats) -> tuple[Verification, Outcomes]:
    """The threshold is chosen on nine folds and judged on the tenth; a photo without a face makes its pair an error."""
    ends = pair_ends(subject, pairs)
    measured = pair_distances(subject, ends, pairs.same)
    genuine, impostor = measured[pairs.same], measured[~pairs.same]
    folds, thresholds = metrics.fold_accuracies(measured, pairs.same, pairs.folds)
    limits = thresholds[np.unique(pairs.folds, return_inverse=True)[1]]
    right = (measured <= limits) == pairs.same
    finite = np.isfinite(measured)
    outcomes = Outcomes(right.astype(float), subject.people[ends])
    figures = Verification(
        accuracy=metrics.fold_accuracy_over_people(measured, pairs.same, pairs.folds, subject.people[ends], drawn),
        standard_error=metrics.standard_error(folds),
        folds=tuple(folds.tolist()),
        thresholds=tuple(thresholds.tolist()),
        auc=metrics.auc(genuine, impostor),
        equal_error_rate=metrics.equal_error_rate(genuine, impostor),
        tar_at_far_1e2=metrics.tar_at_far(genuine, impostor, 1e-2)[0],
        tar_at_far_1e3=metrics.tar_over_people(
            (genuine, subject.people[ends[pairs.same]]), (impostor, subject.people[ends[~pairs.same]]), 1e-3, drawn
        ),
        pairs=len(pairs),
        compared=int(finite.sum()),
        roc=_thinned_roc(genuine, impostor),
        genuine_histogram=_histogram(measured[finite & pairs.same]),
        impostor_histogram=_histogram(measured[finite & ~pairs.same]),
        false_matches=_worst(subject, ends, measured, ~right & ~pairs.same),
        false_misses=_worst(subject, ends, -measured, ~right & pairs.same),
    )
    return figures, outcomes


def _thinned_roc(genuine: Floats, impostor: Floats) -> tuple[tuple[float, float], ...]:
    """The ROC at some 200 false-accept rates, as many in each decade: enough to draw."""
    count = len(impostor)
    accepts = np.unique(np.geomspace(1, count, 200).round().astype(int))
    return tuple((far, metrics.tar_at_far(genuine, impostor, far)[0]) for far in (accepts / count).tolist())


def _histogram(measured: Floats) -> tuple[int, ...]:
    return tuple(np.histogram(measured, BINS, (0, 2))[0].tolist())


def _worst(subject: Subject, ends: IntArray, order: Floats, wrong: Bools) -> tuple[PairError, ...]:
    chosen = sorted(np.flatnonzero(wrong).tolist(), key=lambda pair: float(order[pair]))[:WORST]
    return tuple(
        PairError(
            (subject.photo_ids[first], subject.photo_ids[second]),
            (subject.names[first], subject.names[second]),
            abs(float(order[pair])) if np.isfinite(order[pair]) else None,
        )
        for pair, (first, second) in zip(chosen, ends[chosen].tolist(), strict=True)
    )
