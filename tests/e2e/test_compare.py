"""The tab "Compare" as a visitor sees it, and the endpoints for programs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import requests
from gradio_client import Client, handle_file
from PIL import Image

from pipeline.core.recipes import RECIPES
from pipeline.core.settings import VERSION
from pipeline.galleries.galleries import MAIN
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Serve
from tests.e2e.test_explore import TWO, fits
from tests.e2e.test_page import upload, wait_for_answer
from tests.fakes import portrait, tiny_gallery


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_both_models_side_by_side_and_others_by_ticking_them(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path, viewport: dict[str, int]
) -> None:
    page = browse(tiny_page[1], viewport=viewport)
    wait_for_answer(page, "Ada")
    upload(page, TWO, tmp_path / "two.png")
    wait_for_answer(page, "Bruno")
    page.get_by_label("Face 1: search with it").click()
    wait_for_answer(page, "Farid")
    page.get_by_role("tab", name="Compare").click()
    headings = page.locator("#compare h3")
    headings.nth(1).wait_for()
    assert re.fullmatch(r"Baseline: \d of 4 found", headings.first.inner_text())
    assert headings.nth(1).inner_text() == "Improved: 4 of 4 found"
    columns = page.locator("#compare section")
    assert [columns.nth(n).locator(".tile").count() for n in range(2)] == [20, 20]
    assert "photos only here" in columns.first.inner_text()
    tops = {round(columns.nth(n).bounding_box()["y"]) for n in range(2)}
    assert len(tops) == (1 if viewport is DESKTOP else 2), "side by side where there is room"
    lefts = columns.first.locator(".tile").evaluate_all(
        "all => new Set(all.map(tile => Math.round(tile.getBoundingClientRect().left))).size"
    )
    assert lefts == (5 if viewport is DESKTOP else 3)
    page.get_by_text("Photos in common", exact=True).click()
    assert page.locator("#compare tbody th").all_inner_texts() == ["Baseline", "Improved"]
    assert fits(page)
    page.locator("#compare-more").get_by_label("Compact", exact=True).check()
    headings.nth(2).wait_for()
    assert headings.nth(2).inner_text() == "Compact: 4 of 4 found"
    assert fits(page)
    compact = columns.nth(2)
    assert compact.locator("img").first.get_attribute("alt").startswith("1 · Farid, distance ")
    compact.locator(".pick:has(img[alt*='Elif'])").first.click()
    wait_for_answer(page, "Elif")
    page.locator("#back").wait_for()


def test_without_a_photo_the_tab_says_what_to_do(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.locator("#photo button[aria-label='Remove Image']").click()
    page.locator("#results .tile").first.wait_for(state="detached")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare", has_text="There is no photo yet").wait_for()


# For programs


@pytest.fixture
def client(tiny_page: tuple[Preparation, str], tmp_path: Path) -> Client:
    return Client(tiny_page[1], verbose=False, download_files=str(tmp_path / "downloads"))


def test_the_api_compares_like_the_single_searches(client: Client, tmp_path: Path) -> None:
    TWO.save(tmp_path / "two.png")
    photo = handle_file(tmp_path / "two.png")
    compared = client.predict(photo, "exact", 5, 1, api_name="/compare")
    assert [answer["recipe"] for answer in compared["answers"]] == list(RECIPES)
    assert compared["shared"]["mtcnn-reid"]["mtcnn-reid"] == 5
    for answer in compared["answers"]:
        *_, alone = client.predict(photo, answer["recipe"], "exact", 5, 1, api_name="/search")
        hits = [{key: value for key, value in hit.items() if key != "picture"} for hit in alone["hits"]]
        assert (hits, alone["face"]) == (answer["hits"], answer["face"])
    *_, largest = client.predict(photo, "mtcnn-reid", "exact", 5, api_name="/search")
    of_compact = next(one for one in compared["answers"] if one["recipe"] == "mtcnn-reid")
    assert largest["face"] != of_compact["face"], "without a number the largest is taken"


def test_the_api_names_its_galleries_and_says_how_it_is(client: Client, tiny_page: tuple[Preparation, str]) -> None:
    (known,) = client.predict(api_name="/galleries")["galleries"]
    assert known["key"] == MAIN
    assert (known["gallery"], known["photos"], known["people"]) == (tiny_page[0].gallery.photos.name, 26, 6)
    assert [one["recipe"] for one in known["recipes"]] == list(RECIPES)
    by_name = {one["recipe"]: one for one in known["recipes"]}
    assert by_name["mtcnn-reid"] == {
        "recipe": "mtcnn-reid", "label": "Compact", "state": "ready", "reason": "", "photos": 24, "dim": 256,
        "indexes": by_name["mtcnn-reid"]["indexes"],
    }  # fmt: skip
    assert by_name["mtcnn-reid"]["indexes"]["exact"] == 1
    assert client.predict(api_name="/health") == {
        "status": "ok", "version": VERSION, "ready": {MAIN: tiny_page[0].ready()}, "building": {}, "degraded": {},
        "problem": "",
    }  # fmt: skip


def test_the_api_says_what_is_missing(tmp_path: Path, serve: Serve) -> None:
    gallery = tiny_gallery(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    preparation = Preparation(gallery)
    preparation.start(RECIPES)
    preparation.wait()
    client = Client(serve(preparation), verbose=False)
    told = client.predict(api_name="/health")
    assert (told["status"], told["ready"]) == ("unavailable", {})
    assert "does not exist" in told["problem"]
    (known,) = client.predict(api_name="/galleries")["galleries"]
    assert (known["gallery"], known["photos"]) == (None, 0)
    assert {one["state"] for one in known["recipes"]} == {"unavailable"}


def test_each_hit_has_the_address_of_its_picture(client: Client, tmp_path: Path) -> None:
    portrait(4, 2).save(tmp_path / "one.png")
    boxed, crop, answer = client.predict(
        handle_file(tmp_path / "one.png"), "mtcnn-reid", "exact", 5, api_name="/search"
    )
    assert Image.open(boxed).size == portrait(4, 2).size
    assert Image.open(crop).size == (128, 128)
    assert len({hit["picture"] for hit in answer["hits"]}) == 5
    for hit in answer["hits"]:
        assert not hit["picture"].startswith(("/", "http")), "wherever the page itself is"
        reply = requests.get(f"{client.src}{hit['picture']}", timeout=10)
        assert Image.open(io.BytesIO(reply.content)).size == portrait(4, 2).size


def test_the_api_is_documented(client: Client) -> None:
    described = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    assert set(described) == {"/search", "/compare", "/explain", "/galleries", "/health"}
    assert all(endpoint["description"] for endpoint in described.values())
    names = [parameter["parameter_name"] for parameter in described["/search"]["parameters"]]
    assert names == ["photo", "recipe", "index", "k", "face", "key"]


def test_a_face_that_is_not_there_is_refused(client: Client, tmp_path: Path) -> None:
    from gradio_client import exceptions

    portrait(4, 2).save(tmp_path / "one.png")
    photo = handle_file(tmp_path / "one.png")
    with pytest.raises(exceptions.AppError, match="shows 1 face, so there is no face 2"):
        client.predict(photo, "mtcnn-reid", "exact", 5, 2, api_name="/search")
    with pytest.raises(exceptions.AppError, match="whole number"):
        client.predict(photo, "exact", 5, 1.5, api_name="/compare")
