"""The first start as a visitor sees it: something to search at once, and the way to what arrives later."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from gradio_client import Client, handle_file

from pipeline.core.settings import SAMPLE, VARIABLES
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.photos.sources import open_photos
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, Serve, held_back
from tests.e2e.test_page import upload, wait_for_answer
from tests.fakes import TinyEncoders, portrait, tiny_gallery
from tests.waiting import until

ROOT = Path(__file__).parents[2]
# Every process of the server refuses to connect to anything but this machine, and says so.
ALONE = """
import socket
connect = socket.socket.connect
def alone(self, address):
    if self.family != socket.AF_UNIX and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(101, "Network is unreachable")
    return connect(self, address)
socket.socket.connect = alone
"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Galleries, threading.Event]:
    """A page's own gallery that is built only once the event is set, and another one meanwhile: without Farid."""
    main = tiny_gallery(tmp_path)
    may = held_back(main)
    for person in range(5):
        for variation in range(2):
            folder = tmp_path / "sample" / ("Xaver", "Yves", "Zoe", "Wanda", "Vera")[person]
            folder.mkdir(parents=True, exist_ok=True)
            portrait(person, variation).save(folder / f"{variation}.png")
    sample = Gallery(f"imagefolder:{tmp_path / 'sample'}", TinyEncoders(), tmp_path / "index")
    return Galleries(Preparation(main), Preparation(sample)), may


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_offers_its_own_gallery_once_it_is_ready(
    two: tuple[Galleries, threading.Event], serve: Serve, browse: Browse, viewport: dict[str, int]
) -> None:
    galleries, may = two
    galleries.start()
    page = browse(serve(galleries), viewport=viewport)
    wait_for_answer(page, "Vera")  # the first in the folder's order
    assert page.get_by_label(re.compile("10 photos")).is_checked()
    assert page.get_by_label("photos · soon").count() == 1
    assert not page.locator("#switch").is_visible()
    may.set()
    page.locator("#switch", has_text="photos is ready: search it").click()
    wait_for_answer(page, "Ada")
    page.locator("#switch").wait_for(state="hidden")
    assert page.get_by_label(re.compile("26 photos")).is_checked()
    page.locator("#examples button:first-child", has_text="Ada").wait_for()
    assert "gallery=main" in page.locator("#link a").get_attribute("href")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_a_visitors_photo_is_searched_in_the_gallery_that_is_chosen(
    two: tuple[Galleries, threading.Event], serve: Serve, browse: Browse, tmp_path: Path
) -> None:
    galleries, may = two
    may.set()
    galleries.start()
    galleries.wait(60)
    url = serve(galleries)
    page = browse(url)
    wait_for_answer(page, "Ada")
    upload(page, portrait(0, 1), tmp_path / "query.png")
    wait_for_answer(page, "Ada")  # else there is no photo yet to be searched in another gallery
    page.get_by_label(re.compile("10 photos")).check()
    wait_for_answer(page, "Xaver")
    page.wait_for_url("**gallery=sample**")
    again = browse(page.url)
    wait_for_answer(again, "Vera")  # its first example: the photo is not part of a link
    known = {one["key"]: one for one in Client(url, verbose=False).predict(api_name="/galleries")["galleries"]}
    assert [known[key]["photos"] for key in (MAIN, SAMPLE.name)] == [26, 10]


def test_a_model_that_is_chosen_before_it_is_prepared_arrives(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    preparation = Preparation(tiny_gallery(tmp_path))
    preparation.start(["mtcnn-facenet"])
    preparation.wait()
    may = held_back(preparation.gallery)
    page = browse(serve(preparation))
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="More models").click()
    whole = page.locator("#model label", has_text="Mini, whole photo")
    assert "(not prepared yet)" in whole.inner_text()
    whole.locator("input").check()
    page.locator("#sentence", has_text="Mini, whole photo is still being prepared").wait_for()
    page.locator("#model label", has_text="Mini, whole photo (soon)").wait_for()
    may.set()
    wait_for_answer(page, "Ada")
    page.locator("#note", has_text="whole photo").wait_for()
    until(lambda: "(" not in whole.inner_text())
    assert page.locator("#sentence .notice").count() == 0


# The real thing: the sample, the network that comes along, and no way out


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    """`python app.py` with nothing on its disk and no way out; the address, and when it was started."""
    home = tmp_path_factory.mktemp("home")
    (home / "sitecustomize.py").write_text(ALONE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    fresh = {"HOME": str(home), "PYTHONPATH": str(home), "FACESEARCH_INDEX": str(home / "index")}
    started = time.perf_counter()
    with (home / "log").open("w") as log:
        served = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={**inherited, **fresh, "GRADIO_SERVER_PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                requests.get(url, timeout=5)
                break
            except (requests.ConnectionError, requests.Timeout):
                assert served.poll() is None, (home / "log").read_text()
                time.sleep(0.1)
        yield url, started
    finally:
        served.terminate()
        served.wait(30)


def composite(page: Page) -> None:
    """Waits for an answer about the first of the composite people."""
    wait_for_answer(page, "Composite 01")


def test_a_first_start_without_any_host_answers(first_start: tuple[str, float], browse: Browse) -> None:
    url, started = first_start
    page = browse(url)
    composite(page)
    seconds = time.perf_counter() - started
    sys.stdout.write(f"\nthe first answer {seconds:.1f} s after the command, with no network and nothing cached\n")
    assert page.locator("#role").get_by_label("Improved").is_checked()
    page.locator("#note", has_text="FaceNet is not here (see More models); Mini stands in.").wait_for()
    page.get_by_role("button", name="About").click()
    page.locator("#about", has_text="people who do not exist").wait_for()
    page.locator("#header", has_text="LFW is not here").wait_for()
    assert "cannot be reached" in page.locator("#header").inner_text()
    page.locator("#retry").wait_for()
    page.locator("#role").get_by_label("Baseline").check()
    page.locator("#note", has_text="ResNet-50 is not here (see More models); Mini, whole photo").wait_for()
    composite(page)


def test_every_sample_photo_finds_the_other_four(first_start: tuple[str, float]) -> None:
    url, _ = first_start
    until(lambda: "mtcnn-mini" in requests.get(f"{url}/health", timeout=5).json()["ready"].get(SAMPLE.name, ()))
    client = Client(url, verbose=False, download_files=False)
    photos = open_photos(SAMPLE.name)
    missed = []
    for row, photo_id in enumerate(photos.photo_ids):
        file = handle_file(str(photos[row].source))
        *_, answer = client.predict(file, "mtcnn-mini", "annoy", 5, 0, SAMPLE.name, api_name="/search")
        found = {hit["photo_id"] for hit in answer["hits"]}
        missed += [photo_id] * (found != {other for other in photos.photo_ids if same(other, photo_id)})
    assert missed == []


def same(one: str, other: str) -> bool:
    """Whether two sample photos show the same composite."""
    return one.split("/")[0] == other.split("/")[0]
