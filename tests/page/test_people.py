"""Who may say who is in the photos that a page was started for."""

from __future__ import annotations

import gc

import pytest

import app
from pipeline.core.network import Access, Network
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation

# Gradio leaves sockets and event loops to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def heard(gallery: Gallery, *, strangers: bool) -> set[str]:
    """The ids of what the page listens to."""
    page = app.build_page(Galleries(Preparation(gallery)), strangers=strangers)
    targets = {target for event in page.fns.values() for target, _ in event.targets}
    return {str(block.elem_id) for target, block in page.blocks.items() if target in targets}


@pytest.mark.parametrize("strangers", [True, False])
def test_strangers_look_and_search_but_change_nothing(tiny: Gallery, strangers: bool) -> None:
    ids = heard(tiny, strangers=strangers)
    gc.collect()
    assert "gallery-people" in ids
    edits = {f"gallery-people-{edit}" for edit in ("save", "name", "merge", "remove", "drop", "split", "undo")}
    assert edits & ids == (set() if strangers else edits)


def test_a_page_that_anybody_may_open_takes_everybody_for_a_stranger(
    tiny: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):
        pass

    def build(*_: object, strangers: bool) -> None:
        raise Asked(strangers)

    monkeypatch.setattr(app, "build_page", build)
    for public in (True, False):
        with pytest.raises(Asked, match=str(public)):
            app.launch(Galleries(Preparation(tiny)), network=Network(access=Access(public=public)))
