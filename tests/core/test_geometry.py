"""Unit vectors, the one distance, exact neighbours and the similarity transform, against tables worked by hand."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.core.geometry import distances, nearest_among, rerank, similarity_transform, unit_rows
from pipeline.core.types import FloatArray

SIDE = math.sqrt(0.5)
# On the unit circle, and their distances from (1, 0) by the length of the chord.
CIRCLE = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8], [SIDE, SIDE]], np.float32)
FROM_EAST = [0.0, math.sqrt(2), 2.0, math.sqrt(0.16 + 0.64), math.sqrt(2 - math.sqrt(2))]
EAST = np.array([1, 0], np.float32)

FACE_POINTS = np.array([(38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2)])
numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


def test_rows_get_unit_length_by_hand() -> None:
    rows = unit_rows([[3, 4], [0, -2], [0, 0]])
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, -1], [0, 0]], rtol=1e-6)


def test_one_vector_is_one_row_of_contiguous_float32() -> None:
    rows = unit_rows(np.array([[0.0, 2.0], [0.0, 0.0]], np.float64).T[1])
    assert rows.shape == (1, 2)
    assert rows.dtype == np.float32
    assert unit_rows(np.ones((3, 4)).T[::2]).flags.c_contiguous


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_row_comes_out_of_unit_length_or_stays_zero(rows: FloatArray) -> None:
    assume(all(not np.any(row) or np.abs(row).max() > 1e-6 for row in rows))
    lengths = np.linalg.norm(unit_rows(rows), axis=1)
    np.testing.assert_allclose(lengths, np.any(rows, axis=1).astype(float), atol=1e-5)


def test_distances_are_chords_of_the_unit_circle() -> None:
    measured = distances(CIRCLE, EAST)
    assert measured.shape == (5,)
    assert measured.dtype == np.float32
    np.testing.assert_allclose(measured, FROM_EAST, atol=1e-6)


def test_a_vector_is_at_zero_from_itself_to_the_last_bit() -> None:
    # sqrt(2 - 2 cos) would give 0.0003 for some of these.
    rows = unit_rows(np.random.default_rng(0).normal(size=(200, 512)))
    assert all(distances(rows[number : number + 1], rows[number])[0] == 0 for number in range(len(rows)))


def test_nearest_among_looks_at_the_candidates_only() -> None:
    answer = nearest_among(CIRCLE, EAST, np.array([2, 1, 3]), 2)
    assert answer.rows.tolist() == [[3, 1]]
    np.testing.assert_allclose(answer.distances, [[FROM_EAST[3], FROM_EAST[1]]], atol=1e-6)
    assert answer.rows.dtype == np.int64


def test_ties_go_to_the_lower_row_whatever_the_candidates_order() -> None:
    same = np.array([[0, 1], [1, 0], [0, -1], [1, 0], [1, 0]], np.float32)
    for candidates in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 0, 4, 2, 1]):
        assert nearest_among(same, EAST, np.array(candidates), 5).rows.tolist() == [[1, 3, 4, 0, 2]]


def test_more_asked_for_than_there_is_gives_what_there_is() -> None:
    assert nearest_among(CIRCLE, EAST, np.array([4, 0]), 9).rows.tolist() == [[0, 4]]
    assert nearest_among(CIRCLE, EAST, np.array([], np.int64), 9).rows.shape == (1, 0)


def test_reranking_keeps_the_queries_order() -> None:
    reranked = rerank(CIRCLE, CIRCLE, [np.arange(5)] * 5, 2)
    assert reranked.rows[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert reranked.rows[0].tolist() == nearest_among(CIRCLE, CIRCLE[0], np.arange(5), 2).rows[0].tolist()
    assert reranked.distances.shape == (5, 2)


def test_no_queries_give_no_rows_of_k() -> None:
    nothing = rerank(CIRCLE, np.empty((0, 2), np.float32), [], 7)
    assert nothing.rows.shape == nothing.distances.shape == (0, 7)
    assert (nothing.rows.dtype, nothing.distances.dtype) == (np.int64, np.float32)


def test_a_quarter_turn_twice_as_large_by_hand() -> None:
    # (x, y) -> (-2 y + 10, 2 x - 5)
    source = np.array([(0, 0), (1, 0), (0, 1)])
    target = np.array([(10, -5), (10, -3), (8, -5)])
    np.testing.assert_allclose(similarity_transform(source, target), [[0, -2, 10], [2, 0, -5]], atol=1e-12)


@given(st.floats(-math.pi, math.pi), st.floats(0.01, 100), numbers, numbers)
def test_a_known_rotation_scale_and_shift_is_found_again(angle: float, scale: float, x: float, y: float) -> None:
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    known = np.array([[cosine, -sine, x], [sine, cosine, y]])
    target = FACE_POINTS @ known[:, :2].T + known[:, 2]
    np.testing.assert_allclose(similarity_transform(FACE_POINTS, target), known, atol=1e-8 * max(1, scale, abs(x)))


@given(hnp.arrays(np.float64, (5, 2), elements=numbers), hnp.arrays(np.float64, (5, 2), elements=numbers))
def test_the_transform_never_mirrors_nor_shears(source: FloatArray, target: FloatArray) -> None:
    assume(np.ptp(source, axis=0).max() > 1e-3)
    (a, b, _), (c, d, _) = similarity_transform(source, target)
    assert (a, b) == (d, -c)
    assert a * d - b * c >= 0


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = FACE_POINTS * (-1, 1)
    turn = similarity_transform(FACE_POINTS, mirrored)[:, :2]
    assert np.linalg.det(turn) > 0
    assert np.linalg.norm(FACE_POINTS @ turn.T - mirrored) > 1


def test_no_other_similarity_is_nearer_in_least_squares() -> None:
    random = np.random.default_rng(3)
    target = FACE_POINTS + random.normal(size=FACE_POINTS.shape)
    best = similarity_transform(FACE_POINTS, target)

    def error(a: float, b: float, x: float, y: float) -> float:
        moved = FACE_POINTS @ np.array([[a, b], [-b, a]]) + (x, y)
        return float(np.sum((moved - target) ** 2))

    found = (best[0, 0], best[1, 0], best[0, 2], best[1, 2])
    for nudge in random.normal(scale=1e-3, size=(100, 4)):
        assert error(*found) < error(*(np.array(found) + nudge))


@given(numbers, numbers, st.integers(1, 7))
def test_one_point_repeated_has_no_transform(x: float, y: float, count: int) -> None:
    with pytest.raises(ValueError, match="must not all be the same"):
        similarity_transform([(x, y)] * count, FACE_POINTS[:1].repeat(count, axis=0))
