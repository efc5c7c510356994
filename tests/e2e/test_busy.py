"""A page that takes no more: whoever asks too much, or when the queue is full, is told so, and then it goes on."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import app
from pipeline.bench.visitor import Visitor
from pipeline.core.errors import ServingError
from pipeline.core.network import Rate
from pipeline.core.recipes import DEFAULT, DEFAULT_INDEX, RECIPES
from pipeline.galleries.preparation import Preparation
from pipeline.page.parts import SEARCH
from pipeline.page.server import rate as rates
from tests.e2e.camera import film
from tests.e2e.conftest import Browse, Page, Serve
from tests.e2e.test_live import button, first_is, open_live, told
from tests.e2e.test_page import wait_for_answer
from tests.fakes import portrait, tiny_gallery
from tests.faults.corpus import encode

QUEUE = 2


@pytest.fixture
def ready(tmp_path: Path) -> Preparation:
    """The tiny world, everything ready."""
    preparation = Preparation(tiny_gallery(tmp_path))
    preparation.start(RECIPES)
    preparation.wait()
    return preparation


def says(page: Page, words: str | re.Pattern[str]) -> None:
    """Waits until the page tells the visitor this."""
    page.locator("[data-testid=toast-body]", has_text=words).first.wait_for()


def test_who_searches_too_often_is_told_how_long_to_wait(ready: Preparation, serve: Serve, browse: Browse) -> None:
    page = browse(serve(ready, Rate(1)), refusals=429)
    wait_for_answer(page, "Ada")  # the page's own search is the first
    page.get_by_label("Baseline", exact=True).check()
    says(page, re.compile(r"This page takes 1 searches a minute from one visitor; try again in \d+ s\."))
    wait_for_answer(page, "Ada")


def test_a_camera_that_sends_too_many_frames_pauses_and_goes_on(
    ready: Preparation, serve: Serve, browse: Browse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "FRAMES", 1)
    camera = film([portrait(1)], tmp_path / "camera.mjpeg", seconds=1)
    page = browse(serve(ready, Rate(30)), camera=camera, refusals=429)
    open_live(page)
    button(page, "Start").click()
    first_is(page, "Bruno")
    # A frame comes back every two seconds; where frames are slow, one of the two is over.
    told(page, re.compile(r"This page takes 30 frames a minute from one visitor; try again in [12] s\."))
    with page.expect_response(lambda reply: reply.url.endswith("/live") and reply.status == 200):
        pass  # by itself
    assert button(page, "Stop").is_visible()


def held_searches(ready: Preparation, patch: pytest.MonkeyPatch) -> tuple[threading.Semaphore, threading.Event]:
    """What is released for each search by the default model that begins, and what lets them go on."""
    under_way, may_go_on, searcher = threading.Semaphore(0), threading.Event(), ready.searcher(DEFAULT)
    search = searcher.search

    def held(*asked: Any, **options: Any) -> Any:  # noqa: ANN401
        under_way.release()
        assert may_go_on.wait(60)
        return search(*asked, **options)

    patch.setattr(searcher, "search", held)
    return under_way, may_go_on


def as_many_as_run(visitor: Visitor, under_way: threading.Semaphore) -> list[Any]:
    """Starts as many searches as run at once, and returns what they ask for: the next one waits."""
    asked = [visitor.upload(encode(portrait(1))), DEFAULT, DEFAULT_INDEX, 20, 0, ""]
    for _ in range(SEARCH["concurrency_limit"]):
        visitor.start("search", asked)
        assert under_way.acquire(timeout=60)  # until then it is in the queue, and leaves room behind it
    return asked


def test_who_waits_is_told_the_place_in_the_queue(
    ready: Preparation, serve: Serve, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(ready)
    page = browse(url)
    wait_for_answer(page, "Ada")
    under_way, may_go_on = held_searches(ready, monkeypatch)
    with closing(Visitor(url)) as visitor:
        asked = as_many_as_run(visitor, under_way)
        visitor.start("search", asked)
        page.get_by_label("Baseline", exact=True).check()
        told = page.locator("#results .progress-text", has_text=re.compile(r"queue: 2/2 \| \d"))
        told.wait_for()
        assert told.bounding_box()["y"] < page.viewport_size["height"], "in sight"
        may_go_on.set()
    page.locator("#note", has_text="whole photo").wait_for()


def test_who_finds_the_queue_full_is_told_so(
    ready: Preparation, serve: Serve, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "QUEUE_LENGTH", QUEUE)
    url = serve(ready)
    page = browse(url, refusals=503)
    wait_for_answer(page, "Ada")
    under_way, may_go_on = held_searches(ready, monkeypatch)
    with closing(Visitor(url)) as visitor:
        asked = as_many_as_run(visitor, under_way)
        with pytest.raises(ServingError, match=f"Queue is full. Max size is {QUEUE}"):
            for _ in range(QUEUE + 1):
                visitor.start("search", asked)
    page.get_by_label("Baseline", exact=True).check()
    says(page, "This application is currently busy. Please try again.")
    may_go_on.set()
    until = time.monotonic() + 60
    with closing(Visitor(url)) as visitor:
        while time.monotonic() < until:
            with suppress(ServingError):
                assert visitor.search(encode(portrait(3, 1)), DEFAULT, DEFAULT_INDEX, 20).answer["hits"]
                return
    pytest.fail("the page does not come back")
