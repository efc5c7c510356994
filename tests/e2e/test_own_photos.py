"""The tab "My photos" as a visitor uses it: drop, wait, search, keep, remove; and what others cannot see of it."""

from __future__ import annotations

import os
import re
import threading
import zipfile
from pathlib import Path

import pytest
import requests

from pipeline.galleries.galleries import Galleries
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.uploads import PREFIX
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, Serve, loaded
from tests.e2e.test_page import captions, upload, wait_for_answer
from tests.fakes import TinyEncoders, draw, portrait, tiny_gallery
from tests.waiting import until

SECONDS = 60


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnGalleries:
    """Own galleries whose temporary folder is the test's."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return OwnGalleries(TinyEncoders(), tmp_path / "index" / "own")


def served_with(own: OwnGalleries, folder: Path, serve: Serve) -> str:
    """The address of a page of the tiny world on which visitors may have photos of their own."""
    preparation = Preparation(tiny_gallery(folder))
    preparation.start(["mtcnn-facenet"])
    preparation.wait()
    return serve(Galleries(preparation, own=own))


@pytest.fixture
def url(tmp_path: Path, own: OwnGalleries, serve: Serve) -> str:
    return served_with(own, tmp_path, serve)


@pytest.fixture
def party(tmp_path: Path) -> list[Path]:
    """Three photos of two people each: the one of number n and the next."""
    (tmp_path / "party").mkdir()
    paths = [tmp_path / "party" / f"party-{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        draw((number, 0, (10, 20, 40)), (number + 1, 1, (80, 20, 50)), size=(160, 100)).save(path)
    return paths


def files_of(folder: Path) -> list[Path]:
    """What lies below a folder, which may be being deleted; but for the server's lock and its uploads."""
    found = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    return [path for path in found if path.suffix != ".lock" and PREFIX not in str(path)]


