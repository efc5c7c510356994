"""What the page shows while galleries are being prepared, what a link restores, and the first answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline.core.recipes import DEFAULT_K, MAX_K, RECIPES
from pipeline.galleries.galleries import MAIN
from pipeline.indexes.registry import INDEXES
from pipeline.page.parts import QUICK, SEARCH, Changes, Parts, Values
from pipeline.page.query import Request
from pipeline.page.standing import Standing, labelled, polled, standing
from pipeline.page.tabs.search import anew, example, example_photos, is_of_a_gallery

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

    parts: Parts
    header: gr.HTML
    timer: gr.Timer
    answerable: gr.State

    @property
    def shown(self) -> list[Block]:
        """What shows where the galleries stand."""
        query, reply = self.parts.query, self.parts.reply
        chosen = [self.header, reply.gallery, reply.switch, reply.model, self.answerable]
        return [*chosen, query.examples_box, query.examples]

    @property
    def entering(self) -> list[Block]:
        """What entering a gallery may change."""
        return [*self.shown, *self.parts.answer]

    @property
    def asked(self) -> set[Block]:
        """What a poll is told."""
        return {self.parts.own, self.parts.reply.gallery, self.parts.reply.model, self.answerable}

    @property
    def polled(self) -> list[Block]:
        """What a poll may change."""
        return [*self.shown, self.parts.reply.retry, self.timer]

    def poll(self, values: Values) -> Changes:
        """Where the galleries stand now; and its examples once the gallery that is chosen can answer."""
        parts, reply = self.parts, self.parts.reply
        chosen, recipe, answerable = str(values[reply.gallery]), str(values[reply.model]), values[self.answerable]
        now = polled(parts.galleries, values[parts.own], chosen, recipe, answerable)
        # Meanwhile somebody may have chosen something else: what was not changed here is not sent back.
        return self.changes(now, (chosen, recipe), answerable) | {
            reply.retry: gr.update(visible=now.retry),
            self.timer: gr.update(value=POLL_SECONDS, active=now.polling),
        }

    def changes(self, now: Standing, known: tuple[str, str] = ("", ""), answerable: str = "") -> Changes:
        """The page with the galleries as they stand; choices that it is `known` to have are left alone."""
        query, reply = self.parts.query, self.parts.reply
        gallery, model = (
            dict[str, Any]() if before == chosen else {"value": chosen}
            for before, chosen in zip(known, (now.key, now.recipe), strict=True)
        )
        changes: Changes = {
            self.header: now.header,
            reply.gallery: gr.update(choices=now.galleries, visible=len(now.galleries) > 1, **gallery),
            reply.switch: gr.update(visible=bool(now.switch), value=now.switch),
            reply.model: gr.update(choices=now.models, **model),
        }
        if now.can_answer and now.key != answerable:
            examples = example_photos(self.parts.galleries.get(now.key))
            shown = {query.examples_box: gr.update(visible=True), query.examples: examples}
            changes |= {self.answerable: now.key, **shown}
        return changes

    def enter(self, request: Request, key: str) -> Changes:
        """The gallery of this key: the visitor's photo is searched in it, or an example of its own."""
        parts = self.parts
        now = standing(parts.galleries, request.own, key, request.recipe)
        request = replace(request, gallery=key, recipe=now.recipe)
        preparation = parts.galleries.get(key)
        theirs = request.photo is not None and not is_of_a_gallery(parts, request.photo)
        found = example(preparation, request) if now.can_answer and not theirs else anew(preparation, request)
        return self.changes(now) | parts.changes(found)


def restored(parts: Parts, request: gr.Request) -> Changes:
    """The choices in the page's address, as far as they are choices here."""
    reply, given = parts.reply, dict(request.query_params)
    k = str(given.get("k", ""))
    possible = k.isascii() and k.isdigit() and 1 <= int(k) <= MAX_K
    changes: Changes = {reply.k: int(k) if possible else DEFAULT_K}
    if given.get("gallery") in parts.galleries.keys:
        listed = labelled(parts.galleries, parts.galleries.keys)
        changes[reply.gallery] = gr.update(choices=listed, value=given["gallery"])
    if given.get("recipe") in RECIPES:
        changes[reply.model] = given["recipe"]
    if given.get("index") in INDEXES:
        changes[reply.index] = given["index"]
    return changes


def preparation_events(page: gr.Blocks, parts: Parts, header: gr.HTML) -> Watch:
    """Keeps the page up to date while the gallery is being prepared, and answers an example once it can."""
    query, reply = parts.query, parts.reply
    watch = Watch(parts, header, gr.Timer(LOST_SECONDS), gr.State(""))
    poll = (watch.poll, watch.asked, watch.polled)

    def retried(values: Values) -> Changes:
        parts.galleries.start()
        return watch.poll(values)

    def restoring(request: gr.Request) -> Changes:
        return restored(parts, request)

    def first(values: Values) -> Changes:
        # The first thing on the page is an answer; unless the visitor was faster.
        request = parts.request(values)
        if not values[watch.answerable] or request.photo is not None:
            return {query.photo: gr.skip()}
        return parts.changes(example(parts.galleries.get(request.gallery), request))

    def entered(values: Values) -> Changes:
        request = parts.request(values)
        return watch.enter(request, request.gallery)

    def switched(values: Values) -> Changes:
        return watch.enter(parts.request(values), MAIN)

    chosen = [reply.gallery, reply.model, reply.index, reply.k]
    page.load(restoring, None, chosen, **QUICK).then(*poll, **QUICK)
    watch.timer.tick(*poll, **QUICK)
    reply.retry.click(retried, watch.asked, watch.polled, **QUICK)
    watch.answerable.change(first, {watch.answerable, *parts.asked}, parts.answer, **SEARCH)
    # A poll that was under way meanwhile told of the gallery chosen before; so one more follows.
    reply.gallery.input(entered, parts.asked, watch.entering, **SEARCH).then(*poll, **QUICK)
    reply.switch.click(switched, parts.asked, watch.entering, **SEARCH).then(*poll, **QUICK)
    made = [reply.gallery.input, reply.model.input, reply.index.input, reply.k.input]
    gr.on(made, None, chosen, None, js=ADDRESS)
    return watch
