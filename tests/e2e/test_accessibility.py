"""axe-core finds nothing serious on any part of the page: light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from pathlib import Path

import pytest

from pipeline.core.recipes import RECIPES
from pipeline.evaluation.evaluate import Task, evaluate
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.reports import save_report
from tests.e2e.conftest import DESKTOP, PHONE, Browse, Page, Serve, held_back
from tests.e2e.test_explore import TWO
from tests.e2e.test_limit import calibrated, set_limit
from tests.e2e.test_page import upload, wait_for_answer
from tests.evaluation.test_evaluate import tiny_pairs
from tests.fakes import draw, tiny_gallery

pytest.importorskip("axe_playwright_python", reason="needs axe-core: pip install axe-playwright-python")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
# Rule and selector of what lies in Gradio's own components and cannot be mended from outside, each with its reason.
GRADIOS_OWN: dict[tuple[str, str], str] = {}
FIND = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter(rule => ['serious', 'critical'].includes(rule.impact))
  .flatMap(rule => rule.nodes.map(node => [rule.id, node.target.join(' '), node.failureSummary]))"""


def faults(page: Page) -> list[list[str]]:
    """Rule, selector and explanation of everything serious or critical, except GRADIOS_OWN."""
    # What is still fading in, or waits for the server, has the contrast of half a colour.
    page.wait_for_function(
        "!document.querySelector('.pending') && document.getAnimations().every(each => each.playState !== 'running')"
    )
    return [fault for fault in page.evaluate(FIND) if (fault[0], fault[1]) not in GRADIOS_OWN]


@pytest.fixture
def url(tmp_path: Path, serve: Serve) -> str:
    """The tiny world's page with a limit and a report, so that everything there is can be seen."""
    preparation = calibrated(tmp_path, (("mtcnn-facenet", "facenet"),))
    # Of a gallery of its own, where nothing is known of distances: so few photos show nothing of verdicts.
    measured = tiny_gallery(tmp_path / "measured")
    measured.build(["mtcnn-facenet"])
    task = Task(measured.photos, tiny_pairs(), tuple(measured.examples()))
    save_report(preparation.gallery, evaluate([measured.searcher("mtcnn-facenet")], task, ["exact"]))
    return serve(preparation)


def test_axe_finds_nothing_serious(url: str, browse: Browse, tmp_path: Path) -> None:
    """One page for all, because the report takes longer to make than everything else."""
    for viewport, theme in product((PHONE, DESKTOP), ("light", "dark")):
        page = browse(f"{url}?__theme={theme}", viewport=viewport)
        wait_for_answer(page, "Ada")
        assert page.evaluate("document.body.matches('.dark')") == (theme == "dark")
        page.evaluate(AXE)
        found = {place: faults(page) for place in visited(page, tmp_path / "two.png")}
        assert len(found) == 9
        said = [f"{place}: {' | '.join(fault)}" for place, each in found.items() for fault in each]
        assert not said, "\n".join([f"{theme}, {viewport['width']} px wide", *said])


def visited(page: Page, photo: Path) -> Iterator[str]:
    """Goes from place to place on the page, and names each when it is there; `photo` is where to save one."""
    page.get_by_role("button", name="Options").click()
    set_limit(page, "0.4")
    page.locator("#results .alike").first.wait_for()
    yield "results"
    page.get_by_role("button", name="More models").click()
    page.get_by_role("button", name="About").click()
    page.locator("#sentence summary").click()
    page.get_by_role("button", name="Enlarge 2 · Ada").click()
    page.get_by_role("button", name="Why this match?").click()
    page.locator("#why img").first.wait_for()
    yield "an explained result, and everything unfolded"
    upload(page, TWO, photo)
    wait_for_answer(page, "Bruno")
    page.get_by_role("button", name="search for all of them").click()
    page.locator("#results h3", has_text="Face 2").wait_for()
    yield "several faces"
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare h3").nth(1).wait_for()
    page.get_by_text("Photos in common", exact=True).click()
    yield "compared"
    page.get_by_role("tab", name="Map").click()
    page.locator("#map .map[data-drawn]").wait_for()
    page.locator("#map canvas").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#map .card button").first.wait_for()
    page.wait_for_function("document.querySelector('#map .card img').naturalWidth > 0")
    yield "map"
    page.get_by_role("tab", name="Live").click()
    page.locator("#live").get_by_role("button", name="Start").click()
    page.locator("#live [role=status]", has_text="No camera was found").wait_for()
    yield "live, without a camera"
    page.get_by_role("tab", name="Evaluation").click()
    page.locator("#evaluation table").first.wait_for()
    yield "evaluation"
    page.get_by_role("tab", name="Search").click()
    upload(page, draw(), photo)
    page.locator("#whole").wait_for()
    yield "no face"
    page.locator("#photo button[aria-label='Remove Image']").click()
    page.locator("#results .tile").first.wait_for(state="detached")
    yield "without a photo"


def test_axe_finds_nothing_serious_where_something_is_missing(tmp_path: Path, serve: Serve, browse: Browse) -> None:
    """Before anything can answer; and then without the model that the switch is meant for."""
    gallery = tiny_gallery(tmp_path, {"mtcnn-facenet": "its host cannot be reached."})
    may_go_on = held_back(gallery)
    preparation = Preparation(gallery)
    preparation.start(RECIPES)
    page = browse(serve(preparation), viewport=PHONE)
    page.locator("#header .state").wait_for()
    page.evaluate(AXE)
    assert faults(page) == []
    may_go_on.set()
    wait_for_answer(page, "Ada")
    page.get_by_role("button", name="More models").click()
    page.locator("#missing li").first.wait_for()
    for dark in ("false", "true"):
        page.evaluate(f"document.body.classList.toggle('dark', {dark})")
        assert faults(page) == []


def test_axe_would_find_something(url: str, browse: Browse) -> None:
    page = browse(url)
    wait_for_answer(page, "Ada")
    page.evaluate(AXE)
    page.evaluate("document.querySelector('#results img').removeAttribute('alt')")
    assert [rule for rule, *_ in faults(page)] == ["image-alt"]
