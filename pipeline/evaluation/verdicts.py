"""Whether verdicts can be believed: percentages held against View 2's pairs, and words against searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from pipeline.core.verdict import Limit, Words
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Reliability
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.ranking import Ranking, Subject, pair_distances, pair_ends
from pipeline.search.calibration import Calibration

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
