"""Benchmark of the running page: time to start, time of a search from upload to answer, searches a second.

The page is `python app.py` with the settings of the environment, on a port of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from pipeline.bench.processes import running
from pipeline.bench.timing import median_and_p95
from pipeline.bench.visitor import Visitor
from pipeline.core.errors import ServingError
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import DEFAULT_K
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.photos.pictures import bytes_of

WARM_UP = 5  # searches that are not measured
LARGE = (4000, 3000)  # a phone's photo of 12 megapixels
QUALITY = 92


@dataclass(frozen=True)
class ServingFigures:
    """The figures of a running page.

    Attributes:
        recipe: that was searched with.
        ready: the recipes that the page had open, by gallery.
        page_s: seconds from the start until the page answers.
        first_s: seconds from the start until the first search is answered.
        small_ms: median and 95th percentile of a search with a photo of the gallery, in milliseconds.
        large_ms: the same with a photo of 12 megapixels.
        index_ms: median of the index's part of a search.
        clients: that searched at the same time.
        searches_a_second: of all clients together.
        failures: searches that were refused or not answered.
        resident_bytes: the server's memory after all searches.
        own_bytes: the same without the pages of mapped files.
    """

    recipe: str
    ready: dict[str, list[str]]
    page_s: float
    first_s: float
    small_ms: tuple[float, float]
    large_ms: tuple[float, float]
    index_ms: float
    clients: int
    searches_a_second: float
    failures: int
    resident_bytes: int
    own_bytes: int


@dataclass(frozen=True)
class Load:
    """The load: a number of single searches, and a number of clients at once for some seconds."""

    recipe: str
    index: str
    searches: int = 100
    large: int = 20
    clients: int = 20
    seconds: float = 20.0


def bench_serving(photos: Photos, load: Load, report: Report = silent) -> ServingFigures:
    """Starts the page and measures it; ServingError if it does not start or refuses a search."""
    rows = np.linspace(0, len(photos) - 1, min(len(photos), load.searches)).astype(int).tolist()
    small = [bytes_of(open_image(photos[row].source), "JPEG", quality=QUALITY) for row in rows]
    large = [bytes_of(enlarged(open_image(photos[row].source)), "JPEG", quality=QUALITY) for row in rows[: load.large]]
    warm_up = (small * WARM_UP)[:WARM_UP]
    with running() as page, closing(Visitor(page.url)) as visitor:
        page_s = page.until(visitor.page)
        first_s = page.until(lambda: _answers(visitor, small[0], load))
        page.rest()
        visits = [
            visitor.search(photo, load.recipe, load.index, DEFAULT_K)
            for photo in tracked([*warm_up, *small, *large], "Searching", "searches", report)
        ]
        small_visits, large_visits = visits[WARM_UP : WARM_UP + len(small)], visits[WARM_UP + len(small) :]
        count, failures = _crowd(page.url, small, load)
        return ServingFigures(
            load.recipe,
            visitor.health()["ready"],
            round(page_s, 2),
            round(first_s, 2),
            median_and_p95([visit.ms for visit in small_visits], 1),
            median_and_p95([visit.ms for visit in large_visits], 1),
            round(float(np.median([visit.answer["timings_ms"]["search"] for visit in small_visits])), 2),
            load.clients,
            round(count / load.seconds, 1),
            failures,
            *page.memory(),
        )


def _answers(visitor: Visitor, photo: bytes, load: Load) -> bool:
    """Whether a search is answered; it is refused while the gallery is being opened."""
    try:
        return bool(visitor.search(photo, load.recipe, load.index, DEFAULT_K).answer)
    except ServingError:
        return False


def _crowd(url: str, photos: Sequence[bytes], load: Load) -> tuple[int, int]:
    """Searches answered and failed for all clients together, each of which searches without a pause."""
    until, counts, failures = time.perf_counter() + load.seconds, [0] * load.clients, [0] * load.clients

    def ask(number: int) -> None:
        with closing(Visitor(url)) as visitor:
            while time.perf_counter() < until:
                try:
                    visitor.search(photos[(number + counts[number]) % len(photos)], load.recipe, load.index, DEFAULT_K)
                    counts[number] += 1
                except (ServingError, OSError):
                    failures[number] += 1

    with ExitStack() as stack:
        for number in range(load.clients):
            thread = threading.Thread(target=ask, args=[number])
            thread.start()
            stack.callback(thread.join)
    return sum(counts), sum(failures)


def enlarged(image: Image.Image) -> Image.Image:
    """A photo of 12 megapixels: the photo enlarged six times, before a blurred background of itself."""
    photo = image.resize((image.width * 6, image.height * 6), Image.Resampling.BICUBIC)
    background = image.resize(LARGE, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(40))
    background.paste(photo, ((LARGE[0] - photo.width) // 2, (LARGE[1] - photo.height) // 2))
    return background
