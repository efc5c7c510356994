"""LFW's View 2: are two photos of one person? 6,000 pairs in ten folds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.errors import GalleryError
from pipeline.core.recipes import fingerprint, recipe_named
from pipeline.core.types import IntArray
from pipeline.embeddings.store import Embeddings, load_embeddings
from pipeline.encoder.layer import fit_pca
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Bools, Estimate, Floats, Resampled
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.ranking import Subject, pair_distances, pair_ends, subject_of
from pipeline.photos.photos import Photos

BINS = 80  # of the distance histograms, over 0 to 2
WORST = 20
REFITTED = (
    "{}: for View 2, its PCA is fitted on View 1's photos without the people of the fold that is judged; for all "
    "other figures, on the whole gallery."
)
NOT_REFITTED = "{}: its PCA is fitted on all of the gallery, for View 2 too: {} is not built, or View 1 is missing."


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


def refitted(embeddings: Embeddings, photos: Photos, pairs: Pairs, view_1: Pairs | None) -> Floats | None:
    """The distances of View 2's pairs by a PCA that was not fitted on the people whom it judges.

    For each fold it is fitted on the photos of View 1's pairs, less those of people who are in the fold: most people of
    View 1 are in View 2 as well. None where that cannot be: without View 1, or where the base's gallery is not built.
    """
    recipe = recipe_named(embeddings.manifest["recipe"]["name"])
    built_as = fingerprint(recipe_named(recipe.base), embeddings.manifest["weights"]["sha256"], photos.revision)
    try:
        base = subject_of(load_embeddings(embeddings.folder.parent / recipe.base, built_as), photos)
    except GalleryError:
        return None
    if view_1 is None:
        return None
    ends, fitted_on = pair_ends(base, pairs), np.unique(pair_ends(base, view_1))
    measured = np.empty(len(pairs))
    for fold in np.unique(pairs.folds):
        mine = pairs.folds == fold
        rows = base.rows[fitted_on[~np.isin(base.people[fitted_on], base.people[ends[mine]])]]
        layer = fit_pca(base.vectors[rows[rows >= 0]], recipe.dim)
        measured[mine] = pair_distances(replace(base, vectors=layer.apply(base.vectors)), ends[mine], pairs.same[mine])
    return measured


def verify(
    subject: Subject, pairs: Pairs, drawn: Floats, measured: Floats | None = None
) -> tuple[Verification, Resampled]:
    """The threshold is chosen on nine folds and judged on the tenth; a photo without a face makes its pair an error.

    `measured` are the pairs' distances where they are not those of the subject's vectors. Returns the accuracy
    resampled, too.
    """
    ends = pair_ends(subject, pairs)
    measured = pair_distances(subject, ends, pairs.same) if measured is None else measured
    genuine, impostor = measured[pairs.same], measured[~pairs.same]
    folds, thresholds = metrics.fold_accuracies(measured, pairs.same, pairs.folds)
    limits = thresholds[np.unique(pairs.folds, return_inverse=True)[1]]
    right = (measured <= limits) == pairs.same
    finite = np.isfinite(measured)
    accuracy = metrics.fold_accuracy_over_people(measured, pairs.same, pairs.folds, subject.people[ends], drawn)
    figures = Verification(
        accuracy=accuracy.estimate,
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
    return figures, accuracy


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
