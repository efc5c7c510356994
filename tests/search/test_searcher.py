"""Searching the tiny gallery: the right person first, the query itself at distance 0, no face no hits, and the JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import MAX_K, RECIPES
from pipeline.core.types import SAME_PHOTO_DISTANCE
from pipeline.encoder.faces import numbered
from pipeline.galleries.gallery import Gallery
from pipeline.indexes.registry import available
from pipeline.search.searcher import Searcher, check_request, open_searcher
from tests.fakes import PEOPLE, draw, face_colour, known, portrait, tiny_gallery

RECIPE = "mtcnn-facenet"
SEVERAL = draw((0, 0, (60, 45, 16)), (5, 0, (30, 30, 20)), (3, 1, (100, 60, 90)), size=(200, 200))
# What an answer as JSON has.
ANSWER = {"recipe", "index", "gallery", "faces", "face", "person", "hits", "limit", "probably_absent", "timings_ms"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """The tiny world, one for all: every gallery here takes seconds, with an index of each kind."""
    return tiny_gallery(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def searcher(tiny: Gallery) -> Searcher:
    tiny.build([RECIPE])
    return tiny.searcher(RECIPE)


def new_photo(person: int) -> Image.Image:
    """A photo of the person that is not in the gallery: another shade, another place, another size."""
    return draw((person, 1.5, (50, 30, 60)), size=(160, 120))  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [name for name in available() if name != "kmeans"])
def test_the_right_person_comes_first(searcher: Searcher, index: str) -> None:
    for person, name in enumerate(PEOPLE):
        answer = searcher.search(new_photo(person), 4, index)
        assert [hit.person for hit in answer.hits] == [name] * 4
        assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
        assert all(hit.photo_id.startswith(f"{name}/") for hit in answer.hits)
        assert not any(hit.is_query for hit in answer.hits)
        distances = [hit.distance for hit in answer.hits]
        assert distances == sorted(distances)
        assert distances[0] > SAME_PHOTO_DISTANCE


@pytest.mark.parametrize("index", available())
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_photo_of_the_gallery_finds_itself_at_distance_0(tiny: Gallery, recipe: str, index: str) -> None:
    """In every recipe: the query takes the same way to its vector as the gallery did."""
    tiny.build([recipe])
    for person, name in enumerate(PEOPLE):
        hits = tiny.searcher(recipe).search(portrait(person, 2), 3, index).hits
        assert hits[0].photo_id == f"{name}/2.png"
        assert hits[0].distance == pytest.approx(0, abs=1e-4)
        assert [hit.is_query for hit in hits] == [True, False, False]


def test_without_a_face_there_are_no_hits(searcher: Searcher) -> None:
    answer = searcher.search(draw())
    assert (answer.hits, answer.faces, answer.face, answer.crop) == ((), (), None, None)
    assert not answer.found_face
    assert answer.timings_ms["total"] > 0


def test_the_whole_photo_is_searched_with_if_asked_for(tiny: Gallery, searcher: Searcher) -> None:
    seen = tiny.encoders.detector.photos_seen
    answer = searcher.search(draw(), 5, choose=None)
    assert tiny.encoders.detector.photos_seen == seen
    assert len(answer.hits) == 5
    assert answer.found_face
    assert (answer.faces, answer.face) == ((), None)


def test_the_largest_of_several_faces_is_taken(searcher: Searcher) -> None:
    answer = searcher.search(SEVERAL, 4)
    assert len(answer.faces) == 3
    assert answer.face.box == (100, 60, 190, 150)
    assert {hit.person for hit in answer.hits} == {PEOPLE[3]}
    assert answer.crop.getpixel((80, 80)) == face_colour(3, 1)


def test_another_face_is_searched_with_if_asked_for(searcher: Searcher) -> None:
    answers = [searcher.search(SEVERAL, 4, choose=numbered(number)) for number in (0, 1, 2, 3)]
    assert [answer.face_number for answer in answers] == [3, 1, 2, 3]
    assert [answer.hits[0].person for answer in answers] == [PEOPLE[3], PEOPLE[5], PEOPLE[0], PEOPLE[3]]
    with pytest.raises(SettingsError, match="shows 3 faces, so there is no face 4"):
        searcher.search(SEVERAL, 4, choose=numbered(4))


def test_every_face_is_searched_with_and_found_once(tiny: Gallery, searcher: Searcher) -> None:
    seen = tiny.encoders.detector.photos_seen
    answers = searcher.search_every_face(SEVERAL, 4, "exact")
    assert tiny.encoders.detector.photos_seen == seen + 1
    for number, answer in enumerate(answers, start=1):
        alone = searcher.search(SEVERAL, 4, "exact", choose=numbered(number))
        assert (answer.hits, answer.faces, answer.face) == (alone.hits, alone.faces, alone.face)
        assert answer.timings_ms["detect"] == answers[0].timings_ms["detect"] > 0
    assert len(answers) == 3
    assert len(searcher.search_every_face(portrait(0))) == 1
    assert [answer.hits for answer in searcher.search_every_face(draw())] == [()], "one answer that says so"


@pytest.mark.parametrize("k", [1, 23, 24, 25, MAX_K])
def test_k_hits_or_as_many_as_there_are(searcher: Searcher, k: int) -> None:
    for index in available():
        hits = searcher.search(portrait(0), k, index).hits
        assert len(hits) == min(k, 24)
        assert len({hit.photo_id for hit in hits}) == len(hits)


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1])
def test_a_k_that_cannot_be_is_refused(searcher: Searcher, k: int) -> None:
    with pytest.raises(SettingsError, match=f"{k}; choose 1 to {MAX_K}"):
        searcher.search(portrait(0), k)


def test_an_index_there_is_not_is_refused_before_any_work(tiny: Gallery, searcher: Searcher) -> None:
    seen = tiny.encoders.detector.photos_seen
    with pytest.raises(SettingsError, match="'nothing'; choose one of exact, annoy, faiss, knn, kmeans"):
        searcher.search(portrait(0), 5, "nothing")
    assert tiny.encoders.detector.photos_seen == seen
    check_request(1, "exact")
    check_request(MAX_K, "annoy")


def test_the_indexes_agree(searcher: Searcher) -> None:
    exact, *others = ([hit.photo_id for hit in searcher.search(new_photo(1), 24, name).hits] for name in available())
    assert len(others) == len(available()) - 1 >= 3
    for other in others:
        assert other == exact


def test_the_answer_says_where_it_comes_from_and_how_long_it_took(tiny: Gallery, searcher: Searcher) -> None:
    answer = searcher.search(portrait(0), 3, "exact")
    assert (answer.recipe, answer.index, answer.gallery) == (RECIPE, "exact", tiny.photos.name)
    assert list(answer.timings_ms) == ["detect", "embed", "search", "total"]
    steps = answer.timings_ms
    assert all(step > 0 for step in steps.values())
    assert steps["total"] >= steps["detect"] + steps["embed"] + steps["search"] - 1e-6


def test_the_answer_as_json_is_exactly_this(tiny: Gallery, searcher: Searcher) -> None:
    value = json.loads(json.dumps(searcher.search(portrait(0, 1), 2).as_json()))
    assert set(value) == ANSWER
    assert (value["recipe"], value["index"], value["gallery"]) == (RECIPE, "exact", tiny.photos.name)
    assert value["faces"] == [
        {
            "box": [26.0, 21.0, 66.0, 61.0],
            "confidence": 0.99,
            "landmarks": [[38.0, 37.0], [54.0, 37.0], [46.0, 45.0], [40.0, 53.0], [52.0, 53.0]],
        }
    ]
    assert value["face"] == value["faces"][0]
    assert value["hits"][0] == {"rank": 1, "person": "Ada", "photo_id": "Ada/1.png", "distance": 0.0, "verdict": None}
    assert [set(hit) for hit in value["hits"]] == [{"rank", "person", "photo_id", "distance", "verdict"}] * 2
    assert set(value["timings_ms"]) == {"detect", "embed", "search", "total"}


def test_the_answer_without_a_face_as_json(searcher: Searcher) -> None:
    value = searcher.search(draw()).as_json()
    assert (value["faces"], value["face"], value["hits"]) == ([], None, [])


def test_a_calibrated_recipe_says_who_it_is_and_hits_agree(tiny: Gallery, searcher: Searcher) -> None:
    by_hand = known(RECIPE, "x", (0.8, 1.0, 1.2))
    calibration = replace(by_hand, person=replace(by_hand.person, weights=(-20, 1, 0, 0, 0, 19)))
    people, encoder = searcher.embeddings.people, tiny.encoders.get(RECIPE)
    judging = open_searcher(searcher.embeddings, encoder, calibration=calibration, people=people)
    answer = judging.search(new_photo(1), 24)
    assert answer.person is not None
    assert (answer.person.person, answer.person.words, answer.person.named) == ("Bruno", "likely", True)
    assert [hit.verdict for hit in answer.hits] == [
        calibration.verdict_beside(answer.person, hit, 24) for hit in answer.hits
    ]
    assert answer.limit == calibration.presence(24)
    assert not answer.probably_absent
    for k in (1, 5):  # the same person, however few results are asked for
        assert judging.search(new_photo(1), k).person == answer.person
    # Measured on faces; a whole photo is something else.
    whole = judging.search(portrait(1), choose=None)
    assert whole.limit is whole.person is None
    assert {hit.verdict for hit in whole.hits} == {None}
    unknown = searcher.search(new_photo(1))
    assert unknown.person is None
    assert {hit.verdict for hit in unknown.hits} == {None}


def test_of_photos_without_names_it_says_which_photo_shows_the_person(tiny: Gallery, searcher: Searcher) -> None:
    encoder, calibration = tiny.encoders.get(RECIPE), known(RECIPE, "x", (0.8, 1.0, 1.2))
    of_files = open_searcher(
        searcher.embeddings, encoder, calibration=calibration, people=searcher.embeddings.photo_ids
    )
    for nameless in (of_files, open_searcher(searcher.embeddings, encoder, calibration=calibration)):
        verdict = nameless.search(new_photo(1)).person
        assert verdict is not None
        assert not verdict.named
        assert verdict.words == "likely"


def test_names_that_were_corrected_are_those_of_hits_and_verdict(tiny: Gallery, searcher: Searcher) -> None:
    people = ["Bruna" if name == "Bruno" else name for name in searcher.embeddings.people]
    encoder, calibration = tiny.encoders.get(RECIPE), known(RECIPE, "x", (0.8, 1.0, 1.2))
    answer = open_searcher(searcher.embeddings, encoder, calibration=calibration, people=people).search(new_photo(1))
    assert answer.person is not None
    assert answer.person.person == answer.hits[0].person == "Bruna"


def test_a_gallery_that_was_opened_again_answers_alike(tiny: Gallery, searcher: Searcher) -> None:
    again = open_searcher(searcher.embeddings, tiny.encoders.get(RECIPE))
    assert again.search(portrait(2), 9).hits == searcher.search(portrait(2), 9).hits
