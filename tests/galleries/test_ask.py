"""One search, whoever asks: each invented value gets one sentence, before anything is opened for it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.errors import GalleryError, PhotoError, PipelineError, SettingsError
from pipeline.encoder.faces import central
from pipeline.galleries.ask import Question, Which, ask, ask_all
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.search.searcher import Searcher
from tests.fakes import draw, portrait

RECIPE = "mtcnn-reid"
TWO = draw((5, 0, (10, 20, 40)), (1, 0, (80, 20, 60)), size=(160, 100))  # Farid, and larger Bruno


@pytest.fixture
def preparation(tiny: Gallery) -> Preparation:
    """The tiny world, two models ready."""
    preparation = Preparation(tiny, maps=False)
    preparation.start([RECIPE, "resnet50"])
    preparation.wait()
    return preparation


def never() -> Searcher:
    raise AssertionError("nothing is opened for a question that cannot be answered")


@pytest.mark.parametrize(
    "k", ["20", "", None, True, [20], {"k": 20}, *map(float, ("nan", "inf", "-inf")), 10**400, 1.5]
)
def test_a_number_of_results_that_is_none(k: object) -> None:
    with pytest.raises(SettingsError, match=r"^The number of results, 1 to 100, must be a whole number\.$"):
        ask(Question(draw(), k=k), never)


@pytest.mark.parametrize("k", [0, -1, 101, 10**9])
def test_a_number_of_results_that_is_too_large_or_small(k: int) -> None:
    with pytest.raises(SettingsError, match=f"^The number of results is {k}; choose 1 to 100"):
        ask(Question(draw(), k=k), never)


@pytest.mark.parametrize("face", ["x", "1", None, True, [1], 1.5, float("nan")])
def test_a_face_that_is_no_number(face: object) -> None:
    for asking in (ask, ask_all):
        with pytest.raises(SettingsError, match=r"^The face's number must be a whole number\.$"):
            asking(Question(draw(), face=face), never)


@pytest.mark.parametrize("invented", ["nope", "", "../../etc", "a" * 5000, ["exact"], [], {"a": 1}, None, 0, 7])
def test_an_index_a_recipe_or_a_gallery_that_was_invented(preparation: Preparation, invented: object) -> None:
    galleries, question = Galleries(preparation), Question(portrait(3))
    asked = {
        "index": lambda: ask(Question(portrait(3), index=invented), never),
        "recipe": lambda: ask(question, partial(preparation.searcher, invented)),
        "gallery": lambda: galleries.get(invented),
    }
    for what, asking in asked.items():
        if what != "index" and invented in ("", None):
            asking()  # the best that is ready
            continue
        with pytest.raises(SettingsError, match=f"^There is no {what} .*; choose one of ") as raised:
            asking()
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize("photo", [None, b"", b"no photo", Path("/nowhere/photo.jpg")])
def test_a_photo_that_is_none(photo: Path | bytes | None) -> None:
    with pytest.raises(PhotoError):
        ask(Question(photo), never)


def test_what_is_not_ready_says_so(preparation: Preparation) -> None:
    with pytest.raises(GalleryError, match="Improved is still being prepared"):
        ask(Question(portrait(3)), partial(preparation.searcher, "mtcnn-facenet"))


def test_a_photo_is_a_file_its_bytes_or_a_picture(preparation: Preparation, tmp_path: Path) -> None:
    path = tmp_path / "query.png"
    portrait(3, 1).save(path)
    for photo in (path, path.read_bytes(), portrait(3, 1)):
        found = ask(Question(photo, k=3.0), partial(preparation.searcher, ""))
        (answer,) = found.answers
        assert (answer.recipe, answer.hits[0].person, len(answer.hits)) == (RECIPE, "Dimitri", 3)
        assert found.look.image.size == (96, 96)


@pytest.mark.parametrize(
    ("face", "people"),
    [
        (0, ["Bruno"]),
        (1, ["Farid"]),
        (2.0, ["Bruno"]),
        (central, ["Bruno"]),
        (Which.EVERY_FACE, ["Farid", "Bruno"]),
    ],
)
def test_which_face_is_searched_with(preparation: Preparation, face: object, people: list[str]) -> None:
    found = ask(Question(TWO, face=face), partial(preparation.searcher, RECIPE))
    assert [answer.hits[0].person for answer in found.answers] == people


def test_the_whole_photo_is_searched_with(preparation: Preparation) -> None:
    (answer,) = ask(Question(draw(), face=Which.WHOLE_PHOTO), partial(preparation.searcher, RECIPE)).answers
    assert (answer.face, len(answer.hits)) == (None, 20)
    (answer,) = ask(Question(draw()), partial(preparation.searcher, RECIPE)).answers
    assert not answer.found_face


def test_all_that_are_ready_are_asked(preparation: Preparation) -> None:
    comparison = ask_all(Question(TWO, k=2, face=1), preparation.searchers)
    assert [answer.recipe for answer in comparison.answers] == ["resnet50", RECIPE]
    assert comparison.answers[1].hits[0].person == "Farid"
    assert json.dumps(comparison.as_json())
    with pytest.raises(PipelineError, match="so there is no face 3"):
        ask_all(Question(TWO, face=3), preparation.searchers)


def test_a_gallery_that_is_not_named_is_the_first_that_is_ready(preparation: Preparation) -> None:
    galleries = Galleries(preparation)
    assert galleries.get("") is galleries.get(MAIN) is preparation


def test_a_picture_is_taken_as_it_is(preparation: Preparation) -> None:
    image = Image.new("RGB", (30, 30))
    assert ask(Question(image), partial(preparation.searcher, RECIPE)).look.image is image
