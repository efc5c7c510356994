"""The tab "Map": the gallery as points, with the visitor's photo and its results among them."""

from __future__ import annotations

from functools import partial

import gradio as gr

from pipeline.core.errors import PhotosError, SettingsError
from pipeline.embeddings.map import load_map, open_map
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.grid import served
from pipeline.page.html.map import Shown, found_in, map_html
from pipeline.page.html.sources import TEMPLATES, loading
from pipeline.page.html.wording import duration, notice
from pipeline.page.parts import QUICK, SEARCH, Changes, Parts, Values
from pipeline.page.presenter import attempted, picture
from pipeline.page.query import FACES, Request
from pipeline.page.server.gate import Gate
from pipeline.page.tabs.explore import picked_elsewhere

DRAWN = "map"
# Drawing a map for the first time takes long: that searches wait for nobody's map, maps wait for each other.
LONG = SEARCH | {"concurrency_limit": 1, "concurrency_id": DRAWN}
SECONDS_A_PHOTO = 0.0045  # of drawing, on one core: a minute for LFW
CHANGED = "The gallery has changed meanwhile; open this tab again."


def model_of(preparation: Preparation, request: Request) -> str:
    """The model that is chosen, or where the gallery does not offer it the best that is ready."""
    return request.recipe if request.recipe in preparation.gallery.offered else preparation.recipe(None)


def mapped(preparation: Preparation, request: Request) -> str:
    """The map of the gallery and model that are chosen."""
    gallery = preparation.searcher(model_of(preparation, request)).embeddings
    if not len(gallery):
        raise PhotosError("There is no photo in this gallery that this model could place; choose another model.")
    here = found_in(request.answers, gallery)
    return map_html(Shown(gallery, preparation.gallery.photos.title, request.gallery, open_map(gallery), here))


def expected(preparation: Preparation, request: Request) -> str | None:
    """How long drawing the map will take, as HTML; None where it lies there already."""
    ready = preparation.ready()
    if not ready or (recipe := model_of(preparation, request)) not in ready:
        return None
    gallery = preparation.searcher(recipe).embeddings
    if load_map(gallery) is not None:
        return None
    seconds = len(gallery) * SECONDS_A_PHOTO
    return TEMPLATES("drawing", photos=len(gallery), seconds=round(seconds), time=duration(seconds))


def point(parts: Parts, asked: object) -> dict[str, str]:
    """The photo of a point: its id and its picture's address.

    `asked` is what a browser sent: the gallery's key, the recipe, the fingerprint of what was drawn, and the row.
    """
    match asked:
        case [key, recipe, fingerprint, int(row)]:
            preparation = parts.galleries.get(key)
            searcher = preparation.searcher(recipe)
        case _:
            raise SettingsError(CHANGED)
    if searcher.embeddings.manifest["fingerprint"] != fingerprint or not 0 <= row < len(searcher.embeddings):
        raise SettingsError(CHANGED)
    photo_id = searcher.embeddings.photo_ids[row]
    return {"photo": photo_id, "picture": served(picture(preparation, searcher, photo_id, FACES))}


def map_tab(parts: Parts, tab: gr.Tab, gate: Gate) -> None:
    """Fills the tab; the map is drawn whenever it is opened."""

    def map_point(asked: object) -> dict[str, str]:
        looked_up = gate.turn()(partial(point, parts, asked))  # Gradio calls this past the queue
        return attempted(looked_up, lambda sentence: {"problem": sentence})

    def waiting(values: Values) -> Changes:
        request = parts.request(values)
        said = expected(parts.galleries.get(request.gallery), request)
        return {shown: gr.skip() if said is None else said}

    def opening(values: Values) -> str:
        request = parts.request(values)
        return attempted(lambda: mapped(parts.galleries.get(request.gallery), request), notice)

    with tab:
        shown = gr.HTML(js_on_load=loading("map.js"), elem_id="map", server_functions=[map_point])
    tab.select(waiting, parts.asked, shown, **QUICK).then(opening, parts.asked, shown, **LONG)
    picked_elsewhere(parts, shown)
