"""Grouping faces into people: against SciPy's average linkage, with faces of one photo apart, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from pipeline.core.errors import Stopped
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Progress
from pipeline.core.types import FloatArray, IntArray
from pipeline.search import grouping
from pipeline.search.grouping import group_faces


def faces_of(people: int, each: int, spread: float, seed: int = 0) -> tuple[FloatArray, IntArray]:
    random = np.random.default_rng(seed)
    middles = random.standard_normal((people, 1, 16))
    vectors = middles + spread * random.standard_normal((people, each, 16))
    return unit_rows(vectors.reshape(-1, 16).astype(np.float32)), np.repeat(np.arange(people), each)


def same_groups(one: IntArray, other: IntArray) -> bool:
    return len(np.unique(np.stack((one, other), axis=1), axis=0)) == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize("limit", [0.3, 0.6, 0.9, 1.2])
@pytest.mark.parametrize("spread", [0.2, 0.6, 1.0])
def test_groups_are_those_of_average_linkage(limit: float, spread: float) -> None:
    vectors, _ = faces_of(40, 5, spread)
    tree = linkage(vectors.astype(np.float64), "average", metric="sqeuclidean")
    assert same_groups(group_faces(vectors, (limit, limit)), fcluster(tree, limit**2, "distance"))


def test_people_are_found_and_the_largest_comes_first() -> None:
    vectors, people = faces_of(6, 8, 0.15)
    keep = np.concatenate([np.flatnonzero(people == person)[: person + 2] for person in range(6)])
    groups = group_faces(vectors[keep], (0.8, 0.8))
    assert same_groups(groups, people[keep])
    assert np.bincount(groups).tolist() == [7, 6, 5, 4, 3, 2]


def test_two_faces_alone_are_to_be_nearer_than_several() -> None:
    angles = np.radians([0, 50, 120, 150, 180, 300])  # two, three 30 degrees apart, one alone
    vectors = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    assert group_faces(vectors, (0.9, 0.9)).tolist() == [1, 1, 0, 0, 0, 2]
    assert group_faces(vectors, (0.9, 0.8)).tolist() == [1, 2, 0, 0, 0, 3]
    assert group_faces(vectors[::-1], (0.9, 0.8)).tolist() == [1, 0, 0, 0, 2, 3]


def test_faces_of_one_photo_are_two_people_unless_it_is_a_collage() -> None:
    vectors, _ = faces_of(1, 4, 0.5)
    distances = np.linalg.norm(vectors[0] - vectors[1:], axis=1)
    near, far = distances[0] + 0.01, distances[0] - 0.01
    assert len(np.unique(group_faces(vectors, (1.2, 1.2)))) == 1
    assert len(np.unique(group_faces(vectors, (1.2, near), ["a", "a", "b", "c"]))) == 1
    apart = group_faces(vectors, (1.2, far), ["a", "a", "b", "c"])
    assert apart[0] != apart[1]
    assert len(np.unique(apart)) == 2
    same_face_twice = np.concatenate((vectors[:1], vectors[:1], vectors[2:]))
    assert len(np.unique(group_faces(same_face_twice, (1.2, far), ["a", "a", "b", "c"]))) == 1


def test_rivals_stay_apart_however_groups_are_joined() -> None:
    vectors, _ = faces_of(3, 30, 0.4, seed=5)
    photos = [str(number % 45) for number in range(90)]  # each photo shows two people
    groups = group_faces(vectors, (1.3, 0.0), photos)
    pairs = {(photo, group) for photo, group in zip(photos, groups.tolist(), strict=True)}
    assert len(pairs) == 90


@pytest.mark.parametrize("count", [0, 1])
def test_few_faces(count: int) -> None:
    assert group_faces(faces_of(3, 1, 0.1)[0][:count], (1.0, 1.0)).tolist() == [0] * count


def test_the_same_picture_many_times_is_one_person() -> None:
    assert group_faces(np.tile(faces_of(1, 1, 0.1)[0], (500, 1)), (0.1, 0.1)).tolist() == [0] * 500


def test_how_far_it_is_is_told_and_it_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "BLOCK_FLOATS", 480)  # four faces at a time of 120
    vectors, _ = faces_of(20, 6, 0.3)
    told: list[Progress] = []
    group_faces(vectors, (0.8, 0.8), report=told.append)
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert (done[0], done[-1], told[-1].total) == (0, 120, 120)
    assert done.count(0) > 30, "it is told in the first round, too, which takes longest"

    def stop(progress: Progress) -> None:
        if len(told) == 3:
            raise Stopped("Enough.")
        told.append(progress)

    told.clear()
    with pytest.raises(Stopped):
        group_faces(vectors, (0.8, 0.8), report=stop)
