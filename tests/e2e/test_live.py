"""Live as a visitor uses it: composite people before a fake camera, the network that comes along, a real browser."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from PIL import Image

from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE
from pipeline.core.types import Answer
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.gallery import Gallery, StoredEncoders
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.gate import AT_ONCE
from pipeline.page.server.live import FRAME_BYTES
from pipeline.page.server.uploads import own_folder
from pipeline.photos.images import open_image
from tests.e2e.camera import film
from tests.e2e.conftest import ALLOWED, DESKTOP, FAKE_CAMERA, PHONE, Browse, Page, Route, Serve
from tests.fakes import draw, portrait
from tests.page.test_live import jpeg
from tests.waiting import until

TWO = ("Composite 03", "Composite 11")
CAMERA_IS_OFF = "() => document.querySelector('#live video').srcObject === null"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    """The sample gallery, ready to be searched with the network that comes along."""
    folder = tmp_path_factory.mktemp("sample")
    store = WeightStore(None, folder / "cache", {})
    preparation = Preparation(Gallery(SAMPLE.name, StoredEncoders(store), folder / "index"))
    preparation.start([MINI])
    preparation.wait()
    return preparation


def photo_of(preparation: Preparation, person: str) -> Image.Image:
    """One of the person's photos in the gallery."""
    photos = preparation.gallery.photos
    return open_image(photos[list(photos.people).index(person)].source)


def open_live(page: Page) -> None:
    """Waits for the page's first answer, and goes to the tab as a visitor does, by the menu where it is in one."""
    page.locator("#results .tile").first.wait_for()
    page.get_by_role("tab", name="Live").click()


def button(page: Page, name: str) -> Page:
    return page.locator("#live").get_by_role("button", name=name, exact=True)


def first_is(page: Page, person: str) -> None:
    """Waits until the first photo is of this person."""
    page.locator("#live .tile", has_text=re.compile(rf"^\s*1 · {person}\s")).wait_for()


def told(page: Page, words: str | re.Pattern[str]) -> None:
    """Waits until the tab says so."""
    page.locator("#live [role=status]", has_text=words).wait_for()


def files_in(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_matches_follow_the_face(
    sample: Preparation,
    serve: Serve,
    browse: Browse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    viewport: dict[str, int],
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    camera = film([photo_of(sample, person) for person in TWO], tmp_path / "camera.mjpeg", seconds=4)
    page = browse(serve(sample), viewport=viewport, camera=camera)
    open_live(page)
    told(page, "Press Start")
    before = files_in(temporary, own_folder())
    with most_at_once(page) as sent:
        button(page, "Start").click()
        first_is(page, TWO[0])
        first_is(page, TWO[1])
        first_is(page, TWO[0])
        assert re.search(r"distance 0\.\d\d, \w+", page.locator("#live .tile").first.inner_text())
        assert re.fullmatch(r"1 · Composite \d+, distance .+", page.locator("#live img").first.get_attribute("alt"))
        assert page.locator("#live .tile").count() == 5
        page.locator("#live", has_text=re.compile(r"Mini, Sample · \d+ updates/s")).wait_for()
        frame, box = (page.locator(f"#live {part}").bounding_box() for part in ("video", ".box"))
        assert frame["x"] < box["x"] < box["x"] + box["width"] < frame["x"] + frame["width"]
        assert 0.1 < box["width"] / frame["width"] < 0.4
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        button(page, "Stop").click()
        told(page, "Press Start")
    assert page.locator("#live .stage").evaluate("stage => getComputedStyle(stage).transform") == "none", "can be read"
    assert len(sent) > 10
    assert max(sent) == 1
    assert page.evaluate(CAMERA_IS_OFF)
    assert page.locator("#live .tile").count() == 0
    assert files_in(temporary, own_folder()) <= before  # what is older may have been swept away


@contextmanager
def most_at_once(page: Page) -> Iterator[list[int]]:
    """How many frames were under way whenever one was sent."""
    sent: list[int] = []
    under_way: set[object] = set()

    def begun(request: object) -> None:
        if request.url.endswith("/live"):
            under_way.add(request)
            sent.append(len(under_way))

    def ended(request: object) -> None:
        under_way.discard(request)

    page.on("request", begun)
    page.on("requestfinished", ended)
    yield sent
    page.remove_listener("request", begun)
    page.remove_listener("requestfinished", ended)


def test_leaving_the_tab_switches_the_camera_off(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1], camera=film([portrait(1)], tmp_path / "camera.mjpeg", seconds=1))
    open_live(page)
    button(page, "Start").click()
    first_is(page, "Bruno")
    page.get_by_role("tab", name="Search").click()
    page.wait_for_function(CAMERA_IS_OFF)
    page.get_by_role("tab", name="Live").click()
    button(page, "Start").click()
    first_is(page, "Bruno")


def test_the_model_chosen_under_search_is_used(
    tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path
) -> None:
    page = browse(tiny_page[1], camera=film([portrait(1)], tmp_path / "camera.mjpeg", seconds=1))
    page.locator("#results .tile").first.wait_for()
    page.get_by_label("Baseline", exact=True).check()
    open_live(page)
    button(page, "Start").click()
    page.locator("#live", has_text="Baseline, photos").wait_for()
    assert not page.locator("#live .box").is_visible()  # for it no face is looked for


def test_without_a_face_it_goes_on(tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path) -> None:
    page = browse(tiny_page[1], camera=film([draw(), portrait(2)], tmp_path / "camera.mjpeg", seconds=3))
    open_live(page)
    button(page, "Start").click()
    told(page, "No face is seen")
    first_is(page, "Clara")
    told(page, "No face is seen")
    page.locator("#live .tile").first.wait_for(state="detached")


def test_a_camera_that_is_refused(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1], options=(FAKE_CAMERA, "--deny-permission-prompts"))
    open_live(page)
    button(page, "Start").click()
    told(page, "The camera was not allowed; allow it for this page in the browser, then start again.")
    assert button(page, "Start").is_visible()


