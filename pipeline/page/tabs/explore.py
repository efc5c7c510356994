"""Exploring an answer: searching on with a result, back, enlarging, arranging, downloading."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace

import gradio as gr

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.tables import CSV_ENCODING
from pipeline.core.types import Answer
from pipeline.encoder.faces import at
from pipeline.encoder.look import degrees_off, turned_along
from pipeline.galleries.preparation import Preparation
from pipeline.page.html import downloads, wording
from pipeline.page.html.sources import source
from pipeline.page.html.why import LOOKING, why_html
from pipeline.page.html.wording import notice
from pipeline.page.parts import PICTURES, QUICK, SEARCH, Changes, Parts, Values
from pipeline.page.presenter import Shown, attempted, enlarged, extended_trail, hit_in, limit_moved, results, searched
from pipeline.page.query import Request
from pipeline.page.tabs.search import TO_THE_ANSWER, with_picture
from pipeline.search.explain import why

TO_THE_ENLARGED = "() => document.querySelector('#enlarged').scrollIntoView({block: 'nearest'})"


def search_with(parts: Parts, photo_id: str, request: Request) -> Shown:
    """A photo of the gallery as the visitor's, and the search with the face by which it was indexed."""
    preparation = parts.galleries.get(request.gallery)
    face = _of_gallery(preparation, photo_id, request.recipe)
    return with_picture(preparation, photo_id, request, extended_trail(request), face)


def _of_gallery(preparation: Preparation, photo_id: str, recipe: str) -> object:
    """The face by which the recipe's gallery has a photo, as a `Question` has it."""
    try:
        face = preparation.searcher(recipe).embeddings.face_of(photo_id)
        if face and (degrees := degrees_off(face)):  # it is looked at turned again
            face = turned_along(face, preparation.gallery.pictures.size(photo_id), degrees)
    except PipelineError:  # said in a sentence by the search itself
        return 0
    return at((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) if face else 0


def went_back(preparation: Preparation, request: Request) -> Shown:
    """The photo before this one, and the search with it; SettingsError where there is none."""
    if not request.trail:
        raise SettingsError("There is no photo to go back to; search with one first.")
    *way, (photo, face) = request.trail
    return replace(searched(preparation, replace(request, photo=photo), face), photo=photo, trail=tuple(way))


def download(parts: Parts, kind: str, answers: Sequence[Answer]) -> dict[str, str] | None:
    """The answers as a file for `save.js`: its name, type and content in base64; None if there are none any more."""
    if not answers:
        return None
    makers: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "csv": ("results.csv", "text/csv;charset=utf-8", lambda: downloads.as_csv(answers).encode(CSV_ENCODING)),
        "json": ("results.json", "application/json", lambda: downloads.as_json(answers).encode()),
        "sheet": ("results.png", "image/png", lambda: _sheet(parts, answers)),
    }
    name, media, make = makers[kind]
    return {"name": name, "type": media, "content": base64.b64encode(make()).decode()}


def _sheet(parts: Parts, answers: Sequence[Answer]) -> bytes:
    gallery = parts.galleries.named(answers[0].gallery).gallery
    return downloads.contact_sheet(answers, gallery.pictures.thumbnail, wording.caption)


