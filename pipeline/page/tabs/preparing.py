"""What the page shows while galleries are being prepared, what a link restores, and the first answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline.core.recipes import DEFAULT_K, MAX_K, RECIPES
from pipeline.galleries.galleries import MAIN
from pipeline.indexes.registry import INDEXES
from pipeline.page.html.sources import source
from pipeline.page.parts import QUICK, Changes, Parts, Values
from pipeline.page.presenter import searched
from pipeline.page.query import Request
from pipeline.page.roles import role_of
from pipeline.page.standing import Standing, labelled, polled, standing
from pipeline.page.tabs.search import anew, example, example_photos, is_of_a_gallery

POLL_SECONDS = 1.0


class Watch:
    """What keeps the page up to date while galleries are being prepared, and answers an example once one can.

    `answerable` is the gallery and the recipe that can answer, as a text, and empty until one can; with its state, one
    for which nobody need wait: it is asked for, or the reason said. `polling` is an event's function, inputs and
    outputs.
    """

    def __init__(self, page: gr.Blocks, parts: Parts, header: gr.HTML, about: gr.HTML) -> None:
        self.parts, self.header, self.about = parts, header, about
        self.timer, self.answerable = parts.timer, gr.State("")
        choices = [header, about, parts.gallery, parts.switch, parts.role, parts.model, parts.missing]
        stands = [*choices, self.answerable, parts.examples_box, parts.examples]
        asked: set[Block] = {parts.own, parts.gallery, parts.role, parts.model, self.answerable}
        self.polling = (self.poll, {*asked, parts.note}, [*stands, parts.note, parts.retry, self.timer])
        self.entering = [*stands, *parts.photo_and_answer]
        self._connect(page)

    def _connect(self, page: gr.Blocks) -> None:
        parts = self.parts

        def retried(values: Values) -> Changes:
            parts.galleries.start()
            return self.poll(values)

        def restoring(request: gr.Request) -> Changes:
            return restored(parts, request)

        def entered(values: Values) -> Changes:
            request = parts.request(values)
            return self.enter(request, request.gallery)

        def switched(values: Values) -> Changes:
            return self.enter(parts.request(values), MAIN)

        chosen = [parts.gallery, parts.model, parts.index, parts.k]
        page.load(restoring, None, [*chosen, parts.role], **QUICK).then(*self.polling, **QUICK)
        self.timer.tick(*self.polling, **QUICK)
        parts.retry.click(retried, *self.polling[1:], **QUICK)
        self.answerable.change(self.first, {self.answerable, *parts.asked}, parts.photo_and_answer, **parts.searching)
        # A poll that was under way meanwhile told of the gallery chosen before; so one more follows.
        parts.gallery.input(entered, parts.asked, self.entering, **parts.searching).then(*self.polling, **QUICK)
        parts.switch.click(switched, parts.asked, self.entering, **parts.searching).then(*self.polling, **QUICK)
        made = [parts.gallery.input, parts.model.change, parts.index.input, parts.k.change]
        gr.on(made, None, chosen, None, js=source("address.js"))

    def first(self, values: Values) -> Changes:
        """What can answer now answers: the photo that waits for it, or, as the first thing on the page, an example."""
        request = self.parts.request(values)
        preparation = self.parts.galleries.get(request.gallery)
        known = {(answer.gallery, answer.recipe) for answer in request.answers}
        if not values[self.answerable] or (preparation.gallery.photos.name, request.by(preparation.ready())) in known:
            return {self.parts.photo: gr.skip()}
        if request.photo is None:
            return self.parts.changes(example(preparation, request))
        return self.parts.changes(searched(preparation, request, request.face))

    def poll(self, values: Values) -> Changes:
        """Where the galleries stand now; and its examples once the gallery that is chosen can answer."""
        parts = self.parts
        chosen, recipe, answerable = str(values[parts.gallery]), str(values[parts.model]), values[self.answerable]
        role = values[parts.role] or None
        now = polled(parts.galleries, values[parts.own], (chosen, recipe, role), answerable)
        # Meanwhile somebody may have chosen something else: what was not changed here is not sent back.
        return self.changes(now, (chosen, recipe, role), answerable) | {
            parts.note: gr.skip() if now.note == values[parts.note] else now.note,
            parts.retry: gr.update(visible=now.retry),
            self.timer: gr.update(value=POLL_SECONDS, active=now.polling),
        }

    def changes(self, now: Standing, known: tuple[str | None, ...] = ("", "", ""), answerable: str = "") -> Changes:
        """The page with the galleries as they stand; choices that it is `known` to have are left alone."""
        parts = self.parts
        gallery, model, role = (
            dict[str, Any]() if before == chosen else {"value": chosen}
            for before, chosen in zip(known, (now.key, now.recipe, now.role), strict=True)
        )
        changes: Changes = {
            self.header: now.header,
            self.about: now.about,
            parts.gallery: gr.update(choices=now.galleries, **gallery),
            parts.switch: gr.update(visible=bool(now.main_button), value=now.main_button),
            parts.role: gr.update(choices=now.roles, **role),
            parts.model: gr.update(choices=now.models, **model),
            parts.missing: now.missing,
        }
        can = f"{now.key} {now.recipe} {now.idle}".rstrip()
        if (now.can_answer or now.idle) and can != answerable:
            changes[self.answerable] = can
            if answerable.partition(" ")[0] != now.key:
                examples = example_photos(parts.galleries.get(now.key))
                changes |= {parts.examples_box: gr.update(visible=True), parts.examples: examples}
        return changes

    def enter(self, request: Request, key: str) -> Changes:
        """The gallery of this key: the visitor's photo is searched in it, or an example of its own."""
        parts = self.parts
        now = standing(parts.galleries, request.own, key, request.recipe, request.role)
        preparation = parts.galleries.get(key)
        request = replace(request, gallery=key, recipe=now.recipe, role=now.role)
        theirs = request.photo is not None and not is_of_a_gallery(parts, request.photo)
        found = example(preparation, request) if now.can_answer and not theirs else anew(preparation, request)
        return self.changes(now) | parts.changes(found)


def restored(parts: Parts, request: gr.Request) -> Changes:
    """The choices in the page's address, as far as they are choices here."""
    given = dict(request.query_params)
    k = str(given.get("k", ""))
    possible = k.isascii() and k.isdigit() and 1 <= int(k) <= MAX_K
    changes: Changes = {parts.k: int(k) if possible else DEFAULT_K}
    if given.get("gallery") in parts.galleries.keys:
        listed = labelled(parts.galleries, parts.galleries.keys)
        changes[parts.gallery] = gr.update(choices=listed, value=given["gallery"])
    if given.get("recipe") in RECIPES:
        changes |= {parts.model: given["recipe"], parts.role: role_of(given["recipe"])}
    if given.get("index") in INDEXES:
        changes[parts.index] = given["index"]
    return changes
