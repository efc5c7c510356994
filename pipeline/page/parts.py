"""The search tab's components, and what its handlers are given: one request, and one object that holds every part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from gradio.data_classes import ImageData

from pipeline.core.errors import PipelineError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, IMPROVED, MAX_K, RECIPES
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.indexes.registry import INDEXES
from pipeline.page.html import wording
from pipeline.page.html.grid import ON_LOAD
from pipeline.search import journal

# What a handler changes on the page, by component; what is not named stays as it is.
Changes = dict[Block, Any]

KEEP_UPLOADS_SECONDS = 1800

# Two cores: more searches at once would only make each slower. The rest queue, and are told their place.
SEARCH: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "search", "api_visibility": "private"}
# What takes no time does not wait behind searches.
QUICK: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

# What makes pictures waits for no search in the queue either, but decodes photos: so many at once and no more.
PICTURES: dict[str, Any] = QUICK | {"concurrency_limit": 2, "concurrency_id": "pictures"}

EXAMPLES: dict[str, Any] = {
    "show_label": False,
    "columns": 5,
    "object_fit": "cover",
    "height": "auto",
    "interactive": False,
    "buttons": [],
    "allow_preview": False,
}
PHOTOS, FACES = "photos", "faces"
FARTHEST = 1.5  # of the limit's slider; at 1.41 two vectors have nothing in common


@dataclass(frozen=True, eq=False)
class Query:
    """The left column: the visitor's photo and what was found in it."""

    photo: gr.Image
    boxed: gr.Image
    crop: gr.Image
    face: gr.Radio
    every: gr.Button
    hints: gr.HTML
    examples_box: gr.Column
    examples: gr.Gallery


@dataclass(frozen=True, eq=False)
class Reply:
    """The right column: what to search with, and the answer."""

    gallery: gr.Radio
    switch: gr.Button
    model: gr.Radio
    note: gr.HTML
    index: gr.Radio
    k: gr.Slider
    sentence: gr.HTML
    whole: gr.Button
    retry: gr.Button
    hits: gr.HTML


@dataclass(frozen=True, eq=False)
class Explore:
    """What can be done with an answer. `answers` is what is shown, `trail` the way back: (photo, face) by steps.

    `own_limit` is the limit that the visitor has set, with the gallery and the recipe that it is for.
    """

    back: gr.Button
    view: gr.Radio
    by_person: gr.Checkbox
    limit_box: gr.Column
    limit: gr.Slider
    limit_note: gr.HTML
    own_limit: gr.State
    enlarged: gr.HTML
    why: gr.HTML
    tools: gr.Row
    downloads: tuple[gr.Button, ...]
    link: gr.HTML
    answers: gr.State
    trail: gr.State


@dataclass(frozen=True, eq=False)
class Parts:
    """The page's galleries and the search tab's components; `own` is the key of the visitor's own gallery, or empty."""

    galleries: Galleries
    tabs: gr.Tabs
    query: Query
    reply: Reply
    explore: Explore
    own: gr.State

    def to_link(self, gallery: str) -> str:
        """The gallery's key as links have it: that of a visitor's own photos opens them, and is never part of one."""
        return gallery if gallery in self.galleries.keys else MAIN

    @property
    def request(self) -> list[Component]:
        """What a search depends on, in the order in which `request_of` takes their values."""
        reply, explore = self.reply, self.explore
        choices = [reply.gallery, reply.model, reply.index, reply.k]
        return [self.query.photo, *choices, explore.view, explore.by_person, explore.own_limit]

    @property
    def photo_and_answer(self) -> list[Block]:
        """What a search with a photo of the server's changes; handlers always give the photo: see `as_sent`."""
        return [self.query.photo, *self.answer]

    @property
    def answer(self) -> list[Block]:
        """What a search may change."""
        query, reply, explore = self.query, self.reply, self.explore
        found = [query.boxed, query.crop, query.face, query.every, query.hints]
        said = [reply.hits, reply.sentence, reply.whole, reply.note]
        return [
            *found,
            *said,
            explore.back,
            explore.limit_box,
            explore.limit,
            explore.limit_note,
            explore.enlarged,
            explore.tools,
            explore.link,
            explore.answers,
            explore.trail,
        ]


@dataclass(frozen=True)
class Request:
    """What a search depends on. `k` is as the browser sent it; `view` is PHOTOS or FACES."""

    photo: str | None
    gallery: str
    recipe: str
    index: str
    k: object
    view: str
    by_person: bool
    own_limit: tuple[str, str, float] | None = None  # gallery, recipe, distance


def request_of(values: Sequence[object]) -> Request:
    """The values of `Parts.request` as a request."""
    photo, gallery, recipe, index, k, view, by_person, own_limit = values
    path = None if photo is None else str(photo)
    limit = own_limit if isinstance(own_limit, tuple) else None
    return Request(path, str(gallery), str(recipe), str(index), k, str(view), bool(by_person), limit)


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Shows what goes wrong on the page, or tells the program that asked, in the error's own sentence."""
    try:
        yield
    except PipelineError as error:
        journal.refused(error)
        raise gr.Error(str(error), print_exception=False) from error


