"""Measuring what distances mean, on a gallery of LFW: the logistic on View 1's pairs, and strangers' searches.

See `calibration.py` for what is measured and what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np

from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.core.types import IntArray, Limit, Words
from pipeline.embeddings.store import Embeddings
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Bools, Floats, Reliability
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.ranking import Ranking, Subject, pair_distances, pair_ends, subject_of
from pipeline.photos.photos import Photos
from pipeline.search.calibration import RATES, Calibration

STEP = 0.002  # of the distances at which strangers are counted
EDGES = np.arange(0, 2 + STEP, STEP)
CHUNK = 256  # queries at a time
NEWTON_STEPS = 50
NEGLIGIBLE = 1e-12
DIGITS = 6


def calibrate(embeddings: Embeddings, photos: Photos, pairs: Pairs, report: Report = silent) -> Calibration:
    """What is measured on a gallery of all of LFW; `pairs` are View 1's."""
    subject = subject_of(embeddings, photos)
    measured = pair_distances(subject, pair_ends(subject, pairs), pairs.same)
    compared = np.isfinite(measured)
    middle, width = fit_logistic(measured[compared], pairs.same[compared])
    sizes, limits = stranger_limits(subject, f"Calibrating {embeddings.manifest['recipe']['name']}", report)
    return Calibration(
        recipe=embeddings.manifest["recipe"]["name"],
        version=embeddings.manifest["recipe"]["version"],
        weights=(embeddings.manifest["weights"]["sha256"],),
        photos_revision=embeddings.manifest["photos_revision"],
        middle=round(middle, DIGITS),
        width=round(width, DIGITS),
        rates=RATES,
        sizes=sizes,
        limits=tuple(tuple(round(limit, 4) for limit in row) for row in limits.tolist()),
    )


def fit_logistic(distances: Floats, same: Bools) -> tuple[float, float]:
    """Middle m and width w that make 1 / (1 + exp((d - m) / w)) the likeliest probability of `same` at distance d.

    The targets are Platt's (1999), (n + 1) / (n + 2) in place of 1: where the two kinds do not overlap, the likeliest
    width would be 0. Newton's method on standardised distances, its steps halved where they overshoot.
    """
    different, alike = np.bincount(same.astype(np.int64), minlength=2).tolist()
    if not (different and alike):
        raise ValueError("a logistic needs pairs of one person and pairs of two")
    targets = np.where(same, (alike + 1) / (alike + 2), 1 / (different + 2))
    centre, spread = float(distances.mean()), float(distances.std()) or 1.0
    design = np.stack([(distances - centre) / spread, np.ones(len(distances))], axis=1)
    weights = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        step = _newton_step(design, targets, weights)
        while _log_loss(design, targets, weights + step) > _log_loss(design, targets, weights) and np.any(step):
            step = np.where(np.abs(step) > NEGLIGIBLE, step / 2, 0)
        weights = weights + step
    slope, offset = weights.tolist()
    return centre - spread * offset / slope, -spread / slope


def _newton_step(design: Floats, targets: Floats, weights: Floats) -> Floats:
    probabilities = 1 / (1 + np.exp(-design @ weights))
    curvature = (design * (probabilities * (1 - probabilities))[:, None]).T @ design
    step: Floats = np.linalg.solve(curvature, design.T @ (targets - probabilities))
    return step


def _log_loss(design: Floats, targets: Floats, weights: Floats) -> float:
    logits = design @ weights
    return float(np.sum(np.logaddexp(0, logits) - targets * logits))


