"""The page as a visitor uses it, in the tiny world: every state of it, on a desktop and on a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests
from gradio import networking
from PIL import Image
from pillow_heif import register_heif_opener

from pipeline.core.recipes import RECIPES
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import PHONE, Browse, Locator, Page, Serve, held_back
from tests.fakes import BROKEN, PEOPLE, TinyEncoders, draw, portrait, tiny_gallery

CAPTION = re.compile(r"^(\d+) · (.+), distance (\d\.\d\d)(, the same photo|, (very )?likely|, un(clear|likely))?$")


def captions(page: Page) -> list[tuple[str, str]]:
    """(person, distance) of every result, in order; each is checked for its form, its rank, and what is seen of it."""
    tiles = page.locator("#results .tile")
    told = tiles.evaluate_all("all => all.map(tile => [tile.querySelector('img').alt, tile.innerText])")
    found = [CAPTION.match(alt) for alt, _ in told]
    assert all(found), told
    assert [int(match[1]) for match in found] == list(range(1, len(found) + 1))
    assert all(match[2] in seen and match[3] in seen for match, (_, seen) in zip(found, told, strict=True)), told
    return [(match[2], match[3]) for match in found]


def choose_model(page: Page, label: str) -> None:
    """Chooses a model of those in the fold."""
    if not page.locator("#model").is_visible():
        page.get_by_role("button", name="More models").click()
    page.locator("#model").get_by_label(re.compile(rf"^\s*{re.escape(label)} · ")).check()


def wait_for_answer(page: Page, person: str) -> None:
    """Waits until the first result is this person, of the photo uploaded last, and the page would search anew."""
    page.wait_for_function(
        "(person) => new RegExp(`^1 · ${person}, `).test(document.querySelector('#results .tile:not(.old) img')?.alt)",
        arg=person,
    )
    # Shown is not done: until the event has ended too, Gradio passes over the next of its kind.
    page.wait_for_function("!document.querySelector('#results .pending')")


def upload(page: Page, photo: Image.Image, path: Path) -> None:
    """Saves the photo and gives it to the page as a visitor's file."""
    photo.save(path)
    upload_file(page, path)


def upload_file(page: Page, path: Path) -> None:
    """Chooses a file by the button below the photo, whether or not there is a photo already."""
    page.locator("#results .tile").evaluate_all("all => all.forEach(tile => tile.classList.add('old'))")
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Upload file").click()
    chooser.value.set_files(path)


def drop_at(page: Page, place: Locator, *paths: Path) -> None:
    """Drops files and folders there as the system's file manager does."""
    box = place.bounding_box()
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **point, "data": data})


def test_an_index_that_cannot_be_used_says_why_and_cannot_be_clicked(
    tiny_page: tuple[Preparation, str], browse: Browse
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="Options").click()
    unusable = page.locator("#index label", has_text="milvus")
    assert unusable.inner_text() == "milvus (needs 'pymilvus[milvus-lite]')"
    assert unusable.evaluate("label => getComputedStyle(label).pointerEvents") == "none"
    page.locator("#index label", has_text="annoy").click()
    page.locator("#sentence", has_text="searching by annoy").wait_for(state="attached")


