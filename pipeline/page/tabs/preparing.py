"""What the page shows while galleries are being prepared, what a link restores, and the first answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipeline.core.recipes import DEFAULT_K, MAX_K, RECIPES
from pipeline.galleries.galleries import MAIN
from pipeline.indexes.registry import INDEXES
from pipeline.page.html import wording
from pipeline.page.parts import QUICK, SEARCH, Changes, Parts, Request, request_of
from pipeline.page.tabs.search import anew, example_photos, is_of_a_gallery, show_example

POLL_SECONDS = 1.0
# Until the first poll, where the one after the load was lost: sooner, it could overtake the load, which restores what a
# link has chosen, and bring the answer to something else.
LOST_SECONDS = 15.0
# Keeps the address of the page that of the choices made, so that it can be sent to somebody or kept.
ADDRESS = """(gallery, recipe, index, k) => {
  const choices = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries({gallery, recipe, index, k})) choices.set(name, value);
  if (gallery.startsWith('own-')) choices.delete('gallery');  // whoever had the link would have the photos
  history.replaceState(null, '', `?${choices}`);
}"""


@dataclass(frozen=True, eq=False)
class Watch:
    """What else changes while galleries are being prepared; `answerable` is the key of the gallery that can answer."""

    header: gr.HTML
    timer: gr.Timer
    answerable: gr.State

    def state(self, parts: Parts) -> list[Block]:
        """What shows where the galleries stand."""
        query, reply = parts.query, parts.reply
        chosen = [self.header, reply.gallery, reply.switch, reply.model, self.answerable]
        return [*chosen, query.examples_box, query.examples]

    def entering(self, parts: Parts) -> list[Block]:
        """What entering a gallery may change."""
        return [*self.state(parts), *parts.photo_and_answer]

    def asked(self, parts: Parts) -> list[Component]:
        """What a poll is told."""
        return [parts.own, parts.reply.gallery, parts.reply.model, self.answerable]

    def polled(self, parts: Parts) -> list[Block]:
        """What a poll may change."""
        return [*self.state(parts), parts.reply.retry, self.timer]


def poll(parts: Parts, watch: Watch, own: str, state: Sequence[str]) -> Changes:
    """The header, the choices, the retry, which gallery can answer, and its examples once it can.

    `state` is what is chosen, gallery and recipe, and the gallery that could answer when this was last asked.
    """
    galleries, reply, (chosen, recipe, answerable) = parts.galleries, parts.reply, state
    ready = galleries.ready()
    chosen = chosen if galleries.has(chosen) else MAIN
    # Somebody may have chosen what is not ready yet, and waits for it; who has chosen nothing gets what there is.
    key = chosen if galleries.is_ready(chosen) or answerable or not ready else ready[0]
    changes = choices(parts, watch, own, key, recipe)
    # While this was being asked somebody may have chosen something else: what was not changed here is not sent back.
    for choice, before in ((reply.gallery, state[0]), (reply.model, recipe)):
        if changes[choice]["value"] == before:
            del changes[choice]["value"]
    return changes | {
        reply.retry: gr.update(visible=_stuck(parts, key) and not galleries.working),
        # Also while the way to another gallery is offered: an answer that comes late may offer it once too often.
        watch.timer: gr.update(
            value=POLL_SECONDS, active=galleries.working or is_own_working(parts, own) or _better(parts, key)
        ),
        **(_answering(parts, watch, key) if galleries.is_ready(key) and key != answerable else {}),
    }


def is_own_working(parts: Parts, own: str) -> bool:
    """Whether something is being done with the visitor's own gallery."""
    gallery = parts.galleries.own.find(own) if parts.galleries.own else None
    return gallery is not None and gallery.busy


def _better(parts: Parts, key: str) -> bool:
    """Whether the page's own gallery is there and this is the one that stood in for it."""
    return key in parts.galleries.keys and key != MAIN and MAIN in parts.galleries.ready()


def choices(parts: Parts, watch: Watch, own: str, key: str, recipe: str) -> Changes:
    """The header, and what can be chosen where this gallery is: galleries, models, and the way to a better one."""
    galleries, reply = parts.galleries, parts.reply
    preparation = galleries.get(key)
    usable = preparation.ready()
    keys = (*galleries.keys, *([own] if galleries.has(own) else []))
    offered = [name for name in RECIPES if name in preparation.gallery.offered]
    models = [(wording.model_label(name, preparation.status(name)), name) for name in offered]
    possible = usable or offered
    return {
        watch.header: wording.header(galleries, key),
        reply.gallery: gr.update(choices=_labelled(parts, keys), value=key, visible=len(keys) > 1),
        reply.switch: gr.update(visible=_better(parts, key), value=wording.switch_label(galleries.main)),
        reply.model: gr.update(choices=models, value=recipe if recipe in possible else possible[0]),
    }


