"""One photo's answers by several recipes: what they share, and that comparing changes no answer."""

from __future__ import annotations

import json

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.types import Answer, Hit
from pipeline.encoder.faces import numbered
from pipeline.galleries.ask import Question, ask_all
from pipeline.galleries.gallery import Gallery
from pipeline.search.comparison import Comparison
from tests.fakes import PEOPLE, draw, portrait

RECIPES = ["resnet50", "mtcnn-resnet50", "mtcnn-facenet", "mtcnn-reid"]


def answer(recipe: str, *photo_ids: str) -> Answer:
    hits = tuple(Hit(rank, photo_id, "A", rank / 10) for rank, photo_id in enumerate(photo_ids, start=1))
    return Answer(recipe, "exact", "g", (), None, draw(), hits, {"total": 1.0})


THREE = Comparison((answer("resnet50", "a", "b", "c"), answer("mtcnn-facenet", "b", "d"), answer("mtcnn-reid")))


def test_what_answers_share_and_what_is_one_recipes_own() -> None:
    assert THREE.shared("resnet50", "mtcnn-facenet") == 1
    assert THREE.shared("resnet50", "resnet50") == 3
    assert THREE.shared("mtcnn-reid", "resnet50") == 0
    assert THREE.only("resnet50") == {"a", "c"}
    assert THREE.only("mtcnn-facenet") == {"d"}
    assert THREE.only("mtcnn-reid") == frozenset()


def test_a_comparison_as_json() -> None:
    value = json.loads(json.dumps(THREE.as_json()))
    assert value["answers"] == [json.loads(json.dumps(one.as_json())) for one in THREE.answers]
    assert value["shared"]["resnet50"] == {"resnet50": 3, "mtcnn-facenet": 1, "mtcnn-reid": 0}
    assert value["only"] == {"resnet50": ["a", "c"], "mtcnn-facenet": ["d"], "mtcnn-reid": []}


def test_a_recipe_is_compared_once() -> None:
    with pytest.raises(ValueError, match="once"):
        Comparison((answer("resnet50", "a"), answer("resnet50", "b")))


def test_comparing_gives_what_each_search_gives_and_finds_faces_once(tiny: Gallery) -> None:
    tiny.build(RECIPES)
    searchers = [tiny.searcher(name) for name in RECIPES]
    photo = draw((5, 0, (10, 20, 40)), (1, 0, (80, 20, 60)), size=(160, 100))
    seen = tiny.encoders.detector.photos_seen
    compared = ask_all(Question(photo, "exact", 6, 1), lambda: searchers)
    assert tiny.encoders.detector.photos_seen == seen + 1
    assert [one.recipe for one in compared.answers] == RECIPES
    for searcher, one in zip(searchers, compared.answers, strict=True):
        alone = searcher.search(photo, 6, "exact", choose=numbered(1))
        assert (one.hits, one.faces, one.face) == (alone.hits, alone.faces, alone.face)
    assert {hit.person for hit in compared.answers[2].hits[:4]} == {PEOPLE[5]}
    detected = [one.timings_ms["detect"] for one in compared.answers]
    assert detected[1] == detected[2] == detected[3] > 0, "each one's time is as if it had been asked alone"


def test_what_cannot_be_asked_for_is_refused(tiny: Gallery) -> None:
    tiny.build(["resnet50"])
    with pytest.raises(SettingsError, match="1 to 100"):
        ask_all(Question(portrait(0), "exact", 0), lambda: [tiny.searcher("resnet50")])
