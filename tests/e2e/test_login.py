"""A page with a login, as a visitor meets it: a form, and after it the page."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import Browse
from tests.e2e.test_page import upload, wait_for_answer
from tests.fakes import portrait, tiny_gallery

NETWORK = Settings.from_env({"FACESEARCH_AUTH": "ann:correct horse"}).network


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    preparation = Preparation(tiny_gallery(tmp_path), maps=False)
    preparation.start(RECIPES)
    preparation.wait()
    quietly = {"prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"}
    page = app.launch(Galleries(preparation), network=NETWORK, **quietly)
    yield str(page.local_url)
    page.close()
    gc.collect()


def test_who_logs_in_has_the_page(url: str, browse: Browse, tmp_path: Path) -> None:
    page = browse(url, refusals=400)

    def log_in(password: str) -> None:
        page.get_by_label("username").fill("ann")
        page.get_by_label("password").fill(password)
        page.get_by_role("button", name="Login").click()

    log_in("a guess")
    page.get_by_text("Incorrect credentials").wait_for()
    assert page.locator("#results").count() == 0
    log_in("correct horse")
    wait_for_answer(page, "Ada")
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    page.wait_for_function(
        "[...document.querySelectorAll('#results .tile img')].every(image => image.complete && image.naturalWidth)"
    )
