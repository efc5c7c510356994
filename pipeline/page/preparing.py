"""What the page shows while galleries are being prepared, what a link restores, and the first answer."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from pipeline import wording
from pipeline.background import Background
from pipeline.indexes import INDEXES
from pipeline.page.parts import QUICK, SEARCH, Changes, Parts, request_of
from pipeline.page.searching import example_photos, show_example
from pipeline.recipes import DEFAULT_K, MAX_K, RECIPES

POLL_SECONDS = 1.0
# Keeps the address of the page that of the choices made, so that it can be sent to somebody or kept.
ADDRESS = """(recipe, index, k) => {
  const choices = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries({recipe, index, k})) choices.set(name, value);
  history.replaceState(null, '', `?${choices}`);
}"""


@dataclass(frozen=True, eq=False)
class Watch:
    """What else changes while galleries are being prepared; `answerable` is whether there can be answers."""

    header: gr.HTML
    timer: gr.Timer
    answerable: gr.State


def poll(parts: Parts, watch: Watch, recipe: str, was_answerable: bool) -> Changes:
    """The header, the toggle, the retry, whether there can be answers, and the examples once there can."""
    background, query, reply = parts.background, parts.query, parts.reply
    ready = background.ready()
    chosen = recipe if recipe in ready or was_answerable or not ready else ready[0]
    choices = [(wording.model_label(name, background.status(name)), name) for name in RECIPES]
    changes: Changes = {
        watch.header: wording.header(background),
        reply.model: gr.update(choices=choices, value=chosen),
        reply.retry: gr.update(visible=_stuck(background) and not background.working),
        watch.timer: gr.update(active=background.working),
        watch.answerable: bool(ready),
    }
    if ready and not was_answerable:
        changes |= {query.examples_box: gr.update(visible=True), query.examples: example_photos(background)}
    return changes


def _stuck(background: Background) -> bool:
    # A head that was never trained is nothing to try again.
    retried = [name for name, recipe in RECIPES.items() if recipe.layer != "head"]
    return bool(background.problem) or any(background.status(name).state == "unavailable" for name in retried)


def restored(parts: Parts, request: gr.Request) -> Changes:
    """The choices in the page's address, as far as they are choices here."""
    reply, given = parts.reply, dict(request.query_params)
    k = str(given.get("k", ""))
    possible = k.isascii() and k.isdigit() and 1 <= int(k) <= MAX_K
    changes: Changes = {reply.k: int(k) if possible else DEFAULT_K}
    if given.get("recipe") in RECIPES:
        changes[reply.model] = given["recipe"]
    if given.get("index") in INDEXES:
        changes[reply.index] = given["index"]
    return changes


def preparation_events(page: gr.Blocks, parts: Parts, header: gr.HTML) -> None:
    """Keeps the page up to date while the gallery is being prepared, and answers an example once it can."""
    query, reply = parts.query, parts.reply
    watch = Watch(header, gr.Timer(POLL_SECONDS), gr.State(False))
    inputs = [reply.model, watch.answerable]
    examples = [query.examples_box, query.examples]
    outputs = [header, reply.model, reply.retry, watch.timer, watch.answerable, *examples]

    def polled(recipe: str, was_answerable: bool) -> Changes:
        return poll(parts, watch, recipe, was_answerable)

    def retried(recipe: str, was_answerable: bool) -> Changes:
        parts.background.start()
        return polled(recipe, was_answerable)

    def restoring(request: gr.Request) -> Changes:
        return restored(parts, request)

    def first(can: bool, *values: object) -> Changes:
        # The first thing on the page is an answer; unless the visitor was faster.
        request = request_of(values)
        return show_example(parts, 0, request) if can and request.photo is None else {query.photo: request.photo}

    choices = [reply.model, reply.index, reply.k]
    page.load(restoring, None, choices, **QUICK).then(polled, inputs, outputs, **QUICK)
    watch.timer.tick(polled, inputs, outputs, **QUICK)
    reply.retry.click(retried, inputs, outputs, **QUICK)
    watch.answerable.change(first, [watch.answerable, *parts.request], parts.photo_and_answer, **SEARCH)
    made = [reply.model.input, reply.index.input, reply.k.input]
    gr.on(made, None, choices, None, js=ADDRESS)