def stranger_limits(subject: Subject, task: str, report: Report = silent) -> tuple[tuple[int, ...], Floats]:
    """For galleries of several sizes the distances (sizes, rates) within which RATES of strangers' searches have a hit.

    Strangers are the people with one photo, searched for among all the others. A smaller gallery is any part of the
    others, all parts being as likely: of n photos out of M, c of them too near, none is in it with the probability
    (M - c choose n) / (M choose n), so no part need be drawn.
    """
    faces = len(subject.vectors) - 1
    sizes = (*(size for size in (1, 10, 100, 1_000, 10_000) if size < faces), faces)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, faces + 1)))])  # of factorials
    alarms, queries = np.zeros((len(sizes), len(EDGES) - 1)), 0
    for near in _counts_within(subject, task, report):
        for row, size in enumerate(sizes):
            beyond = faces - near
            possible = beyond >= size
            chances = logs[beyond] + logs[faces - size] - logs[faces] - logs[np.where(possible, beyond - size, 0)]
            alarms[row] += np.where(possible, -np.expm1(np.minimum(chances, 0)), 1).sum(axis=0)
        queries += len(near)
    # Equal shares stand at the first distances, before anybody is near, and at the last.
    rising = np.maximum.accumulate(alarms / max(queries, 1), axis=1)
    return sizes, np.stack([np.interp(RATES, row, EDGES[1:]) for row in rising])


def _counts_within(subject: Subject, task: str, report: Report) -> Iterator[IntArray]:
    """How many photos each stranger has within each distance, (q, distances), some queries at a time."""
    queries = subject.rows[(subject.others == 0) & (subject.rows >= 0)]
    bins = len(EDGES) - 1
    for part in tracked_slices(len(queries), CHUNK, task, "strangers", report):
        rows = queries[part]
        similarity = subject.vectors[rows] @ subject.vectors.T
        apart = np.sqrt(np.maximum(2 - 2 * similarity, 0))
        numbers = np.minimum((apart / STEP).astype(np.int64), bins - 1)
        numbers[np.arange(len(rows)), rows] = bins  # the query itself, which no stranger is
        numbers += np.arange(len(rows))[:, None] * (bins + 1)
        counts = np.bincount(numbers.ravel(), minlength=len(rows) * (bins + 1)).reshape(len(rows), bins + 1)
        yield np.cumsum(counts[:, :bins], axis=1)


BINS = 10


@dataclass(frozen=True)
class WordFigures:
    """How often a search's nearest hit is called so: of searches for `present` people, and of those for `absent` ones.

    `right` is the share of hits called so that show the person, where half of the searches are for people who are
    there; None where no hit is called so.
    """

    words: Words
    present: float
    absent: float
    right: float | None


@dataclass(frozen=True)
class VerdictFigures:
    """What one recipe's verdicts are worth. `reliability` is on View 2's pairs, None where there are none."""

    middle: float
    width: float
    limit: Limit
    reliability: Reliability | None
    words: tuple[WordFigures, ...]


def judge_verdicts(
    subject: Subject, ranking: Ranking, pairs: Pairs | None, calibration: Calibration | None
) -> VerdictFigures | None:
    """Of the calibration that is in use; None where there is none."""
    if calibration is None:
        return None
    return VerdictFigures(
        calibration.middle,
        calibration.width,
        calibration.presence(len(subject.vectors) - 1),
        _reliability(subject, pairs, calibration) if pairs else None,
        judge_words(subject, ranking, calibration),
    )


def _reliability(subject: Subject, pairs: Pairs, calibration: Calibration) -> Reliability:
    measured = pair_distances(subject, pair_ends(subject, pairs), pairs.same)
    compared = np.isfinite(measured)
    return metrics.reliability(calibration.probability(measured[compared]), pairs.same[compared], BINS)


def judge_words(subject: Subject, ranking: Ranking, calibration: Calibration) -> tuple[WordFigures, ...]:
    """Every photo searched with, itself taken out: people with one photo are absent then."""
    faces = len(subject.vectors) - 1
    said = np.array([calibration.verdict(distance, faces).words for distance in ranking.nearest.tolist()])
    others = subject.others[subject.photos]
    present, right = others > 0, ranking.relevant[:, :1].any(axis=1)
    figures = []
    for words in get_args(Words):
        called = said == words
        there = float(np.sum(called & present)) / max(int(present.sum()), 1)
        strange = float(np.sum(called & ~present)) / max(int((~present).sum()), 1)
        rightly = float(np.sum(called & right)) / max(int(present.sum()), 1)
        figures.append(WordFigures(words, there, strange, rightly / (there + strange) if there + strange else None))
    return tuple(figures)
