"""What becomes ready answers by itself: an example first, and the photo that waits for a gallery or a better model."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.parts import Parts
from pipeline.page.tabs.preparing import Watch
from pipeline.page.tabs.search import show
from tests.fakes import TinyEncoders, portrait
from tests.page.test_parts import sent


@pytest.fixture
def preparation(tiny: Gallery) -> Preparation:
    return Preparation(tiny, maps=False)


@pytest.fixture
def watch(preparation: Preparation) -> Iterator[Watch]:
    """What watches the gallery for a page of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with gr.Blocks() as page:
            parts = Parts(Galleries(preparation), gr.Radio(), gr.Tabs())
            yield Watch(page, parts, gr.HTML(), gr.HTML())
        gc.collect()


def prepare(preparation: Preparation, *recipes: str) -> None:
    preparation.start(recipes)
    preparation.wait()


def poll(watch: Watch, **known: Any) -> dict[Any, Any]:  # noqa: ANN401
    """A poll by a page that searches by role and knows so much."""
    more = {watch.answerable: known.pop("answerable", ""), watch.parts.note: known.pop("note", "")}
    values = sent(watch.parts, **{"role": "improved", "model": "mtcnn-facenet"} | known)
    return watch.poll(values | more)


def first(watch: Watch, answerable: str, **known: Any) -> dict[Any, Any]:  # noqa: ANN401
    values = sent(watch.parts, **{"role": "improved", "model": "mtcnn-facenet"} | known)
    return watch.first(values | {watch.answerable: answerable})


def person(watch: Watch, changes: dict[Any, Any]) -> str:
    return str(changes[watch.parts.answers][0].hits[0].person)


def test_an_example_is_answered_once_something_can_answer(watch: Watch, preparation: Preparation) -> None:
    assert watch.answerable not in poll(watch)
    assert watch.parts.answers not in first(watch, "")
    prepare(preparation, "mtcnn-mini")
    can = poll(watch)[watch.answerable]
    assert can == f"{MAIN} mtcnn-mini"
    found = first(watch, can)
    assert person(watch, found) == "Ada"
    assert found[watch.parts.photo].endswith("-original.png")
    assert watch.answerable not in poll(watch, answerable=can), "once"


def test_a_model_that_a_search_began_to_prepare_answers_when_it_is_there(
    watch: Watch, preparation: Preparation, tmp_path: Path
) -> None:
    portrait(3, 1).save(tmp_path / "query.png")
    known: dict[str, Any] = {"photo": {"path": str(tmp_path / "query.png")}, "role": None, "model": "mini-whole"}
    prepare(preparation, "mtcnn-mini")
    asked = watch.parts.request(sent(watch.parts, **known))
    told = show(watch.parts, asked, asked.face)
    assert told[watch.parts.timer] == gr.update(active=True), "the page asks again, whatever control has asked"
    preparation.wait()
    can = poll(watch, answerable=f"{MAIN} mtcnn-mini", **known)[watch.answerable]
    found = first(watch, can, **known)
    assert found[watch.parts.answers][0].recipe == "mini-whole"
    assert found[watch.parts.timer] == gr.skip()


def test_a_model_that_a_link_names_is_prepared_by_that(watch: Watch, preparation: Preparation) -> None:
    known: dict[str, Any] = {"role": None, "model": "mini-whole"}
    prepare(preparation, "mtcnn-mini")
    can = poll(watch, **known)[watch.answerable]
    told = first(watch, can, **known)
    assert "still being prepared" in told[watch.parts.sentence]
    assert told[watch.parts.photo].endswith("-original.png")
    preparation.wait()
    known["photo"] = {"path": told[watch.parts.photo]}
    can = poll(watch, answerable=can, **known)[watch.answerable]
    assert first(watch, can, **known)[watch.parts.answers][0].recipe == "mini-whole"


def test_why_a_model_never_comes_is_said(watch: Watch, preparation: Preparation, tmp_path: Path) -> None:
    portrait(3, 1).save(tmp_path / "query.png")
    known: dict[str, Any] = {"photo": {"path": str(tmp_path / "query.png")}, "role": None, "model": "mini-whole"}
    prepare(preparation, "mtcnn-mini")
    preparation.gallery.encoders = TinyEncoders({"mini-whole": "Not here."})
    asked = watch.parts.request(sent(watch.parts, **known))
    show(watch.parts, asked, asked.face)
    preparation.wait()
    can = poll(watch, answerable=f"{MAIN} mtcnn-mini", **known)[watch.answerable]
    assert "cannot be used here: Not here." in first(watch, can, **known)[watch.parts.sentence]
    assert watch.answerable not in poll(watch, answerable=can, **known), "once"


def test_the_line_below_the_switch_is_sent_when_it_has_changed(watch: Watch, preparation: Preparation) -> None:
    prepare(preparation, "mtcnn-mini")
    note = poll(watch)[watch.parts.note]
    assert "FaceNet" in note
    assert poll(watch, note=note)[watch.parts.note] == gr.skip()
    prepare(preparation, "mtcnn-facenet")
    assert poll(watch, note=note)[watch.parts.note] not in (note, gr.skip())


def test_the_photo_that_is_there_is_searched_with_when_its_gallery_is_ready(
    watch: Watch, preparation: Preparation, tmp_path: Path
) -> None:
    portrait(3, 1).save(tmp_path / "query.png")
    photo = {"path": str(tmp_path / "query.png")}
    prepare(preparation, "mtcnn-mini")
    found = first(watch, f"{MAIN} mtcnn-mini", photo=photo)
    assert person(watch, found) == "Dimitri"
    assert watch.parts.photo not in found, "and stays"


def test_it_is_searched_with_again_when_a_better_model_is_ready(
    watch: Watch, preparation: Preparation, tmp_path: Path
) -> None:
    portrait(3, 1).save(tmp_path / "query.png")
    known: dict[str, Any] = {"photo": {"path": str(tmp_path / "query.png")}}
    prepare(preparation, "mtcnn-mini")
    can = f"{MAIN} mtcnn-mini"
    found = first(watch, can, **known)
    known |= {"answers": found[watch.parts.answers], "seen": found[watch.parts.seen]}
    assert watch.parts.answers not in first(watch, can, **known), "the same is not searched twice"
    prepare(preparation, "mtcnn-facenet")
    changed = poll(watch, answerable=can, **known)
    assert changed[watch.answerable] == f"{MAIN} mtcnn-facenet"
    assert watch.parts.examples not in changed, "they are the gallery's, and there already"
    better = first(watch, changed[watch.answerable], **known)
    assert (better[watch.parts.answers][0].recipe, better[watch.parts.model]) == ("mtcnn-facenet", "mtcnn-facenet")
    chosen = poll(watch, answerable=can, role=None, model="mtcnn-mini", **known)
    assert watch.answerable not in chosen, "who has chosen a model keeps it"
