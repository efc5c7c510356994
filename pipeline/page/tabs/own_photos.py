"""The tab "My photos": a gallery of what the visitor drops, for that visitor alone.

Who a gallery belongs to is told by its key. The browser keeps it, so that the page can be loaded again; the server
gives it to nobody else, and no link contains it. How its pictures are served: see `server.pictures`. The photos as they
were dropped and the vectors lie elsewhere, and are not served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.own_gallery import OwnGallery
from pipeline.page.html import wording
from pipeline.page.parts import QUICK, SEARCH, Changes, Parts, in_a_sentence, request_of
from pipeline.page.tabs.preparing import Watch, enter, poll

POLL_SECONDS = 1.0
PULSES = 10  # in the time that a gallery lives on unasked: as often an open page asks for it
STORAGE = "reverse-face-search-own"  # the name, not a secret, under which the browser keeps the key


@dataclass(frozen=True, eq=False)
class Panel:
    """The tab's components. `remembered` is the key in the browser, `shown` the photos that can be removed."""

    drop: gr.File
    state: gr.HTML
    cancel: gr.Button
    search: gr.Button
    manage: gr.Column
    keep: gr.Checkbox
    photos: gr.Dropdown
    discard: gr.Button
    remove: gr.Button
    timer: gr.Timer
    remembered: gr.BrowserState
    shown: gr.State

    @property
    def outputs(self) -> list[Block]:
        """What changes with the gallery."""
        return [self.state, self.cancel, self.search, self.manage, self.photos, self.timer, self.shown]


def own_memory() -> tuple[gr.Timer, gr.BrowserState]:
    """What works outside the tab: what is in a tab only does once that was opened."""
    # Encrypted with a secret of this server's the key would be lost when the server is started again.
    return gr.Timer(POLL_SECONDS, active=False), gr.BrowserState("", storage_key=STORAGE, secret=STORAGE)


def own_panel(timer: gr.Timer, remembered: gr.BrowserState) -> Panel:
    """The tab's content."""
    gr.HTML(wording.INTRO)
    drop = gr.File(label="Photos, or a zip of photos", file_count="multiple", height=150, elem_id="own-drop")
    state = gr.HTML(elem_id="own-state")
    with gr.Row():
        search = gr.Button(
            "Search in your photos", visible=False, variant="primary", scale=0, min_width=240, elem_id="own-search"
        )
        cancel = gr.Button("Cancel", visible=False, scale=0, min_width=140, elem_id="own-cancel")
    keep = gr.Checkbox(label=wording.KEEP, info=wording.KEEP_NOTE, elem_id="own-keep")
    with gr.Column(visible=False, elem_id="own-manage") as manage:
        photos = gr.Dropdown([], multiselect=True, label="Photos to remove", elem_id="own-photos")
        with gr.Row():
            discard = gr.Button("Remove these", size="sm", scale=0, min_width=140, elem_id="own-discard")
            remove = gr.Button(
                "Remove all my photos", size="sm", variant="stop", scale=0, min_width=180, elem_id="own-remove"
            )
    shown = gr.State(())
    return Panel(drop, state, cancel, search, manage, keep, photos, discard, remove, timer, remembered, shown)


def shown_state(panel: Panel, gallery: OwnGallery | None, shown: Sequence[str], pulse: float) -> Changes:
    """Where the gallery stands, and what can be done with it; asked again after `pulse` seconds at the latest."""
    busy = gallery is not None and gallery.busy  # asked first: what comes after it cannot be older
    working = gallery is not None and gallery.working
    photos = gallery.photo_ids if gallery else ()
    changes: Changes = {
        panel.state: wording.state(gallery),
        panel.cancel: gr.update(visible=working),
        panel.search: gr.update(visible=bool(photos)),
        panel.manage: gr.update(visible=bool(photos) and not working),
        # Gradio notices that a page was closed by a connection that it never opens again once a phone has slept. So
        # an open page says that it is there.
        panel.timer: gr.update(value=POLL_SECONDS if busy else pulse, active=gallery is not None),
    }
    if tuple(shown) != photos:  # else a choice that is being made would be lost every second
        changes |= {panel.photos: gr.update(choices=list(photos), value=[]), panel.shown: photos}
    return changes


