"""What the page shows while galleries are being prepared, what a link restores, and the first answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from pipeline import wording
from pipeline.galleries import MAIN
from pipeline.indexes import INDEXES
from pipeline.page.parts import QUICK, SEARCH, Changes, Parts, Request, request_of
from pipeline.page.searching import anew, example_photos, is_of_a_gallery, show_example
from pipeline.recipes import DEFAULT_K, MAX_K, RECIPES

POLL_SECONDS = 1.0
# Keeps the address of the page that of the choices made, so that it can be sent to somebody or kept.
ADDRESS = """(gallery, recipe, index, k) => {
  const choices = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries({gallery, recipe, index, k})) choices.set(name, value);
  history.replaceState(null, '', `?${choices}`);
}"""


@dataclass(frozen=True, eq=False)
class Watch:
    """What else changes while galleries are being prepared; `answerable` is the key of the gallery that can answer."""

    header: gr.HTML
    timer: gr.Timer
    answerable: gr.State


def poll(parts: Parts, watch: Watch, chosen: str, recipe: str, answerable: str) -> Changes:
    """The header, the choices, the retry, which gallery can answer, and its examples once it can."""
    galleries, reply = parts.galleries, parts.reply
    ready = galleries.ready()
    # Somebody may have chosen what is not ready yet, and waits for it; who has chosen nothing gets what there is.
    key = chosen if chosen in ready or answerable or not ready else ready[0]
    answering = key in ready and key != answerable
    return _choices(parts, watch, key, _usable(parts, key, recipe) if answering else None) | {
        reply.retry: gr.update(visible=_stuck(parts, key) and not galleries.working),
        # Also while the way to another gallery is offered: an answer that comes late may offer it once too often.
        watch.timer: gr.update(active=galleries.working or _better(parts, key)),
        **(_answering(parts, watch, key) if answering else {}),
    }


def _usable(parts: Parts, key: str, recipe: str) -> str:
    """The recipe, or the best one that is ready in this gallery."""
    ready = parts.galleries.get(key).ready()
    return recipe if recipe in ready or not ready else ready[0]


def _better(parts: Parts, key: str) -> bool:
    """Whether the page's own gallery is there and this is another one."""
    return key != MAIN and MAIN in parts.galleries.ready()


def _choices(parts: Parts, watch: Watch, key: str, recipe: str | None) -> Changes:
    """The header, and what can be chosen where this gallery is: galleries, models, and the way to a better one.

    With a `recipe`, both are chosen as well; without, a choice the visitor makes this very moment is left alone.
    """
    galleries, reply = parts.galleries, parts.reply
    background = galleries.get(key)
    labels = [(wording.gallery_label(galleries.get(other)), other) for other in galleries.keys]
    models = [(wording.model_label(name, background.status(name)), name) for name in RECIPES]
    choosing: tuple[dict[str, Any], ...] = ({}, {}) if recipe is None else ({"value": key}, {"value": recipe})
    return {
        watch.header: wording.header(galleries, key),
        reply.gallery: gr.update(choices=labels, visible=len(labels) > 1, **choosing[0]),
        reply.switch: gr.update(visible=_better(parts, key), value=wording.switch_label(galleries.main)),
        reply.model: gr.update(choices=models, **choosing[1]),
    }


def _answering(parts: Parts, watch: Watch, key: str) -> Changes:
    query = parts.query
    shown = {query.examples_box: gr.update(visible=True), query.examples: example_photos(parts.galleries.get(key))}
    return {watch.answerable: key, **shown}


def enter(parts: Parts, watch: Watch, request: Request) -> Changes:
    """Another gallery: the visitor's photo is searched in it, or an example of its own."""
    request = replace(request, recipe=_usable(parts, request.gallery, request.recipe))
    changes = _choices(parts, watch, request.gallery, request.recipe)
    if request.gallery not in parts.galleries.ready():
        return changes | anew(parts, request) | {parts.query.photo: request.photo}
    own = request.photo is not None and not is_of_a_gallery(parts, request.photo)
    found = anew(parts, request) | {parts.query.photo: request.photo} if own else show_example(parts, 0, request)
    return changes | found | _answering(parts, watch, request.gallery)


def _stuck(parts: Parts, key: str) -> bool:
    # A head that was never trained is nothing to try again.
    retried = [name for name, recipe in RECIPES.items() if recipe.layer != "head"]
    status = parts.galleries.get(key).status
    return bool(parts.galleries.main.problem) or any(status(name).state == "unavailable" for name in retried)


def restored(parts: Parts, request: gr.Request) -> Changes:
    """The choices in the page's address, as far as they are choices here."""
    reply, given = parts.reply, dict(request.query_params)
    k = str(given.get("k", ""))
    possible = k.isascii() and k.isdigit() and 1 <= int(k) <= MAX_K
    changes: Changes = {reply.k: int(k) if possible else DEFAULT_K}
    if given.get("gallery") in parts.galleries.keys:
        labels = [(wording.gallery_label(parts.galleries.get(key)), key) for key in parts.galleries.keys]
        changes[reply.gallery] = gr.update(choices=labels, value=given["gallery"])
    if given.get("recipe") in RECIPES:
        changes[reply.model] = given["recipe"]
    if given.get("index") in INDEXES:
        changes[reply.index] = given["index"]
    return changes


def preparation_events(page: gr.Blocks, parts: Parts, header: gr.HTML) -> None:
    """Keeps the page up to date while the gallery is being prepared, and answers an example once it can."""
    query, reply = parts.query, parts.reply
    watch = Watch(header, gr.Timer(POLL_SECONDS), gr.State(""))
    inputs = [reply.gallery, reply.model, watch.answerable]
    state = [header, reply.gallery, reply.switch, reply.model, watch.answerable]
    outputs = [*state, reply.retry, watch.timer, query.examples_box, query.examples]
    entering = [*state, query.examples_box, query.examples, *parts.photo_and_answer]

    def polled(key: str, recipe: str, answerable: str) -> Changes:
        return poll(parts, watch, key, recipe, answerable)

    def retried(key: str, recipe: str, answerable: str) -> Changes:
        parts.galleries.start()
        return polled(key, recipe, answerable)

    def restoring(request: gr.Request) -> Changes:
        return restored(parts, request)

    def first(key: str, *values: object) -> Changes:
        # The first thing on the page is an answer; unless the visitor was faster.
        request = request_of(values)
        return show_example(parts, 0, request) if key and request.photo is None else {query.photo: request.photo}

    def entered(*values: object) -> Changes:
        return enter(parts, watch, request_of(values))

    def switched(*values: object) -> Changes:
        return enter(parts, watch, replace(request_of(values), gallery=MAIN))

    choices = [reply.gallery, reply.model, reply.index, reply.k]
    page.load(restoring, None, choices, **QUICK).then(polled, inputs, outputs, **QUICK)
    watch.timer.tick(polled, inputs, outputs, **QUICK)
    reply.retry.click(retried, inputs, outputs, **QUICK)
    watch.answerable.change(first, [watch.answerable, *parts.request], parts.photo_and_answer, **SEARCH)
    # What was asked just before the click is answered for the gallery before it, and is put right by asking again.
    reply.gallery.input(entered, parts.request, entering, **SEARCH).then(polled, inputs, outputs, **QUICK)
    reply.switch.click(switched, parts.request, entering, **SEARCH).then(polled, inputs, outputs, **QUICK)
    made = [reply.gallery.input, reply.model.input, reply.index.input, reply.k.input]
    gr.on(made, None, choices, None, js=ADDRESS)
