"""Exploring an answer: searching on with a result, back, enlarging, arranging, downloading."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace

import gradio as gr

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.types import Answer
from pipeline.encoder.faces import Choose, at, largest
from pipeline.page.html import downloads, wording
from pipeline.page.html.grid import Tile, enlarged_html
from pipeline.page.html.why import LOOKING, why_html
from pipeline.page.html.wording import notice
from pipeline.page.parts import PICTURES, QUICK, SEARCH, Changes, Parts, Request, in_a_sentence, request_of
from pipeline.page.tabs.search import as_file, distance_of, hit_in, limit_line, results, show
from pipeline.search.explain import why

Trail = tuple[tuple[str, int], ...]  # photos searched with before, and the number of the face
Step = tuple[Trail, int | None]  # the way so far, and the number of the face chosen now

# The file goes into the page and from there to the visitor: nothing is left on the server.
SAVE = """(file) => {
  if (!file) return;
  const anchor = document.createElement('a');
  anchor.href = `data:${file.type};base64,${file.content}`;
  anchor.download = file.name;
  anchor.click();
}"""
TO_THE_PHOTO = "() => document.querySelector('#photo').scrollIntoView({block: 'nearest'})"
TO_THE_ENLARGED = "() => document.querySelector('#enlarged').scrollIntoView({block: 'nearest'})"


def search_with(parts: Parts, photo_id: str, step: Step, request: Request) -> Changes:
    """A photo of the gallery as the visitor's, and the search with the face by which it was indexed."""
    trail, number = step
    path = as_file(parts.galleries.get(request.gallery).gallery.pictures.original(photo_id))
    way = trail if request.photo is None else (*trail, (request.photo, number or 0))
    shown = show(parts, replace(request, photo=path), _of_gallery(parts, photo_id, request))
    return shown | {parts.query.photo: path, parts.explore.trail: way, parts.explore.back: gr.update(visible=bool(way))}


def _of_gallery(parts: Parts, photo_id: str, request: Request) -> Choose:
    """Picks the face by which the recipe's gallery has a photo."""
    try:
        box = parts.galleries.get(request.gallery).searcher(request.recipe).embeddings.box(photo_id)
    except PipelineError:  # said in a sentence by the search itself
        return largest
    return at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) if box else largest


def go_back(parts: Parts, trail: Trail, request: Request) -> Changes:
    """The photo before this one, and the search with it."""
    if not trail:
        return {parts.query.photo: request.photo}
    *way, (photo, number) = trail
    shown = show(parts, replace(request, photo=photo), number)
    return shown | {
        parts.query.photo: photo,
        parts.explore.trail: tuple(way),
        parts.explore.back: gr.update(visible=bool(way)),
    }


def enlarge(parts: Parts, photo_id: str, number: int, answers: Sequence[Answer]) -> str:
    """A result's whole photo with its face framed, as HTML; empty for what is not in the answer of this number."""
    found = hit_in(answers, photo_id, number)
    if found is None:
        return ""
    answer, hit = found
    preparation = parts.galleries.named(answer.gallery)
    pictures, box = preparation.gallery.pictures, preparation.searcher(answer.recipe).embeddings.box(photo_id)
    tile = Tile(hit, pictures.original(photo_id), answer=number)
    return enlarged_html(tile, pictures.size(photo_id), box)


def move_limit(parts: Parts, distance: object, answers: Sequence[Answer], request: Request) -> Changes:
    """The results marked by the visitor's limit and what that means; nothing is searched."""
    limit = distance_of(distance)
    if not answers:
        return {parts.explore.limit_note: ""}
    request = replace(request, own_limit=(answers[0].gallery, answers[0].recipe, limit))
    preparation = parts.galleries.named(answers[0].gallery)
    return {
        parts.explore.own_limit: request.own_limit,
        parts.explore.limit_note: limit_line(preparation, answers, request),
        parts.reply.hits: results(preparation, answers, request),
    }


