"""The search tab's components; and what they and its handlers hand each other: one request, one answer to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.galleries.galleries import Galleries
from pipeline.indexes.registry import INDEXES
from pipeline.page.html import wording
from pipeline.page.html.sources import loading
from pipeline.page.presenter import FARTHEST, Shown
from pipeline.page.query import FACES, PHOTOS, Request, count_of, path_of
from pipeline.page.roles import DEFAULT_ROLE, LABELS, behind

# What a handler changes on the page, by component; what is not named stays as it is.
Changes = dict[Block, Any]
# What a handler is given: by component what the browser sent, or what the page keeps.
Values = Mapping[Block, Any]

KEEP_UPLOADS_SECONDS = 1800
# Until the first poll, where the one after the load was lost: sooner, it could overtake the load, which restores what a
# link has chosen, and bring the answer to something else.
LOST_SECONDS = 15.0

# Values come as the browser sent them: choices and numbers are judged in sentences of ours, by `Request` and by `ask`,
# and photos are decoded in one place, by `open_image`.
AS_SENT: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
# Two cores: more searches at once would only make each slower. The rest queue, and are told their place.
SEARCH: dict[str, Any] = AS_SENT | {"concurrency_limit": 2, "concurrency_id": "search"}
# What takes no time does not wait behind searches.
QUICK: dict[str, Any] = AS_SENT | {"show_progress": "hidden", "concurrency_limit": None}

# What makes pictures waits for no search in the queue either, but decodes photos: so many at once and no more.
PICTURES: dict[str, Any] = QUICK | {"concurrency_limit": 2, "concurrency_id": "pictures"}


class Parts:
    """The search tab's components, laid out where this is made, on top of the page's galleries.

    `answers` is what is shown, `trail` the way back and `own_limit` the visitor's limit, as a `Request` has them; `own`
    is the key of the visitor's own gallery, or empty. While `timer` runs, the page asks where the galleries stand.
    """

    def __init__(self, galleries: Galleries, gallery: gr.Radio, tabs: gr.Tabs) -> None:
        self.galleries, self.gallery, self.tabs = galleries, gallery, tabs
        with gr.Column(scale=4, min_width=300):
            self._photo()
        with gr.Column(scale=9, min_width=320):
            self._choices()
            self._results()
        self.answers, self.trail = gr.State((), time_to_live=KEEP_UPLOADS_SECONDS), gr.State(())
        self.seen = gr.State(None, time_to_live=KEEP_UPLOADS_SECONDS)
        self.own_limit, self.own, self.face = gr.State(None), gr.State(""), gr.State(None)
        self.timer = gr.Timer(LOST_SECONDS)
        # The old answer stays until the new one is there, and says in one place that it is waiting.
        self.searching = SEARCH | {"show_progress_on": [self.hits]}

    def _photo(self) -> None:
        """The visitor's photo with its faces framed, and those faces."""
        with gr.Column(elem_id="photo-box"):
            self.photo = gr.Image(
                label="Your photo",
                show_label=False,
                sources=["upload", "webcam", "clipboard"],
                height=300,
                placeholder="Drop a photo here\nor click to choose one",
                buttons=[],
                elem_id="photo",
            )
            self.frames = gr.HTML(js_on_load=loading("tiles.js"), elem_id="frames")
        self.faces = gr.HTML(js_on_load=loading("tiles.js"), elem_id="faces")
        gr.HTML(js_on_load=loading("photo.js"), elem_id="camera")
        self.hints = gr.HTML(elem_id="hints")
        with gr.Column(visible=False, elem_id="examples-box") as self.examples_box:
            gr.HTML("<p class='above'>Try one of these</p>")
            self.examples = gr.HTML(js_on_load=loading("tiles.js"), elem_id="examples")

    def _choices(self) -> None:
        """What to search with: the switch, and two folds beside it that open below it."""
        models = [(recipe.label, name) for name, recipe in RECIPES.items()]
        indexes = [(wording.index_label(name), name) for name in INDEXES]
        roles = [(label, role) for role, label in LABELS.items()]
        bare: dict[str, Any] = {"container": False, "show_label": False}
        self.switch = gr.Button("Search it", visible=False, elem_id="switch", size="sm", variant="primary")
        with gr.Row(elem_id="bar"):
            self.role = gr.Radio(
                roles,
                value=DEFAULT_ROLE,
                label="Baseline or improved",
                elem_id="role",
                elem_classes="positions",
                **bare,
            )
            with gr.Accordion("More models", open=False, elem_id="more"):
                self.model = gr.Radio(models, value=behind(DEFAULT_ROLE, ()), label="Model", elem_id="model", **bare)
                self.missing = gr.HTML(elem_id="missing")
            with gr.Accordion("Options", open=False, elem_id="options"):
                self._options(indexes)

    def _options(self, indexes: list[tuple[str, str]]) -> None:
        self.k = gr.Slider(1, MAX_K, DEFAULT_K, step=1, label="Number of results", elem_id="k")
        self.index = gr.Radio(indexes, value=DEFAULT_INDEX, label="Index", info=wording.INDEX_NOTE, elem_id="index")
        with gr.Column(visible=False, elem_id="limit-box") as self.limit_box:
            self.limit = gr.Slider(
                0, FARTHEST, FARTHEST, step=0.01, label=wording.LIMIT_LABEL, buttons=[], elem_id="limit"
            )
        self.limit_note = gr.HTML(elem_id="limit-note")
        with gr.Row(elem_id="arrangement"):
            narrow: dict[str, Any] = {"container": False, "min_width": 180, "scale": 0}
            views = [("Photos", PHOTOS), ("Faces", FACES)]
            self.view = gr.Radio(views, value=PHOTOS, label="Show", show_label=False, elem_id="view", **narrow)
            self.by_person = gr.Checkbox(label="Group by person", elem_id="by-person", **narrow)

    def _results(self) -> None:
        """The answer, and what can be done with it."""
        self.back = gr.Button("Back", visible=False, elem_id="back", size="sm", min_width=80, scale=0)
        self.sentence = gr.HTML(elem_id="sentence")
        self.whole = gr.Button("Search with the whole photo", visible=False, elem_id="whole", size="sm")
        with gr.Row(elem_id="said"):
            self.note = gr.HTML(elem_id="note")
            self.retry = gr.Button("Try again", visible=False, elem_id="retry", size="sm")
        self.enlarged = gr.HTML(js_on_load=loading("tiles.js"), elem_id="enlarged")
        self.why = gr.HTML(elem_id="why")
        self.hits = gr.HTML(js_on_load=loading("tiles.js", "moves.js"), elem_id="results")
        with gr.Row(visible=False, elem_id="tools") as self.tools:
            gr.HTML("<p class='above'>Download</p>")
            names = {"csv": "CSV", "json": "JSON", "sheet": "Pictures"}
            self.downloads = {
                kind: gr.Button(name, size="sm", min_width=60, elem_id=f"download-{kind}")
                for kind, name in names.items()
            }
            self.link = gr.HTML(elem_id="link")

    @property
    def asked(self) -> set[Block]:
        """What a search depends on, and what is shown: the inputs that `request` needs."""
        chosen = {self.photo, self.gallery, self.role, self.model, self.index, self.k, self.view, self.by_person}
        return chosen | {self.face, self.own_limit, self.answers, self.seen, self.trail, self.own}

    def request(self, values: Values) -> Request:
        """The values of `asked` as a request; SettingsError for a choice that is none."""
        return Request(
            photo=path_of(values[self.photo]),
            gallery=str(values[self.gallery]),
            recipe=values[self.model],
            role=values[self.role] or None,
            index=values[self.index],
            k=count_of(values[self.k]),
            face=values[self.face] or 0,
            view=values[self.view],
            by_person=bool(values[self.by_person]),
            own_limit=values[self.own_limit],
            answers=values[self.answers],
            seen=values[self.seen],
            trail=values[self.trail],
            own=values[self.own],
        )

    @property
    def answer(self) -> list[Block]:
        """What a search may change: all that `changes` gives where everything is to be shown."""
        return list(self.changes(Shown("", None, "", "", limit=FARTHEST, trail=())))

    @property
    def photo_and_answer(self) -> list[Block]:
        """What a search with a photo of the server's changes; over the visitor's own no progress is shown."""
        return [self.photo, *self.answer]

    def changes(self, shown: Shown) -> Changes:
        """The search tab as it is to be shown."""
        changes: Changes = {
            self.role: shown.role,
            self.model: shown.recipe or gr.skip(),
            self.frames: shown.frames,
            self.faces: shown.faces,
            self.face: shown.face,
            self.hints: shown.hints,
            self.hits: shown.results,
            self.sentence: shown.sentence,
            self.whole: gr.update(visible=shown.whole),
            self.note: shown.note,
            self.limit_box: gr.update(visible=shown.limit is not None),
            self.limit_note: shown.limit_note,
            self.enlarged: "",
            self.tools: gr.update(visible=any(answer.hits for answer in shown.answers)),
            self.link: shown.link,
            # Whatever was asked for it: a model that a search began to prepare is told of when it is there.
            self.timer: gr.update(active=True) if shown.waiting else gr.skip(),
            self.answers: shown.answers,
            self.seen: shown.seen,
        }
        if shown.limit is not None:
            changes[self.limit] = shown.limit
        if shown.photo:
            changes[self.photo] = shown.photo
        if shown.trail is not None:
            changes |= {self.trail: shown.trail, self.back: gr.update(visible=bool(shown.trail))}
        return changes