def _labelled(parts: Parts, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Galleries as choices."""
    return [(wording.gallery_label(parts.galleries.get(key)), key) for key in keys]


def _answering(parts: Parts, watch: Watch, key: str) -> Changes:
    query = parts.query
    shown = {query.examples_box: gr.update(visible=True), query.examples: example_photos(parts.galleries.get(key))}
    return {watch.answerable: key, **shown}


def enter(parts: Parts, watch: Watch, own: str, request: Request) -> Changes:
    """Another gallery: the visitor's photo is searched in it, or an example of its own."""
    changes = choices(parts, watch, own, request.gallery, request.recipe)
    request = replace(request, recipe=changes[parts.reply.model]["value"])
    if not parts.galleries.is_ready(request.gallery):
        return changes | anew(parts, request) | {parts.query.photo: request.photo}
    theirs = request.photo is not None and not is_of_a_gallery(parts, request.photo)
    found = anew(parts, request) | {parts.query.photo: request.photo} if theirs else show_example(parts, 0, request)
    return changes | found | _answering(parts, watch, request.gallery)


def _stuck(parts: Parts, key: str) -> bool:
    return bool(parts.galleries.main.problem or parts.galleries.get(key).missing())


def restored(parts: Parts, request: gr.Request) -> Changes:
    """The choices in the page's address, as far as they are choices here."""
    reply, given = parts.reply, dict(request.query_params)
    k = str(given.get("k", ""))
    possible = k.isascii() and k.isdigit() and 1 <= int(k) <= MAX_K
    changes: Changes = {reply.k: int(k) if possible else DEFAULT_K}
    if given.get("gallery") in parts.galleries.keys:
        listed = _labelled(parts, parts.galleries.keys)
        changes[reply.gallery] = gr.update(choices=listed, value=given["gallery"])
    if given.get("recipe") in RECIPES:
        changes[reply.model] = given["recipe"]
    if given.get("index") in INDEXES:
        changes[reply.index] = given["index"]
    return changes


def preparation_events(page: gr.Blocks, parts: Parts, header: gr.HTML) -> Watch:
    """Keeps the page up to date while the gallery is being prepared, and answers an example once it can."""
    query, reply = parts.query, parts.reply
    watch = Watch(header, gr.Timer(LOST_SECONDS), gr.State(""))
    inputs, outputs, entering = watch.asked(parts), watch.polled(parts), watch.entering(parts)

    def polled(own: str, *state: str) -> Changes:
        return poll(parts, watch, own, state)

    def retried(own: str, *state: str) -> Changes:
        parts.galleries.start()
        return polled(own, *state)

    def restoring(request: gr.Request) -> Changes:
        return restored(parts, request)

    def first(key: str, *values: object) -> Changes:
        # The first thing on the page is an answer; unless the visitor was faster.
        request = request_of(values)
        return show_example(parts, 0, request) if key and request.photo is None else {query.photo: request.photo}

    def entered(own: str, *values: object) -> Changes:
        return enter(parts, watch, own, request_of(values))

    def switched(own: str, *values: object) -> Changes:
        return enter(parts, watch, own, replace(request_of(values), gallery=MAIN))

    chosen = [reply.gallery, reply.model, reply.index, reply.k]
    page.load(restoring, None, chosen, **QUICK).then(polled, inputs, outputs, **QUICK)
    watch.timer.tick(polled, inputs, outputs, **QUICK)
    reply.retry.click(retried, inputs, outputs, **QUICK)
    watch.answerable.change(first, [watch.answerable, *parts.request], parts.photo_and_answer, **SEARCH)
    # A poll that was under way meanwhile told of the gallery chosen before; so one more follows.
    choice = [parts.own, *parts.request]
    reply.gallery.input(entered, choice, entering, **SEARCH).then(polled, inputs, outputs, **QUICK)
    reply.switch.click(switched, choice, entering, **SEARCH).then(polled, inputs, outputs, **QUICK)
    made = [reply.gallery.input, reply.model.input, reply.index.input, reply.k.input]
    gr.on(made, None, chosen, None, js=ADDRESS)
    return watch
