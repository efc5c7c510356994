"""What a distance means: interpolation and words by hand, the fit on draws whose answer is known, and the file."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.recipes import RECIPES, recipe_named
from pipeline.core.types import Hit
from pipeline.encoder.weights import WEIGHT_FILES, WeightStore
from pipeline.evaluation import calibrate as measuring
from pipeline.evaluation.calibrate import faces_of, fit_logistic, stranger_limits
from pipeline.search.calibration import (
    RATES,
    WORDS,
    Calibration,
    Limits,
    PersonModel,
    find,
    from_json,
    read_calibrations,
    shipped,
    word,
    write_calibrations,
)
from tests.conftest import REAL

# One face: 1 % of strangers within 1.0, 10 % within 1.2, 90 % within 1.6. A hundred faces: 0.2 nearer.
LIMITS = ((1.0, 1.2, 1.6), (0.8, 1.0, 1.4))
VERSION = RECIPES["mtcnn-reid"].version
# Two people are half a unit further than is as likely as not: nearest 1.1 and other 1.2, or 1.0 and 1.0.
PERSON = PersonModel(
    (-20, 10, 0, 0, 0, 10), (-20, 0, 22), 1.4, Limits((0.002, 0.01, 0.1), (1, 100), ((-3, -1, 0), (-4, -2, 1)))
)
HITS = Limits((0.01, 0.1, 0.9), (1, 100), LIMITS)
KNOWN = Calibration("mtcnn-reid", VERSION, ("abc",), "photos", 1.1, 0.05, HITS, PERSON)


def test_the_probability_is_a_logistic() -> None:
    assert KNOWN.probability(1.1) == 0.5
    assert KNOWN.probability([1.0, 1.2]) == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))])


@pytest.mark.parametrize(
    ("faces", "distance", "alarms"),
    [
        (1, 1.0, 0.01),
        (1, 1.1, math.sqrt(0.01 * 0.1)),  # between two rates by their logarithms
        (1, 0.5, 0.01),  # nearer than was measured
        (1, 1.9, 0.9),
        (10, 1.1, 0.1),  # half-way from 1 to 100 by the logarithm
        (100, 1.0, 0.1),
        (1_000, 0.9, 0.1),  # as much again as over the last factor of ten
        (0, 1.0, 0.01),
    ],
)
def test_false_alarms_and_limits_are_each_others_inverse(faces: int, distance: float, alarms: float) -> None:
    if faces == 1_000:  # two sizes a hundred apart: half of the way down for each factor of ten
        distance = 1.0 - 0.1
    assert KNOWN.hits.false_alarms(distance, faces) == pytest.approx(alarms)
    if 0.5 < distance < 1.9:
        assert KNOWN.hits.value(alarms, faces) == pytest.approx(distance)


def test_more_faces_never_mean_fewer_false_alarms() -> None:
    alarms = [KNOWN.hits.false_alarms(1.05, faces) for faces in (1, 5, 30, 100, 101, 1_000, 100_000, 10**7)]
    assert alarms == sorted(alarms)


def test_a_word_needs_both_figures() -> None:
    # Surely a pair of one person up to 0.9; the hundred faces decide. 1.1 has the probability 0.5.
    assert KNOWN.verdict(0.8, 100).words == "likely"
    assert KNOWN.verdict(0.81, 100).words == "unclear"
    assert KNOWN.verdict(0.81, 1).words == "likely"
    assert KNOWN.verdict(1.1, 1).words == "unclear"
    assert KNOWN.verdict(1.15, 1).words == "unlikely"
    assert KNOWN.verdict(1.01, 100).words == "unlikely"
    assert [word(0.95, 0.002), word(0.94, 0.002), word(0.95, 0.0021)] == ["very likely", "likely", "likely"]
    assert [word(0.33, 0.1), word(0.32, 0.1), word(0.99, 0.11)] == ["unclear", "unlikely", "unlikely"]
    verdict = KNOWN.verdict(1.0, 100)
    assert (verdict.probability, verdict.false_alarms) == pytest.approx((1 / (1 + math.exp(-2)), 0.1))


@pytest.mark.parametrize("faces", [1, 10, 100, 5_000])
def test_the_person_is_called_absent_exactly_where_hits_are_called_unlikely(faces: int) -> None:
    limit = KNOWN.presence(faces)
    assert limit.false_alarms == pytest.approx(KNOWN.hits.false_alarms(limit.distance, faces))
    assert limit.false_alarms <= WORDS[-1][2] * (1 + 1e-9)
    assert KNOWN.verdict(limit.distance - 1e-6, faces).words != "unlikely"
    assert KNOWN.verdict(limit.distance + 1e-3, faces).words == "unlikely"


def seen(nearest: float, other: float) -> np.ndarray:
    return np.array([[nearest, other, 1, 0, 0]])


def test_a_person_is_judged_by_the_whole_list() -> None:
    verdict = KNOWN.judge("Ada", seen(0.9, 1.1), 100, named=True)
    assert (verdict.person, verdict.words, verdict.named) == ("Ada", "likely", True)
    assert verdict.probability == pytest.approx(1 / (1 + math.exp(-3)))
    assert verdict.false_alarms == pytest.approx(math.sqrt(0.002 * 0.01))  # a doubt of -3, between -4 and -2
    # The nearest is as near, but so is somebody else.
    assert KNOWN.judge("Ada", seen(0.9, 0.92), 100, named=True).words == "unclear"
    # Without names nobody else is known.
    nameless = KNOWN.judge("1.jpg", seen(0.9, 0.92), 100, named=False)
    assert nameless.probability == pytest.approx(1 / (1 + math.exp(-4)))
    assert nameless.false_alarms == KNOWN.hits.false_alarms(0.9, 100)


def test_hits_agree_with_the_person() -> None:
    likely, unlikely = (KNOWN.judge("Ada", seen(near, 1.1), 100, named=True) for near in (0.9, 1.1))
    assert (likely.words, unlikely.words) == ("likely", "unlikely")
    first, second = Hit(1, "a", "Ada", 0.9), Hit(2, "b", "Bea", 0.75)
    assert KNOWN.verdict(0.9, 100).words == "unclear"
    assert KNOWN.verdict_beside(likely, first, 100).words == "likely", "the first is as sure as its person"
    assert KNOWN.verdict_beside(unlikely, second, 100).words == "unlikely", "no other is surer"
    assert KNOWN.verdict_beside(likely, Hit(2, "b", "Bea", 0.95), 100).words == "unclear", "it may be less sure"
    assert KNOWN.limit(1.15, 100, "likely").distance == 1.15
    assert KNOWN.limit(0.9, 100, "likely") == KNOWN.presence(100)
    assert 0.8999 < KNOWN.limit(0.9, 100, "unlikely").distance < 0.9


def test_what_cannot_be_a_calibration() -> None:
    with pytest.raises(ValueError, match="width 0"):
        replace(KNOWN, width=0)
    with pytest.raises(ValueError, match="one row for each size"):
        replace(HITS, sizes=(1,))
    with pytest.raises(ValueError, match="a weight for each feature"):
        replace(PERSON, weights=(1, 2))
    for broken in ({}, {"recipe": "x"}, KNOWN.as_json() | {"hits": None}):
        with pytest.raises(ValueError):
            from_json(broken)


def test_it_holds_for_its_recipe_and_weights_and_a_fitted_layer_for_its_photos() -> None:
    recipe = RECIPES["mtcnn-reid"]
    assert find([KNOWN], recipe, "abc", "other photos") is KNOWN
    assert find([KNOWN], recipe, "abd", "photos") is None
    assert find([KNOWN], replace(recipe, version=VERSION + 1), "abc", "photos") is None
    assert find([KNOWN], RECIPES["mtcnn-facenet"], "abc", "photos") is None
    reduced = recipe_named("mtcnn-reid-64")
    fitted = replace(KNOWN, recipe=reduced.name)
    assert find([fitted], reduced, "abc", "photos") is fitted
    assert find([fitted], reduced, "abc", "other photos") is None


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "calibrations.json"
    assert read_calibrations(path) == ()
    both = replace(KNOWN, weights=("abc", "def"))
    write_calibrations(path, [both, replace(KNOWN, recipe="other")])
    assert read_calibrations(path) == (both, replace(KNOWN, recipe="other"))
    write_calibrations(path, [replace(KNOWN, middle=1.2)])
    assert read_calibrations(path) == (replace(both, middle=1.2), replace(KNOWN, recipe="other"))
    path.write_text('{"calibrations": [{}]}')
    assert read_calibrations(path) == ()


def test_what_is_shipped_is_whole() -> None:
    assert {"mtcnn-reid", "mtcnn-facenet"} <= {each.recipe for each in shipped()}
    for each in shipped():
        assert each.recipe in RECIPES
        assert RECIPES[each.recipe].version == each.version
        assert each.hits.rates == each.person.doubts.rates == RATES
        assert all(len(weights) == 64 for weights in each.weights)
        assert all(list(row) == sorted(row) for row in (*each.hits.values, *each.person.doubts.values))
        assert [list(column) for column in zip(*each.hits.values, strict=True)] == [
            sorted(column, reverse=True) for column in zip(*each.hits.values, strict=True)
        ]
        nearest, other, share, *_ = each.person.weights
        assert nearest < 0 < min(other, share)


@pytest.mark.parametrize(("recipe", "network"), [("mtcnn-reid", "reid"), ("mtcnn-facenet", "facenet")])
def test_the_published_weights_of_faces_are_among_what_is_shipped(recipe: str, network: str) -> None:
    """FaceNet's are not on every disk that runs the tests, so its hash comes from where they are pinned."""
    if network == "reid":
        weights = WeightStore(REAL.models, REAL.cache, {}).find(network)
        if weights is None:
            pytest.skip("needs the weights of face-reidentification-retail-0095: set FACESEARCH_MODELS to their folder")
        known = weights.sha256
    else:
        (file,) = WEIGHT_FILES[network]
        known = hashlib.sha256(file.hash.removeprefix("sha256:").encode()).hexdigest()
    assert find(shipped(), RECIPES[recipe], known, "any photos") is not None


