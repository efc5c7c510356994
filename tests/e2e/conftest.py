"""A running page and a real headless Chromium to drive it with."""

from __future__ import annotations

import gc
import io
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.network import UNLIMITED, Rate
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import EXAMPLES, Gallery, StoredEncoders
from pipeline.galleries.preparation import Preparation
from pipeline.photos.sources import open_photos
from tests.fakes import tiny_gallery

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
Locator, Page, Route = playwright_api.Locator, playwright_api.Page, playwright_api.Route

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# How Chromium's question whether a page may have the camera is answered with yes, and what stands in for a camera.
ALLOWED, FAKE_CAMERA = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
# A page that is left complains of what was under way; nobody sees that.
LEAVING = "addEventListener('beforeunload', () => { console.error = () => {}; });"
DESKTOP, PHONE = {"width": 1366, "height": 800}, {"width": 390, "height": 844}

Serve = Callable[..., str]
Browse = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")
            # Gradio leaves sockets and event loops to the garbage collector; `serve` collects them here and now.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture
def serve(imported: None) -> Iterator[Serve]:
    """Serves a page for one test."""
    with warnings.catch_warnings():
        # Gradio and the libraries below it warn of each other's deprecated names.
        warnings.simplefilter("ignore")
        import app

        pages = []

        def serve(served: Preparation | Galleries, rate: Rate = UNLIMITED) -> str:
            galleries = served if isinstance(served, Galleries) else Galleries(served)
            page = app.launch(galleries, rate=rate, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
            pages.append(page)
            return str(page.local_url)

        yield serve
        for page in pages:
            page.close()
        gc.collect()


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Opens pages in Chromium; afterwards no error may stand in a console, and no request have left the machine."""
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium, or set CHROMIUM to one")
    faults: list[str] = []
    with warnings.catch_warnings(), playwright_api.sync_playwright() as playwright:
        warnings.simplefilter("ignore")
        opened = []

        def browse(
            url: str,
            *,
            viewport: dict[str, int] = DESKTOP,
            camera: Path | None = None,
            options: tuple[str, ...] = (),
            refusals: int | None = None,
        ) -> Page:
            """`refusals` is the status of answers that the test wants; Chromium has an error for each of them."""
            fake = [ALLOWED, FAKE_CAMERA, f"--use-file-for-fake-video-capture={camera}"] if camera else []
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *fake, *options])
            opened.append(browser)
            page = browser.new_page(viewport=viewport)
            page.set_default_timeout(60_000)
            page.add_init_script(LEAVING)
            page.on("console", lambda message: _note_if_error(message, faults, refusals))
            page.on("pageerror", lambda error: faults.append(str(error)))
            # Playwright takes over Chromium's dialogs at the first of these: late for a key that is pressed at once.
            page.on("filechooser", lambda _: None)
            page.on("request", lambda request: _note_if_outside(request.url, faults))
            page.goto(url)
            return page

        yield browse
        for browser in opened:
            browser.close()
    assert not faults


def _note_if_error(message: playwright_api.ConsoleMessage, faults: list[str], refusals: int | None) -> None:
    url = str(message.location.get("url", ""))
    if refusals and f"the server responded with a status of {refusals} " in message.text:
        return
    # When a webcam is switched off, Gradio's page closes the searches under way, of which it may just have heard all.
    if message.type == "error" and not re.search(r"/gradio_api/stream/\w+/close$", url):
        faults.append(f"{message.text} ({url})")


def _note_if_outside(url: str, faults: list[str]) -> None:
    here = ("http://127.0.0.1", "http://localhost", "https://localhost", "http://faces.test", "data:", "blob:")
    if not url.startswith(here):
        faults.append(f"request to {url}")


@pytest.fixture
def tiny_page(tmp_path: Path, serve: Serve) -> tuple[Preparation, str]:
    """The tiny world's page, everything ready."""
    preparation = Preparation(tiny_gallery(tmp_path))
    preparation.start(RECIPES)
    preparation.wait()
    return preparation, serve(preparation)


def loaded(pictures: playwright_api.Locator) -> playwright_api.Locator:
    """Waits until the browser has these pictures, all that there are now."""
    pictures.first.wait_for(state="attached")
    pictures.evaluate_all("images => Promise.all(images.map(image => image.decode()))")
    return pictures


def held_back(gallery: Gallery) -> threading.Event:
    """Makes the gallery's building wait for this event."""
    may_go_on, build = threading.Event(), gallery.build

    def slow_build(recipes: list[str], report: Report = silent) -> None:
        assert may_go_on.wait(60)
        build(recipes, report)

    gallery.build = slow_build  # type: ignore[method-assign]
    return may_go_on


@pytest.fixture(scope="session")
def lfw_sixty(real: Settings, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """All photos of the ten example people and 200 others from LFW, as a folder, with the real networks."""
    photos = open_photos(real.dataset)
    folder = tmp_path_factory.mktemp("lfw") / "lfw-sixty"
    people = {example.rsplit("_", 1)[0].replace("_", " ") for example in EXAMPLES}
    wanted = [row for row, person in enumerate(photos.people) if person in people]
    for row in [*wanted, *range(0, len(photos), len(photos) // 200)]:
        photo = photos[row]
        (folder / photo.person).mkdir(parents=True, exist_ok=True)
        (folder / photo.person / f"{photo.photo_id}.jpg").write_bytes(bytes(photo.source))
    store = WeightStore(real.models, real.cache, real.custom_weights)
    gallery = Gallery(f"imagefolder:{folder}", StoredEncoders(store), folder.parent / "index")
    return gallery


@pytest.fixture
def camera(tmp_path: Path) -> Callable[[Image.Image], Path]:
    """Makes a photo into what Chromium takes for a camera: an endless MJPEG stream of 640 x 480."""

    def camera(photo: Image.Image) -> Path:
        frame = Image.new("RGB", (640, 480), (128, 128, 128))
        frame.paste(photo.resize((480, 480)), (80, 0))
        encoded = io.BytesIO()
        frame.save(encoded, "JPEG", quality=95)
        path = tmp_path / "camera.mjpeg"
        path.write_bytes(encoded.getvalue() * 30)
        return path

    return camera
