"""The main job on real input: real photos of LFW, real networks, a real browser, and a webcam fed from a real photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.photos.images import open_image
from tests.e2e.conftest import Browse, Serve
from tests.e2e.test_page import captions, upload_file, wait_for_answer


@pytest.fixture
def page_url(lfw_sixty: Gallery, serve: Serve) -> str:
    """A page of the ten people among 200 others; skipped where no weights at all can be had."""
    preparation = Preparation(lfw_sixty)
    preparation.start()
    preparation.wait()
    if not preparation.ready():
        pytest.skip("needs weights: set FACESEARCH_MODELS to a folder with them")
    return serve(preparation)


def photo_of(gallery: Gallery, person: str, number: int) -> Path:
    """The file of a person's photo in the folder."""
    source = next(
        gallery.photos[row].source
        for row, photo_id in enumerate(gallery.photos.photo_ids)
        if photo_id.endswith(f"{person.replace(' ', '_')}_{number:04d}.jpg")
    )
    assert isinstance(source, Path)
    return source


def test_upload_crop_captions_and_toggle(page_url: str, lfw_sixty: Gallery, browse: Browse) -> None:
    page = browse(page_url)
    page.locator("#results .tile").first.wait_for()
    upload_file(page, photo_of(lfw_sixty, "Boris Becker", 3))
    wait_for_answer(page, "Boris Becker")
    best = captions(page)
    assert len(best) == 20
    assert [person for person, _ in best[:6]] == ["Boris Becker"] * 6
    page.locator("#faces .chosen img").wait_for()
    page.get_by_role("button", name="More models").click()
    ready = page.locator("#model label", has_not_text="not prepared")
    for number in range(ready.count()):
        ready.nth(number).click()
        recipe = ready.nth(number).locator("input").get_attribute("value")
        page.locator(f"#link a[href*='recipe={recipe}&']").wait_for()
        page.locator("#results .tile").first.wait_for()
    baseline_choice = page.locator('#model label:has(input[value="resnet50"])')
    if not baseline_choice.count():
        pytest.skip("the toggle to the baseline needs ResNet-50's weights: set FACESEARCH_RESNET50_WEIGHTS")
    baseline_choice.click()
    page.locator("#note", has_text="no face is looked for").wait_for()
    baseline = captions(page)
    assert len(baseline) == 20
    # What the toggle is there to show: the whole photo finds the setting, the face finds the person.
    assert sum(person == "Boris Becker" for person, _ in baseline) < 6


def test_the_webcam(page_url: str, lfw_sixty: Gallery, browse: Browse, camera: Callable[[Image.Image], Path]) -> None:
    page = browse(page_url, camera=camera(open_image(photo_of(lfw_sixty, "Angela Bassett", 2))))
    page.locator("#results .tile").first.wait_for()
    page.locator("#photo button[aria-label='Remove Image']").click()
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_label("capture photo").click()
    wait_for_answer(page, "Angela Bassett")
    assert len(captions(page)) == 20
    page.locator("#faces .chosen img").wait_for()