# The measuring


def test_the_fit_finds_the_logistic_that_pairs_were_drawn_from() -> None:
    random = np.random.default_rng(0)
    distances = random.uniform(0.6, 1.6, 200_000)
    same = random.random(len(distances)) < 1 / (1 + np.exp((distances - 1.1) / 0.06))
    slope, offset = fit_logistic(distances[:, None], same)
    assert (-offset / slope, -1 / slope) == pytest.approx((1.1, 0.06), abs=0.002)


def test_a_fit_of_kinds_that_do_not_overlap_stays_finite() -> None:
    distances, same = np.array([0.1, 0.2, 0.3, 1.1, 1.2, 1.3]), np.array([True] * 3 + [False] * 3)
    slope, offset = fit_logistic(distances[:, None], same)
    assert -offset / slope == pytest.approx(0.7, abs=0.001)
    assert 0.01 < -1 / slope < 1


def test_strangers_by_every_part_of_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of all parts of n photos that hold one near enough, counted part by part."""
    monkeypatch.setattr(measuring, "CHUNK", 2)
    monkeypatch.setattr(measuring, "RATES", (0.25, 0.5, 0.75))
    degrees = np.deg2rad([0, 20, 50, 90, 140, 60])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    people = np.array([0, 1, 2, 3, 3, 3])  # three strangers
    limits = stranger_limits(faces_of(vectors, people), "Calibrating")
    assert limits.sizes == (1, 5)
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    for size, row in zip(limits.sizes, limits.values, strict=True):
        nearest = np.concatenate(
            [
                [min(apart[stranger][list(part)]) for part in combinations(set(range(6)) - {stranger}, size)]
                for stranger in range(3)
            ]
        )
        for rate, limit in zip((0.25, 0.5, 0.75), row, strict=True):
            assert np.mean(nearest < limit - 0.003) <= rate <= np.mean(nearest < limit + 0.003)