class Actions:
    """What the tab does, for the visitor whose page asks."""

    def __init__(self, parts: Parts, panel: Panel, watch: Watch, own: OwnGalleries) -> None:
        self.parts, self.panel, self.watch, self.own = parts, panel, watch, own

    def show(self, key: str, shown: Sequence[str] = ()) -> Changes:
        """Where the gallery stands."""
        gallery = self.own.find(key)
        # The other timer then tells of the new choice among the galleries.
        return shown_state(self.panel, gallery, shown, self.own.grace / PULSES) | {
            self.watch.timer: gr.update(active=True)
        }

    def loaded(self, remembered: object) -> Changes:
        """The gallery that this browser has."""
        gallery = self.own.find(remembered) if isinstance(remembered, str) else None
        key = str(remembered) if gallery is not None else ""
        kept = gallery is not None and gallery.kept
        return self.show(key) | {self.parts.own: key, self.panel.keep: kept}

    def dropped(self, files: list[str] | None, key: str, photo: str | None, kept: bool) -> Changes:
        """Starts taking in what was dropped, into the visitor's gallery or a new one."""
        paths = [Path(file) for file in files or []]
        with in_a_sentence():
            gallery = self.own.find(key)
            if gallery is None:
                key, gallery = self.own.create()
            if gallery.preparation is None:
                self.own.keep(key, kept=kept)
            gallery.add(paths, self._forget(paths, photo))
        return self.show(key) | {self.panel.drop: None, self.parts.own: key, self.panel.remembered: key}

    def cancelled(self, key: str) -> Changes:
        """Ends and undoes what is under way."""
        gallery = self.own.find(key)
        if gallery is not None:
            gallery.cancel()
        return self.show(key)

    def searched(self, key: str, *values: object) -> Changes:
        """The search tab, in the visitor's gallery."""
        with in_a_sentence():
            found = enter(self.parts, self.watch, key, replace(request_of(values), gallery=key))
            return found | {self.parts.tabs: gr.Tabs(selected="search")}

    def kept(self, wanted: bool, key: str, *values: object) -> Changes:
        """Keeps the gallery, or no longer."""
        with in_a_sentence():
            self.own.keep(key, kept=wanted)
        return self._settled(key) | self._again(key, values)

    def discarded(self, photos: list[str], key: str, *values: object) -> Changes:
        """Removes photos."""
        gallery = self.own.find(key)
        with in_a_sentence():
            if gallery is not None:
                gallery.discard(photos)
        return self._settled(key) | self._again(key, values)

    def removed(self, key: str, *values: object) -> Changes:
        """Removes everything."""
        with in_a_sentence():
            self.own.remove(key)
        gone: Changes = {self.parts.own: "", self.panel.remembered: "", self.panel.keep: False}
        return self.show("") | self._again(key, values) | gone

    def polled(self, own: str, *state: str) -> Changes:
        """Where the galleries stand now."""
        return poll(self.parts, self.watch, own, state)

    def _settled(self, key: str) -> Changes:
        gallery = self.own.find(key)
        if gallery is not None:
            gallery.wait()
        # Without a gallery nothing has changed, and one may have been begun meanwhile.
        return self.show(key) if key else {}

    def _again(self, key: str, values: Sequence[object]) -> Changes:
        """The search once more if it was in the visitor's gallery, which has changed or is gone."""
        request = request_of(values)
        if not key or request.gallery != key:
            return {self.parts.query.photo: request.photo}
        if self.parts.galleries.has(key):
            return enter(self.parts, self.watch, key, request)
        return enter(self.parts, self.watch, "", replace(request, gallery=self.parts.galleries.first()))

    def _forget(self, paths: Sequence[Path], photo: str | None) -> Callable[[], None]:
        """What deletes the uploaded files; but not the photo that is searched with, which may be one of them."""
        uploads = Path(self.panel.drop.GRADIO_CACHE).resolve()
        # A path that is not an upload's is one of the server's own files, which only a forged request names.
        gone = [path for path in paths if path.resolve().is_relative_to(uploads) and str(path) != photo]

        def delete() -> None:
            for path in gone:
                path.unlink(missing_ok=True)

        return delete


def own_events(page: gr.Blocks, actions: Actions) -> None:
    """Connects the tab's components with what they do."""
    parts, panel, watch = actions.parts, actions.panel, actions.watch
    outputs = [*panel.outputs, watch.timer]
    mine = [*outputs, parts.own, panel.remembered, panel.drop, panel.keep]
    anew = list(dict.fromkeys([*mine, *watch.entering(parts)]))
    choice = [parts.own, *parts.request]
    page.load(actions.loaded, panel.remembered, mine, **QUICK)
    panel.drop.upload(actions.dropped, [panel.drop, parts.own, parts.query.photo, panel.keep], mine, **QUICK)
    panel.timer.tick(actions.show, [parts.own, panel.shown], outputs, **QUICK)
    panel.cancel.click(actions.cancelled, parts.own, outputs, **QUICK)
    entering = [
        panel.search.click(actions.searched, choice, [*watch.entering(parts), parts.tabs], **SEARCH),
        panel.keep.input(actions.kept, [panel.keep, *choice], anew, **SEARCH),
        panel.discard.click(actions.discarded, [panel.photos, *choice], anew, **SEARCH),
        panel.remove.click(actions.removed, choice, anew, **SEARCH),
    ]
    for event in entering:  # a poll that was under way meanwhile told of the gallery as it was
        event.then(actions.polled, watch.asked(parts), watch.polled(parts), **QUICK)