def test_start_is_pressed_before_the_script_has_come(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1], options=(ALLOWED,))
    held: list[Route] = []
    page.route("**/scripts/live.js*", lambda route: held.append(route))
    open_live(page)
    until(lambda: page.wait_for_timeout(20) or held)
    button(page, "Start").click()
    button(page, "Start").click()
    held[0].continue_()
    told(page, "No camera was found; connect one, then start again.")


def test_no_camera(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    page = browse(tiny_page[1], options=(ALLOWED,))
    open_live(page)
    button(page, "Start").click()
    told(page, "No camera was found; connect one, then start again.")


def test_a_server_that_is_gone(tiny_page: tuple[Preparation, str], browse: Browse, tmp_path: Path) -> None:
    page = browse(tiny_page[1], camera=film([portrait(1)], tmp_path / "camera.mjpeg", seconds=1))
    open_live(page)
    # Answered by the test with what a proxy says: a lost connection would stand in the console.
    page.route("**/live", lambda route: route.fulfill(status=200, body="Bad Gateway"))
    button(page, "Start").click()
    told(page, "The server cannot be reached; start again when it can.")
    page.unroute("**/live")
    button(page, "Start").click()
    first_is(page, "Bruno")


def send(url: str, frame: bytes, **headers: str) -> requests.Response:
    """A frame as the page's script sends it."""
    own = {"x-gallery": "main", "x-recipe": "mtcnn-reid", "x-index": "exact", "sec-fetch-site": "same-origin"}
    return requests.post(f"{url}gradio_api/live", data=frame, headers=own | headers, timeout=30)


def test_frames_from_elsewhere_are_refused_in_sentences(tiny_page: tuple[Preparation, str]) -> None:
    url, frame = tiny_page[1], jpeg(portrait(0))
    assert send(url, frame).json()["state"] == "found"
    foreign = send(url, frame, **{"sec-fetch-site": "cross-site"})
    assert (foreign.status_code, foreign.json()["detail"][:6]) == (403, "Frames")
    large = send(url, b"0" * (FRAME_BYTES + 1))
    assert (large.status_code, large.json()["detail"][:16]) == (413, "This is no frame")
    broken = send(url, b"no frame")
    assert (broken.status_code, broken.json()["detail"][:16]) == (422, "This is no frame")
    assert send(url, frame, **{"x-recipe": "nonsense"}).json()["detail"].startswith("There is no recipe 'nonsense'")


def test_what_should_not_happen_is_not_told(
    tiny_page: tuple[Preparation, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Answer:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(tiny_page[0].searcher("mtcnn-reid").encoder, "encode", broken)
    reply = send(tiny_page[1], jpeg(portrait(0)))
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "This did not work; try again." in reply.json()["detail"]


def test_a_frame_too_many_is_dropped_at_once(
    tiny_page: tuple[Preparation, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation, url = tiny_page
    encoder = preparation.searcher("mtcnn-reid").encoder
    encode, may_go_on, under_way = encoder.encode, threading.Event(), threading.Semaphore(0)

    def slow(*asked: object) -> object:
        under_way.release()
        assert may_go_on.wait(30)
        return encode(*asked)

    monkeypatch.setattr(encoder, "encode", slow)
    states: list[str] = []
    threads = [
        threading.Thread(target=lambda: states.append(send(url, jpeg(portrait(0))).json()["state"]))
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert under_way.acquire(timeout=30)
    assert send(url, jpeg(portrait(0))).json() == {"state": "dropped"}
    may_go_on.set()
    for thread in threads:
        thread.join(30)
    assert states == ["found"] * AT_ONCE
    assert send(url, jpeg(portrait(0))).json()["state"] == "found"
