"""Several faces, exploring an answer, links and downloads, as a visitor does it; and hints about the photo."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.galleries.preparation import Preparation
from pipeline.page.tabs import preparing
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page
from tests.e2e.test_page import captions, choose_model, upload, upload_file, wait_for_answer
from tests.fakes import BROKEN, draw, portrait

TWO = draw((5, 0, (10, 20, 40)), (1, 0, (80, 20, 60)), size=(160, 100))


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.fixture(params=["desktop", "phone"])
def page(request: pytest.FixtureRequest, tiny_page: tuple[Preparation, str], browse: Browse) -> Page:
    page = browse(tiny_page[1], viewport=DESKTOP if request.param == "desktop" else PHONE)
    wait_for_answer(page, "Ada")
    return page


def test_another_face_is_chosen_by_a_click_by_keyboard_and_all_at_once(page: Page, tmp_path: Path) -> None:
    assert page.locator("#faces button").count() == 0
    upload(page, TWO, tmp_path / "two.png")
    wait_for_answer(page, "Bruno")
    page.get_by_label("Face 1 in the photo").click()
    wait_for_answer(page, "Farid")
    assert page.locator("#frames .chosen").get_attribute("aria-label") == "Face 1 in the photo"
    page.get_by_label("Face 2: search with it").press("Enter")
    wait_for_answer(page, "Bruno")
    page.keyboard.press("Tab")  # from where the other face's picture was
    page.get_by_label("Face 1: search with it").press("Space")
    wait_for_answer(page, "Farid")
    choose_model(page, "Compact")
    page.locator("#note", has_text="small network on the face").wait_for()
    wait_for_answer(page, "Farid")  # another model keeps the face

    page.get_by_role("button", name="search for all of them").click()
    page.locator("#results h3", has_text="Face 2").wait_for()
    rows = page.locator("#results section")
    assert [rows.nth(n).locator(".who").first.inner_text() for n in range(2)] == ["Farid", "Bruno"]
    assert fits(page)
    upload(page, portrait(3), tmp_path / "one.png")
    wait_for_answer(page, "Dimitri")
    assert page.locator("#faces button").count() == 0


def test_a_result_is_searched_with_and_there_is_a_way_back(page: Page, tmp_path: Path) -> None:
    upload(page, TWO, tmp_path / "two.png")
    wait_for_answer(page, "Bruno")
    page.get_by_label("Face 1: search with it").click()
    wait_for_answer(page, "Farid")
    assert not page.locator("#back").is_visible()
    page.locator("#results .pick:has(img[alt*='Elif'])").first.press("Enter")
    wait_for_answer(page, "Elif")
    assert captions(page)[0] == ("Elif", "0.00")
    page.locator("#results .pick:has(img[alt*='Clara'])").first.click()
    wait_for_answer(page, "Clara")
    page.locator("#back").click()
    wait_for_answer(page, "Elif")
    page.locator("#back").click()
    wait_for_answer(page, "Farid")
    assert page.locator("#frames .chosen").get_attribute("aria-label") == "Face 1 in the photo"
    assert not page.locator("#back").is_visible()
    # What the visitor gives is still judged in our words after all that.
    upload_file(page, tmp_path / "photos" / BROKEN)
    page.locator("#sentence", has_text="cannot be read as a photo").wait_for()


def test_a_result_is_enlarged_with_its_face_framed(page: Page) -> None:
    page.get_by_role("button", name="Enlarge 2 · Ada").click()
    photo = page.locator("#enlarged img")
    photo.wait_for()
    page.wait_for_function("document.querySelector('#enlarged img').naturalWidth === 96")
    shown, box = photo.bounding_box(), page.locator("#enlarged .box").bounding_box()
    assert shown["width"] > 200
    # The second photo's face is 40 px of 96, 26 from the left.
    assert box["width"] / shown["width"] == pytest.approx(40 / 96, abs=0.02)
    assert (box["x"] - shown["x"]) / shown["width"] == pytest.approx(26 / 96, abs=0.02)
    assert fits(page)
    page.get_by_role("button", name="Close").click()
    photo.wait_for(state="detached")
    page.get_by_role("button", name="Enlarge 5 · Bruno").click()
    page.locator("#enlarged").get_by_role("button", name="Search with this photo").click()
    wait_for_answer(page, "Bruno")
    photo.wait_for(state="detached")


def test_results_are_grouped_by_person_and_shown_as_faces(page: Page) -> None:
    first = page.locator("#results .pick img").first
    whole = first.get_attribute("src")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Faces", exact=True).check()
    page.locator(f"#results .pick img:not([src='{whole}'])").first.wait_for()
    page.wait_for_function("document.querySelector('#results .pick img').naturalWidth === 160")
    page.get_by_label("Group by person").check()
    page.locator("#results h3").first.wait_for()
    assert page.locator("#results h3").first.inner_text() == "Ada"
    assert "4 photos, the nearest at 0.00" in page.locator("#results section").first.inner_text()
    assert fits(page)
    # Both choices hold for the next search.
    page.locator("#examples button", has_text="Elif").click()
    page.locator("#results section:first-child h3", has_text="Elif").wait_for()
    page.get_by_label("Group by person").uncheck()
    page.locator("#results h3").first.wait_for(state="detached")
    assert len(captions(page)) == 20


def test_results_are_downloaded(tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    shown = captions(page)
    content = {}
    for button, name in (("CSV", "results.csv"), ("JSON", "results.json"), ("Pictures", "results.png")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=True).click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        content[name] = (tmp_path / name).read_bytes()
    assert content["results.csv"].startswith(b"\xef\xbb\xbf"), "by which Excel knows that it is UTF-8"
    rows = list(csv.DictReader(io.StringIO(content["results.csv"].decode("utf-8-sig"))))
    assert [(row["person"], f"{float(row['distance']):.2f}") for row in rows] == shown
    hits = json.loads(content["results.json"])["hits"]
    assert [(hit["person"], f"{hit['distance']:.2f}") for hit in hits] == shown
    sheet = np.asarray(Image.open(io.BytesIO(content["results.png"])).convert("RGB")).astype(int)
    assert (sheet.max(axis=2) - sheet.min(axis=2) > 100).mean() > 0.05, "the tiny world's faces are squares of colour"


def seven_by_annoy(page: Page) -> None:
    """Waits for seven results, by that index."""
    page.wait_for_function("document.querySelectorAll('#results .tile').length === 7")
    page.locator("#sentence", has_text="searching by annoy").wait_for(state="attached")


def test_a_link_restores_the_choices(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    url = tiny_page[1]
    page = browse(url)
    wait_for_answer(page, "Ada")
    choose_model(page, "Compact")
    page.locator("#note", has_text="small network on the face").wait_for()
    page.wait_for_url("**/?gallery=main&recipe=mtcnn-reid&index=exact&k=20")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("annoy").check()
    number = page.locator("#k input[type=number]")
    number.fill("7")
    number.press("Enter")
    page.wait_for_function("document.querySelectorAll('#results .tile').length === 7")
    link = page.get_by_role("link", name="Link to these choices").get_attribute("href")
    assert link == "?gallery=main&recipe=mtcnn-reid&index=annoy&k=7"
    page.goto(url + link)
    seven_by_annoy(page)
    page.get_by_role("button", name="More models").click()
    assert page.locator("#model [value=mtcnn-reid]").is_checked()
    page.goto(f"{url}?recipe=<b>&index=faiss&k=1000")
    page.locator("#results .tile").nth(19).wait_for()
    assert page.locator("#role").get_by_label("Improved").is_checked()


def test_a_link_holds_where_the_server_is_slow(
    tiny_page: tuple[Preparation, str], browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*asked: Any) -> Any:  # noqa: ANN401
        time.sleep(2.5 * preparing.POLL_SECONDS)
        return restored(*asked)

    restored = preparing.restored
    monkeypatch.setattr(preparing, "restored", slow)
    page = browse(f"{tiny_page[1]}?recipe=mtcnn-reid&index=annoy&k=7")
    seven_by_annoy(page)


def test_hints_tell_what_is_wrong_with_the_photo(page: Page, tmp_path: Path) -> None:
    assert "The face is small, 40 pixels" in page.locator("#hints").inner_text()
    upload(page, draw((1, 0, (30, 30, 120)), size=(180, 180)), tmp_path / "large.png")
    wait_for_answer(page, "Bruno")
    said = page.locator("#hints").inner_text()
    assert "blurred" in said, "a square of one colour has no edges"
    assert "small" not in said
    upload(page, draw(), tmp_path / "nobody.png")
    page.locator("#sentence", has_text="No face was found").wait_for()
    assert page.locator("#hints").inner_text().strip() == ""


def test_what_goes_wrong_with_a_result_is_said_in_a_sentence(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    (tmp_path / "photos" / "Ada" / "1.png").unlink()
    page.get_by_role("button", name="Enlarge 2 · Ada").click()
    page.get_by_text("cannot be read any more").wait_for()
    page.evaluate("document.querySelector('#results .pick').dataset.photo = '../x'")
    page.locator("#results .pick").first.click()
    page.get_by_text("There is no photo '../x' in this gallery.").wait_for()


def test_an_example_that_is_cleared_is_gone(page: Page) -> None:
    page.locator("#photo button[aria-label='Remove Image']").click()
    page.locator("#results .tile").first.wait_for(state="detached")
    choose_model(page, "Compact")
    page.locator("#note", has_text="small network on the face").wait_for()
    assert captions(page) == []
