"""What a visitor has before the eyes, on a desktop and on a phone, light and dark: nothing scrolls, nothing jumps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import app
from pipeline.core.network import Access, Network
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.preparation import Preparation
from pipeline.photos.pictures import SMALL_SIDE
from tests.e2e.conftest import PHONE, Browse, Page, Serve
from tests.e2e.test_explore import TWO
from tests.e2e.test_limit import calibrated
from tests.e2e.test_page import upload, wait_for_answer
from tests.fakes import portrait

VIEWPORTS = {"desktop": {"width": 1280, "height": 800}, "phone": PHONE}
MOST_SHIFT = 0.05
OBSERVE = """window.shift = 0; new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({type: 'layout-shift', buffered: true});"""
SEEN = """selector => [...document.querySelectorAll(selector)].filter(each => {
  const place = each.getBoundingClientRect();
  return place.height > 0 && place.top >= 0 && place.bottom <= innerHeight && place.right <= innerWidth;
}).length"""

Open = Callable[..., Page]


@pytest.fixture
def url(tmp_path: Path, serve: Serve) -> str:
    """The tiny world, what its distances mean known."""
    return serve(calibrated(tmp_path, (("mtcnn-facenet", "facenet"),)))


@pytest.fixture
def opened(url: str, browse: Browse) -> Open:
    """Opens the page with an answer on it, and counts what moves from the beginning."""

    def opened(viewport: str, theme: str = "light") -> Page:
        page = browse("about:blank", viewport=VIEWPORTS[viewport])
        page.add_init_script(OBSERVE)
        page.goto(f"{url}?__theme={theme}")
        wait_for_answer(page, "Ada")
        return page

    return opened


def seen(page: Page, selector: str) -> int:
    """How many of these are whole inside the viewport."""
    return int(page.evaluate(SEEN, selector))


def settled(page: Page) -> None:
    """Waits until the answer stands, and what moves has arrived."""
    page.wait_for_function("!document.querySelector('#results .pending')")
    page.wait_for_function("document.getAnimations().every(each => each.playState !== 'running')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_desktop_the_answer_is_seen_without_scrolling(opened: Open, tmp_path: Path, theme: str) -> None:
    page = opened("desktop", theme)
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    assert page.evaluate("scrollY") == 0
    assert (seen(page, "#role"), seen(page, "#sentence .answer"), seen(page, "#photo")) == (1, 1, 1)
    assert seen(page, "#results .tile") >= 10


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_the_answer_is_scrolled_into_view(opened: Open, tmp_path: Path, theme: str) -> None:
    page = opened("phone", theme)
    assert page.evaluate("scrollY") == 0, "not at first load"
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    page.wait_for_function("scrollY > 0")
    assert (seen(page, "#role"), seen(page, "#sentence .answer")) == (1, 1)
    assert seen(page, "#results .tile") >= 3
    tops = [page.locator(part).first.bounding_box()["y"] for part in ("#photo", "#results .tile")]
    assert tops[1] - tops[0] <= 900
    page.locator("#examples button", has_text="Elif").click()
    wait_for_answer(page, "Elif")
    page.wait_for_function("document.querySelector('#bar').getBoundingClientRect().top < 20")


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_the_footer_divides_nothing_from_nothing(opened: Open, viewport: str) -> None:
    assert "·" not in opened(viewport).locator("footer").inner_text()


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_nothing_jumps(opened: Open, tmp_path: Path, viewport: str) -> None:
    page = opened(viewport)
    settled(page)
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    settled(page)
    page.locator("#role").get_by_label("Baseline").check()
    page.locator("#note", has_text="whole photo").wait_for()
    settled(page)
    assert page.evaluate("shift") < MOST_SHIFT


def test_while_an_answer_is_on_its_way_the_old_one_stays(
    tmp_path: Path, serve: Serve, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    preparation = calibrated(tmp_path, ())
    page = browse(serve(preparation))
    wait_for_answer(page, "Ada")
    searcher, may_go_on = preparation.searcher("resnet50"), threading.Event()
    search = searcher.search

    def held(*asked: object, **options: object) -> object:
        assert may_go_on.wait(60)
        return search(*asked, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(searcher, "search", held)
    page.locator("#role").get_by_label("Baseline").check()
    page.locator("#results .pending .tile").nth(19).wait_for()
    assert page.locator(".pending").count() == 1, "one place says so"
    waiting = page.locator("#results .progress-text")
    page.wait_for_function("/\\d/.test(document.querySelector('#results .progress-text').innerText)")
    assert waiting.bounding_box()["y"] < 500, "in sight, from the first second on"
    page.wait_for_function("getComputedStyle(document.querySelector('#results .pending')).opacity === '0.6'")
    may_go_on.set()
    page.locator("#note", has_text="whole photo").wait_for()
    settled(page)


def test_photos_of_both_answers_move_to_their_new_places(opened: Open) -> None:
    page = opened("desktop")
    page.evaluate("""() => { window.moved = 0; const animate = Element.prototype.animate;
      Element.prototype.animate = function(...how) {
        window.moved += this.matches('#results .tile'); return animate.apply(this, how); }; }""")
    page.locator("#role").get_by_label("Baseline").check()
    page.locator("#note", has_text="whole photo").wait_for()
    page.wait_for_function("moved > 0")
    page.emulate_media(reduced_motion="reduce")
    settled(page)
    page.evaluate("moved = 0")
    page.locator("#role").get_by_label("Improved").check()
    page.locator("#note", has_text="FaceNet").wait_for()
    settled(page)
    assert page.evaluate("moved") == 0


def test_what_a_first_visit_loads_is_small_and_kept(opened: Open) -> None:
    page = opened("desktop")  # which also sees to it that nothing is asked of another host
    assert not page.evaluate("gradio_config.css || gradio_config.head")
    loaded = page.evaluate("performance.getEntriesByType('resource').map(each => new URL(each.name).pathname)")
    assert {"/theme.css", "/scripts/tiles.js", "/scripts/moves.js"} <= set(loaded)
    shown = page.locator("#results .tile img").evaluate_all(
        "all => all.map(one => [one.naturalWidth, one.loading, one.currentSrc.endsWith('-small.jpg')])"
    )
    assert all(width <= SMALL_SIDE for width, *_ in shown)
    assert all(small for width, _, small in shown if width)
    assert [loading for _, loading, _ in shown] == ["auto"] * 10 + ["lazy"] * 10


def test_by_keyboard_alone(opened: Open, tmp_path: Path) -> None:
    page = opened("desktop")
    TWO.save(tmp_path / "two.png")
    tab_to(page, "#photo [aria-label='Upload file']")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "two.png")
    wait_for_answer(page, "Bruno")
    tab_to(page, "[data-face='1'].face")
    page.keyboard.press("Enter")
    wait_for_answer(page, "Farid")
    tab_to(page, "#role [value=baseline]")
    page.keyboard.press("Space")
    page.locator("#note", has_text="whole photo").wait_for()
    settled(page)
    tab_to(page, "#role [value=improved]")
    page.keyboard.press("Space")
    page.locator("#note", has_text="FaceNet").wait_for()
    wait_for_answer(page, "Farid")
    tab_to(page, "#results .tile:nth-child(2) .pick")
    page.keyboard.press("Enter")
    wait_for_answer(page, "Farid")
    tab_to(page, "#back", backwards=True)
    page.keyboard.press("Enter")
    page.locator("#frames .frame").nth(1).wait_for()


def tab_to(page: Page, selector: str, *, backwards: bool = False) -> None:
    """Presses the tabulator until this has the focus."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached by keyboard")


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_three_peoples_tasks_and_their_clicks(opened: Open, tmp_path: Path, viewport: str) -> None:
    """Who is this: the upload alone. Would the old model have found her: one click. Her photo large, and why: two."""
    page = opened(viewport)
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    page.locator("#sentence b", has_text="Dimitri").wait_for()
    settled(page)
    page.locator("#role").get_by_label("Baseline").click()
    page.locator("#sentence", has_text="Improved finds 4 of 4, Baseline ").wait_for()
    settled(page)
    page.locator("#results .tile").nth(1).hover()
    page.locator("#results .enlarge").nth(1).click()
    page.locator("#enlarged").get_by_role("button", name="Why this match?").click()
    page.locator("#why img").nth(3).wait_for()


def test_where_browsers_give_no_camera_a_sentence_says_so(tmp_path: Path, browse: Browse) -> None:
    preparation = Preparation(calibrated(tmp_path, ()).gallery, maps=False)
    preparation.start()
    preparation.wait()
    page = browse("about:blank", options=("--host-resolver-rules=MAP faces.test 127.0.0.1",))
    served = app.launch(
        Galleries(preparation),
        network=Network(hosts=("faces.test",), access=Access(public=True)),
        prevent_thread_lock=True,
        quiet=True,
    )
    try:
        page.goto(str(served.local_url))
        wait_for_answer(page, "Ada")
        assert page.locator("#camera p").count() == 0
        page.locator("#photo [aria-label='Capture from camera']").wait_for()
        page.goto(str(served.local_url).replace("127.0.0.1", "faces.test"))
        page.locator("#camera", has_text="Browsers give the camera only to pages over https").wait_for()
        page.locator("#photo [aria-label='Upload file']").wait_for()
        assert not page.locator("#photo [aria-label='Capture from camera']").is_visible()
        page.close()
    finally:
        served.close()