def download(parts: Parts, kind: str, answers: Sequence[Answer]) -> dict[str, str] | None:
    """The answers as a file for `SAVE`: its name, type and content in base64; None if there are none any more."""
    if not answers:
        return None
    makers: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "csv": ("results.csv", "text/csv;charset=utf-8", lambda: downloads.as_csv(answers).encode()),
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
    query, reply, explore = parts.query, parts.reply, parts.explore
    on_the_way = [explore.trail, query.face, *parts.request]

    def picked(event: gr.EventData, trail: Trail, number: int | None, *values: object) -> Changes:
        with in_a_sentence():
            return search_with(parts, str(event.photo), (trail, number), request_of(values))

    def back(trail: Trail, *values: object) -> Changes:
        return go_back(parts, trail, request_of(values))

    def expanded(event: gr.EventData, answers: tuple[Answer, ...]) -> str:
        with in_a_sentence():
            return enlarge(parts, str(event.photo), int(event.answer), answers)

    def arranged(answers: tuple[Answer, ...], *values: object) -> str:
        with in_a_sentence():
            preparation = parts.galleries.named(answers[0].gallery) if answers else parts.galleries.main
            return results(preparation, answers, request_of(values))

    def moved(distance: object, answers: tuple[Answer, ...], *values: object) -> Changes:
        with in_a_sentence():
            return move_limit(parts, distance, answers, request_of(values))

    clicks = [reply.hits.select, explore.enlarged.select]
    gr.on(clicks, picked, on_the_way, parts.photo_and_answer, **SEARCH).then(None, None, None, js=TO_THE_PHOTO)
    explore.back.click(back, [explore.trail, *parts.request], parts.photo_and_answer, **SEARCH)
    enlarging = reply.hits.expand(expanded, explore.answers, explore.enlarged, **PICTURES)
    enlarging.then(None, None, None, js=TO_THE_ENLARGED)
    explore.enlarged.collapse(lambda: "", None, explore.enlarged, **QUICK)
    arrangement = [explore.view.input, explore.by_person.input]
    gr.on(arrangement, arranged, [explore.answers, *parts.request], reply.hits, **PICTURES)
    limit = [explore.limit, explore.answers, *parts.request]
    marked = [explore.own_limit, explore.limit_note, reply.hits]
    explore.limit.input(moved, limit, marked, trigger_mode="always_last", **PICTURES)
    _download_events(parts)


def _download_events(parts: Parts) -> None:
    file = gr.JSON(visible="hidden", elem_id="file")
    for kind, button in zip(("csv", "json", "sheet"), parts.explore.downloads, strict=True):

        def made(answers: tuple[Answer, ...], kind: str = kind) -> dict[str, str] | None:
            with in_a_sentence():
                return download(parts, kind, answers)

        button.click(made, parts.explore.answers, file, **PICTURES).then(None, file, None, js=SAVE)


SAY_SO = f"() => {LOOKING!r}"  # without a way to the server and back
# Meanwhile the visitor may have enlarged something else or searched again: then what was found out is dropped.
SHOW = """(told, shown) => {
  const button = document.querySelector('#enlarged [data-event="expand"]');
  return button?.dataset.photo === told.photo && button.dataset.answer === told.answer ? told.html : shown;
}"""
TO_THE_WHY = "() => document.querySelector('#why').scrollIntoView({block: 'nearest'})"


def explained(parts: Parts, photo_id: str, number: int, answers: Sequence[Answer]) -> str:
    """What a hit of the answer of this number rests on, as HTML, or in one sentence why that cannot be told."""
    try:
        found = hit_in(answers, photo_id, number)
        if found is None or found[0].crop is None:
            raise SettingsError("This photo is not among the results any more; search again.")
        answer, crop = found[0], found[0].crop
        preparation = parts.galleries.named(answer.gallery)
        searcher = preparation.searcher(answer.recipe)
        return why_html(why(searcher, crop, preparation.gallery.photos.found(photo_id)))
    except PipelineError as error:
        return notice(str(error))


def explain_events(parts: Parts) -> None:
    """The button of an enlarged result, and that nothing is said of one that is not shown any more."""
    explore = parts.explore

    told = gr.JSON(visible="hidden")

    def asked(event: gr.EventData, answers: tuple[Answer, ...]) -> dict[str, str]:
        photo, answer = str(event.photo), str(event.answer)
        return {"photo": photo, "answer": answer, "html": explained(parts, photo, int(answer), answers)}

    explore.enlarged.expand(None, None, explore.why, js=SAY_SO).then(None, None, None, js=TO_THE_WHY)
    hidden = SEARCH | {"show_progress": "hidden", "trigger_mode": "multiple"}
    looking = explore.enlarged.expand(asked, explore.answers, told, **hidden)
    looking.then(None, [told, explore.why], explore.why, js=SHOW).then(None, None, None, js=TO_THE_WHY)
    explore.enlarged.change(None, None, explore.why, js="() => ''")
