"""Every state of the page as pictures, to be looked at: `python -m tests.e2e.states FOLDER [STATE ...] [--dark]`.

On a desktop and on a phone, with the sample gallery. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import io
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

import app
from pipeline.bench.visitor import Visitor
from pipeline.core.network import Access, Network
from pipeline.core.recipes import BASELINE, COMPACT, DEFAULT_INDEX, DEFAULT_K
from pipeline.core.settings import SAMPLE, Settings
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.galleries import Galleries, open_galleries
from pipeline.galleries.gallery import Gallery, StoredEncoders
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import CHROMIUM, PHONE, QUIET, held_back
from tests.e2e.test_page import choose_model, upload, upload_file

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": PHONE}
PEOPLE = sorted(SAMPLE.iterdir())


def photo(person: int, number: int = 0) -> Image.Image:
    """One of the sample's photos."""
    with Image.open(sorted(PEOPLE[person].glob("*.jpg"))[number]) as opened:
        return opened.convert("RGB")


class States:
    """What is done on a page that has its first answer, to bring it into a state: a method for each."""

    def __init__(self, galleries: Galleries, folder: Path) -> None:
        self.galleries, self.folder = galleries, folder

    def _upload(self, page: Page, image: Image.Image) -> None:
        upload(page, image, self.folder / "upload.png")
        page.wait_for_timeout(500)
        page.wait_for_function("!document.querySelector('#results .pending')")

    def answered(self, page: Page) -> None:
        """As the page opens."""

    def uploaded(self, page: Page) -> None:
        """A photo of the visitor's."""
        self._upload(page, photo(4, 2).resize((400, 400)))

    def baseline(self, page: Page) -> None:
        """The switch flipped."""
        page.locator("#role").get_by_label("Baseline").check()
        page.locator("#note", has_text="whole photo").wait_for()

    def several(self, page: Page) -> None:
        """A photo of six people."""
        group = Image.new("RGB", (900, 500), "grey")
        for number in range(6):
            group.paste(photo(number * 3).resize((260, 260)), (20 + 300 * (number % 3), 250 * (number // 3) - 10))
        self._upload(page, group)

    def every(self, page: Page) -> None:
        """A row for each of its faces."""
        self.several(page)
        page.get_by_role("button", name="search for all of them").click()
        page.locator("#results h3").first.wait_for()

    def no_face(self, page: Page) -> None:
        """A photo without one."""
        self._upload(page, Image.linear_gradient("L").convert("RGB"))

    def nobody(self, page: Page) -> None:
        """Somebody who is not in the gallery: as much of one as of another, and another."""
        mixed = [Image.blend(photo(first), photo(second), 0.5) for first, second in ((2, 8), (5, 26))]
        self._upload(page, Image.blend(*mixed, 0.5))

    def not_a_photo(self, page: Page) -> None:
        """A file that is none."""
        (self.folder / "broken.png").write_bytes(b"no photo")
        upload_file(page, self.folder / "broken.png")
        page.locator("#sentence .notice").wait_for()

    def small_face(self, page: Page) -> None:
        """A photo with hints about what makes its answer worse."""
        self._upload(page, photo(6).resize((60, 60)).resize((150, 150)).point(lambda value: value // 3))

    def empty(self, page: Page) -> None:
        """No photo any more."""
        page.locator("#photo button[aria-label='Remove Image']").click()
        page.locator("#results .tile").first.wait_for(state="detached")

    def models(self, page: Page) -> None:
        """The other models."""
        page.get_by_role("button", name="More models").click()

    def compact(self, page: Page) -> None:
        """One of them chosen."""
        choose_model(page, "Compact")
        page.wait_for_timeout(1500)

    def options(self, page: Page) -> None:
        """The options."""
        page.get_by_role("button", name="Options").click()

    def people(self, page: Page) -> None:
        """Grouped by person."""
        self.options(page)
        page.get_by_label("Group by person").check()
        page.locator("#results .people").wait_for()

    def why(self, page: Page) -> None:
        """A result enlarged and explained."""
        page.locator("#results .tile").nth(1).hover()
        page.locator("#results .enlarge").nth(1).click()
        page.get_by_role("button", name="Why this match?").click()
        page.locator("#why .why img").nth(3).wait_for()

    def steps(self, page: Page) -> None:
        """The times and everything in "About" unfolded."""
        page.locator("#sentence summary").click()
        page.get_by_role("button", name="About").click()
        page.locator("#about").scroll_into_view_if_needed()

    def compare(self, page: Page) -> None:
        """Side by side."""
        page.get_by_role("tab", name="Compare").click()
        page.locator("#compare h3").nth(1).wait_for()
        page.wait_for_function("!document.querySelector('.pending')")

    def own(self, page: Page) -> None:
        """My photos before, ..."""
        page.get_by_role("tab", name="My photos").click()

    def own_done(self, page: Page) -> None:
        """... and afterwards."""
        self.own(page)
        files = [file for person in PEOPLE[:4] for file in sorted(person.glob("*.jpg"))]
        page.locator("#own-drop input[type=file]").set_input_files(files)
        page.locator("#own-state", has_text="can be searched").wait_for()

    def live(self, page: Page) -> None:
        """Live before it is started, ..."""
        page.get_by_role("tab", name="Live").click()

    def live_blind(self, page: Page) -> None:
        """... and where there is no camera."""
        self.live(page)
        page.locator("#live").get_by_role("button", name="Start").click()
        page.locator("#live [role=status]", has_text="No camera was found").wait_for()

    def map(self, page: Page) -> None:
        """The map."""
        page.get_by_role("tab", name="Map").click()
        page.locator("#map .map[data-drawn]").wait_for()

    def evaluation(self, page: Page) -> None:
        """The figures, or how to come by them."""
        page.get_by_role("tab", name="Evaluation").click()
        page.locator("#evaluation .notice, #evaluation table").first.wait_for()

    def searching(self, page: Page) -> None:
        """An answer on its way for three seconds."""
        with self._held(BASELINE):
            page.locator("#role").get_by_label("Baseline").check()
            page.wait_for_timeout(3000)
            self.shoot(page)

    def busy(self, page: Page) -> None:
        """Others before this visitor in the queue."""
        content = io.BytesIO()
        photo(0).save(content, "JPEG")
        with closing(Visitor(page.url.split("?")[0])) as visitor, self._held(COMPACT):
            asked = [visitor.upload(content.getvalue()), COMPACT, DEFAULT_INDEX, DEFAULT_K, 0, ""]
            for _ in range(4):
                visitor.start("search", asked)
                page.wait_for_timeout(300)
            page.locator("#role").get_by_label("Baseline").check()
            page.wait_for_timeout(3000)
            self.shoot(page)

    shoot: Callable[[Page], None]

    @contextmanager
    def _held(self, recipe: str) -> Iterator[None]:
        """Searches by this recipe wait."""
        searcher, may_go_on = self.galleries.main.searcher(recipe), threading.Event()
        search = searcher.search

        def held(*asked: Any, **options: Any) -> Any:  # noqa: ANN401
            may_go_on.wait(60)
            return search(*asked, **options)

        searcher.search = held  # type: ignore[method-assign]
        try:
            yield
        finally:
            may_go_on.set()
            searcher.search = search  # type: ignore[method-assign]


def without_camera(page: Page) -> None:
    """A page over plain HTTP from another machine."""
    page.locator("#camera p").wait_for()


class Shooting:
    """Takes the pictures of one page after the other, light and dark."""

    def __init__(self, browser: Browser, folder: Path, wanted: list[str], schemes: list[str]) -> None:
        self.browser, self.folder, self.wanted, self.schemes = browser, folder, wanted, schemes

    def __call__(self, url: str, name: str, prepare: Callable[[Page], None], states: States | None = None) -> None:
        """The page at `url`, prepared, as `name`."""
        if self.wanted and name not in self.wanted:
            return
        for scheme in self.schemes:
            for kind, size in SIZES.items():
                page = self.browser.new_context(viewport=size).new_page()
                page.set_default_timeout(20_000)
                page.goto(f"{url}?__theme={scheme}")
                taken = self.folder / f"{name}-{kind}-{scheme}.png"
                shot = lambda page, taken=taken: page.screenshot(path=taken)  # noqa: E731
                if states:
                    states.shoot = shot
                    page.locator("#results .tile img").first.wait_for()
                try:
                    prepare(page)
                except Error as error:  # the others are of use without this one
                    sys.stdout.write(f"{name}, {kind}: {error}\n")
                page.wait_for_timeout(700)
                if not (states and name in ("searching", "busy")):
                    shot(page)
                page.context.close()


def refuse_connections() -> None:
    """As if this machine had no network."""
    connect = socket.socket.connect

    def alone(self: socket.socket, address: Any) -> None:  # noqa: ANN401
        if self.family != socket.AF_UNIX and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(101, "Network is unreachable")
        connect(self, address)

    socket.socket.connect = alone  # type: ignore[assignment, method-assign]


def serve(galleries: Galleries, **options: Any) -> str:  # noqa: ANN401
    """Serves the page and returns its address."""
    return str(app.launch(galleries, prevent_thread_lock=True, quiet=True, **options).local_url)


def main() -> None:
    """Serves the page in each of its states, and takes every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("states", nargs="*")
    parser.add_argument("--dark", action="store_true", help="dark as well")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    settings = Settings.from_env()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        home = Path(place)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET, "--host-resolver-rules=MAP faces.test 127.0.0.1"]
        )
        take = Shooting(browser, asked.folder, asked.states, ["light", "dark"] if asked.dark else ["light"])
        ready = open_galleries(replace(settings, dataset=SAMPLE.name, index=home / "ready"))
        ready.start()
        ready.wait()
        states = States(ready, home)
        url = serve(ready, network=Network(hosts=("faces.test",), access=Access(public=True)))
        for name in (name for name in vars(States) if not name.startswith("_") and name != "shoot"):
            take(url, name, getattr(states, name), states)
        take(url.replace("127.0.0.1", "faces.test"), "without_camera", without_camera)
        refuse_connections()
        nothing = StoredEncoders(WeightStore(None, home / "cache", {}))
        main_gallery = Gallery("somebody/faces", nothing, home / "offline")
        offline = Galleries(
            Preparation(main_gallery, on_demand=True), Preparation(Gallery(SAMPLE.name, nothing, home / "offline"))
        )
        offline.start()
        offline.wait()
        url = serve(offline)
        take(url, "offline", lambda page: page.locator("#results .tile").first.wait_for())
        take(url, "offline_models", lambda page: page.get_by_role("button", name="More models").click())
        waiting = Gallery(SAMPLE.name, nothing, home / "waiting")
        held_back(waiting)
        nothing_yet = Galleries(Preparation(waiting))
        nothing_yet.start()
        take(serve(nothing_yet), "nothing_yet", lambda page: page.locator("#header .state").wait_for())
        browser.close()


if __name__ == "__main__":
    main()
