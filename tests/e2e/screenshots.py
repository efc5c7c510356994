"""The pictures in the README files, taken of the running page: `python -m tests.e2e.screenshots`.

They show the composite people of the sample gallery, never photos of LFW. Needs playwright and a Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import app
from pipeline.core.settings import SAMPLE, Settings
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import open_gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.preparation import Preparation

FOLDER = Path(__file__).parent / "screenshots"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MAXCOVERAGE = Image.Quantize.MAXCOVERAGE  # keeps the few green words green
COLOURS = 256  # which such a page does with, at half the bytes


def first_start(page: Page) -> None:
    """The page as it opens: an answer about the first example."""


def compare(page: Page) -> None:
    """One photo by both models."""
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare section").nth(1).wait_for()


def on_a_phone(page: Page) -> None:
    """An example that was tapped, its answer in view."""
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("scrollY > 0")


def why_this_match(page: Page) -> None:
    """What the nearest other photo's similarity rests on."""
    page.locator("#results .enlarge").nth(1).click()
    page.get_by_role("button", name="Why this match?").press("Enter")
    page.locator("#why .why img").nth(3).wait_for()
    page.locator("#enlarged").evaluate("shown => shown.scrollIntoView()")


def own_gallery(page: Page) -> None:
    """Twenty photos dropped into the page, and the people in them."""
    photos = sorted(path for person in sorted(SAMPLE.iterdir())[:4] for path in person.glob("*.jpg"))
    page.get_by_role("tab", name="My photos").click()
    page.locator("#own-drop input[type=file]").set_input_files(photos)
    page.locator(".people-row li").first.wait_for()


SHOTS: dict[str, tuple[dict[str, int], Callable[[Page], None]]] = {
    "first-start": (DESKTOP, first_start),
    "compare": (DESKTOP, compare),
    "why-this-match": (DESKTOP, why_this_match),
    "own-gallery": (DESKTOP, own_gallery),
    "phone": (PHONE, on_a_phone),
}


def main() -> None:
    """Serves the sample gallery by the networks that are there, and takes every picture."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        settings = replace(Settings.from_env(), dataset=SAMPLE.name, index=Path(place) / "index")
        gallery = open_gallery(settings)
        galleries = Galleries(Preparation(gallery), own=OwnGalleries(gallery.encoders, settings.index / "own"))
        galleries.start()
        galleries.wait()
        served = app.launch(galleries, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        FOLDER.mkdir(exist_ok=True)
        for name, (size, prepare) in SHOTS.items():
            page = browser.new_page(viewport=size)
            page.goto(str(served.local_url))
            page.locator("#results .tile").first.wait_for()
            prepare(page)
            page.wait_for_timeout(1000)  # pictures fade in
            with Image.open(io.BytesIO(page.screenshot())) as taken:
                taken.convert("RGB").quantize(COLOURS, MAXCOVERAGE).save(FOLDER / f"{name}.png", optimize=True)
            sys.stdout.write(f"{FOLDER / name}.png: {(FOLDER / f'{name}.png').stat().st_size / 1e3:.0f} kB\n")
            page.close()
        browser.close()
        served.close()


if __name__ == "__main__":
    main()
