"""Why this match, as a visitor asks for it below an enlarged result, and as a program does."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from gradio_client import Client, exceptions, handle_file
from PIL import Image

from pipeline.core.types import FloatArray
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, loaded
from tests.e2e.test_explore import TWO, fits
from tests.e2e.test_page import upload, wait_for_answer
from tests.fakes import draw, portrait

RED, GREEN = (255, 0, 0), (0, 255, 0)


def alts(page: Page) -> list[str]:
    """What the four pictures say, once they are there."""
    pictures = page.locator("#why .why img")
    pictures.nth(3).wait_for()
    assert loaded(pictures).evaluate_all("images => images.every(each => each.naturalWidth > 100)")
    return [pictures.nth(number).get_attribute("alt") for number in range(pictures.count())]


def ask(page: Page) -> None:
    page.get_by_role("button", name="Why this match?").press("Enter")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_enlarged_result_is_explained(
    tiny_page: tuple[Preparation, str], browse: Browse, viewport: dict[str, int]
) -> None:
    page = browse(tiny_page[1], viewport=viewport)
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="Enlarge 2 · Ada").click()
    ask(page)
    said = alts(page)
    assert said[:2] == ["Yours, as the network saw it", "Ada, as indexed"]
    assert [alt.split(":")[0] for alt in said[2:]] == [
        "What the match rests on in your photo",
        "What the match rests on in Ada",
    ]
    assert page.locator("#why p").count() == 1
    assert "Where it is orange" in page.locator("#why p").inner_text()
    assert fits(page)
    shown = page.locator("#why img").first
    assert shown.bounding_box()["width"] == pytest.approx(shown.bounding_box()["height"], abs=1)
    page.get_by_role("button", name="Close").click()
    shown.wait_for(state="detached")


def test_whole_photos_are_explained_as_well(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.get_by_label("Baseline", exact=True).check()
    page.locator("#note", has_text="whole photo").wait_for()
    page.locator("#results .enlarge").nth(1).click()
    ask(page)
    alts(page)
    widths = page.locator("#why img").evaluate_all("images => images.map(each => each.naturalWidth)")
    assert widths == [224] * 4


def test_each_of_several_faces_has_its_own_explanation(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    upload(page, TWO, tmp_path / "two.png")
    wait_for_answer(page, "Bruno")
    page.get_by_role("button", name="search for all of them").click()
    rows = page.locator("#results section")
    page.locator("#results h3", has_text="Face 2").wait_for()
    colours = []
    for number in range(2):
        # The same photo, which is in both rows.
        rows.nth(number).locator(".tile:has([data-photo='Ada/1.png']) .enlarge").click()
        said = rows.nth(number).locator("[data-photo='Ada/1.png'] img").get_attribute("alt")
        page.locator("#enlarged", has_text=said).wait_for()
        ask(page)
        alts(page)
        colours.append(page.locator("#why img").first.get_attribute("src"))
    assert colours[0] != colours[1], "the crop is of the row's face"


def test_what_takes_a_while_says_so_and_is_dropped_when_nobody_wants_it_any_more(
    tiny_page: tuple[Preparation, str], browse: Browse
) -> None:
    preparation, url = tiny_page
    network, may_go_on = preparation.searcher("mtcnn-facenet").encoder._network, threading.Event()
    embed, done = network.embed, threading.Event()

    def slow(crops: Sequence[Image.Image]) -> FloatArray:
        if len(crops) > 1:
            assert may_go_on.wait(60)
            done.set()
        return embed(crops)

    page = browse(url)
    wait_for_answer(page, "Ada")
    network.embed = slow  # type: ignore[method-assign]
    page.get_by_role("button", name="Enlarge 2 · Ada").click()
    ask(page)
    page.locator("#why [role=status]", has_text="Looking at what this match rests on").wait_for()
    page.get_by_role("button", name="Enlarge 5 · Bruno").click()
    page.locator("#enlarged b", has_text="Bruno").wait_for()
    page.locator("#why p").wait_for(state="detached")
    may_go_on.set()
    assert done.wait(60)
    page.wait_for_timeout(3000)
    assert page.locator("#why p").count() == 0, "nothing of what is not shown any more"
    ask(page)
    assert "Bruno, as indexed" in alts(page)


def test_what_goes_wrong_is_said_in_a_sentence(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="Enlarge 2 · Ada").click()
    page.locator("#enlarged img").wait_for()
    (tmp_path / "photos" / "Ada" / "1.png").unlink()
    ask(page)
    page.locator("#why .notice", has_text="There is no file 1.png").wait_for()
    page.locator("#enlarged [data-event=expand]").evaluate("button => button.dataset.photo = '../x'")
    ask(page)
    page.locator("#why .notice", has_text="not among the results any more").wait_for()


# For programs


@pytest.fixture
def client(tiny_page: tuple[Preparation, str], tmp_path: Path) -> Client:
    return Client(tiny_page[1], verbose=False, download_files=str(tmp_path / "downloads"))


def test_the_api_explains_like_the_command_line(
    client: Client,
    tiny_page: tuple[Preparation, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pipeline.__main__ import main

    TWO.save(tmp_path / "two.png")
    photo = handle_file(tmp_path / "two.png")
    *pictures, told = client.predict(photo, "mtcnn-reid", "Farid/2.png", 1, api_name="/explain")
    assert (told["recipe"], told["photo_id"], told["person"]) == ("mtcnn-reid", "Farid/2.png", "Farid")
    opened = [Image.open(path).convert("RGB") for path in pictures]
    assert {picture.size for picture in opened} == {(128, 128)}
    *_, crop, _ = client.predict(photo, "mtcnn-reid", "exact", 5, 1, api_name="/search")
    assert opened[0].getpixel((64, 64)) == pytest.approx(Image.open(crop).convert("RGB").getpixel((64, 64)), abs=12)
    assert opened[2].getpixel((64, 64)) != opened[0].getpixel((64, 64))

    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: tiny_page[0].gallery)
    asked = ["explain", str(tmp_path / "two.png"), "--recipe", "mtcnn-reid", "--hit", "Farid/2.png", "--face", "1"]
    assert main([*asked, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("ms") > 0 < told.pop("ms")
    assert printed == told


def test_the_api_takes_the_nearest_other_photo(client: Client, tmp_path: Path) -> None:
    portrait(3, 1).save(tmp_path / "one.png")
    for recipe in ("mtcnn-facenet", "resnet50"):
        *_, told = client.predict(handle_file(tmp_path / "one.png"), recipe, api_name="/explain")
        assert told["person"] == "Dimitri"
        assert told["photo_id"] != "Dimitri/1.png"
        assert told["distance"] > 0.02


def test_what_the_api_cannot_explain(client: Client, tmp_path: Path) -> None:
    draw().save(tmp_path / "nobody.png")
    portrait(3, 1).save(tmp_path / "one.png")
    for name, hit, sentence in (
        ("nobody", "", "No face was found"),
        ("one", "x", "There is no photo 'x' in this gallery"),
    ):
        with pytest.raises(exceptions.AppError, match=sentence):
            client.predict(handle_file(tmp_path / f"{name}.png"), "mtcnn-reid", hit, api_name="/explain")
