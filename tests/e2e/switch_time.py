"""How long the switch, the first answer and a large photo take, in a real browser: `python -m tests.e2e.switch_time`.

Serves the gallery and the models that the environment names, and gives the page a photo of the gallery. Browser and
server share the machine. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

import app
from pipeline.bench.serving import enlarged
from pipeline.core.settings import Settings
from pipeline.galleries.galleries import open_galleries
from pipeline.photos.images import open_image
from tests.e2e.conftest import CHROMIUM, QUIET
from tests.e2e.test_page import upload, upload_file

# Milliseconds from when it is called to the new sentence, which comes with the new results, drawn.
ANSWERED = """window.answered = () => new Promise(done => {
  const began = performance.now();
  new MutationObserver((_, seen) => {
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
  }).observe(document.querySelector('#sentence'), {childList: true, subtree: true, characterData: true});
});"""
FLIP = """role => {
  const taken = answered();
  document.querySelector(`#role [value=${role}]`).click();
  return taken;
}"""
# From the moment when a file is chosen next; `taken` is a promise of it.
CHOSEN = "() => { addEventListener('change', () => { window.taken = answered(); }, {capture: true, once: true}); }"
STEPS = re.compile(r"(\d+) ms.*embedding (\d+)", re.DOTALL)  # the whole search, and its embedding
# When the page and the first answer were drawn, in milliseconds since the browser asked for it.
WATCH = """window.drawn = {}; new MutationObserver(() => {
  for (const [what, where] of [['page', '#role'], ['answer', '#results .tile']])
    if (!window.drawn[what] && document.querySelector(where)) window.drawn[what] = performance.now();
}).observe(document, {childList: true, subtree: true});"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts everything, measures, and prints medians."""
    parser = argparse.ArgumentParser(description="How long the switch, the first answer and a large photo take.")
    parser.add_argument("--times", type=int, default=15, help="default: %(default)s")
    times = parser.parse_args(arguments).times
    galleries = open_galleries(Settings.from_env())
    galleries.start()
    galleries.wait()
    gallery = galleries.main.gallery
    image = open_image(gallery.photos.found(gallery.examples()[1]).source).resize((250, 250))
    asked = ("page", "answer", "baseline", "improved", "small", "large")
    taken: dict[str, list[float]] = {what: [] for what in asked}
    steps: dict[str, list[tuple[float, ...]]] = {"baseline": [], "improved": []}
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        served = app.launch(galleries, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        for _ in range(times + 1):
            page = context.new_page()
            page.add_init_script(WATCH)
            page.goto(str(served.local_url))
            page.locator("#results .tile").first.wait_for()
            drawn = page.evaluate("drawn")
            taken["page"].append(drawn["page"])
            taken["answer"].append(drawn["answer"] - drawn["page"])
            page.close()
        page = context.new_page()
        page.add_init_script(ANSWERED)
        page.goto(str(served.local_url))
        page.locator("#results .tile").first.wait_for()
        upload(page, image, Path(place) / "photo.png")
        page.wait_for_timeout(2000)
        for _ in range(times + 1):
            for role in steps:
                taken[role].append(page.evaluate(FLIP, role))
                told = STEPS.search(page.locator("#sentence details").text_content() or "")
                assert told, "the answer tells how long its steps took"
                steps[role].append(tuple(map(float, told.groups())))
                page.wait_for_timeout(700)
        image.save(small := Path(place) / "small.jpg")
        enlarged(image).save(large := Path(place) / "large.jpg", quality=90)
        for _ in range(times + 1):
            for what, path in (("small", small), ("large", large)):
                page.evaluate(CHOSEN)
                upload_file(page, path)
                taken[what].append(page.evaluate("taken"))
                page.wait_for_timeout(700)
        browser.close()
        served.close()
    median = {what: statistics.median(each[1:]) for what, each in taken.items()}  # the first is the browser's warm-up
    sys.stdout.write(
        f"{len(gallery.photos):,} photos, a photo of {image.width} x {image.height}, medians of {times}: "
        f"the page after {median['page']:.0f} ms, its first answer {median['answer']:.0f} ms later\n"
    )
    for role, own in steps.items():
        each = taken[role][1:]
        search, embedding = map(statistics.median, zip(*own[1:], strict=True))
        sys.stdout.write(
            f"to {role}: {median[role]:.0f} ms ({min(each):.0f} to {max(each):.0f}) until the new answer is drawn, "
            f"{search:.0f} of them the search, of which {embedding:.0f} are the embedding\n"
        )
    sys.stdout.write(
        f"from a file's choice to the answer, drawn: {median['small']:.0f} ms with 250 x 250, {median['large']:.0f} ms "
        "with 12 megapixels\n"
    )
    sys.stdout.write(f"load of the machine {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
