"""The page's "Evaluation" tab as a visitor sees it: absent, then there; on a desktop and on a phone."""

from __future__ import annotations

from pipeline.core.recipes import RECIPES
from pipeline.evaluation.evaluate import Task, evaluate
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.reports import save_report
from tests.e2e.conftest import DESKTOP, PHONE, Browse, loaded
from tests.e2e.test_page import wait_for_answer
from tests.evaluation.test_evaluate import tiny_pairs


def test_the_tab_shows_the_last_report(tiny_page: tuple[Preparation, str], browse: Browse) -> None:
    preparation, url = tiny_page
    page = browse(url)
    wait_for_answer(page, "Ada")
    page.get_by_role("tab", name="Evaluation").click()
    page.get_by_text("python -m pipeline evaluate").wait_for()
    gallery = preparation.gallery
    searchers = [gallery.searcher(name) for name in RECIPES]
    save_report(gallery, evaluate(searchers, Task(gallery.photos, tiny_pairs(), tuple(gallery.examples())), ["exact"]))
    for viewport in (DESKTOP, PHONE):
        page = browse(url, viewport=viewport)
        wait_for_answer(page, "Ada")
        page.get_by_role("tab", name="Evaluation").click()
        page.locator("#evaluation table").wait_for()
        assert page.locator("#evaluation tbody th").all_inner_texts() == list(RECIPES)
        drawings = loaded(page.locator("#evaluation img"))
        assert drawings.count() == 2 + len(RECIPES)
        assert all(drawings.nth(n).evaluate("image => image.naturalWidth > 100") for n in range(3))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
        page.get_by_role("tab", name="Search").click()
        page.locator("#results .tile").first.wait_for()
