"""Scores of a grouping, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.geometry import unit_rows
from pipeline.evaluation.grouping import DRAWN, GroupingScore, draw_galleries, judge_grouping, score_grouping
from pipeline.search.calibration import shipped


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


def test_the_mean_of_scores() -> None:
    right, wrong = (
        score_grouping(np.array([0, 0]), np.array([0, 0])),
        score_grouping(np.array([0, 1]), np.array([0, 0])),
    )
    assert GroupingScore.mean([right, wrong]) == GroupingScore(0.5, 1, 0.75, 1, (1 + 2 / 3) / 2, 0.5, 1, 1.5)


PHOTOS = np.array([5] * 31 + [2] * 3 + [1] * 250)  # of each person


def test_galleries_are_drawn_of_people_with_four_photos_and_strangers_with_one() -> None:
    people = np.repeat(np.arange(len(PHOTOS)), PHOTOS)
    galleries = list(draw_galleries(people))
    assert len(galleries) == 20
    assert len({tuple(rows) for rows in galleries}) == 20
    for rows in galleries:
        assert len(set(rows.tolist())) == len(rows)
        _, counts = np.unique(people[rows], return_counts=True)
        assert sorted(counts) == [1] * 200 + [5] * 30
    assert list(draw_galleries(people[people > 1])) == []


def test_faces_that_are_told_apart_are_grouped_and_of_nobody_knows_whom_are_left_out() -> None:
    calibration = next(known for known in shipped() if known.recipe == "mtcnn-reid")
    people = np.repeat(np.arange(len(PHOTOS)), PHOTOS)
    random = np.random.default_rng(0)
    centres = random.standard_normal((len(PHOTOS), 256))
    vectors = unit_rows((centres[people] + 0.1 * random.standard_normal((len(people), 256))).astype(np.float32))
    people[0] = -1
    scores = judge_grouping(vectors, people, calibration)
    assert set(scores) == {"all", DRAWN}
    assert [(one.bcubed_f, one.v_measure) for one in scores.values()] == [(1, pytest.approx(1))] * 2
    assert (scores["all"].groups, scores["all"].people) == (len(PHOTOS), len(PHOTOS))
    assert judge_grouping(vectors, people, None) == {}
