"""The people in one's photos, by the real small network: seen, searched with, named, merged, split, found again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.known_people import KnownPeople
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.page.html.people import faces_html
from pipeline.page.tabs import people as people_tab
from pipeline.search.grouping import group_faces
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, Serve, loaded
from tests.e2e.test_folders import drop_on
from tests.e2e.test_own_photos import drop, files_of, served_with
from tests.e2e.test_page import captions, wait_for_answer
from tests.galleries.test_known_people import COUNTS, album, prepared
from tests.waiting import until


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnGalleries:
    """Own galleries with the network that comes along."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return OwnGalleries(StoredEncoders(WeightStore(None, tmp_path / "cache", {})), tmp_path / "index" / "own")


@pytest.fixture
def url(tmp_path: Path, own: OwnGalleries, serve: Serve) -> str:
    return served_with(own, tmp_path, serve)


def row(page: Page) -> list[str]:
    """Who stands in the row, with how many photos."""
    return [name.replace("\n", " ") for name in page.locator(".people-row li").all_inner_texts()]


def choose(page: Page, field: str, name: str, of: str = "people") -> None:
    """Chooses somebody among the people, by the keyboard."""
    page.locator(f"#{of}-{field} input").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(name)
    options = page.locator(f"#{of}-{field}").get_by_role("option")
    until(lambda: options.count() == 1)
    page.keyboard.press("Enter")
    until(lambda: chosen(page, field, of).startswith(f"{name} ("))  # which nobody typed


def chosen(page: Page, field: str, of: str = "people") -> str:
    return str(page.locator(f"#{of}-{field} input").input_value())


def open_tab(page: Page, name: str) -> None:
    """Opens a tab, by the keyboard."""
    page.get_by_role("tab", name=name).focus()
    page.keyboard.press("Enter")


def press(page: Page, what: str, of: str = "people") -> None:
    page.locator(f"#{of}-{what}").focus()
    page.keyboard.press("Enter")


def call(page: Page, name: str, better: str, photos: str, of: str = "people") -> None:
    choose(page, "person", name, of)
    page.locator(f".people-faces button[aria-label*='{photos}']").first.wait_for()
    page.locator(f"#{of}-name input, #{of}-name textarea").fill(better)
    press(page, "save", of)
    page.locator(".people-row .who", has_text=better).wait_for()
    until(lambda: chosen(page, "person", of).startswith(better))  # or this update would undo the next choice


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_walk_among_people(
    url: str, browse: Browse, own: OwnGalleries, tmp_path: Path, viewport: dict[str, int]
) -> None:
    album(tmp_path / "album", COUNTS)
    page = browse(url, viewport=viewport)
    wait_for_answer(page, "Ada")
    drop_on(page, tmp_path / "album")
    page.locator("#own-state", has_text="10 faces in 10 photos can be searched.").wait_for()
    until(lambda: row(page) == ["Person 1 4 photos", "Person 2 3 photos", "Person 3 2 photos", "Unknown 1 face"])
    loaded(page.locator(".people-row img"))
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]

    edit = page.get_by_role("button", name="Edit people")
    edit.focus()
    page.keyboard.press("Enter")
    press(page, "save")  # while nobody is chosen
    page.locator("[data-testid=toast-body]", has_text="Choose a person first").wait_for()
    call(page, "Person 1", "Zoë", "01-")
    call(page, "Person 2", "Bruno", "02-")
    assert row(page) == ["Zoë 4 photos", "Bruno 3 photos", "Person 3 2 photos", "Unknown 1 face"]
    choose(page, "person", "Person 3")
    choose(page, "other", "Bruno")
    press(page, "merge")
    until(lambda: row(page) == ["Bruno 5 photos", "Zoë 4 photos", "Unknown 1 face"])

    wrong = page.locator(".people-faces button[aria-label*='03-']")
    until(lambda: wrong.count() == 2)
    for face in wrong.all():
        face.focus()
        page.keyboard.press("Space")
        assert face.get_attribute("aria-pressed") == "true"
    press(page, "split")
    until(lambda: row(page)[:3] == ["Zoë 4 photos", "Bruno 3 photos", "Somebody 1 2 photos"])

    page.reload()
    open_tab(page, "My photos")
    until(lambda: row(page)[:3] == ["Zoë 4 photos", "Bruno 3 photos", "Somebody 1 2 photos"])
    more = {"01": 1, "02": 2, "03": 3, "04": 4}  # everybody has five then
    ten = [photo for person, count in more.items() for photo in album(tmp_path / "more", {person: count}, 5 - count)]
    page.locator("#own-drop input[type=file]").set_input_files(ten)
    page.locator("#own-state", has_text="20 faces in 20 photos can be searched.").wait_for()
    until(lambda: sorted(row(page)) == ["Bruno 5 photos", "Person 4 5 photos", "Somebody 1 5 photos", "Zoë 5 photos"])

    page.get_by_role("button", name="Zoë").focus()
    page.keyboard.press("Enter")
    wait_for_answer(page, "Zoë")
    assert [person for person, _ in captions(page)][:5] == ["Zoë"] * 5
    page.locator("#sentence", has_text="5 of 5 photos found").wait_for()

    stranger = browse(url, viewport=viewport)
    wait_for_answer(stranger, "Ada")
    stranger.get_by_role("tab", name="My photos").click()
    stranger.wait_for_timeout(1000)
    assert row(stranger) == []
    assert "Zoë" not in stranger.content()
    faces = page.locator(".people-row img").evaluate_all("images => images.map(image => image.src)")

    open_tab(page, "My photos")
    page.locator("#own-remove").focus()
    page.keyboard.press("Enter")
    page.locator("#own-manage").wait_for(state="hidden")
    until(lambda: row(page) == [])
    assert not page.locator("#people-edit").is_visible()
    until(lambda: "Zoë" not in page.content())
    assert {requests.get(face, timeout=10).status_code for face in faces} == {404}
    assert files_of(tmp_path / "tmp") == []


