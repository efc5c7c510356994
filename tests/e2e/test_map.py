"""The tab "Map" as a visitor uses it: with a mouse, by touch and by keyboard, on a desktop and on a phone."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import requests

from pipeline.embeddings import map as gallery_map
from pipeline.embeddings.map import FACTS, POINTS, GalleryMap, open_map
from pipeline.embeddings.store import Embeddings
from pipeline.galleries.galleries import MAIN
from pipeline.galleries.preparation import Preparation
from pipeline.page.tabs import map as tab
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, Serve
from tests.e2e.test_explore import fits
from tests.e2e.test_page import choose_model, upload, wait_for_answer
from tests.fakes import PEOPLE, PHOTOS_EACH, draw, portrait, tiny_gallery

RECIPE = "mtcnn-facenet"  # the page's default


def open_tab(page: Page) -> dict:
    """Opens the tab; what the map was told once it is drawn."""
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .map[data-drawn]").wait_for()
    return json.loads(page.locator("#map .map").get_attribute("data-map"))


def spot(page: Page, data: dict, row: int) -> tuple[float, float]:
    """Where on the screen a row's point is while the whole map is shown."""
    points = np.frombuffer(base64.b64decode(data["points"]), "<u2").reshape(-1, 2)
    box = page.locator("#map canvas").bounding_box()
    scale = (min(box["width"], box["height"]) - 24) / 65536
    x, y = ((points[row] - 32768.0) * scale).tolist()
    return box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y


def inked(page: Page) -> int:
    """How many pixels of the canvas are drawn on."""
    return int(
        page.evaluate(
            """() => { const canvas = document.querySelector('#map canvas');
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            return data.filter((_, i) => i % 4 === 3 && data[i] > 0).length; }"""
        )
    )


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """People stand side by side, their photos one below the other: where t-SNE puts them depends on the processor."""
    across_and_down = np.array([(row // PHOTOS_EACH, -(row % PHOTOS_EACH)) for row in range(24)], np.float32)
    monkeypatch.setattr(gallery_map, "_layout", lambda _: across_and_down)


@pytest.fixture(params=["desktop", "phone"])
def page(
    request: pytest.FixtureRequest, side_by_side: None, tiny_page: tuple[Preparation, str], browse: Browse
) -> Page:
    page = browse(tiny_page[1], viewport=DESKTOP if request.param == "desktop" else PHONE)
    wait_for_answer(page, "Ada")
    return page


def test_the_legend_says_who_of_equals_has_a_colour(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    tie, legend = "Among people with equally many photos the alphabet decides.", page.locator("#map .legend")
    open_tab(page)
    assert tie not in legend.inner_text(), "everyone has one"
    monkeypatch.setattr(gallery_map, "MAX_COLOURS", 4)
    page.get_by_role("tab", name="Search").click()
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .legend", has_text=f"everyone else is grey. {tie} Choose").wait_for()


def test_a_point_shows_its_photo_and_is_searched_with(
    page: Page, tiny_page: tuple[Preparation, str], tmp_path: Path
) -> None:
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    data = open_tab(page)
    ids = tiny_page[0].searcher(RECIPE).embeddings.photo_ids
    assert ids[data["hits"][0]["row"]] == "Dimitri/1.png"
    assert [query["name"] for query in data["queries"]] == ["Your photo"]
    assert fits(page)
    assert inked(page) > 200
    card = page.locator("#map .card")
    assert not card.is_visible()

    other = ids.index("Elif/2.png")
    page.mouse.move(*spot(page, data, other))
    card.locator("b", has_text="Elif").wait_for()
    page.wait_for_function("document.querySelector('#map .card img').naturalWidth === 200")
    assert card.locator("button").count() == 0, "pointed at, not chosen"
    page.mouse.click(*spot(page, data, other))
    card.get_by_role("button", name="Close").click()
    card.wait_for(state="hidden")
    page.mouse.click(*spot(page, data, other))
    card.get_by_role("button", name="Search with this photo").click()
    wait_for_answer(page, "Elif")
    page.locator("#back").click()
    wait_for_answer(page, "Dimitri")


def test_the_map_is_moved_and_zoomed(page: Page, tiny_page: tuple[Preparation, str]) -> None:
    data = open_tab(page)
    card = page.locator("#map .card")
    row = tiny_page[0].searcher(RECIPE).embeddings.photo_ids.index("Farid/0.png")
    x, y = spot(page, data, row)
    box = page.locator("#map canvas").bounding_box()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)  # about the pointer, below which the point stays
    page.mouse.move(x + 1, y)
    card.locator("b", has_text="Farid").wait_for()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5)
    page.get_by_role("button", name="Whole map").click()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 30, middle[1] - 20, steps=6)
    page.mouse.up()
    assert not card.is_visible(), "to drag is not to choose"
    # Of the way dragged the first pixels decide that it is a drag.
    page.mouse.move(x - 30, y - 20)
    card.locator("b", has_text="Farid").wait_for()
    page.get_by_role("button", name="Your photo").click()
    page.mouse.move(*middle)
    card.locator("b", has_text="Ada").wait_for()
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 300)
    assert page.evaluate("scrollY") == before, "the wheel zooms, the page stays"


