"""The endpoints for programs: `/search`, `/compare`, `/explain`, `/galleries` and `/health`, in plain JSON."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr
from gradio.events import api
from PIL import Image

from pipeline.core.errors import PhotoError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, RECIPES
from pipeline.core.types import Answer
from pipeline.galleries.ask import Question, ask, ask_all
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.grid import served
from pipeline.page.parts import SEARCH, Parts
from pipeline.page.query import framed, path_of
from pipeline.search.explain import nearest, why

PUBLIC: dict[str, Any] = SEARCH | {"api_visibility": "public"}
EXPLAINED = ("Crop searched with", "Crop of the hit", "What the match rests on there", "And in the hit")


def gallery(key: str, preparation: Preparation) -> dict[str, Any]:
    """What can be searched: a gallery's key, name and size, and every recipe with its state and indexes."""
    ready = preparation.ready()
    photos = preparation.gallery.photos if ready else None
    return {
        "key": key,
        "gallery": photos.name if photos else None,
        "title": photos.title if photos else None,
        "photos": len(photos) if photos else 0,
        "people": len(set(photos.people)) if photos else 0,
        "recipes": [_recipe(preparation, name) for name in RECIPES],
    }


def _recipe(preparation: Preparation, name: str) -> dict[str, Any]:
    status = preparation.status(name)
    about = {"recipe": name, "label": RECIPES[name].label, "state": status.state, "reason": status.reason}
    if status.state != "ready":
        return about | {"photos": 0, "dim": RECIPES[name].dim, "indexes": {}}
    searcher = preparation.searcher(name)
    recalls = {index: round(searcher.recall(index), 4) for index in searcher.indexes}
    return about | {"photos": len(searcher.embeddings), "dim": RECIPES[name].dim, "indexes": recalls}


def _with_pictures(preparation: Preparation, answer: Answer) -> dict[str, Any]:
    """The answer with the address of each hit's picture. As files, Gradio would look up each one's path six times."""
    told = answer.as_json()
    for hit in told["hits"]:
        hit["picture"] = served(preparation.gallery.pictures.thumbnail(hit["photo_id"]))
    return told


def endpoints(parts: Parts) -> None:
    """Adds the endpoints; those that take a photo need components to hang on, which nobody sees."""
    galleries = parts.galleries
    answer, trigger = gr.JSON(label="Answer", visible=False), gr.Button(visible=False)
    face = gr.Number(0, label="Face: 1, 2, ...; 0 is the largest", visible=False)
    hit = gr.Textbox("", label="Hit: its photo_id; empty for the nearest that is not the photo itself", visible=False)
    models = [("The best that is ready", ""), *((recipe.label, name) for name, recipe in RECIPES.items())]
    model = gr.Radio(models, value="", label="Recipe; empty for the best that is ready", visible=False)
    key = gr.Textbox("", label="Gallery: its key in /galleries; empty for the first that is ready", visible=False)

    def search(
        photo: object = None,  # so that Gradio takes requests without one, and this says so
        recipe: object = "",
        index: object = DEFAULT_INDEX,
        k: object = DEFAULT_K,
        face: object = 0,
        key: object = "",
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Find the photos of the gallery whose face is most like a face of this photo, 0 being its largest."""
        preparation = galleries.get(key)
        found = ask(Question(path_of(photo), index, k, face), partial(preparation.searcher, recipe))
        (first,) = found.answers
        return framed(found.look.image, first), first.crop, _with_pictures(preparation, first)

    def compare_all(
        photo: object = None,
        index: object = DEFAULT_INDEX,
        k: object = DEFAULT_K,
        face: object = 0,
        key: object = "",
    ) -> dict[str, Any]:
        """Search with every model that is ready: their answers, how many photos each two share, and each one's own."""
        return ask_all(Question(path_of(photo), index, k, face), galleries.get(key).searchers).as_json()

    def explain_hit(
        photo: object = None, recipe: object = "", photo_id: object = "", face: object = 0, key: object = ""
    ) -> tuple[Image.Image, Image.Image, Image.Image, Image.Image, dict[str, Any]]:
        """Show which places of both crops a hit's similarity rests on; without photo_id the nearest other photo's."""
        preparation = galleries.get(key)
        found = ask(Question(path_of(photo), "exact", face=face), partial(preparation.searcher, recipe))
        (first,) = found.answers
        if first.crop is None:
            raise PhotoError("No face was found in this photo; try another, or a recipe for whole photos.")
        hit = preparation.gallery.photos.found(str(photo_id or nearest(first)))
        reason = why(found.searcher, first.crop, hit)
        heats = reason.explanation
        return heats.query.crop, heats.hit.crop, *heats.overlays(), reason.as_json()

    def list_galleries() -> dict[str, Any]:
        """What can be searched: the galleries, and every recipe with its state and its indexes' recall@20."""
        return {"galleries": [gallery(key, galleries.get(key)) for key in galleries.keys]}

    def tell_health() -> dict[str, Any]:
        """Whether this server can answer: ok, degraded, preparing or unavailable; why, and how far."""
        return galleries.health()

    request = [parts.photo, model, parts.index, parts.k, face, key]
    pictures = [gr.Image(label=label, visible=False, format="jpeg") for label in ("Face found", "Searched with")]
    outputs = [*pictures, answer]
    trigger.click(search, request, outputs, api_name="search", **PUBLIC)
    on_all = [parts.photo, parts.index, parts.k, face, key]
    trigger.click(compare_all, on_all, answer, api_name="compare", **PUBLIC)
    shown = [gr.Image(label=label, visible=False, format="png") for label in EXPLAINED]
    asked = [parts.photo, model, hit, face, key]
    trigger.click(explain_hit, asked, [*shown, answer], api_name="explain", **PUBLIC)
    api(list_galleries, api_name="galleries", concurrency_limit=None)
    api(tell_health, api_name="health", concurrency_limit=None)
