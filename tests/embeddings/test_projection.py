"""Vectors to points of a plane: groups stay groups, what is kept is measured, and odd galleries do no harm."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.geometry import unit_rows
from pipeline.core.types import FloatArray
from pipeline.embeddings import map
from pipeline.embeddings import map as gallery_map
from pipeline.embeddings.map import kept, project

PEOPLE, EACH = 8, 30


def groups(dim: int = 32, spread: float = 0.15) -> FloatArray:
    """Eight people in thirty photos each, one after the other, far apart."""
    random = np.random.default_rng(3)
    centres = unit_rows(random.normal(size=(PEOPLE, dim)))
    return unit_rows(np.repeat(centres, EACH, axis=0) + random.normal(0, spread / dim**0.5, (PEOPLE * EACH, dim)))


def purity(points: FloatArray) -> float:
    """The share of points whose nearest is of the same person."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.mean(apart.argmin(axis=1) // EACH == np.arange(len(points)) // EACH))


def test_people_are_groups_on_the_map_and_it_is_the_same_each_time() -> None:
    vectors = groups()
    points = project(vectors)
    assert (points.shape, points.dtype) == ((PEOPLE * EACH, 2), np.float32)
    assert purity(points) == 1
    assert np.abs(points).max() == pytest.approx(1)
    assert np.array_equal(points, project(vectors))


def test_wide_vectors_are_reduced_first(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = groups()
    as_they_are = project(vectors)
    monkeypatch.setattr(map, "MAX_DIMENSION", 16)
    monkeypatch.setattr(map, "PCA_COMPONENTS", 8)
    assert purity(project(vectors)) == 1
    assert not np.array_equal(project(vectors), as_they_are)
    # Fewer vectors than components cannot be reduced, and need not be.
    assert len(project(vectors[:6])) == 6


def test_of_many_vectors_some_are_laid_out_and_the_others_go_to_their_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map, "MAX_LAID_OUT", 120)
    points = project(groups())
    assert len(points) == PEOPLE * EACH
    assert purity(points) == 1
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == len(points), "two at one place hide each other"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_a_handful_of_vectors_has_a_map_too(count: int) -> None:
    points = project(groups()[:count])
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()
    assert len(np.unique(points.round(3), axis=0)) == count
    assert np.abs(points).max(initial=0) <= 1


def test_vectors_that_are_all_one_have_a_map_too() -> None:
    points = project(np.repeat(groups()[:1], 50, axis=0))
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == 50


def test_across_and_down_are_of_one_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out = np.array([[10, 3], [14, 3], [10, 4]], np.float32)
    monkeypatch.setattr(map, "_layout", lambda _: laid_out)
    assert project(groups()[:3]).tolist() == [[-1, -0.25], [1, -0.25], [-1, 0.25]]


def test_rounding_does_not_go_beyond_the_maps_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        laid_out = random.normal(0, 50, (5, 2)).astype(np.float32)
        monkeypatch.setattr(gallery_map, "_layout", lambda _, points=laid_out: points)
        assert np.abs(project(groups()[:5])).max() <= 1


def test_what_is_kept_is_the_share_of_ten_nearest() -> None:
    # On a line the ten nearest are known: a map that is the line keeps all, one that is shuffled next to nothing.
    angles = np.linspace(0, 1, 400)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert kept(vectors, np.stack([angles, angles], axis=1).astype(np.float32)) == pytest.approx(1, abs=0.03)
    shuffled = np.random.default_rng(0).permutation(angles).astype(np.float32)
    assert kept(vectors, np.stack([shuffled, shuffled], axis=1)) == pytest.approx(10 / 399, abs=0.02)


def test_a_half_kept_map_keeps_a_half() -> None:
    # Pairs of groups of six: everyone's ten nearest are five of the own group and five of the partner's, which the
    # map moves away.
    group, member = np.divmod(np.arange(120), 6)
    near = np.stack([group // 2 * 100 + group % 2 * 10 + member * 0.01, np.zeros(120)], axis=1).astype(np.float32)
    far = np.stack([group % 2 * 10_000 + group // 2 * 100 + member * 0.01, np.zeros(120)], axis=1).astype(np.float32)
    share = kept(near, far)
    assert share == pytest.approx(0.5)


def test_of_a_few_vectors_nothing_is_said() -> None:
    vectors = groups()
    assert kept(vectors[:20], project(vectors[:20])) is None
    assert kept(vectors[:21], project(vectors[:21])) is not None
