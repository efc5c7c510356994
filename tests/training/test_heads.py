"""Training a head: it learns people, holds photos out honestly, and leaves alone who has one photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import GalleryError
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Progress
from pipeline.embeddings.store import Embeddings
from pipeline.training import heads
from pipeline.training.heads import train_head


def gallery_of(people: list[str], noise: float = 0.5) -> Embeddings:
    """Every person is a direction; a photo is it and noise."""
    random = np.random.default_rng(0)
    directions = {person: random.normal(size=24) for person in sorted(set(people))}
    vectors = unit_rows(np.array([directions[person] + noise * random.normal(size=24) for person in people]))
    ids = tuple(map(str, range(len(people))))
    return Embeddings(Path(), vectors, np.zeros((len(people), 15), np.float32), ids, tuple(people), ids, {})


CROWD = gallery_of([f"person {number % 10}" for number in range(100)] + [f"alone {number}" for number in range(20)])


def test_it_learns_to_tell_people_apart_also_on_photos_it_never_saw() -> None:
    seen: list[Progress] = []
    layer, curve = train_head(CROWD, 40, seen.append, epochs=150)
    assert layer.weight.shape == (40, 24)
    assert layer.rectified
    assert [epoch.number for epoch in curve] == [progress.done for progress in seen[1:]] == list(range(1, 151))
    assert curve[-1].loss < 0.7 * curve[0].loss
    best = max(epoch.validation_accuracy for epoch in curve)
    assert best >= 0.9
    assert float(layer.facts["validation_accuracy"]) == best
    assert curve[int(layer.facts["epoch"]) - 1].validation_accuracy == best
    assert float(layer.facts["test_accuracy"]) >= 0.8
    assert layer.facts["test_photos"] == "10"
    above = layer.apply(CROWD.vectors)
    assert above.min() == 0, "rectified"
    people = np.array(CROWD.people)
    same = (people[:, None] == people[None]) & ~np.eye(len(people), dtype=bool)
    similarity = above @ above.T
    assert similarity[same].mean() > 1.5 * similarity[~same & ~np.eye(len(people), dtype=bool)].mean()


def test_the_layer_kept_is_the_one_that_was_measured() -> None:
    """The scale that training uses is in the weight: the layer takes the gallery's unit vectors as they are."""
    layer, _ = train_head(CROWD, 40, epochs=150)
    people = np.array(CROWD.people[:100])
    above = layer.apply(CROWD.vectors[:100])
    centres = unit_rows(np.stack([above[people == person].mean(axis=0) for person in sorted(set(people))]))
    named = np.array(sorted(set(people)))[(above @ centres.T).argmax(axis=1)]
    assert np.mean(named == people) >= 0.95


def test_training_is_the_same_every_time() -> None:
    one, other = train_head(CROWD, 16, epochs=2)[0], train_head(CROWD, 16, epochs=2)[0]
    np.testing.assert_array_equal(one.weight, other.weight)


def test_the_tests_photos_neither_train_the_head_nor_choose_its_epoch() -> None:
    """Noise in their place changes their accuracy and nothing else."""
    rows, _, held_out = heads._split(CROWD.people)
    chosen_by, only_tested = heads._halves(np.flatnonzero(held_out))
    assert sorted([*chosen_by, *only_tested]) == np.flatnonzero(held_out).tolist()
    assert len(chosen_by) == len(only_tested) == 10
    vectors = CROWD.vectors.copy()
    vectors[rows[only_tested]] = unit_rows(np.random.default_rng(1).normal(size=(10, 24)))
    layer, curve = train_head(CROWD, 40, epochs=150)
    other, the_same = train_head(replace(CROWD, vectors=vectors), 40, epochs=150)
    assert curve == the_same
    np.testing.assert_array_equal(layer.weight, other.weight)
    assert float(other.facts["test_accuracy"]) < float(layer.facts["test_accuracy"])


def test_photos_are_held_out_of_everybody_but_never_the_last() -> None:
    people = ["many"] * 50 + [f"pair {number}" for number in range(40) for _ in range(2)] + ["alone"]
    rows, labels, held_out = heads._split(people)
    assert rows.tolist() == list(range(130)), "who has one photo cannot be learned"
    assert len(set(labels.tolist())) == 41
    assert held_out[labels == labels[0]].sum() == 10
    for label in set(labels.tolist()):
        assert not held_out[labels == label].all()
    assert 5 <= held_out[50:].sum() <= 27, "about two of five pairs"


@pytest.mark.parametrize("people", [[], ["a"], ["a", "b", "c"]])
def test_without_two_photos_of_anybody_there_is_nothing_to_learn(people: list[str]) -> None:
    embeddings = (
        gallery_of(people)
        if people
        else Embeddings(Path(), np.zeros((0, 24), np.float32), np.zeros((0, 15), np.float32), (), (), (), {})
    )
    with pytest.raises(GalleryError, match="has two photos"):
        train_head(embeddings, 8)
