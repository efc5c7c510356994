"""The tab "Map": the gallery as points, with the visitor's photo and its results among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from pipeline.core.errors import Busy, PhotosError, PipelineError, SettingsError
from pipeline.core.recipes import RECIPES
from pipeline.core.types import Answer
from pipeline.embeddings.map import open_map
from pipeline.page.html.grid import served
from pipeline.page.html.map import DRAWING, Shown, found_in, map_html
from pipeline.page.html.wording import notice
from pipeline.page.parts import FACES, SEARCH, Changes, Parts, Request, in_a_sentence, request_of
from pipeline.page.server.gate import Gate
from pipeline.page.tabs.explore import Trail, search_with
from pipeline.page.tabs.search import picture
from pipeline.search import journal

DRAW = (Path(__file__).parent.parent / "html" / "map.js").read_text(encoding="utf-8")
DRAWN = "map"
# Drawing a map for the first time takes long: that searches wait for nobody's map, maps wait for each other.
LONG = SEARCH | {"concurrency_limit": 1, "concurrency_id": DRAWN}
SAY_SO = f"(shown) => shown || {DRAWING!r}"  # without a way to the server and back
CHANGED = "The gallery has changed meanwhile; open this tab again."


def mapped(parts: Parts, answers: Sequence[Answer], request: Request) -> str:
    """The map of the gallery and model that are chosen, or in one sentence why there is none."""
    try:
        preparation = parts.galleries.get(request.gallery)
        gallery = preparation.searcher(request.recipe).embeddings
        if not len(gallery):
            raise PhotosError("There is no photo in this gallery that this model could place; choose another model.")
        here = found_in(answers, gallery)
        return map_html(Shown(gallery, preparation.gallery.photos.title, request.gallery, open_map(gallery), here))
    except PipelineError as error:
        journal.refused(error)
        return notice(str(error))


def point(parts: Parts, asked: object) -> dict[str, str]:
    """The photo of a point: its id and its picture's address, or in `problem` why there is none.

    `asked` is what a browser sent: the gallery's key, the recipe, the fingerprint of what was drawn, and the row.
    """
    try:
        key, recipe, fingerprint, row = _as_asked(asked)
        preparation = parts.galleries.get(key)
        searcher = preparation.searcher(recipe)
        if searcher.embeddings.manifest["fingerprint"] != fingerprint or not 0 <= row < len(searcher.embeddings):
            raise SettingsError(CHANGED)
        photo_id = searcher.embeddings.photo_ids[row]
        return {"photo": photo_id, "picture": served(picture(preparation, searcher, photo_id, FACES))}
    except PipelineError as error:
        return {"problem": str(error)}


def _as_asked(asked: object) -> tuple[str, str, str, int]:
    match asked:
        case [str(key), str(recipe), str(fingerprint), int(row)] if recipe in RECIPES:
            return key, recipe, fingerprint, row
    raise SettingsError(CHANGED)


def map_tab(parts: Parts, tab: gr.Tab, gate: Gate) -> None:
    """Fills the tab; the map is drawn whenever it is opened."""

    def map_point(asked: object) -> dict[str, str]:
        try:
            with gate.turn():  # Gradio calls this past the queue
                return point(parts, asked)
        except Busy as error:
            return {"problem": str(error)}

    def opening(answers: tuple[Answer, ...], *values: object) -> str:
        return mapped(parts, answers, request_of(values))

    def picked(event: gr.EventData, trail: Trail, number: int | None, *values: object) -> Changes:
        with in_a_sentence():
            found = search_with(parts, str(event.photo), (trail, number), request_of(values))
            return found | {parts.tabs: gr.Tabs(selected="search")}

    with tab:
        shown = gr.HTML(js_on_load=DRAW, elem_id="map", server_functions=[map_point])
    tab.select(None, shown, shown, js=SAY_SO)
    tab.select(opening, [parts.explore.answers, *parts.request], shown, **LONG)
    asked = [parts.explore.trail, parts.query.face, *parts.request]
    shown.select(picked, asked, [*parts.photo_and_answer, parts.tabs], **SEARCH)