def drop(page: Page, *files: Path) -> None:
    """Opens the tab and gives it these files."""
    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-drop input[type=file]").set_input_files(files)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_ones_own_photos_have_a_map_that_goes_with_them(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, viewport: dict[str, int]
) -> None:
    page = browse(url, viewport=viewport)
    wait_for_answer(page, "Ada")
    drop(page, *party)
    page.locator("#own-search").click()
    wait_for_answer(page, "party-0")
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .map[data-drawn]").wait_for()
    assert "Every point is a photo of the gallery Your photos" in page.locator("#map").inner_text()
    page.locator("#map canvas").focus()
    page.keyboard.press("ArrowLeft")
    page.locator("#map .card b", has_text="party-0").wait_for()
    page.wait_for_function("document.querySelector('#map .card img').naturalWidth > 0")
    assert [path for path in files_of(tmp_path / "tmp") if path.name == "map.npy"]
    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-remove").click()
    page.locator("#own-manage").wait_for(state="hidden")
    until(lambda: files_of(tmp_path / "tmp") == [])


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_person_is_found_in_ones_own_photos_which_can_be_removed(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, viewport: dict[str, int]
) -> None:
    page = browse(url, viewport=viewport)
    wait_for_answer(page, "Ada")
    assert page.locator("#gallery label").count() == 1
    drop(page, *party)
    page.locator("#own-state", has_text="6 faces in 3 photos can be searched.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]

    page.locator("#own-search").click()
    page.locator("#gallery .selected", has_text="Your photos · 3 photos").wait_for()
    wait_for_answer(page, r"party-\d")
    upload(page, portrait(1, 1), tmp_path / "query.png")
    wait_for_answer(page, "party-0")
    assert {person for person, _ in captions(page)[:2]} == {"party-0", "party-1"}
    assert len(captions(page)) == 6
    page.locator("#results .enlarge").first.click()
    page.locator("#enlarged", has_text="party-0.png #2 · 160 x 100 pixels").wait_for()
    frame = page.locator("#enlarged .box").get_attribute("style")
    assert "left:50.00%" in frame
    assert loaded(page.locator("#enlarged img")).evaluate("image => image.naturalWidth") == 160
    assert "own-" not in page.url
    assert "own-" not in page.locator("#link").inner_html()

    page.locator("#gallery label", has_text="photos · 26 photos").click()
    wait_for_answer(page, "Bruno")
    page.locator("#gallery label", has_text="Your photos · 3 photos").click()
    wait_for_answer(page, "party-0")

    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-remove").click()
    page.locator("#own-manage").wait_for(state="hidden")
    page.get_by_role("tab", name="Search").click()
    wait_for_answer(page, "Bruno")
    until(lambda: page.locator("#gallery label").count() == 1)
    assert files_of(tmp_path / "tmp") == []


def test_progress_is_seen_and_cancelling_leaves_nothing_behind(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, own: OwnGalleries
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    encoder = own._encoders.get("mtcnn-facenet")
    detect = encoder.detector.detect

    def held(images: list[object]) -> list[object]:
        reached.set()
        assert go_on.wait(SECONDS)
        return detect(images)

    encoder.detector.detect = held
    page = browse(url)
    drop(page, *party)
    assert reached.wait(SECONDS)
    page.locator("#own-state", has_text=re.compile(r"Indexing: 0 of 3 photos")).wait_for()
    assert files_of(tmp_path / "tmp") != []
    page.locator("#own-cancel").click()
    go_on.set()
    page.locator("#own-cancel").wait_for(state="hidden")
    until(lambda: page.locator("#own-state").inner_text().strip() == "")
    assert not page.locator("#own-search").is_visible()
    assert files_of(tmp_path / "tmp") == []
    assert list((tmp_path / "tmp").rglob("party-*.png")) == []


def test_photos_are_added_and_removed_one_by_one(url: str, browse: Browse, party: list[Path], tmp_path: Path) -> None:
    page = browse(url)
    drop(page, party[0])
    page.locator("#own-state", has_text="2 faces in 1 photo can be searched.").wait_for()
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(party[1], "holiday/party-1.png")
        archive.write(party[0], "party-0.png")
        archive.writestr("holiday/notes.txt", "not a photo")
    drop(page, tmp_path / "more.zip")
    page.locator("#own-state", has_text="4 faces in 2 photos").wait_for()
    said = page.locator("#own-state").inner_text()
    assert "1 file left out: no photo by its ending. 1 photo was there already." in said
    page.locator("#own-photos input").click()
    page.get_by_role("option", name="holiday/party-1.png").click()
    page.keyboard.press("Escape")
    page.locator("#own-discard").click()
    page.locator("#own-state", has_text="1 photo can be searched.").wait_for()
    page.locator("#own-search").click()
    page.locator("#gallery .selected", has_text="Your photos · 1 photo").wait_for()
    until(lambda: {person for person, _ in captions(page)} == {"party-0"})


def choose_to_keep(page: Page) -> None:
    """Says that the photos are to stay, before there are any."""
    wait_for_answer(page, "Ada")
    page.get_by_role("tab", name="My photos").click()
    page.get_by_label("Keep on this computer").check()


def test_kept_photos_are_there_after_a_restart_in_that_browser_only(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, own: OwnGalleries, serve: Serve
) -> None:
    page = browse(url)
    choose_to_keep(page)
    drop(page, *party)
    page.locator("#own-state", has_text="6 faces in 3 photos").wait_for()
    assert len(list((tmp_path / "index" / "own").glob("*/photos/*.png"))) == 3
    own.close()
    own._open.clear()  # as a new server
    page.reload()
    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-state", has_text="3 photos can be searched.").wait_for()
    assert page.get_by_label("Keep on this computer").is_checked()
    page.locator("#own-search").click()
    page.locator("#gallery .selected", has_text="Your photos · 3 photos").wait_for()

    stranger = browse(url)
    wait_for_answer(stranger, "Ada")
    assert stranger.locator("#gallery label").count() == 1
    stranger.get_by_role("tab", name="My photos").click()
    stranger.wait_for_timeout(1000)  # for the answer, which shows nothing
    assert stranger.locator("#own-state").inner_text().strip() == ""


def test_keeping_that_is_answered_late_hides_nothing_that_was_dropped_meanwhile(
    url: str, browse: Browse, party: list[Path], own: OwnGalleries, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_keep, may_look, keep = threading.Event(), threading.Event(), own.keep
    detector = own._encoders.get("mtcnn-facenet").detector
    detect = detector.detect

    def kept_late(key: str, *, kept: bool) -> None:
        assert key or may_keep.wait(SECONDS)
        keep(key, kept=kept)

    def held(images: list[object]) -> list[object]:
        assert may_look.wait(SECONDS)
        return detect(images)

    monkeypatch.setattr(own, "keep", kept_late)
    monkeypatch.setattr(detector, "detect", held)
    page = browse(url)
    choose_to_keep(page)
    drop(page, *party)
    page.locator("#own-state", has_text="Indexing: 0 of 3 photos").wait_for()
    may_keep.set()
    page.wait_for_timeout(1000)  # for the answer, which shows nothing
    may_look.set()
    page.locator("#own-state", has_text="6 faces in 3 photos").wait_for()
    assert [gallery.kept for gallery in own._open.values()] == [True]


def test_others_reach_neither_the_gallery_nor_its_files(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, own: OwnGalleries
) -> None:
    from gradio_client import Client, exceptions, handle_file

    page = browse(url)
    drop(page, *party)
    page.locator("#own-state", has_text="6 faces in 3 photos").wait_for()
    page.locator("#own-search").click()
    page.locator("#gallery .selected", has_text="Your photos · 3 photos").wait_for()
    page.locator("#results img").first.wait_for()
    picture = page.locator("#results img").first.get_attribute("src")
    assert requests.get(f"{url}{picture}", timeout=10).status_code == 200
    client = Client(url, verbose=False)
    assert [one["key"] for one in client.predict(api_name="/galleries")["galleries"]] == ["main"]
    assert "own-" not in str(client.predict(api_name="/health"))
    (gallery,) = own._open.values()
    until(lambda: not gallery.busy)  # its folder is walked through below
    portrait(1).save(tmp_path / "query.png")
    for guess in ("own-", gallery.name, "own-" + "0" * 32):
        with pytest.raises((exceptions.AppError, ValueError), match="There is no gallery"):
            client.predict(
                handle_file(tmp_path / "query.png"), "mtcnn-facenet", "exact", 5, 0, guess, api_name="/search"
            )
    for path in (gallery.folder / "photos" / "party-0.png", *gallery.folder.rglob("vectors.npy")):
        assert path.is_file()
        assert requests.get(f"{url}gradio_api/file={path}", timeout=10).status_code == 403


def test_a_page_keeps_its_photos_while_it_is_open_and_takes_them_along(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, own: OwnGalleries
) -> None:
    own.grace = 6.0
    page = browse(url)
    drop(page, *party)
    page.locator("#own-state", has_text="6 faces in 3 photos").wait_for()
    page.reload()  # is no farewell
    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-state", has_text="3 photos can be searched.").wait_for()
    page.wait_for_timeout(2 * own.grace * 1000)  # in which nobody touches the page
    assert files_of(tmp_path / "tmp") != []
    page.locator("#own-search").click()
    page.locator("#gallery .selected", has_text="Your photos · 3 photos").wait_for()
    page.close()
    until(lambda: files_of(tmp_path / "tmp") == [])


def test_what_cannot_be_taken_in_is_said_in_a_sentence(url: str, browse: Browse, tmp_path: Path) -> None:
    page = browse(url)
    (tmp_path / "notes.txt").write_text("not a photo")
    drop(page, tmp_path / "notes.txt")
    page.locator("#own-state", has_text="There are no photos in what you dropped").wait_for()
    page.locator("#own-cancel").wait_for(state="hidden")  # what is said while that ends is said too early for the next
    draw().save(tmp_path / "empty.png")
    drop(page, tmp_path / "empty.png")
    page.locator("#own-state", has_text="No face was found in these photos").wait_for()
    until(lambda: files_of(tmp_path / "tmp") == [])


def test_a_position_of_the_switch_that_they_do_not_offer_is_no_choice(
    url: str, browse: Browse, party: list[Path]
) -> None:
    page = browse(url)
    wait_for_answer(page, "Ada")
    page.locator("#role").get_by_label("Baseline").check()
    page.locator("#note", has_text="ResNet-50").wait_for()
    drop(page, *party)
    page.locator("#own-search").click()
    wait_for_answer(page, "party-0")
    until(lambda: page.locator("#role label").all_inner_texts() == ["Improved"])
    assert page.locator("#role").get_by_label("Improved").is_checked()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare", has_text="by one model.").wait_for()
    assert "only here" not in page.locator("#compare").inner_text()
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .map[data-drawn]").wait_for()
    page.get_by_role("tab", name="Search").click()
    page.locator("#gallery label", has_text="photos · 26 photos").click()
    wait_for_answer(page, "Ada")
    until(lambda: page.locator("#role label").all_inner_texts() == ["Baseline", "Improved"])


def zipped(path: Path, *photos: Path) -> Path:
    """A zip of these photos."""
    with zipfile.ZipFile(path, "w") as archive:
        for photo in photos:
            archive.write(photo, photo.name)
    return path


def test_drops_one_after_the_other_lose_nothing(
    url: str, browse: Browse, party: list[Path], tmp_path: Path, own: OwnGalleries, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_begin, may_look, create = threading.Event(), threading.Event(), own.create
    detector = own._encoders.get("mtcnn-facenet").detector
    detect = detector.detect

    def begun_late() -> object:
        assert may_begin.wait(SECONDS)
        return create()

    def held(images: list[object]) -> list[object]:
        assert may_look.wait(SECONDS)
        return detect(images)

    monkeypatch.setattr(own, "create", begun_late)
    monkeypatch.setattr(detector, "detect", held)
    first, second, third = (zipped(tmp_path / f"{photo.stem}.zip", photo) for photo in party)
    page = browse(url)
    wait_for_answer(page, "Ada")
    drop(page, first)
    shown = page.locator("#own-drop .file-preview")
    shown.wait_for()
    drop(page, second)
    page.locator("#own-folder", has_text="What you dropped before is still being taken in").wait_for()
    may_begin.set()
    shown.wait_for(state="detached")
    drop(page, third)
    page.locator("[data-testid=toast-body]", has_text="Your photos are still being indexed; wait").wait_for()
    shown.wait_for(state="detached")
    assert "still being taken in" not in page.locator("#own-folder").inner_text()
    may_look.set()
    page.locator("#own-state", has_text="2 faces in 1 photo can be searched.").wait_for()
    page.locator("#own-cancel").wait_for(state="hidden")
    drop(page, third)
    page.locator("#own-state", has_text="4 faces in 2 photos can be searched.").wait_for()
    page.reload()
    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-state", has_text="2 photos can be searched.").wait_for()
    assert len(own._open) == 1


def test_two_tabs_have_one_gallery(url: str, browse: Browse, party: list[Path], own: OwnGalleries) -> None:
    one = browse(url)
    wait_for_answer(one, "Ada")
    with one.expect_popup() as opened:
        one.evaluate("() => { open('/'); }")
    other = opened.value
    wait_for_answer(other, "Ada")
    drop(one, party[0])
    one.locator("#own-state", has_text="2 faces in 1 photo can be searched.").wait_for()
    drop(other, *party[1:])
    other.locator("#own-state", has_text="6 faces in 3 photos can be searched.").wait_for()
    for page in (one, other):
        page.reload()
        page.get_by_role("tab", name="My photos").click()
        page.locator("#own-state", has_text="3 photos can be searched.").wait_for()
    assert len(own._open) == 1


def test_where_it_is_switched_off_there_is_no_tab(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1])
    wait_for_answer(page, "Ada")
    assert page.get_by_role("tab", name="My photos").count() == 0
