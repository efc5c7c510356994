"""The tab "My photos": a gallery of what the visitor drops, for that visitor alone.

Who a gallery belongs to is told by its key. The browser keeps it, so that the page can be loaded again; the server
gives it to nobody else, and no link contains it. How its pictures are served: see `server.pictures`. The photos as they
were dropped and the vectors lie elsewhere, and are not served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline.core.errors import Busy, SettingsError
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.page.html import wording
from pipeline.page.html.sources import TEMPLATES, source
from pipeline.page.parts import QUICK, Changes, Values
from pipeline.page.query import Request, name_of, path_of
from pipeline.page.tabs.people import PeopleRow
from pipeline.page.tabs.preparing import Watch
from pipeline.search import journal

POLL_SECONDS = 1.0
PULSES = 10  # in the time that a gallery lives on unasked: as often an open page asks for it
PASSED_OVER = "Your photos were still being taken in; drop these again."
STORAGE = "reverse-face-search-own"  # the name, not a secret, under which the browser keeps the key
# Gradio reads what it stores only when the page is loaded, and another tab may have begun a gallery since.
TELL_TABS = f"(key) => {{ if (key) localStorage.setItem('{STORAGE}-latest', key); }}"
OF_ANY_TAB = f"() => localStorage.getItem('{STORAGE}-latest') || ''"


class OwnPhotos:
    """The tab's components, laid out where this is made, and what they do for the visitor whose page asks.

    `remembered` is the gallery's key in the browser; `shown` are its photos, and when its people were found.
    """

    def __init__(self, page: gr.Blocks, tab: gr.Tab, watch: Watch, own: OwnGalleries) -> None:
        self.parts, self.watch, self.own = watch.parts, watch, own
        # Outside the tab: what is in it only works once it was opened.
        self.timer, self.shown = gr.Timer(POLL_SECONDS, active=False), gr.State(())
        # Encrypted with a secret of this server's the key would be lost when the server is started again.
        self.remembered = gr.BrowserState("", storage_key=STORAGE, secret=STORAGE)
        with tab:
            self._lay_out()
        self._connect(page, tab)

    def _lay_out(self) -> None:
        gr.HTML(TEMPLATES("intro"))
        self.drop = gr.File(
            label="Photos, folders, or a zip of photos", file_count="multiple", height=150, elem_id="own-drop"
        )
        gr.HTML(js_on_load=source("folders.js"), elem_id="own-folder")
        self.state = gr.HTML(elem_id="own-state")
        with gr.Row():
            self.search = gr.Button(
                "Search in your photos", visible=False, variant="primary", scale=0, min_width=240, elem_id="own-search"
            )
            self.cancel = gr.Button("Cancel", visible=False, scale=0, min_width=140, elem_id="own-cancel")
        self.people = PeopleRow(self.watch, self.parts.own, "people")
        self.keep = gr.Checkbox(label=wording.KEEP, info=wording.KEEP_NOTE, elem_id="own-keep")
        with gr.Column(visible=False, elem_id="own-manage") as self.manage:
            self.photos = gr.Dropdown([], multiselect=True, label="Photos to remove", elem_id="own-photos")
            small: dict[str, Any] = {"size": "sm", "scale": 0}
            with gr.Row():
                self.discard = gr.Button("Remove these", min_width=140, elem_id="own-discard", **small)
                self.remove = gr.Button(
                    "Remove all my photos", variant="stop", min_width=180, elem_id="own-remove", **small
                )

    def _connect(self, page: gr.Blocks, tab: gr.Tab) -> None:
        parts, watch = self.parts, self.watch
        stands = [self.state, self.cancel, self.search, self.manage, self.photos, self.timer, self.shown, watch.timer]
        self.people.connect()
        stands += self.people.outputs
        mine = [*stands, parts.own, self.remembered, self.drop, self.keep]
        anew = list(dict.fromkeys([*mine, *watch.entering]))
        known: set[Block] = {parts.own, self.remembered}
        page.load(self.loaded, known, mine, **QUICK)
        self.remembered.change(None, self.remembered, None, js=TELL_TABS)
        self.drop.upload(None, None, self.remembered, js=OF_ANY_TAB).then(
            self.dropped, {self.drop, parts.photo, self.keep, *known}, mine, trigger_mode="always_last", **QUICK
        )
        tab.select(None, None, self.remembered, js=OF_ANY_TAB).then(self.loaded, known, mine, **QUICK)
        self.timer.tick(self.show, [parts.own, self.shown], stands, **QUICK)
        self.cancel.click(self.cancelled, parts.own, stands, **QUICK)
        for event in (
            self.search.click(self.searched, parts.asked, [*watch.entering, parts.tabs], **parts.searching),
            self.keep.input(self.kept, {self.keep, *parts.asked}, anew, **parts.searching),
            self.discard.click(self.discarded, {self.photos, *parts.asked}, anew, **parts.searching),
            self.remove.click(self.removed, parts.asked, anew, **parts.searching),
        ):  # a poll that was under way meanwhile told of the gallery as it was
            event.then(*watch.polling, **QUICK)

    def show(self, key: str, shown: tuple[object, ...] = ()) -> Changes:
        """Where the gallery stands, and what can be done with it."""
        gallery = self.own.find(key)
        busy = gallery is not None and gallery.busy  # asked first: what comes after it cannot be older
        working = gallery is not None and gallery.working
        photos = gallery.photo_ids if gallery else ()
        changes: Changes = {
            self.state: wording.state(gallery),
            self.cancel: gr.update(visible=working),
            self.search: gr.update(visible=bool(photos)),
            self.manage: gr.update(visible=bool(photos) and not working),
            # Gradio notices that a page was closed by a connection that it never opens again once a phone has slept.
            # So an open page says that it is there.
            self.timer: gr.update(value=POLL_SECONDS if busy else self.own.grace / PULSES, active=gallery is not None),
            # The other timer then tells of the new choice among the galleries.
            self.watch.timer: gr.update(active=True),
        }
        people = gallery.people if gallery else None
        now = (photos, people.found if people else None)
        if tuple(shown) != now:  # else a choice that is being made would be lost every second
            changes |= {self.photos: gr.update(choices=list(photos), value=[]), self.shown: now}
            changes |= self.people.show(people)
        return changes

    def loaded(self, values: Values) -> Changes:
        """The gallery that this page has, or else this browser."""
        key = self._key(values)
        gallery = self.own.find(key)
        return self.show(key) | {self.parts.own: key} | ({self.keep: gallery.kept} if gallery else {})

    def _key(self, values: Values) -> str:
        keys = [str(values[place] or "") for place in (self.parts.own, self.remembered)]
        return next((key for key in keys if self.own.find(key) is not None), "")

    def dropped(self, values: Values) -> Changes:
        """Starts taking in what was dropped, into the visitor's gallery or a new one; or says why not.

        Not as an error, after which the browser would keep the files on show, and begin nothing that waits for this.
        """
        files = values[self.drop] or []
        paths, names = [Path(str(path_of(file))) for file in files], [name_of(file) for file in files]
        key = self._key(values)
        gallery = self.own.find(key)
        if gallery is None:
            key, gallery = self.own.create()
        if gallery.preparation is None:
            self.own.keep(key, kept=bool(values[self.keep]))
        try:
            if not files:  # an answer to the drop before emptied the field
                raise SettingsError(PASSED_OVER)
            gallery.add(paths, self._forget(paths, path_of(values[self.parts.photo])), names)
        except (Busy, SettingsError) as refused:
            journal.refused(refused)
            gr.Warning(str(refused))
        return self.show(key) | {self.drop: None, self.parts.own: key, self.remembered: key}

    def cancelled(self, key: str) -> Changes:
        """Ends and undoes what is under way."""
        gallery = self.own.find(key)
        if gallery is not None:
            gallery.cancel()
        return self.show(key)

    def searched(self, values: Values) -> Changes:
        """The search tab, in the visitor's gallery."""
        request = self.parts.request(values)
        return self.watch.enter(request, request.own) | {self.parts.tabs: gr.Tabs(selected="search")}

    def kept(self, values: Values) -> Changes:
        """Keeps the gallery, or no longer."""
        request = self.parts.request(values)
        self.own.keep(request.own, kept=bool(values[self.keep]))
        return self._settled(request.own) | self._again(request)

    def discarded(self, values: Values) -> Changes:
        """Removes photos."""
        request, photos = self.parts.request(values), values[self.photos]
        gallery = self.own.find(request.own)
        if gallery is not None:
            gallery.discard([str(photo) for photo in photos] if isinstance(photos, list) else [])
        return self._settled(request.own) | self._again(request)

    def removed(self, values: Values) -> Changes:
        """Removes everything."""
        request = self.parts.request(values)
        self.own.remove(request.own)
        gone: Changes = {self.parts.own: "", self.remembered: "", self.keep: False}
        return self.show("") | self._again(request) | gone

    def _settled(self, key: str) -> Changes:
        gallery = self.own.find(key)
        if gallery is not None:
            gallery.wait()
        # Without a gallery nothing has changed, and one may have been begun meanwhile.
        return self.show(key) if key else {}

    def _again(self, request: Request) -> Changes:
        """The search once more if it was in the visitor's gallery, which has changed or is gone."""
        if not request.own or request.gallery != request.own:
            return {self.parts.photo: gr.skip()}
        if self.parts.galleries.has(request.own):
            return self.watch.enter(request, request.own)
        return self.watch.enter(replace(request, own=""), self.parts.galleries.first())

    def _forget(self, paths: Sequence[Path], photo: str | None) -> Callable[[], None]:
        """What deletes the uploaded files; but not the photo that is searched with, which may be one of them."""
        uploads = Path(self.drop.GRADIO_CACHE).resolve()
        # A path that is not an upload's is one of the server's own files, which only a forged request names.
        gone = [path for path in paths if path.resolve().is_relative_to(uploads) and str(path) != photo]

        def delete() -> None:
            for path in gone:
                path.unlink(missing_ok=True)

        return delete
