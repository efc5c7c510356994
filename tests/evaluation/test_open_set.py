"""Searches for people who are there and for strangers, by hand and against counting one by one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.embeddings.corrections import Correction, Corrections
from pipeline.evaluation import calibrate
from pipeline.evaluation.calibrate import (
    ALL,
    Faces,
    Searches,
    corrected_people,
    cross_fitted,
    faces_of,
    fit_person,
    fold_of_each,
    search_all,
    search_parts,
    together,
)
from pipeline.evaluation.metrics import resampled_people
from pipeline.evaluation.open_set import judge_persons
from pipeline.evaluation.ranking import Subject, neighbours
from pipeline.search.calibration import logistic
from pipeline.search.person import FEATURES
from tests.evaluation.test_protocols import IDS, chord, on_circle
from tests.fakes import known

# degrees          0  10  50  40  105  140  300; the last is nobody's
DEGREES = np.array([0, 10, 50, 40, 105, 140, 300])
PEOPLE = np.array([0, 0, 0, 1, 1, 2, -1])


@pytest.fixture
def faces() -> Faces:
    return faces_of(on_circle(DEGREES), PEOPLE)


def column(searches: Searches, name: str) -> list[float]:
    return searches.evidence[:, FEATURES.index(name)].tolist()


def test_neighbours_are_those_of_the_gallery_without_the_query() -> None:
    vectors = on_circle(DEGREES)
    rows, distances = neighbours(vectors, np.array([0, 5]), np.array([0, 1, 4]), 4)
    assert rows.tolist() == [[1, 4, -1, -1], [4, 1, 0, -1]]
    assert distances[0] == pytest.approx([chord(10), chord(105), np.inf, np.inf], abs=1e-3)


def test_every_photo_is_searched_for_but_those_that_are_nobodys(faces: Faces) -> None:
    found = search_all(faces)
    # Nearest: 0 10 right; 10 0 right; 50 40 wrong; 40 50 wrong; 105 140 wrong; 140 105, whom nobody is.
    assert found.right.tolist() == [True, True, False, False, False, False]
    assert found.present.tolist() == [True] * 5 + [False]
    assert column(found, "nearest") == pytest.approx([chord(each) for each in (10, 10, 10, 10, 35, 35)], abs=1e-3)
    assert column(found, "other") == pytest.approx([chord(each) for each in (40, 30, 40, 65, 55, 90)], abs=1e-3)
    assert found.named.tolist() == [0, 0, 1, 0, 2, 1]
    assert np.exp(column(found, "photos")) == pytest.approx([2, 2, 2, 3, 1, 2])
    assert found.faces == pytest.approx([5] * 6)
    assert column(found, "share") == pytest.approx([1, 1, 1, 1, 1, 1])
    assert set(found.part.tolist()) == {ALL}


def test_what_is_left_out_is_not_found_but_can_ask(faces: Faces) -> None:
    found = search_all(faces, np.array([False, True, False, False, False, False]))
    assert found.named.tolist() == [1, 0, 1, 0, 2, 1]
    assert found.faces == pytest.approx([4, 5, 4, 4, 4, 4])
    alone = search_all(faces, without_person=True)
    assert not alone.present.any()
    assert not alone.right.any()
    assert alone.named.tolist() == [1, 1, 1, 0, 2, 1]


def test_each_half_of_each_part_weighs_as_much(faces: Faces) -> None:
    found = search_all(faces)
    assert found.weights == pytest.approx([6 / 2 / 5] * 5 + [6 / 2])
    twice = together([found, Searches(*(vars(found) | {"part": found.part + 3}).values())])
    assert twice.weights == pytest.approx([*found.weights, *found.weights])


@pytest.fixture(scope="module")
def drawn() -> Subject:
    """400 people in 16 dimensions, half of them with one photo; by their distances some are mistaken."""
    random = np.random.default_rng(0)
    people = np.concatenate([np.repeat(np.arange(200), 4), np.arange(200, 400)])
    centres = random.normal(size=(400, 16))
    vectors = centres[people] + 0.7 * random.normal(size=(len(people), 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = tuple(f"{person}_{row}" for row, person in enumerate(people))
    return Subject(vectors, np.arange(len(people)), people, ids, tuple(map(str, people)))


def test_searches_in_parts_are_searches_in_galleries_of_those_people(
    drawn: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "PARTS", ((5, 2), (150, 1), (400, 1)))
    monkeypatch.setattr(calibrate, "STRANGERS", 60)
    faces = faces_of(drawn.vectors, drawn.people)
    small, again, large = search_parts(faces)
    assert [int(each.part[0]) for each in (small, again, large)] == [5, 5, 150]
    assert small.faces.round().astype(int).tolist() == [19] * 20 + [20] * 30
    assert small.present.tolist() == [True] * 20 + [False] * 30
    assert len(set(small.people[~small.present].tolist())) == 30, "one photo of each stranger"
    assert not set(small.people[~small.present].tolist()) & set(small.people[small.present].tolist())
    assert np.array_equal(small.right, small.named == small.people)


def test_the_fit_says_how_often_the_first_name_is_right_for_people_it_has_not_seen(
    drawn: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "PARTS", ((30, 8), (100, 3)))
    faces = faces_of(drawn.vectors, drawn.people)
    searches = together([search_all(faces), *search_parts(faces)])
    folds = fold_of_each(faces)
    assert np.bincount(folds).tolist() == [80] * 5
    models = cross_fitted(searches, folds, faces.strangers)
    assert models[2] == fit_person(searches[folds[searches.people] != 2], faces.strangers)
    for part in (ALL, 30, 100):
        chances, right, weights = [], [], []
        for fold, model in enumerate(models):
            mine = searches[(folds[searches.people] == fold) & (searches.part == part)]
            chances.append(logistic(-model.doubt(mine.evidence)))
            right.append(mine.right)
            weights.append(mine.weights)
        said = np.average(np.concatenate(chances), weights=np.concatenate(weights))
        assert said == pytest.approx(np.average(np.concatenate(right), weights=np.concatenate(weights)), abs=0.05)
    (alarms, ten) = (models[0].doubts.value(rate, len(faces.people)) for rate in (0.01, 0.1))
    absent = searches[(searches.part == ALL) & ~searches.present]
    assert np.mean(models[0].doubt(absent.evidence) <= ten) == pytest.approx(0.1, abs=0.04)
    assert alarms < ten


def test_corrections_make_other_people(drawn: Subject) -> None:
    rows = (
        Correction("merge", "0_0", "1_4"),
        Correction("drop", "2_8"),
        Correction("apart", "3_12", "4_16"),
        Correction("rename", "5_20", name="6"),
    )
    people, apart = corrected_people(drawn, Corrections(rows))
    assert people[0] == people[4]
    assert people[8] == -1
    assert people[20] == people[24] != people[21]
    assert apart == {(people[12], people[16]), (people[16], people[12])}


def test_the_figures_of_the_verdict(drawn: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "PARTS", ((30, 8), (100, 3)))
    calibration = known("mtcnn-reid", "w", (0.7, 0.9, 1.1), faces=900, middle=0.9)
    resampled = resampled_people(400, 50, 0)
    # Two strangers who are two photos of one person: each is named by the other.
    doubled = np.array(drawn.vectors)
    doubled[801] = doubled[800]
    subject = Subject(doubled, drawn.rows, drawn.people, drawn.photo_ids, drawn.names)
    corrections = Corrections((Correction("merge", drawn.photo_ids[800], drawn.photo_ids[801]),))
    figures = judge_persons(subject, corrections, calibration, resampled, of_lfw=True)
    assert figures is not None
    assert figures.as_they_are is not None
    assert figures.corrected is not None
    assert figures.without_apart == figures.corrected
    assert (figures.as_they_are.queries, figures.as_they_are.strangers) == (800, 200)
    assert (figures.corrected.queries, figures.corrected.strangers) == (802, 198)
    assert figures.corrected.at_1e3 is None, "too few strangers"
    assert figures.corrected.at_1e2.value > figures.as_they_are.at_1e2.value
    assert [part.people for part in figures.parts] == [ALL, 30, 100]
    assert all(part.error < 0.1 for part in figures.parts)
    assert sum(word.present for word in figures.words) == pytest.approx(1)
    assert figures.asked is not None
    assert figures.asked.right.low <= figures.asked.right.value <= figures.asked.right.high
    apart = Corrections((Correction("apart", drawn.photo_ids[800], drawn.photo_ids[801]),))
    twins = judge_persons(subject, apart, calibration, resampled, of_lfw=True)
    assert twins is not None
    assert twins.without_apart is not None
    assert twins.without_apart.strangers == 198, "each was named by the other"
    in_use = judge_persons(subject, corrections, calibration, resampled, of_lfw=False)
    assert in_use is not None
    assert in_use.corrected is in_use.asked is None
    (sure, *_) = in_use.words
    assert sure.absent <= 0.05


def test_where_nobody_has_one_photo_strangers_are_those_who_are_left_out() -> None:
    subject = Subject(on_circle(DEGREES[:4]), np.arange(4), np.array([0, 0, 1, 1]), IDS[:4], ("A", "A", "B", "B"))
    figures = judge_persons(
        subject, Corrections(), known("mtcnn-reid", "w", (0.3, 0.6, 0.9)), resampled_people(2, 9, 0), of_lfw=False
    )
    assert figures is not None
    # 0 and 10, 40 and 50 are as near as can be to each other; without them, 30 or 40 degrees away.
    by_word = {word.words: (word.present, word.absent) for word in figures.words}
    assert by_word["likely"] == (1, 0)
