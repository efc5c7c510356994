"""What the search tab shows of a request and its answers: every state of searching and exploring, without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import DEFAULT_K, RECIPES
from pipeline.encoder.look import Look
from pipeline.galleries.ask import Which
from pipeline.galleries.galleries import MAIN
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.presenter import (
    FARTHEST,
    Shown,
    attempted,
    enlarged,
    extended_trail,
    hit_in,
    limit_moved,
    results,
    searched,
)
from pipeline.page.query import FACES, Request, count_of
from pipeline.page.tabs.explore import went_back
from pipeline.page.tabs.search import example, with_picture
from pipeline.search.calibration import OWN, write_calibrations
from pipeline.search.searcher import Searcher
from tests.fakes import draw, known, portrait

RECIPE = "mtcnn-reid"
TWO = draw((5, 0, (10, 20, 40)), (1, 0, (80, 20, 60)), size=(160, 100))  # Farid, and Bruno, who is larger
# Of strangers, 1 % are within 0.2 of some of the gallery's 24 faces, 10 % within 0.5, and 90 % within 1.4.
KNOWN = known(RECIPE, "tiny-reid", (0.2, 0.5, 1.4))


@pytest.fixture
def preparation(tiny: Gallery) -> Preparation:
    """The tiny world, one model ready, whose distances are known."""
    tiny.index_root.mkdir(exist_ok=True)
    write_calibrations(tiny.index_root / OWN, [KNOWN])
    preparation = Preparation(tiny, maps=False)
    preparation.start([RECIPE, "resnet50"])
    preparation.wait()
    return preparation


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    """A search with a photo of two people."""
    TWO.save(tmp_path / "two.png")
    return Request(str(tmp_path / "two.png"), MAIN, RECIPE)


def first(shown: Shown) -> str:
    """Whom the first result shows."""
    return shown.answers[0].hits[0].person


def test_without_a_photo_there_is_what_the_model_is_and_nothing_else(preparation: Preparation) -> None:
    shown = searched(preparation, Request(None, MAIN, RECIPE, k=7))
    assert RECIPES[RECIPE].summary[:20] in shown.note
    assert "recipe=mtcnn-reid&amp;index=exact&amp;k=7" in shown.link
    assert replace(shown, note="", link="") == Shown(RECIPE, None, "", "")


def test_an_answer(preparation: Preparation, asked: Request) -> None:
    shown = searched(preparation, replace(asked, k=5))
    assert first(shown) == "Bruno"
    assert "<span class='likely'>Likely</span> <b>Bruno</b> <span class='quiet'>4 of 4 photos found" in shown.sentence
    assert (shown.recipe, shown.role, shown.face, shown.whole) == (RECIPE, None, 2, False)
    assert shown.frames.count("class='frame") == 2
    assert "<img" not in shown.frames, "the browser shows the file itself"
    assert "alt='Face 2: what the network sees of your photo'" in shown.faces
    assert "<li>" in shown.hints
    assert shown.results.count("<li class='tile") == 5
    assert (shown.photo, shown.trail) == ("", None), "the visitor's photo and the way back stay"


def test_a_face_that_was_chosen(preparation: Preparation, asked: Request) -> None:
    for face, person in ((1, "Farid"), (2, "Bruno")):
        assert first(searched(preparation, asked, face)) == person


def test_a_photo_that_lies_is_shown_upright_in_the_page_itself(
    preparation: Preparation, asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = Look(TWO, preparation.searcher(RECIPE).look(TWO).faces, turned=90)
    monkeypatch.setattr(Searcher, "look", lambda self, image, before=None: turned)
    assert "<img src='data:image/jpeg;base64," in searched(preparation, asked).frames


def test_a_photo_that_browsers_cannot_show_is_shown_in_the_page_itself(
    preparation: Preparation, tmp_path: Path
) -> None:
    TWO.save(tmp_path / "two.tif")
    shown = searched(preparation, Request(str(tmp_path / "two.tif"), MAIN, RECIPE))
    assert "<img src='data:image/jpeg;base64," in shown.frames


def test_a_role_takes_the_best_that_is_ready_and_says_so(preparation: Preparation, asked: Request) -> None:
    for role, recipe, said in (
        ("improved", RECIPE, "Compact stands in until FaceNet is ready."),
        ("baseline", "resnet50", ""),
    ):
        shown = searched(preparation, replace(asked, recipe="mtcnn-mini", role=role))
        assert (shown.recipe, shown.role, shown.answers[0].recipe) == (recipe, role, recipe)
        assert said in shown.note
        assert f"recipe={recipe}&amp;" in shown.link


def test_a_photo_is_looked_at_once(preparation: Preparation, asked: Request) -> None:
    detector = preparation.gallery.encoders.detector  # type: ignore[attr-defined]
    before = detector.photos_seen
    shown = searched(preparation, asked)
    looked = detector.photos_seen - before
    assert looked > 0
    changes: list[dict[str, Any]] = [{"recipe": "resnet50"}, {"recipe": RECIPE}, {"index": "knn"}, {"k": 3}]
    for change in changes:
        asked = replace(asked, answers=shown.answers, seen=shown.seen, **change)
        shown = searched(preparation, asked)
    assert (len(shown.answers[0].hits), shown.answers[0].index) == (3, "knn")
    assert detector.photos_seen - before == looked
    assert (first(shown), shown.faces.count("<button type='button' class='face'")) == ("Bruno", 1)
    assert shown.seen is not None
    assert shown.seen[1] is not None
    assert shown.seen[1].image.size == (1, 1), "the photo itself is not kept"
    other = replace(asked, photo=str(Path(str(asked.photo)).with_name("other.png")), seen=shown.seen)
    TWO.save(str(other.photo))
    searched(preparation, other)
    assert detector.photos_seen - before == 2 * looked


def test_a_model_that_looks_for_no_face_forgets_none(preparation: Preparation, asked: Request) -> None:
    shown = searched(preparation, asked, 1)
    asked = replace(asked, recipe="resnet50", face=shown.face, seen=shown.seen)
    assert searched(preparation, asked, asked.face).face == 1
    assert searched(preparation, replace(asked, seen=None), 0).face is None, "another photo has others"


def test_another_model_says_what_changed_where_the_gallery_knows_who_it_is(
    preparation: Preparation, tmp_path: Path
) -> None:
    portrait(3, 1).save(tmp_path / "known.png")
    request = Request(str(tmp_path / "known.png"), MAIN, "mtcnn-facenet", role="baseline", k=5)
    shown = searched(preparation, request)
    assert re.search(r"\d of 4 photos found, your photo one of them", shown.sentence)
    baseline = sum(hit.person == "Dimitri" for hit in shown.answers[0].hits)
    again = replace(request, role="improved", answers=shown.answers, seen=shown.seen)
    assert f"Baseline finds {baseline} of 4, Compact 4 of 4." in searched(preparation, again).sentence
    for other in (
        replace(again, role="baseline"),
        replace(again, seen=("/other.png", None)),
        replace(again, answers=()),
    ):
        assert "Baseline finds" not in searched(preparation, other).sentence
    draw((3, 9, (12, 12, 70))).save(tmp_path / "new.png")
    request = replace(request, photo=str(tmp_path / "new.png"))
    shown = searched(preparation, request)
    again = replace(request, role="improved", answers=shown.answers, seen=shown.seen)
    assert "Baseline finds" not in searched(preparation, again).sentence, "nobody knows who that is"


def test_every_face_has_its_row_and_the_chosen_one_stays_chosen(preparation: Preparation, asked: Request) -> None:
    for chosen, number in ((1, 1), (2, 2), (0, 1), (9, 2), ("x", 1)):
        shown = searched(preparation, replace(asked, face=chosen), Which.EVERY_FACE)
        assert shown.face == number
        assert [answer.hits[0].person for answer in shown.answers] == ["Farid", "Bruno"]
    assert "The nearest photos of <b>2 faces</b>, a row for each" in shown.sentence
    assert "<div class='groups strips'><section><h3>Face 1</h3>" in shown.results
    assert "data-answer='1' data-event='expand'" in shown.results


def test_no_face_is_said_and_the_whole_photo_offered(preparation: Preparation, tmp_path: Path) -> None:
    draw().save(tmp_path / "nobody.png")
    request = Request(str(tmp_path / "nobody.png"), MAIN, RECIPE)
    shown = searched(preparation, request)
    assert "No face was found" in shown.sentence
    assert (shown.whole, shown.faces, shown.face, shown.limit) == (True, "", None, None)
    assert (shown.hints, shown.limit_note) == ("", "")
    assert "<li" not in shown.results
    whole = searched(preparation, request, Which.WHOLE_PHOTO)
    assert "Most similar" in whole.sentence
    assert "class='face chosen'" in whole.faces
    assert (whole.whole, whole.limit) == (False, None)
    assert "not on whole photos" in whole.limit_note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "The number of results is 0; choose 1 to 100."),
        ({"recipe": "mtcnn-facenet"}, "Improved is still being prepared; wait for it"),
        ({"photo": "/nowhere/photo.jpg"}, "There is no file photo.jpg"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_nothing_else(
    preparation: Preparation, asked: Request, change: dict[str, object], said: str
) -> None:
    shown = searched(preparation, replace(asked, **change))  # type: ignore[arg-type]
    assert said in shown.sentence
    assert "role='alert'" in shown.sentence
    assert shown.waiting == ("still being prepared" in said), "only what is not ready is asked about again"
    assert replace(shown, note="", link="", sentence="", waiting=False) == Shown(shown.recipe, None, "", "")


@pytest.mark.parametrize(
    "invented", [{"recipe": "nope"}, {"recipe": [RECIPE]}, {"index": None}, {"view": "all"}, {"role": ""}]
)
def test_a_choice_that_was_invented_makes_no_request(asked: Request, invented: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="choose one of"):
        replace(asked, **invented)  # type: ignore[arg-type]


def test_a_link_never_opens_a_visitors_own_photos(preparation: Preparation, asked: Request) -> None:
    secret = searched(preparation, replace(asked, gallery="own-secret"))
    assert "gallery=main&amp;" in secret.link
    assert "gallery=sample&amp;" in searched(preparation, replace(asked, gallery="sample")).link


def test_results_beyond_the_limit_are_marked(preparation: Preparation, asked: Request) -> None:
    shown = searched(preparation, asked)
    far = sum(hit.distance > 0.5 for hit in shown.answers[0].hits)
    assert (shown.limit, shown.results.count("class='tile alike")) == (0.5, far)
    assert "<b>10 %</b> of searches for people who are not in this gallery" in shown.limit_note
    assert f"; {far} of 20 results" in shown.limit_note


def test_a_limit_of_the_visitors_is_for_one_gallery_and_recipe(preparation: Preparation, asked: Request) -> None:
    shown = searched(preparation, asked)
    request, _, note, marked = limit_moved(preparation, replace(asked, answers=shown.answers), 1.4)
    assert request.own_limit == (shown.answers[0].gallery, RECIPE, 1.4)
    assert "<b>90 %</b>" in note
    assert marked.count("class='tile alike") == sum(hit.distance > 1.4 for hit in shown.answers[0].hits)
    assert searched(preparation, request).limit == 1.4, "it holds for the next photo"
    other = searched(preparation, replace(request, recipe="resnet50"))
    assert other.limit is None
    assert "not measured for this model here" in other.limit_note


@pytest.mark.parametrize("sent", [None, "0.5", True, [0.5], float("nan")])
def test_a_limit_that_is_none(preparation: Preparation, asked: Request, sent: object) -> None:
    answers = searched(preparation, asked).answers
    with pytest.raises(SettingsError, match=r"^The distance must be a number from 0 to 1\.5\.$"):
        limit_moved(preparation, replace(asked, answers=answers), sent)


@pytest.mark.parametrize(("typed", "meant"), [(-1, 0.0), (9, FARTHEST), (float("inf"), FARTHEST)])
def test_a_limit_typed_out_of_bounds_is_the_nearest(
    preparation: Preparation, asked: Request, typed: float, meant: float
) -> None:
    request = replace(asked, answers=searched(preparation, asked).answers)
    moved = limit_moved(preparation, request, typed)
    assert moved == limit_moved(preparation, request, meant)
    assert moved[1] == meant


@pytest.mark.parametrize(
    ("typed", "meant"), [(1000, 100), (float("inf"), 100), (0, 1), (-5, 1), (3.7, 4), (None, DEFAULT_K), (7, 7)]
)
def test_a_number_of_results_typed_out_of_bounds_is_the_nearest(typed: object, meant: int) -> None:
    assert count_of(typed) == meant


@pytest.mark.parametrize("invented", ["7", [7], True])
def test_what_is_no_number_of_results_is_left_to_be_refused(invented: object) -> None:
    assert count_of(invented) is invented


def test_the_results_of_every_face_are_grouped_by_person_too(preparation: Preparation, asked: Request) -> None:
    shown = searched(preparation, replace(asked, by_person=True), Which.EVERY_FACE)
    headings = re.findall("<h3>(.*?)</h3>", shown.results)
    assert {"Face 1: Farid", "Face 2: Bruno"} <= set(headings)
    assert "data-answer='1' data-event='expand'" in shown.results, "each still of its own answer"


def test_results_are_arranged_without_a_search(preparation: Preparation, asked: Request) -> None:
    answers = searched(preparation, asked).answers
    assert "<h3>Bruno</h3>" in results(preparation, answers, replace(asked, by_person=True))
    photos, faces = (results(preparation, answers, replace(asked, view=view)) for view in ("photos", FACES))
    assert photos != faces
    assert results(preparation, (), asked) == ""


def test_a_result_is_searched_with_and_there_is_a_way_back(preparation: Preparation, asked: Request) -> None:
    asked = replace(asked, face=1)
    second = with_picture(preparation, "Elif/1.png", asked, extended_trail(asked))
    assert first(second) == "Elif"
    assert Path(second.photo).is_file()
    assert second.trail == ((asked.photo, 1),)
    back = went_back(preparation, replace(asked, photo=second.photo, trail=second.trail))
    assert (first(back), back.photo, back.trail) == ("Farid", asked.photo, ())
    with pytest.raises(SettingsError, match="no photo to go back to"):
        went_back(preparation, replace(asked, trail=back.trail))
    assert extended_trail(replace(asked, photo=None)) == (), "from nothing there is no way back"


def test_an_example_is_the_visitors_photo(preparation: Preparation) -> None:
    for number, person in enumerate(("Ada", "Bruno")):
        shown = example(preparation, Request(None, MAIN, RECIPE, trail=(("x", 0),)), number)
        assert (first(shown), shown.trail) == (person, ())
        assert shown.photo


def test_a_hit_is_enlarged_if_it_is_still_there(preparation: Preparation, asked: Request) -> None:
    answers = searched(preparation, asked, Which.EVERY_FACE).answers
    hit = answers[1].hits[0]
    assert hit_in(answers, hit.photo_id, 1) == (answers[1], hit)
    assert hit_in(answers, hit.photo_id, 2) is hit_in(answers, "../x", 1) is hit_in((), hit.photo_id, 0) is None
    html = enlarged(preparation, answers[1], hit, 1)
    assert "class='box'" in html
    assert f"data-answer='1' data-event='expand' data-photo='{hit.photo_id}'>Why this match?" in html


def test_what_should_not_happen_is_no_sentence() -> None:
    assert attempted(lambda: "done", str.upper) == "done"
    with pytest.raises(ZeroDivisionError):
        attempted(lambda: str(1 / 0), str.upper)


def test_a_photo_of_the_gallery_that_is_gone_is_said(preparation: Preparation, tmp_path: Path, asked: Request) -> None:
    (tmp_path / "photos" / "Ada" / "0.png").unlink()
    said = example(preparation, asked).sentence
    assert "cannot be read any more" in said
    assert str(tmp_path) not in said
