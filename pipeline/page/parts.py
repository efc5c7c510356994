"""The search tab's components; and what they and its handlers hand each other: one request, one answer to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline.core.recipes import DEFAULT, DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.indexes.registry import INDEXES
from pipeline.page.html import wording
from pipeline.page.html.grid import ON_LOAD
from pipeline.page.presenter import FARTHEST, Shown
from pipeline.page.query import FACES, PHOTOS, Request, path_of

# What a handler changes on the page, by component; what is not named stays as it is.
Changes = dict[Block, Any]
# What a handler is given: by component what the browser sent, or what the page keeps.
Values = Mapping[Block, Any]

KEEP_UPLOADS_SECONDS = 1800

# Values come as the browser sent them: choices and numbers are judged in sentences of ours, by `Request` and by `ask`,
# and photos are decoded in one place, by `open_image`.
AS_SENT: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
# Two cores: more searches at once would only make each slower. The rest queue, and are told their place.
SEARCH: dict[str, Any] = AS_SENT | {"concurrency_limit": 2, "concurrency_id": "search"}
# What takes no time does not wait behind searches.
QUICK: dict[str, Any] = AS_SENT | {"show_progress": "hidden", "concurrency_limit": None}

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
    """What can be done with an answer; the states are those of a `Request`."""

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

    @property
    def asked(self) -> set[Block]:
        """What a search depends on, and what is shown: the inputs that `request` needs."""
        query, reply, explore = self.query, self.reply, self.explore
        chosen = {query.photo, query.face, reply.gallery, reply.model, reply.index, reply.k}
        return chosen | {explore.view, explore.by_person, explore.own_limit, explore.answers, explore.trail, self.own}

    def request(self, values: Values) -> Request:
        """The values of `asked` as a request; SettingsError for a choice that is none."""
        query, reply, explore = self.query, self.reply, self.explore
        return Request(
            photo=path_of(values[query.photo]),
            gallery=str(values[reply.gallery]),
            recipe=values[reply.model],
            index=values[reply.index],
            k=values[reply.k],
            face=values[query.face] or 0,
            view=values[explore.view],
            by_person=bool(values[explore.by_person]),
            own_limit=values[explore.own_limit],
            answers=values[explore.answers],
            trail=values[explore.trail],
            own=values[self.own],
        )

    @property
    def answer(self) -> list[Block]:
        """What a search may change."""
        query, reply, explore = self.query, self.reply, self.explore
        found = [query.photo, query.boxed, query.crop, query.face, query.every, query.hints]
        said = [reply.hits, reply.sentence, reply.whole, reply.note]
        limit = [explore.limit_box, explore.limit, explore.limit_note]
        kept = [explore.answers, explore.trail]
        return [*found, *said, *limit, *kept, explore.back, explore.enlarged, explore.tools, explore.link]

    def changes(self, shown: Shown) -> Changes:
        """The search tab as it is to be shown."""
        query, reply, explore = self.query, self.reply, self.explore
        several = shown.faces > 1
        faces = [(f"Face {number}", number) for number in range(1, shown.faces + 1)]
        changes: Changes = {
            query.boxed: gr.update(value=shown.framed, alt_text=shown.framed_alt),
            query.crop: shown.crop,
            query.face: gr.update(choices=faces, value=shown.face, visible=several),
            query.every: gr.update(visible=several),
            query.hints: shown.hints,
            reply.hits: shown.results,
            reply.sentence: shown.sentence,
            reply.whole: gr.update(visible=shown.whole),
            reply.note: shown.note,
            explore.limit_box: gr.update(visible=shown.limit is not None),
            explore.limit_note: shown.limit_note,
            explore.enlarged: "",
            explore.tools: gr.update(visible=any(answer.hits for answer in shown.answers)),
            explore.link: shown.link,
            explore.answers: shown.answers,
        }
        if shown.limit is not None:
            changes[explore.limit] = shown.limit
        if shown.photo:
            changes[query.photo] = shown.photo
        if shown.trail is not None:
            changes |= {explore.trail: shown.trail, explore.back: gr.update(visible=bool(shown.trail))}
        return changes


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
        model = gr.Radio(models, value=DEFAULT, label="Model", elem_id="model")
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
    with gr.Column(visible=False, elem_id="limit-box") as box:
        limit = gr.Slider(0, FARTHEST, FARTHEST, step=0.01, label=wording.LIMIT_LABEL, buttons=[], elem_id="limit")
    return box, limit, gr.HTML(elem_id="limit-note")


def _tools() -> tuple[gr.Row, tuple[gr.Button, ...], gr.HTML]:
    with gr.Row(visible=False, elem_id="tools") as tools:
        names = {"csv": "Download CSV", "json": "Download JSON", "sheet": "Download pictures"}
        downloads = tuple(
            gr.Button(name, size="sm", min_width=120, elem_id=f"download-{kind}") for kind, name in names.items()
        )
        link = gr.HTML(elem_id="link")
    return tools, downloads, link
