"""The people in a gallery: a row of faces that are searched with, and a fold to correct them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from pipeline.encoder.faces import at
from pipeline.galleries.ask import Question, ask
from pipeline.galleries.galleries import MAIN
from pipeline.galleries.known_people import SHOWN, KnownPeople
from pipeline.page.html.people import faces_html, label, people_html
from pipeline.page.html.sources import source
from pipeline.page.html.wording import notice, progress_line
from pipeline.page.parts import PICTURES, Changes, Values
from pipeline.page.presenter import answered, extended_trail
from pipeline.page.query import Request
from pipeline.page.roles import DEFAULT_ROLE, behind
from pipeline.page.standing import standing
from pipeline.page.tabs.preparing import Watch
from pipeline.page.tabs.search import TO_THE_ANSWER, as_file

COMING = "People are being told apart; look again in a while."
NONE = "Nobody can be told apart in these photos."
UNKNOWN = "unknown"  # among the people that can be chosen
MOST_FACES = 60  # of one person, to choose from

NAME = "(person, names) => (names ?? {})[person] ?? ''"
# In two lists: the outer one is of outputs.
MARKED = "() => [[...document.querySelectorAll('#{}-faces [aria-pressed=true]')].map((one) => one.dataset.photo)]"

Edit = Callable[[KnownPeople, Values], None]


class PeopleRow:
    """The components, laid out where this is made, and what they do for the visitor whose page asks.

    `key` holds the key of the gallery whose people they are; `name` begins the components' ids. `person` and `other`
    are people, each by one face; `marked` are the faces that were chosen. `names` is what people are called, so that
    the browser itself shows the name of another choice: the server's answer would undo what is typed meanwhile.
    """

    def __init__(self, watch: Watch, key: Block, name: str, *, editing: bool = True) -> None:
        """People are corrected only where `editing` says so."""
        self.watch, self.parts, self.key, self.id, self.editing = watch, watch.parts, key, name, editing
        self.row = gr.HTML(js_on_load=source("tiles.js"), elem_id=name)
        self.names, self.marked = gr.JSON(visible="hidden"), gr.JSON(visible="hidden")
        with gr.Accordion("Edit people", open=False, visible=False, elem_id=f"{name}-edit") as self.fold:
            with gr.Row():
                self.person = gr.Dropdown([], label="Person", elem_id=f"{name}-person", min_width=200)
                self.name = gr.Textbox(label="Name", max_lines=1, elem_id=f"{name}-name", min_width=200)
                self.other = gr.Dropdown([], label="The same person as", elem_id=f"{name}-other", min_width=200)
            with gr.Row():
                labels = {"save": "Save name", "merge": "Merge", "remove": "Not a person", "undo": "Undo"}
                self.buttons = {what: self._button(what, words) for what, words in labels.items()}
            self.faces = gr.HTML(js_on_load=source("people.js"), elem_id=f"{name}-faces")
            with gr.Row():
                labels = {"drop": "Not this person", "split": "Another person"}
                self.buttons |= {what: self._button(what, words) for what, words in labels.items()}

    def _button(self, what: str, words: str) -> gr.Button:
        return gr.Button(words, size="sm", scale=0, min_width=150, elem_id=f"{self.id}-{what}")

    @property
    def outputs(self) -> list[Block]:
        """What `show` changes."""
        own = [self.row, self.fold, self.person, self.names, self.name, self.other]
        return [*own, self.buttons["undo"], self.faces]

    def connect(self) -> None:
        """Says what is done with them."""
        parts, key = self.parts, self.key
        found = [*self.watch.entering, parts.tabs]
        search = self.row.select(self.searched, {key, *parts.asked}, found, **parts.searching)
        search.then(None, None, None, js=TO_THE_ANSWER).then(*self.watch.polling, **PICTURES)
        if not self.editing:
            return
        self.row.expand(self.unknown, key, self.outputs, **PICTURES)
        self.person.input(None, [self.person, self.names], self.name, js=NAME)
        self.person.input(self.looked_at, [key, self.person], self.faces, trigger_mode="always_last", **PICTURES)
        edits: dict[str, Edit] = {
            "save": lambda people, values: people.name(
                people.of(values[self.person]).faces[0], values[self.name] or ""
            ),
            "merge": lambda people, values: people.merge(values[self.person], values[self.other]),
            "remove": lambda people, values: people.remove(values[self.person]),
            "drop": lambda people, values: people.drop([str(face) for face in values[self.marked] or []]),
            "split": lambda people, values: people.split([str(face) for face in values[self.marked] or []]),
            "undo": lambda people, values: people.undo(),
        }
        given: set[Block] = {key, self.person, self.name, self.other, self.marked}
        for what, edit in edits.items():
            clicks = [self.buttons[what].click, *([self.name.submit] if what == "save" else [])]
            # What is marked is asked of the browser: who marks quickly and clicks would be ahead of what is told of it.
            gr.on(clicks, None, None, self.marked, js=MARKED.format(self.id)).then(
                partial(self.edited, edit), given, self.outputs, **PICTURES
            )

    def people(self, key: str) -> KnownPeople | None:
        """The people in the gallery; None where there is none, or nobody was told apart."""
        galleries = self.parts.galleries
        return galleries.get(key).people if key and galleries.has(key) else None

    def show(self, people: KnownPeople | None, chosen: str = "") -> Changes:
        """The people; `chosen` is the person to edit, by one face, with all faces."""
        if people is None:
            return {self.row: "", self.names: {}, self.fold: gr.update(visible=False)}
        if not self.editing:
            return {self.row: people_html(people, SHOWN, editing=False)}
        named = [(label(person, number), person.faces[0]) for number, person in enumerate(people.people, start=1)]
        unknown = [(f"Unknown faces ({len(people.unknown)})", UNKNOWN)] if people.unknown else []
        person = next((person for person in people.people if chosen in person.faces), None)
        value = person.faces[0] if person else UNKNOWN if chosen == UNKNOWN and unknown else None
        return {
            self.row: people_html(people, SHOWN),
            self.fold: gr.update(visible=bool(named or unknown)),
            self.person: gr.update(choices=[*named, *unknown], value=value),
            self.names: {person.faces[0]: person.name for person in people.people},
            self.name: person.name if person else "",
            self.other: gr.update(choices=named, value=None),
            self.buttons["undo"]: gr.update(interactive=people.said),
            self.faces: faces_html(people, self._faces(people, value), MOST_FACES),
        }

    @staticmethod
    def _faces(people: KnownPeople, chosen: object) -> tuple[str, ...]:
        if chosen == UNKNOWN:
            return people.unknown
        return next((person.faces for person in people.people if chosen in person.faces), ())

    def looked_at(self, key: str, chosen: object) -> str:
        """The faces of another person to edit."""
        people = self.people(key)
        return faces_html(people, self._faces(people, chosen), MOST_FACES) if people else ""

    def unknown(self, key: str) -> Changes:
        """The faces of nobody that is known."""
        changes = self.show(self.people(key), UNKNOWN)
        return changes | {self.fold: gr.update(visible=True, open=True)}

    def edited(self, edit: Edit, values: Values) -> Changes:
        """The people after an edit; whoever was edited stays chosen."""
        people = self.people(values[self.key])
        if people is None:
            return self.show(None)
        before = self._faces(people, values[self.person])
        edit(people, values)
        unknown = UNKNOWN if values[self.person] == UNKNOWN else ""
        faces = set(before)
        kept = next((one.faces[0] for one in people.people if faces.intersection(one.faces)), "")
        return self.show(people, unknown or kept)

    def searched(self, values: Values, event: gr.EventData) -> Changes:
        """The search tab, with what all photos of a person have in common."""
        people = self.people(values[self.key])
        if people is None:
            return {self.parts.photo: gr.skip()}
        found = self._found(people, values[self.key], str(event.photo), self.parts.request(values))
        return found | {self.parts.tabs: gr.Tabs(selected="search")}

    def _found(self, people: KnownPeople, key: str, face: str, request: Request) -> Changes:
        preparation = self.parts.galleries.get(key)
        role = DEFAULT_ROLE if behind(DEFAULT_ROLE, preparation.ready()) == people.recipe else None
        now = standing(self.parts.galleries, request.own, key, people.recipe, role)
        best = people.of(face).faces[0]
        photo, box = as_file(preparation.gallery.pictures.original(best)), people.box(best)
        trail = extended_trail(request)
        request = replace(request, gallery=key, recipe=people.recipe, role=role, photo=photo)
        choose = at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) if box else 0
        question = Question(Path(photo), request.index, request.k, choose, vector=people.vector(face))
        shown = answered(preparation, request, ask(question, partial(preparation.searcher, people.recipe)))
        return self.watch.changes(now) | self.parts.changes(replace(shown, photo=photo, trail=trail))


def people_tab(tab: gr.Tab, watch: Watch, *, editing: bool) -> None:
    """The tab "People": those in the photos that the page was started for, where these are a folder of somebody's."""
    with tab:
        row = PeopleRow(watch, gr.State(MAIN), "gallery-people", editing=editing)

    def opened(key: str) -> Changes:
        people = row.people(key)
        if people is None:
            galleries = watch.parts.galleries
            far = galleries.get(key).grouping
            coming = f"{COMING} {progress_line(far)}" if far else COMING
            return row.show(None) | {row.row: notice(coming if galleries.working else NONE)}
        return row.show(people)

    row.connect()
    tab.select(opened, row.key, row.outputs, **PICTURES)