def as_sent(component: Component) -> None:
    """Makes a component hand over what the browser sent, untouched: a photo's path, or any value of a number.

    Every photo in this project is decoded by `open_image`, and numbers are judged in sentences of ours. (Set on the
    object because a subclass makes Gradio write a stub file beside this one. It lasts as long as handlers give the
    component values only: for `gr.update` and `gr.skip` Gradio makes the visitor a component anew, without this.)
    """
    component.preprocess = _as_sent  # type: ignore[method-assign]


def _as_sent(payload: object) -> object:
    return payload.path if isinstance(payload, ImageData) else payload


def query_column() -> Query:
    """The left column."""
    small: dict[str, Any] = {"interactive": False, "height": 170, "min_width": 120, "buttons": []}
    with gr.Column(scale=4, min_width=320):
        photo = gr.Image(
            label="Your photo",
            sources=["upload", "webcam", "clipboard"],
            height=230,
            placeholder="Drop a photo here\nor click to choose one",
            buttons=[],
            elem_id="photo",
        )
        with gr.Row():
            # Gradio's own format, WebP, takes longer to encode than a face to be found.
            boxed = gr.Image(label="Face found", format="jpeg", elem_id="boxed", **small)
            crop = gr.Image(label="Searched with", format="jpeg", alt_text=wording.CROP_ALT, elem_id="crop", **small)
        face = gr.Radio([], label="Face", info=wording.FACE_NOTE, visible=False, elem_id="face")
        every = gr.Button("Search for all of them", visible=False, size="sm", elem_id="every")
        hints = gr.HTML(elem_id="hints")
        with gr.Column(visible=False) as examples_box:
            gr.HTML(wording.ABOVE_EXAMPLES)
            tries = gr.Gallery(label="Examples", elem_id="examples", **EXAMPLES)
    as_sent(photo)
    return Query(photo, boxed, crop, face, every, hints, examples_box, tries)


def reply_column() -> tuple[Reply, Explore]:
    """The right column."""
    models = [(recipe.label, name) for name, recipe in RECIPES.items()]
    indexes = [(wording.index_label(name), name) for name in INDEXES]
    with gr.Column(scale=7, min_width=320):
        # Its choices change while galleries get ready; until there are two it says nothing.
        gallery = gr.Radio([("The gallery", MAIN)], value=MAIN, label="Gallery", visible=False, elem_id="gallery")
        switch = gr.Button("Search it", visible=False, elem_id="switch", size="sm", variant="primary")
        again = gr.Button("Try to reach what is missing again", visible=False, elem_id="retry", size="sm")
        model = gr.Radio(models, value=IMPROVED, label="Model", elem_id="model")
        note = gr.HTML(elem_id="note")
        with gr.Accordion("Options", open=False):
            index = gr.Radio(indexes, value=DEFAULT_INDEX, label="Index", info=wording.INDEX_NOTE, elem_id="index")
            k = gr.Slider(1, MAX_K, DEFAULT_K, step=1, label="Number of results", elem_id="k")
        sentence = gr.HTML(elem_id="sentence")
        whole = gr.Button("Search with the whole photo instead", visible=False, elem_id="whole")
        back, view, by_person = _arrangement()
        limit_box, limit, limit_note = _limit()
        enlarged = gr.HTML(js_on_load=ON_LOAD, elem_id="enlarged")
        why = gr.HTML(elem_id="why")
        hits = gr.HTML(js_on_load=ON_LOAD, elem_id="results")
        tools, downloads, link = _tools()
        with gr.Accordion("What the numbers mean", open=False):
            gr.Markdown(wording.EXPLANATION)
    as_sent(k)
    answers, trail = gr.State((), time_to_live=KEEP_UPLOADS_SECONDS), gr.State(())
    reply = Reply(gallery, switch, model, note, index, k, sentence, whole, again, hits)
    limits = (limit_box, limit, limit_note, gr.State(None))
    return reply, Explore(back, view, by_person, *limits, enlarged, why, tools, downloads, link, answers, trail)


def _arrangement() -> tuple[gr.Button, gr.Radio, gr.Checkbox]:
    with gr.Row(elem_id="arrangement"):
        back = gr.Button("Back", visible=False, elem_id="back", size="sm", min_width=80, scale=0)
        view = gr.Radio(
            [("Photos", PHOTOS), ("Faces", FACES)], value=PHOTOS, label="Show", show_label=False, elem_id="view",
            container=False, min_width=180, scale=0,
        )  # fmt: skip
        by_person = gr.Checkbox(label="Group by person", elem_id="by-person", container=False, min_width=180, scale=0)
    return back, view, by_person


def _limit() -> tuple[gr.Column, gr.Slider, gr.HTML]:
    # In a box that is shown and hidden, so that the slider itself is only ever given values: see `as_sent`.
    with gr.Column(visible=False, elem_id="limit-box") as box:
        limit = gr.Slider(0, FARTHEST, FARTHEST, step=0.01, label=wording.LIMIT_LABEL, buttons=[], elem_id="limit")
    as_sent(limit)
    return box, limit, gr.HTML(elem_id="limit-note")


def _tools() -> tuple[gr.Row, tuple[gr.Button, ...], gr.HTML]:
    with gr.Row(visible=False, elem_id="tools") as tools:
        names = {"csv": "Download CSV", "json": "Download JSON", "sheet": "Download pictures"}
        downloads = tuple(
            gr.Button(name, size="sm", min_width=120, elem_id=f"download-{kind}") for kind, name in names.items()
        )
        link = gr.HTML(elem_id="link")
    return tools, downloads, link