def explore_events(parts: Parts) -> None:
    """What can be done with an answer."""

    def picked(values: Values, event: gr.EventData) -> Changes:
        return parts.changes(search_with(parts, str(event.photo), parts.request(values)))

    def back(values: Values) -> Changes:
        request = parts.request(values)
        return parts.changes(went_back(parts.galleries.get(request.gallery), request))

    def expanded(answers: tuple[Answer, ...], event: gr.EventData) -> str:
        found = hit_in(answers, str(event.photo), int(event.answer))
        return enlarged(parts.galleries.named(found[0].gallery), *found, int(event.answer)) if found else ""

    def arranged(values: Values) -> str:
        request = parts.request(values)
        if not request.answers:
            return ""
        return results(parts.galleries.named(request.answers[0].gallery), request.answers, request)

    def limited(values: Values) -> Changes:
        request = parts.request(values)
        if not request.answers:
            return {parts.limit_note: ""}
        preparation = parts.galleries.named(request.answers[0].gallery)
        request, meant, note, marked = limit_moved(preparation, request, values[parts.limit])
        # Sent back only if it is another one, as in `search_events`.
        moved = gr.skip() if meant == values[parts.limit] else meant
        return {parts.own_limit: request.own_limit, parts.limit: moved, parts.limit_note: note, parts.hits: marked}

    clicks = [parts.hits.select, parts.enlarged.select]
    gr.on(clicks, picked, parts.asked, parts.photo_and_answer, **parts.searching).then(
        None, None, None, js=TO_THE_ANSWER
    )
    parts.back.click(back, parts.asked, parts.photo_and_answer, **parts.searching)
    enlarging = parts.hits.expand(expanded, parts.answers, parts.enlarged, **PICTURES)
    enlarging.then(None, None, None, js=TO_THE_ENLARGED)
    parts.enlarged.collapse(lambda: "", None, parts.enlarged, **QUICK)
    arrangement = [parts.view.input, parts.by_person.input]
    gr.on(arrangement, arranged, parts.asked, parts.hits, **PICTURES)
    outputs = [parts.own_limit, parts.limit, parts.limit_note, parts.hits]
    parts.limit.input(limited, {parts.limit, *parts.asked}, outputs, trigger_mode="always_last", **PICTURES)
    _download_events(parts)


def picked_elsewhere(parts: Parts, shown: gr.HTML) -> None:
    """Searches with a photo that was picked in another tab, and shows the search tab."""

    def picked(values: Values, event: gr.EventData) -> Changes:
        found = parts.changes(search_with(parts, str(event.photo), parts.request(values)))
        return found | {parts.tabs: gr.Tabs(selected="search")}

    shown.select(picked, parts.asked, [*parts.photo_and_answer, parts.tabs], **parts.searching)


def _download_events(parts: Parts) -> None:
    file = gr.JSON(visible="hidden", elem_id="file")
    for kind, button in parts.downloads.items():

        def made(answers: tuple[Answer, ...], kind: str = kind) -> dict[str, str] | None:
            return download(parts, kind, answers)

        button.click(made, parts.answers, file, **PICTURES).then(None, file, None, js=source("save.js"))


SAY_SO = f"() => {LOOKING!r}"  # without a way to the server and back
TO_THE_WHY = "() => document.querySelector('#why').scrollIntoView({block: 'nearest'})"


def explained(parts: Parts, photo_id: str, number: int, answers: Sequence[Answer]) -> str:
    """What a hit of the answer of this number rests on, as HTML."""
    found = hit_in(answers, photo_id, number)
    if found is None or found[0].crop is None:
        raise SettingsError("This photo is not among the results any more; search again.")
    answer, crop = found[0], found[0].crop
    preparation = parts.galleries.named(answer.gallery)
    return why_html(why(preparation.searcher(answer.recipe), crop, preparation.gallery.photos.found(photo_id)))


def explain_events(parts: Parts) -> None:
    """The button of an enlarged result, and that nothing is said of one that is not shown any more."""

    told = gr.JSON(visible="hidden")

    def asked(answers: tuple[Answer, ...], event: gr.EventData) -> dict[str, str]:
        photo, answer = str(event.photo), str(event.answer)
        html = attempted(lambda: explained(parts, photo, int(answer), answers), notice)
        return {"photo": photo, "answer": answer, "html": html}

    parts.enlarged.expand(None, None, parts.why, js=SAY_SO).then(None, None, None, js=TO_THE_WHY)
    hidden = SEARCH | {"show_progress": "hidden", "trigger_mode": "multiple"}
    looking = parts.enlarged.expand(asked, parts.answers, told, **hidden)
    looking.then(None, [told, parts.why], parts.why, js=source("why.js")).then(None, None, None, js=TO_THE_WHY)
    parts.enlarged.change(None, None, parts.why, js="() => ''")
