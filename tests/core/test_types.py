"""The dataclasses between the stages refuse what makes no sense, and turn into the JSON that callers are promised."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from pipeline.core.progress import Progress, silent
from pipeline.core.types import SAME_PHOTO_DISTANCE, Answer, Encoded, Face, Hit, Neighbours, Photo
from pipeline.core.verdicts import Limit, PersonVerdict, Verdict, Words

LANDMARKS = ((1.04, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.06))
FACE = Face((0.04, 1.0, 10.0, 21.26), 0.987654, LANDMARKS)
CROP = Image.new("RGB", (4, 4))
UNIT = np.array([0.6, 0.8], np.float32)


def encoded(**changed: object) -> Encoded:
    fields = {"faces": (FACE,), "face": FACE, "crop": CROP, "vector": UNIT, "detect_ms": 1.0, "embed_ms": 2.0}
    return Encoded(**{**fields, **changed})


def answer(**changed: object) -> Answer:
    fields = {
        "recipe": "mtcnn-facenet",
        "index": "exact",
        "gallery": "LFW",
        "faces": (FACE,),
        "face": FACE,
        "crop": CROP,
        "hits": (Hit(1, "Ada_0001", "Ada", 0.0), Hit(2, "Bruno_0001", "Bruno", 0.51239)),
        "timings_ms": {"detect": 1.26, "total": 9.0},
    }
    return Answer(**{**fields, **changed})


@pytest.mark.parametrize(
    "value",
    [Photo("a", "A", b""), FACE, encoded(), Hit(1, "a", "A", 0.5), answer(), Progress("t", "u", 0, 1, 0, 0.0)],
    ids=lambda value: type(value).__name__,
)
def test_nothing_changes_after_it_was_checked(value: object) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (0, 9, 5, 9), (6, 0, 5, 9), (0, 10, 5, 9), (float("nan"), 0, 5, 9)])
def test_a_box_without_area_is_no_face(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="needs an area"):
        Face(box, 0.9, LANDMARKS)


@pytest.mark.parametrize("landmarks", [(), LANDMARKS[:4], (*LANDMARKS, (0.0, 0.0))], ids=len)
def test_a_face_has_five_landmarks(landmarks: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=f"five landmarks, not {len(landmarks)}"):
        Face((0, 0, 1, 1), 0.9, landmarks)


def test_a_box_may_reach_past_the_photo_and_its_area_is_width_times_height() -> None:
    assert Face((-5.0, -2.0, 5.0, 1.0), 0.9, LANDMARKS).area == 30.0


def test_face_as_json_is_rounded_to_what_the_detector_can_tell() -> None:
    assert json.loads(json.dumps(FACE.as_json())) == {
        "box": [0.0, 1.0, 10.0, 21.3],
        "confidence": 0.9877,
        "landmarks": [[1.0, 2.0], [3.0, 2.0], [2.0, 3.0], [1.0, 4.0], [3.0, 4.1]],
    }


def test_an_encoded_photo_may_be_faceless_or_whole() -> None:
    faceless = encoded(faces=(), face=None, crop=None, vector=None)
    whole = encoded(faces=(), face=None)
    assert faceless.vector is None
    assert whole.face is None


def test_crop_and_vector_come_together() -> None:
    with pytest.raises(ValueError, match="together or not at all"):
        encoded(crop=None)
    with pytest.raises(ValueError, match="together or not at all"):
        encoded(vector=None)


def test_the_chosen_face_is_one_of_those_found() -> None:
    with pytest.raises(ValueError, match="one of the faces found"):
        encoded(face=Face((0, 0, 1, 1), 0.9, LANDMARKS))


@pytest.mark.parametrize("length", [0.0, 0.99, 1.01])
def test_an_embedding_has_unit_length(length: float) -> None:
    with pytest.raises(ValueError, match="unit length"):
        encoded(vector=UNIT * np.float32(length))


def test_an_embedding_may_be_off_by_what_half_precision_rounds() -> None:
    encoded(vector=UNIT * np.float32(1.0005))


@pytest.mark.parametrize(("rows", "distances"), [((1, 2), (1, 3)), ((2,), (2,)), ((1, 2), (2, 1))])
def test_rows_and_distances_have_one_shape(rows: tuple[int, ...], distances: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must both be \(q, k\)"):
        Neighbours(np.zeros(rows, np.int64), np.zeros(distances, np.float32))


def test_neighbours_come_nearest_first_in_every_query() -> None:
    rows = np.arange(4).reshape(2, 2)
    Neighbours(rows, np.array([[0.1, 0.1], [0.9, 1.0]], np.float32))
    with pytest.raises(ValueError, match="nearest first"):
        Neighbours(rows, np.array([[0.1, 0.2], [1.0, 0.9]], np.float32))


def test_no_queries_and_no_neighbours_are_neighbours_too() -> None:
    for shape in ((0, 5), (3, 0)):
        assert Neighbours(np.empty(shape, np.int64), np.empty(shape, np.float32)).rows.shape == shape


def test_a_hit_is_the_query_only_below_the_distance_that_rounding_makes() -> None:
    below = float(np.nextafter(SAME_PHOTO_DISTANCE, 0))
    assert Hit(1, "a", "A", 0.0).is_query
    assert Hit(1, "a", "A", below).is_query
    assert not Hit(1, "a", "A", SAME_PHOTO_DISTANCE).is_query


def test_hit_as_json() -> None:
    hit = Hit(3, "Ada_0001", "Ada", 0.123456)
    known = {"rank": 3, "person": "Ada", "photo_id": "Ada_0001", "distance": 0.1235}
    assert hit.as_json() == known | {"verdict": None}
    said = {"same_person": "likely", "pair_percent": 93.5, "false_alarm_percent": 1.2}
    assert dataclasses.replace(hit, verdict=Verdict("likely", 0.9346, 0.0123)).as_json() == known | {"verdict": said}


@pytest.mark.parametrize(("probability", "said"), [(1.0, 99.9), (0.99999, 99.9), (1e-9, 0.1), (0.0, 0.1)])
def test_no_percentage_claims_certainty(probability: float, said: float) -> None:
    assert Verdict("unclear", probability, 0.5).as_json()["pair_percent"] == said
    assert PersonVerdict("A", "unclear", probability, 0.5).as_json()["person_percent"] == said


@pytest.mark.parametrize(("words", "absent"), [("very likely", False), ("unclear", False), ("unlikely", True)])
def test_an_answer_whose_first_name_is_unlikely_is_of_somebody_absent(words: Words, absent: bool) -> None:
    said = answer(person=PersonVerdict("A", words, 0.9346, 0.0123), limit=Limit(1.0, 0.1))
    assert said.probably_absent is absent
    assert said.as_json()["probably_absent"] is absent
    assert said.as_json()["limit"] == {"distance": 1.0, "false_alarm_percent": 10.0}
    assert said.as_json()["person"] == {
        "name": "A",
        "is_right": words,
        "person_percent": 93.5,
        "false_alarm_percent": 1.2,
        "named": True,
    }
    assert not dataclasses.replace(said, person=None).probably_absent


@pytest.mark.parametrize("ranks", [(2, 1), (0, 1), (1, 3), (1, 1)])
def test_hits_are_ranked_from_one_without_gaps(ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ranked 1, 2, 3"):
        answer(hits=tuple(Hit(rank, "a", "A", 0.5) for rank in ranks))


def test_there_are_no_hits_without_a_crop() -> None:
    with pytest.raises(ValueError, match="without a crop"):
        answer(crop=None)


def test_an_answer_without_a_face_says_so() -> None:
    nothing = answer(faces=(), face=None, crop=None, hits=())
    assert not nothing.found_face
    assert answer().found_face
    assert nothing.as_json()["face"] is None
    assert nothing.as_json()["hits"] == []


def test_answer_as_json_is_plain_and_complete() -> None:
    assert json.loads(json.dumps(answer().as_json())) == {
        "recipe": "mtcnn-facenet",
        "index": "exact",
        "gallery": "LFW",
        "faces": [FACE.as_json()],
        "face": FACE.as_json(),
        "person": None,
        "hits": [
            {"rank": 1, "person": "Ada", "photo_id": "Ada_0001", "distance": 0.0, "verdict": None},
            {"rank": 2, "person": "Bruno", "photo_id": "Bruno_0001", "distance": 0.5124, "verdict": None},
        ],
        "limit": None,
        "probably_absent": False,
        "timings_ms": {"detect": 1.3, "total": 9.0},
    }


def test_progress_measures_this_runs_work_only() -> None:
    resumed = Progress("Building", "photos", done=80, total=100, worked=10, seconds=5.0)
    assert resumed.rate == 2.0
    assert resumed.seconds_left == 10.0


@pytest.mark.parametrize(("worked", "seconds"), [(0, 5.0), (0, 0.0), (10, 0.0)])
def test_progress_without_a_measurement_estimates_nothing(worked: int, seconds: float) -> None:
    progress = Progress("Building", "photos", 10, 100, worked, seconds)
    assert progress.rate == 0.0
    assert progress.seconds_left is None


def test_finished_progress_has_no_time_left() -> None:
    assert Progress("Building", "photos", 100, 100, 20, 4.0).seconds_left == 0.0


def test_silent_takes_any_progress_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent(Progress("Building", "photos", 1, 2, 1, 1.0))
    assert capsys.readouterr() == ("", "")
