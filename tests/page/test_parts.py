"""The search tab's components: what its handlers are given, and what an answer changes."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipeline.core.errors import SettingsError
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.preparation import Preparation
from pipeline.page.parts import Parts
from pipeline.page.presenter import FARTHEST, Shown
from pipeline.page.query import Request
from pipeline.page.tabs.search import show
from tests.fakes import TinyEncoders, portrait

RECIPE = "mtcnn-reid"


@pytest.fixture
def preparation(tiny: Gallery) -> Preparation:
    """The tiny world, one model ready."""
    preparation = Preparation(tiny, maps=False)
    preparation.start([RECIPE])
    preparation.wait()
    return preparation


@pytest.fixture
def parts(preparation: Preparation) -> Iterator[Parts]:
    """The components, on a page of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with gr.Blocks():
            parts = Parts(Galleries(preparation), gr.Radio(), gr.Tabs())
        yield parts
        gc.collect()


def sent(parts: Parts, **changes: object) -> dict[Any, Any]:
    """What a browser sends, by component."""
    values: dict[str, object] = {
        "photo": None, "face": None, "gallery": MAIN, "role": None, "model": RECIPE, "index": "exact", "k": 20,
        "view": "photos",
        "by_person": False, "own_limit": None, "answers": (), "seen": None, "trail": (), "own": "",
    }  # fmt: skip
    return {getattr(parts, name): value for name, value in (values | changes).items()}


def test_a_handler_is_given_all_that_a_request_needs(parts: Parts) -> None:
    assert set(sent(parts)) == parts.asked
    photo = {"path": "/tmp/photo.png", "meta": {"_type": "gradio.FileData"}}
    assert parts.request(sent(parts, photo=photo, face=2)) == Request("/tmp/photo.png", MAIN, RECIPE, face=2)
    assert parts.request(sent(parts)) == Request(None, MAIN, RECIPE)
    assert parts.request(sent(parts, photo="/etc/passwd")).photo is None, "no photo that Gradio has looked at"


@pytest.mark.parametrize(
    "invented",
    [
        {"model": "nope"},
        {"model": [RECIPE]},
        {"model": None},
        {"index": {"a": 1}},
        {"view": "all"},
        {"view": []},
        {"role": "best"},
    ],
)
def test_a_choice_that_was_invented_is_refused_in_a_sentence(parts: Parts, invented: dict[str, object]) -> None:
    with pytest.raises(
        SettingsError, match=r"^There is no (recipe|index|view|position of the switch) .*; choose one of "
    ):
        parts.request(sent(parts, **invented))


def test_a_gallery_that_was_invented_is_refused_when_it_is_looked_for(parts: Parts) -> None:
    request = parts.request(sent(parts, gallery=["main"]))
    with pytest.raises(SettingsError, match=r"^There is no gallery .*; choose one of main\.$"):
        show(parts, request, 0)


def test_whatever_is_shown_is_among_what_a_search_may_change(parts: Parts) -> None:
    nothing = parts.changes(Shown("", None, "", ""))
    everything = parts.changes(Shown("", None, "", "", limit=2 * FARTHEST, photo="/x.png", trail=(("/y.png", 1),)))
    assert nothing.keys() < everything.keys() == set(parts.photo_and_answer)
    assert parts.photo not in parts.answer
    for left_alone in (parts.photo, parts.trail, parts.back, parts.limit):
        assert left_alone not in nothing


def test_a_search_resolves_its_gallery_once(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    portrait(3).save(tmp_path / "query.png")
    asked: list[object] = []
    get = Galleries.get
    monkeypatch.setattr(Galleries, "get", lambda self, key: asked.append(key) or get(self, key))
    changes = show(parts, Request(str(tmp_path / "query.png"), MAIN, RECIPE), 0)
    assert "Most similar: <b>Dimitri</b>" in changes[parts.sentence]
    assert asked == [MAIN]


def test_no_event_leaves_the_check_of_choices_to_gradio(preparation: Preparation, tmp_path: Path) -> None:
    """Its sentences name Python's types, and repeat what was sent however long it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import app

        page = app.build_page(Galleries(preparation, own=OwnGalleries(TinyEncoders(), tmp_path / "kept")))
        gc.collect()
    checked = [event for event in page.fns.values() if event.fn is not None and event.inputs and event.preprocess]
    assert [event.name for event in checked] == []
    assert len([event for event in page.fns.values() if event.fn is not None and event.inputs]) > 20