def test_the_page_opens_with_an_answer(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    assert len(captions(page)) == 20
    assert captions(page)[0] == ("Ada", "0.00")
    assert "same photo" in page.locator("#results .tile").first.inner_text()
    assert "4 of 4 photos found, your photo one of them" in page.locator("#sentence").inner_text()
    page.locator("#faces .chosen img").wait_for()
    page.locator("#frames .frame.chosen").wait_for()
    assert page.locator("#header .state").count() == 0
    page.locator("#gallery", has_text="photos · 26 photos").wait_for()
    assert page.locator("#role label").all_inner_texts() == ["Baseline", "Improved"]


def test_a_visitor_uploads_a_photo_and_flips_the_toggle(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    improved = captions(page)
    assert len(improved) == 20
    assert {person for person, _ in improved[:4]} == {"Dimitri"}
    crop = page.locator("#faces .chosen img").get_attribute("src")

    page.get_by_label("Baseline", exact=True).check()
    page.locator("#note", has_text="whole photo").wait_for()
    page.locator("#sentence", has_text=re.compile("Improved finds 4 of 4, Baseline . of 4.")).wait_for()
    assert captions(page) != improved
    assert page.locator("#faces .chosen img").get_attribute("src") != crop

    page.get_by_label("Improved", exact=True).check()
    page.locator("#note", has_text="FaceNet").wait_for()
    assert captions(page) == improved


def test_the_options_take_effect(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("annoy").check()
    page.locator("#sentence", has_text="searching by annoy").wait_for(state="attached")
    number = page.locator("#k input[type=number]")
    number.fill("5")
    number.press("Enter")
    page.wait_for_function("document.querySelectorAll('#results .tile').length === 5")
    assert len(captions(page)) == 5
    for typed, meant, shown in (("1000", "100", 24), ("3.7", "4", 4), ("-5", "1", 1), ("", "20", 20)):
        number.fill(typed)
        number.press("Enter")
        page.wait_for_function(f"document.querySelectorAll('#results .tile').length === {shown}")
        page.wait_for_url(f"**&k={meant}")
        assert number.input_value() == meant


def test_an_example_is_searched_by_a_click(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.locator("#examples button", has_text="Elif").click()
    wait_for_answer(page, "Elif")


def test_no_face_is_said_and_the_whole_photo_can_be_searched(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    assert not page.locator("#whole").is_visible()
    upload(page, draw(), tmp_path / "nobody.png")
    page.locator("#sentence", has_text="No face was found").wait_for()
    assert captions(page) == []
    page.locator("#whole").click()
    page.locator("#results .tile").nth(19).wait_for()
    assert len(captions(page)) == 20
    page.locator("#sentence", has_text="Most similar").wait_for()
    assert not page.locator("#whole").is_visible()


def test_several_faces_are_framed_and_the_largest_is_searched(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    two = draw((5, 0, (10, 20, 40)), (1, 0, (80, 20, 60)), size=(160, 100))
    upload(page, two, tmp_path / "two.png")
    wait_for_answer(page, "Bruno")
    assert page.locator("#frames .frame").count() == 2
    assert page.locator("#faces .chosen img").get_attribute("alt") == "Face 2: what the network sees of your photo"


def test_a_file_that_is_no_photo_gets_one_sentence(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    upload_file(page, tmp_path / "photos" / BROKEN)
    page.locator("#sentence", has_text="cannot be read as a photo").wait_for()
    page.locator("#photo img").wait_for(state="hidden")  # the browser would show it as a broken picture
    upload(page, portrait(2), tmp_path / "next.png")
    wait_for_answer(page, "Clara")
    page.locator("#photo img").wait_for()


def test_the_page_waits_for_its_gallery_and_answers_by_itself(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    gallery = tiny_gallery(tmp_path)
    may_go_on = held_back(gallery)
    preparation = Preparation(gallery)
    preparation.start(RECIPES)
    page = browse(serve(preparation))
    page.locator("#header", has_text="searched as soon as it is").wait_for()
    assert captions(page) == []
    may_go_on.set()
    wait_for_answer(page, "Ada")
    page.locator("#gallery", has_text="photos · 26 photos").wait_for()


def test_an_unavailable_model_says_why_and_the_others_work(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    preparation = Preparation(tiny_gallery(tmp_path, {"mtcnn-facenet": "its host cannot be reached."}))
    preparation.start(RECIPES)
    preparation.wait()
    page = browse(serve(preparation))
    wait_for_answer(page, "Ada")
    page.locator("#note", has_text="FaceNet is not here (see More models); Compact stands in.").wait_for()
    page.get_by_role("button", name="More models").click()
    page.locator("#missing li", has_text=re.compile("^Improved · its host cannot be reached")).wait_for()
    assert page.locator("#model [value=mtcnn-facenet]").count() == 0, "no choice that leads nowhere"
    choose_model(page, "Compact")
    wait_for_answer(page, "Ada")
    page.locator("#retry").wait_for()


def test_without_photos_the_page_says_so_and_retries(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    gallery = tiny_gallery(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    preparation = Preparation(gallery)
    preparation.start(RECIPES)
    preparation.wait()
    page = browse(serve(preparation))
    page.locator("#header", has_text="does not exist").wait_for()
    (tmp_path / "elsewhere").rename(tmp_path / "photos")
    page.locator("#retry").click()
    wait_for_answer(page, "Ada")


def test_custom_weights_are_labelled(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    gallery = tiny_gallery(tmp_path)
    gallery.encoders = TinyEncoders(custom=True)
    preparation = Preparation(gallery)
    preparation.start(RECIPES)
    preparation.wait()
    page = browse(serve(preparation))
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="More models").click()
    assert page.get_by_label("Improved (custom weights) · ").is_checked()


def test_on_a_phone_nothing_scrolls_sideways(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1], viewport=PHONE)
    wait_for_answer(page, "Ada")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    lefts = page.locator("#results .tile").evaluate_all(
        "items => [...new Set(items.map(item => Math.round(item.getBoundingClientRect().left)))]"
    )
    assert len(lefts) == 3


def test_a_busy_machine_is_no_reason_to_give_up(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networking, "url_ok", lambda url: False)  # what Gradio finds where the first answer takes 3 s
    assert requests.get(serve(Preparation(tiny_gallery(tmp_path))), timeout=60).ok


def test_of_the_index_only_pictures_are_served(tiny_page: tuple[Preparation, str]) -> None:
    preparation, url = tiny_page
    gallery = preparation.gallery
    picture, folder = gallery.pictures.thumbnail("Ada/0.png"), gallery.folder("mtcnn-facenet")
    for path, status in ((picture, 200), (folder / "vectors.npy", 403), (folder / "photos.json", 403)):
        assert path.is_file()
        assert requests.get(f"{url}gradio_api/file={path}", timeout=10).status_code == status


def test_the_api_answers_like_the_command_line(
    tiny_page: tuple[Preparation, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gradio_client import Client, handle_file

    from pipeline.__main__ import main

    preparation, url = tiny_page
    portrait(4, 2).save(tmp_path / "query.png")
    client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
    boxed, crop, answer = client.predict(
        handle_file(tmp_path / "query.png"), "mtcnn-facenet", "exact", 7, api_name="/search"
    )
    assert Path(boxed).is_file()
    assert Path(crop).is_file()
    assert [hit["person"] for hit in answer["hits"]][:4] == [PEOPLE[4]] * 4
    assert all(hit.pop("picture") for hit in answer["hits"])

    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: preparation.gallery)
    query = str(tmp_path / "query.png")
    assert main(["search", query, "--recipe", "mtcnn-facenet", "--index", "exact", "--k", "7", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("timings_ms").keys() == answer.pop("timings_ms").keys()
    assert printed == answer


@pytest.mark.parametrize(
    ("recipe", "index", "k", "sentence"),
    [
        ("mtcnn-facenet", "exact", 0, "1 to 100"),
        ("mtcnn-facenet", "exact", 2.5, "whole number"),
        ("mtcnn-facenet", "exact", "20; drop", "whole number"),
        ("nonsense", "exact", 20, "no recipe 'nonsense'; choose one of "),
        ("mtcnn-facenet", "nonsense", 20, "no index 'nonsense'; choose one of "),
    ],
)
def test_the_api_refuses_what_cannot_be(
    tiny_page: tuple[Preparation, str], tmp_path: Path, recipe: str, index: str, k: object, sentence: str
) -> None:
    from gradio_client import Client, exceptions, handle_file

    portrait(4, 2).save(tmp_path / "query.png")
    client = Client(tiny_page[1], verbose=False)
    with pytest.raises((exceptions.AppError, ValueError), match=sentence):
        client.predict(handle_file(tmp_path / "query.png"), recipe, index, k, api_name="/search")


@pytest.mark.parametrize("dropped", [False, True])
def test_a_phones_photo_whose_ending_browsers_do_not_know(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path, dropped: bool
) -> None:
    register_heif_opener()
    portrait(3, 1).save(tmp_path / "IMG_0001.HEIC", quality=95)
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    if dropped:
        page.locator("#photo button[aria-label='Remove Image']").click()
        page.locator("#results .tile").first.wait_for(state="detached")
        drop_at(page, page.locator("#photo"), tmp_path / "IMG_0001.HEIC")
    else:
        upload_file(page, tmp_path / "IMG_0001.HEIC")
    wait_for_answer(page, "Dimitri")
