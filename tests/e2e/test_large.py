"""A phone's large photo: the answer for the largest face first, the small faces when they are found; a real browser."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PIL import Image

from pipeline.encoder import look
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import Browse, Serve, photo_of
from tests.e2e.test_page import upload

NEAR, FAR = "Composite 03", "Composite 11"


def test_small_faces_come_after_the_answer(
    sample: Preparation, serve: Serve, browse: Browse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Image.new("RGB", (6000, 4000), (120, 130, 140))
    photo.paste(photo_of(sample, NEAR).resize((1000, 1000)), (500, 500))
    photo.paste(photo_of(sample, FAR).resize((76, 76)), (4000, 2000))
    may_go_on, whole = threading.Event(), look._with_small_faces

    def held(*given: object) -> object:
        assert may_go_on.wait(60)
        return whole(*given)

    monkeypatch.setattr(look, "_with_small_faces", held)
    page = browse(serve(sample))
    page.locator("#results .tile").first.wait_for()
    upload(page, photo, tmp_path / "large.jpg")
    page.locator("#results .tile:not(.old) img").first.wait_for()
    assert page.locator("#results .tile img").first.get_attribute("alt").startswith(f"1 · {NEAR}, ")
    assert page.locator("#faces button.face").count() == 0
    may_go_on.set()
    page.locator("#faces button.face").click()
    page.locator("#results .tile img[alt^='1 · " + FAR + "']").wait_for()
