"""How often Live answers, measured in a real browser: `python -m tests.e2e.live_rate`.

Serves the gallery and the models that the environment names, and shows a fake camera the gallery's examples moving
about. Browser and server share the machine. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

import app
from pipeline.core.recipes import COMPACT
from pipeline.core.settings import Settings
from pipeline.galleries.galleries import open_galleries
from pipeline.photos.images import open_image
from tests.e2e.camera import film

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FAKE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
# Answers of the route as the browser sees them: when each came, and how long it took.
COUNT = """() => { window.answers = []; const real = window.fetch; window.fetch = async (...asked) => {
  const began = performance.now(), response = await real(...asked);
  if (String(asked[0]).endsWith('live')) window.answers.push([performance.now(), performance.now() - began]);
  return response;
} }"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts everything, counts answers, and prints what was counted."""
    parser = argparse.ArgumentParser(description="How often Live answers.")
    parser.add_argument("--recipe", default=COMPACT, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--people", type=int, default=3, help="in the film; default: %(default)s")
    options = parser.parse_args(arguments)
    galleries = open_galleries(Settings.from_env())
    preparation = galleries.main
    preparation.start([options.recipe])
    preparation.wait()
    searcher = preparation.searcher(options.recipe)
    gallery = preparation.gallery
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        photos = [
            open_image(gallery.photos.found(photo_id).source) for photo_id in gallery.examples()[: options.people]
        ]
        camera = film(photos, Path(place) / "camera.mjpeg")
        served = app.launch(galleries, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        fake = ["--no-sandbox", "--disable-gpu", *FAKE, f"--use-file-for-fake-video-capture={camera}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=fake)
        page = browser.new_page()
        page.goto(f"{served.local_url}?recipe={options.recipe}")
        page.locator("#results .tile").first.wait_for()
        page.evaluate(COUNT)
        page.get_by_role("tab", name="Live").click()
        page.locator("#live").get_by_role("button", name="Start").click()
        page.locator("#live .tile").first.wait_for()
        page.evaluate("window.answers.length = 0")
        began, busy = time.perf_counter(), time.process_time()
        page.wait_for_timeout(1000 * options.seconds)
        took, busy = time.perf_counter() - began, time.process_time() - busy
        answers = page.evaluate("window.answers")
        browser.close()
        served.close()
    round_trip = statistics.median(ms for _, ms in answers)
    sys.stdout.write(
        f"{options.recipe}, {len(searcher.embeddings):,} photos: "
        f"{len(answers) / took:.1f} updates/s over {took:.0f} s; "
        f"{round_trip:.0f} ms from frame to answer; the server used {busy / took:.2f} of {os.cpu_count()} cores; "
        f"load of the machine {os.getloadavg()[0]:.1f}\n"
    )


if __name__ == "__main__":
    main()