def test_who_is_ahead_of_the_server_keeps_the_name_typed_and_sees_the_last_choice(
    url: str, browse: Browse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()
    may_answer.set()

    def held(people: KnownPeople, faces: Sequence[str], most: int) -> str:
        assert may_answer.wait(60)
        return faces_html(people, faces, most)

    monkeypatch.setattr(people_tab, "faces_html", held)
    page = browse(url)
    wait_for_answer(page, "Ada")
    drop(page, *album(tmp_path / "album", COUNTS))
    page.get_by_role("button", name="Edit people").click()
    call(page, "Person 1", "Zoë", "01-")

    may_answer.clear()
    name = page.locator("#people-name input, #people-name textarea")
    choose(page, "person", "Person 2")
    until(lambda: name.input_value() == "")  # and not who was chosen before
    name.fill("Bruno")
    may_answer.set()
    page.locator(".people-faces button[aria-label*='02-']").first.wait_for()
    page.wait_for_timeout(500)
    assert name.input_value() == "Bruno"
    press(page, "save")
    until(lambda: row(page)[:2] == ["Zoë 4 photos", "Bruno 3 photos"])

    until(lambda: chosen(page, "person").startswith("Bruno"))
    may_answer.clear()
    choose(page, "person", "Zoë")
    until(lambda: name.input_value() == "Zoë")
    choose(page, "person", "Person 3")
    until(lambda: name.input_value() == "")
    may_answer.set()
    page.locator(".people-faces button[aria-label*='03-']").first.wait_for()


def test_what_was_said_is_taken_back_and_unknown_faces_are_looked_at(url: str, browse: Browse, tmp_path: Path) -> None:
    page = browse(url)
    wait_for_answer(page, "Ada")
    drop(page, *album(tmp_path / "album", COUNTS))
    page.get_by_role("button", name="Unknown faces").click()
    page.locator(".people-faces button").wait_for()
    assert page.locator("#people-undo").is_disabled()
    page.locator(".people-faces button").click()
    page.locator("#people-split").click()
    page.locator(".people-row .who", has_text="Somebody 1").wait_for()
    page.locator("#people-undo").click()
    until(lambda: row(page)[-1] == "Unknown 1 face")
    page.locator("#people-undo:disabled").wait_for()
    choose(page, "person", "Person 1")
    page.locator(".people-faces button").nth(3).wait_for()
    page.locator("#people-remove").click()
    until(lambda: row(page)[0] == "Person 1 3 photos")
    page.locator("#people-name input, #people-name textarea").fill("  ")
    page.locator("#people-name input, #people-name textarea").press("Enter")
    page.get_by_text("Choose a person first").wait_for()
    choose(page, "person", "Person 1")
    page.locator("#people-name input, #people-name textarea").fill("  ")
    page.locator("#people-name input, #people-name textarea").press("Enter")
    page.get_by_text("Type the person's name first").wait_for()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_people_in_the_folder_that_the_page_was_started_for(
    serve: Serve, browse: Browse, tmp_path: Path, viewport: dict[str, int]
) -> None:
    album(tmp_path / "family", {"01": 2, "02": 3, "03": 2, "04": 1})
    album(tmp_path / "family" / "Ada", {"01": 2}, start=2)
    url = serve(prepared(tmp_path))
    page = browse(url, viewport=viewport)
    page.locator("#results .tile").first.wait_for()
    open_tab(page, "People")
    until(lambda: row(page) == ["Ada 4 photos", "Person 2 3 photos", "Person 3 2 photos", "Unknown 1 face"])
    loaded(page.locator(".people-row img"))
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.get_by_role("button", name="Edit people").click()
    call(page, "Person 2", "Bruno", "02-", "gallery-people")
    page.get_by_role("button", name="Bruno").click()
    wait_for_answer(page, "Bruno")
    assert [person for person, _ in captions(page)][:3] == ["Bruno"] * 3
    other = browse(url, viewport=viewport)
    other.locator("#results .tile").first.wait_for()
    open_tab(other, "People")
    until(lambda: row(other)[:2] == ["Ada 4 photos", "Bruno 3 photos"])


def test_while_people_are_told_apart_the_tab_says_how_far_it_is(
    serve: Serve, browse: Browse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album(tmp_path / "family", COUNTS)
    preparation = prepared(tmp_path)
    preparation.people, go_on = None, threading.Event()

    def held(*arguments: Any) -> Any:  # noqa: ANN401
        groups = group_faces(*arguments)
        go_on.wait(60)
        return groups

    monkeypatch.setattr("pipeline.galleries.people.group_faces", held)
    preparation.start([])
    page = browse(serve(preparation))
    page.locator("#results .tile").first.wait_for()
    open_tab(page, "People")
    page.get_by_text(
        "People are being told apart; look again in a while. Grouping the faces: 10 of 10 faces"
    ).wait_for()
    go_on.set()
    preparation.wait()
    open_tab(page, "Search")
    open_tab(page, "People")
    until(lambda: row(page)[:1] == ["Person 1 4 photos"])
