"""Scores of a grouping, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.protocols import score_grouping


def test_a_grouping_worked_by_hand() -> None:
    """Person 0 has faces 0, 1, 2, of which 2 is in the group of person 1, who has faces 3 and 4."""
    score = score_grouping(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1]))
    assert score.pair_precision == 2 / 4  # pairs in one group: 01, 23, 24, 34; of one person: 01, 34
    assert score.pair_recall == 2 / 4  # pairs of one person: 01, 02, 12, 34
    assert score.bcubed_precision == pytest.approx((1 + 1 + 1 / 3 + 2 / 3 + 2 / 3) / 5)
    assert score.bcubed_recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)
    assert score.bcubed_f == pytest.approx(11 / 15)
    assert (score.groups, score.people) == (2, 2)


def test_the_right_groups_under_other_numbers() -> None:
    score = score_grouping(np.array([0, 0, 1, 2]), np.array([2, 2, 0, 1]))
    assert (score.pair_precision, score.pair_recall, score.bcubed_f, score.v_measure) == (1, 1, 1, 1)


def test_everybody_alone_and_everybody_together() -> None:
    people = np.array([0, 0, 1, 1])
    alone = score_grouping(people, np.arange(4))
    assert (alone.pair_precision, alone.pair_recall) == (1, 0)
    assert (alone.bcubed_precision, alone.bcubed_recall) == (1, 0.5)
    together = score_grouping(people, np.zeros(4, np.int64))
    assert (together.pair_precision, together.pair_recall) == (2 / 6, 1)
    assert (together.bcubed_precision, together.bcubed_recall) == (0.5, 1)
    assert together.v_measure == pytest.approx(0)