def test_the_keyboard_goes_from_photo_to_photo(page: Page) -> None:
    open_tab(page)
    card = page.locator("#map .card")

    def pressed(key: str) -> tuple[str, str]:
        """Who is shown then, and the picture."""
        page.keyboard.press(key)
        page.wait_for_function("document.querySelector('#map .card img').naturalWidth === 200")
        return card.locator("b").inner_text(), card.locator("img").get_attribute("src")

    page.locator("#map canvas").focus()
    first = pressed("ArrowRight")
    assert first[0] == "Ada"
    assert "result 1, distance 0.00" in card.inner_text()
    to_the_right = [pressed("ArrowRight") for _ in PEOPLE]
    assert [who for who, _ in to_the_right] == [*PEOPLE[1:], PEOPLE[-1]], "from the last there is none to go to"
    assert [pressed("ArrowLeft") for _ in PEOPLE] == [*to_the_right[-3::-1], first, first]
    rows = [pressed(key) for key in ("ArrowUp", "ArrowDown") for _ in range(PHOTOS_EACH)]
    assert {who for who, _ in rows} == {"Ada"}
    assert len(set(rows)) == PHOTOS_EACH
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    page.keyboard.press("+")
    page.keyboard.press("0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # on the button, which has the focus
    wait_for_answer(page, "Ada")
    page.locator("#back").wait_for()


def test_a_person_is_picked_out(page: Page, tiny_page: tuple[Preparation, str]) -> None:
    data = open_tab(page)
    elif_, ada = (page.locator("#map .legend button", has_text=name) for name in ("Elif", "Ada"))
    elif_.click()
    assert (elif_.get_attribute("aria-pressed"), ada.get_attribute("aria-pressed")) == ("true", "false")
    ids = tiny_page[0].searcher(RECIPE).embeddings.photo_ids
    page.mouse.move(*spot(page, data, ids.index("Ada/0.png")))
    page.mouse.move(*spot(page, data, ids.index("Elif/0.png")))
    page.locator("#map .card b", has_text="Elif").wait_for()
    page.mouse.move(*spot(page, data, ids.index("Ada/0.png")))
    assert page.locator("#map .card b", has_text="Ada").count() == 0, "the others cannot be pointed at meanwhile"
    elif_.click()
    assert elif_.get_attribute("aria-pressed") == "false"
    page.mouse.move(*spot(page, data, ids.index("Ada/0.png")))
    page.locator("#map .card b", has_text="Ada").wait_for()


def test_the_map_is_of_what_is_chosen_and_drawn_anew_each_time(page: Page, tmp_path: Path) -> None:
    assert open_tab(page)["recipe"] == RECIPE
    page.get_by_role("tab", name="Search").click()
    choose_model(page, "Compact")
    page.locator("#note", has_text="small network on the face").wait_for()
    wait_for_answer(page, "Ada")
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .note", has_text="the model Compact").wait_for()
    page.locator("#map .map[data-drawn]").wait_for()
    assert inked(page) > 200
    page.get_by_role("tab", name="Search").click()
    upload(page, draw(), tmp_path / "nobody.png")
    page.locator("#sentence", has_text="No face was found").wait_for()
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .legend", has_text="Search with a photo to see where it stands").wait_for()


def test_it_goes_with_the_theme(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(f"{tiny_page[1]}?__theme=light")
    wait_for_answer(page, "Ada")
    open_tab(page)
    colour = """() => { const canvas = document.querySelector('#map canvas');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let darkest = 255, lightest = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) {
        const each = (data[i] + data[i + 1] + data[i + 2]) / 3;
        [darkest, lightest] = [Math.min(darkest, each), Math.max(lightest, each)];
      } return [darkest, lightest]; }"""
    assert page.evaluate(colour)[0] < 60, "the cross is dark on light"
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function(f"({colour})()[1] > 220")


def test_what_is_stored_is_used_and_what_is_damaged_drawn_anew(
    tiny_page: tuple[Preparation, str], browse: Browse
) -> None:
    gallery = tiny_page[0].searcher(RECIPE).embeddings
    before = open_map(gallery).points
    (gallery.folder / POINTS).write_bytes(b"damaged")
    (gallery.folder / FACTS).unlink()
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    open_tab(page)
    assert np.array_equal(np.load(gallery.folder / POINTS, allow_pickle=False), before)


def test_the_time_left_is_counted_down(
    tiny_page: tuple[Preparation, str], browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_page[0].searcher(RECIPE).embeddings.folder / FACTS).unlink()
    may_end = threading.Event()

    def slowly(embeddings: Embeddings) -> GalleryMap:
        may_end.wait(20)
        return open_map(embeddings)

    monkeypatch.setattr(tab, "open_map", slowly)
    monkeypatch.setattr(tab, "SECONDS_A_PHOTO", 1)
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.get_by_role("tab", name="Map").click()
    page.locator("#map [data-left]", has_text="about 23 s left").wait_for()
    page.locator("#map [data-left]", has_text="about 21 s left").wait_for()
    may_end.set()
    page.locator("#map .map[data-drawn]").wait_for()


@pytest.mark.parametrize("count", [1, 2])
def test_a_gallery_of_hardly_any_photos(tmp_path: Path, serve: Serve, browse: Browse, count: int) -> None:
    folder = tmp_path / "photos" / "Ada"
    folder.mkdir(parents=True)
    for number in range(count):
        portrait(0, number).save(folder / f"{number}.png")
    preparation = Preparation(tiny_gallery(tmp_path))
    preparation.start((RECIPE,))
    preparation.wait()
    page = browse(serve(preparation))
    wait_for_answer(page, "Ada")
    data = open_tab(page)
    assert "every point is grey" in page.locator("#map .legend").inner_text()
    page.mouse.move(*spot(page, data, count - 1))
    page.locator("#map .card b", has_text="Ada").wait_for()


def test_a_gallery_that_nothing_can_be_found_in(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    (tmp_path / "photos").mkdir()
    draw().save(tmp_path / "photos" / "nobody.png")
    preparation = Preparation(tiny_gallery(tmp_path))
    preparation.start((RECIPE,))
    preparation.wait()
    page = browse(serve(preparation))
    page.locator("#gallery", has_text="photo").wait_for()
    page.get_by_role("tab", name="Map").click()
    page.locator("#map", has_text="There is no photo in this gallery that this model could place").wait_for()


# What the server tells of a point


def asked(url: str, data: object) -> requests.Response:
    """What a browser asks, and anybody else may."""
    config = requests.get(f"{url}config", timeout=10).json()
    (component,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "map"]
    body = {"session_hash": "x", "component_id": component, "fn_name": "map_point", "data": data}
    return requests.post(f"{url}gradio_api/component_server", json=body, timeout=10)


def test_only_points_of_what_was_drawn_are_told(tiny_page: tuple[Preparation, str]) -> None:
    preparation, url = tiny_page
    gallery = preparation.searcher(RECIPE).embeddings
    fingerprint = gallery.manifest["fingerprint"]
    told = asked(url, [MAIN, RECIPE, fingerprint, 5]).json()
    assert told["photo"] == gallery.photo_ids[5]
    assert requests.get(f"{url}{told['picture']}", timeout=10).headers["content-type"] == "image/jpeg"
    for data in (
        [MAIN, RECIPE, "another", 5],
        [MAIN, RECIPE, fingerprint, 24],
        [MAIN, RECIPE, fingerprint, -1],
        [MAIN, RECIPE, fingerprint, "5"],
        [MAIN, "vgg", fingerprint, 5],
        [MAIN, [], fingerprint, 5],
        ["own-nobodys", RECIPE, fingerprint, 5],
        [MAIN],
        "x",
        None,
        {},
    ):
        answer = asked(url, data)
        assert answer.status_code == 200, data
        assert set(answer.json()) == {"problem"}, data
