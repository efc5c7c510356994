"""The limit beyond which results turn grey, as a visitor moves it; and that nothing is searched for that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.recipes import RECIPES
from pipeline.galleries.preparation import Preparation
from pipeline.page.presenter import FARTHEST
from pipeline.search.calibration import OWN, write_calibrations
from pipeline.search.searcher import Searcher
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, Serve
from tests.e2e.test_explore import fits
from tests.e2e.test_page import captions, choose_model, upload, wait_for_answer
from tests.fakes import draw, known, tiny_gallery

# Of strangers, 1 % are within 0.2 of some of the gallery's 24 faces, 10 % within 0.5, and 90 % within 1.4.
DISTANCES = (0.2, 0.5, 1.4)


CUT_OFF = """() => {
  for (const word of document.querySelectorAll('#results .word')) word.textContent = 'very likely';  // the longest
  return [...document.querySelectorAll('#results .far')].filter((line) => line.scrollWidth > line.clientWidth).length;
}"""


def calibrated(folder: Path, recipes: tuple[tuple[str, str], ...]) -> Preparation:
    """The tiny world, with what distances mean known for these (recipe, network)."""
    gallery = tiny_gallery(folder)
    calibrations = [known(recipe, f"tiny-{network}", DISTANCES) for recipe, network in recipes]
    gallery.index_root.mkdir()
    write_calibrations(gallery.index_root / OWN, calibrations)
    preparation = Preparation(gallery)
    preparation.start(RECIPES)
    preparation.wait()
    return preparation


@pytest.fixture(params=["desktop", "phone"])
def page(request: pytest.FixtureRequest, tmp_path: Path, serve: Serve, browse: Browse) -> Page:
    preparation = calibrated(tmp_path, (("mtcnn-facenet", "facenet"), ("mtcnn-reid", "reid")))
    page = browse(serve(preparation), viewport=DESKTOP if request.param == "desktop" else PHONE)
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="Options").click()
    expect_grey(page, 0.5)  # the limit that the answer brought; before that, it would replace the visitor's
    return page


def set_limit(page: Page, distance: str) -> None:
    """Sets it, and waits until the page has taken it: as many results may be beyond it as beyond the one before."""
    note = page.locator("#limit-note").inner_text()
    number = page.locator("#limit input[type=number]")
    number.fill(distance)
    number.press("Enter")
    page.wait_for_function("note => document.querySelector('#limit-note').innerText !== note", arg=note)


def expect_grey(page: Page, limit: float) -> None:
    """Waits until exactly the results beyond the limit are dimmed, a line divides them, and all are still there."""
    distances = [float(distance) for _, distance in captions(page)]
    grey = sum(distance > limit for distance in distances)
    page.wait_for_function(f"document.querySelectorAll('#results .alike').length === {grey}")
    assert len(distances) == len(captions(page)) == 20
    marked = page.locator("#results .tile").evaluate_all("tiles => tiles.map(tile => tile.matches('.alike'))")
    assert marked == [distance > limit for distance in distances]
    assert page.locator("#results .first .from").all_inner_texts() == ["only alike from here"] * bool(grey)
    page.locator("#limit-note", has_text=re.compile(rf"this near; {grey} of 20 results (is|are) farther\.")).wait_for()


def test_results_beyond_the_limit_turn_grey(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.locator("#limit input[type=number]").input_value() == "0.5"
    assert "10 % of searches for people who are not in this gallery" in page.locator("#limit-note").inner_text()
    styles = page.locator("#results .alike img").first.evaluate(
        "image => [getComputedStyle(image).filter, getComputedStyle(image).opacity]"
    )
    assert styles == ["none", "0.8"], "dimmer, and in colour"

    def searching(*_: object, **__: object) -> None:
        raise AssertionError("a limit searches nothing")

    monkeypatch.setattr(Searcher, "answer", searching)
    set_limit(page, "1.4")
    expect_grey(page, 1.4)
    assert "90 % of searches" in page.locator("#limit-note").inner_text()
    set_limit(page, "0.1")
    expect_grey(page, 0.1)
    assert "1 % of searches" in page.locator("#limit-note").inner_text()
    set_limit(page, "9")
    expect_grey(page, FARTHEST)
    assert page.locator("#limit input[type=number]").input_value() == str(FARTHEST)
    set_limit(page, "-1")
    expect_grey(page, 0.0)
    page.get_by_label("Group by person").check()
    page.locator("#results h3").first.wait_for()
    assert page.locator("#results .alike").count() >= 16
    assert fits(page)
    set_limit(page, "1.4")
    page.locator("#results .word").first.wait_for()
    assert page.evaluate(CUT_OFF) == 0


def test_the_limit_is_moved_by_keyboard(page: Page) -> None:
    slider = page.locator("#limit input[type=range]")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.querySelector('#limit input[type=number]').value === '0.45'")
    expect_grey(page, 0.45)
    assert slider.evaluate("slider => slider === document.activeElement")
    assert slider.get_attribute("aria-label").endswith("Only look alike, farther than")


def test_a_limit_holds_for_the_next_photo_and_not_for_another_model(page: Page, tmp_path: Path) -> None:
    set_limit(page, "0.3")
    expect_grey(page, 0.3)
    page.locator("#examples button", has_text="Elif").click()
    wait_for_answer(page, "Elif")
    expect_grey(page, 0.3)
    assert page.locator("#limit input[type=number]").input_value() == "0.3"
    choose_model(page, "Compact")
    page.locator("#note", has_text="small network on the face").wait_for()
    page.wait_for_function("document.querySelector('#limit input[type=number]').value === '0.5'")
    expect_grey(page, 0.5)
    upload(page, draw(), tmp_path / "nobody.png")
    page.locator("#sentence", has_text="No face was found").wait_for()
    assert not page.locator("#limit").is_visible()
    page.locator("#whole").click()
    page.locator("#limit-note", has_text="only measured on faces, not on whole photos").wait_for()
    assert not page.locator("#limit").is_visible()
    assert page.locator("#results .alike").count() == 0


def test_without_a_calibration_there_is_none(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    page = browse(serve(calibrated(tmp_path, ())))
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="Options").click()
    page.locator("#limit-note", has_text="No limit to set: distances were not measured for this model here.").wait_for()
    assert not page.locator("#limit").is_visible()
    assert page.locator("#results .alike").count() == 0
