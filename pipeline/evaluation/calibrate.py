"""Measuring what results mean, on a gallery of LFW: pairs by View 1, hits by strangers, people by searches.

See `search/calibration.py` for what is measured and what it means, `persons.py` for the searches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.core.types import IntArray
from pipeline.core.verdicts import Limit
from pipeline.embeddings.corrections import Corrections
from pipeline.embeddings.store import Embeddings
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Floats, Reliability
from pipeline.evaluation.open_set import BINS, PersonFigures, corrected_people, judge_persons
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.persons import Faces, faces_of, fit_logistic, fit_person, search_all, search_parts, together
from pipeline.evaluation.ranking import Subject, pair_distances, pair_ends, subject_of
from pipeline.photos.photos import Photos
from pipeline.search.calibration import RATES, Calibration, Limits

STEP = 0.002  # of the distances at which strangers are counted
EDGES = np.arange(0, 2 + STEP, STEP)
CHUNK = 256  # queries at a time
DIGITS = 6


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
