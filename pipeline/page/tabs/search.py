"""Searching: what the page shows of an answer, and everything that asks for one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr
from PIL import Image

from pipeline.core.errors import PipelineError, SettingsError, StorageError
from pipeline.core.files import replacing
from pipeline.core.recipes import RECIPES
from pipeline.core.types import Answer, Face, Hit
from pipeline.encoder.faces import Choose, at, largest, numbered
from pipeline.galleries.preparation import Preparation
from pipeline.page.html import wording
from pipeline.page.html.grid import Group, Tile, by_person, results_html
from pipeline.page.parts import FACES, FARTHEST, SEARCH, Changes, Parts, Request, request_of
from pipeline.page.query import SHOWN_SIDE, count_of, framed, opened
from pipeline.page.server.uploads import own_folder
from pipeline.photos.pictures import Picture
from pipeline.search import journal
from pipeline.search.hints import hints
from pipeline.search.searcher import Searcher

OF_GALLERIES = "of-galleries"  # the folder of galleries' pictures where they are not kept

log = logging.getLogger(__name__)


def distance_of(value: object) -> float:
    """A distance as the browser sent it; SettingsError if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FARTHEST:
        raise SettingsError(f"The distance must be a number from 0 to {FARTHEST}.")
    return float(value)


def limit_of(answers: Sequence[Answer], request: Request) -> float | None:
    """The distance beyond which results are grey: the visitor's own as long as it is for this gallery and recipe.

    Else the one beyond which every hit is called unlikely. None where nothing is known of the answers' distances.
    """
    if not answers or answers[0].limit is None:
        return None
    if request.own_limit is not None and request.own_limit[:2] == (answers[0].gallery, answers[0].recipe):
        return request.own_limit[2]
    return answers[0].limit.distance


def limit_line(preparation: Preparation, answers: Sequence[Answer], request: Request) -> str:
    """What the limit means, in one sentence; or in a few words why there is none."""
    distances = [hit.distance for answer in answers for hit in answer.hits]
    if not distances:
        return ""
    limit, searcher = limit_of(answers, request), preparation.searcher(answers[0].recipe)
    if limit is None or searcher.calibration is None:
        whole = answers[0].face is None and RECIPES[answers[0].recipe].finds_faces
        return wording.no_limit_line(whole_photo=whole)
    beyond = sum(distance > limit for distance in distances)
    return wording.limit_line(
        searcher.calibration.hits.false_alarms(limit, len(searcher.embeddings)), beyond, len(distances)
    )


def limited(parts: Parts, answers: Sequence[Answer], request: Request) -> Changes:
    """The slider where the answers' distances mean something, at the limit, with its sentence."""
    explore, limit = parts.explore, limit_of(answers, request)
    known = limit is not None and any(answer.hits for answer in answers)
    changes: Changes = {
        explore.limit_box: gr.update(visible=known),
        explore.limit_note: limit_line(parts.galleries.get(request.gallery), answers, request),
    }
    # Always the bare value: see `as_sent`.
    return changes | ({explore.limit: round(min(limit, FARTHEST), 2)} if limit is not None else {})


def picture(preparation: Preparation, searcher: Searcher, photo_id: str, view: str) -> Picture:
    """The picture that stands for a photo among the results: the photo, or the face by which it was indexed."""
    box = searcher.embeddings.box(photo_id) if view == FACES else None
    return preparation.gallery.pictures.face(photo_id, box) if box else preparation.gallery.pictures.thumbnail(photo_id)


def tiles(preparation: Preparation, answer: Answer, view: str) -> tuple[Tile, ...]:
    """An answer's hits with their pictures."""
    searcher = preparation.searcher(answer.recipe)
    return tuple(Tile(hit, picture(preparation, searcher, hit.photo_id, view)) for hit in answer.hits)


def results(preparation: Preparation, answers: Sequence[Answer], request: Request) -> str:
    """The answers as HTML: photo by photo, by person, or a row for each of several faces."""
    limit = limit_of(answers, request)
    each = [
        tuple(
            replace(tile, answer=number, beyond=limit is not None and tile.hit.distance > limit)
            for tile in tiles(preparation, answer, request.view)
        )
        for number, answer in enumerate(answers)
    ]
    if len(answers) > 1:
        rows = [Group(f"Face {answer.face_number}", "", row) for answer, row in zip(answers, each, strict=True)]
        return results_html(rows, "strips")
    if request.by_person:
        return results_html(by_person(each[0]), "people") if each else ""
    return results_html([Group("", "", row) for row in each])


def hit_in(answers: Sequence[Answer], photo_id: str, number: int) -> tuple[Answer, Hit] | None:
    """The answer of this number, from 0, and its hit that shows this photo; None if there is none any more."""
    found = [hit for answer in answers[number : number + 1] for hit in answer.hits if hit.photo_id == photo_id]
    return (answers[number], found[0]) if found else None


def show(parts: Parts, request: Request, choose: Choose | None) -> Changes:
    """Searches with the face that `choose` picks, or with the whole photo for None, and shows what comes out."""
    changes = _blank(parts, request)
    if request.photo is None:
        return changes
    try:
        image = opened(request.photo)
        searcher = parts.galleries.get(request.gallery).searcher(request.recipe)
        answer = searcher.search(image, count_of(request.k), request.index, choose=choose)
        changes |= _seen(parts, image, answer)
        changes |= _found(parts, request, (answer,))
        changes[parts.reply.sentence] = wording.answer_line(answer, searcher.recall(request.index))
        changes[parts.reply.whole] = gr.update(visible=not answer.found_face)
    except PipelineError as error:
        journal.refused(error)
        changes[parts.reply.sentence] = wording.notice(str(error))
    return changes


def show_every(parts: Parts, request: Request, number: int) -> Changes:
    """Searches with every face of the photo; `number` is the one that stays chosen."""
    changes = _blank(parts, request)
    try:
        image = opened(request.photo)
        searcher = parts.galleries.get(request.gallery).searcher(request.recipe)
        answers = searcher.search_every_face(image, count_of(request.k), request.index)
        changes |= _seen(parts, image, answers[max(0, min(number, len(answers)) - 1)])
        changes |= _found(parts, request, answers)
        changes[parts.reply.sentence] = wording.every_line(answers)
    except PipelineError as error:
        journal.refused(error)
        changes[parts.reply.sentence] = wording.notice(str(error))
    return changes


def _blank(parts: Parts, request: Request) -> Changes:
    """The page without an answer."""
    query, reply, explore = parts.query, parts.reply, parts.explore
    hidden = gr.update(visible=False)
    return {
        query.boxed: None,
        query.crop: None,
        query.face: hidden,
        query.every: hidden,
        query.hints: "",
        reply.hits: "",
        reply.sentence: "",
        reply.whole: hidden,
        reply.note: wording.model_note(request.recipe, parts.galleries.get(request.gallery).status(request.recipe)),
        explore.limit_box: hidden,
        explore.limit_note: "",
        explore.enlarged: "",
        explore.tools: hidden,
        explore.link: wording.link(parts.to_link(request.gallery), request.recipe, request.index, request.k),
        explore.answers: (),
    }


def _seen(parts: Parts, image: Image.Image, answer: Answer) -> Changes:
    """What was found in the visitor's photo, and which of its faces is searched with."""
    query, count = parts.query, len(answer.faces)
    choices = [(f"Face {number}", number) for number in range(1, count + 1)]
    return {
        query.boxed: gr.update(value=framed(image, answer), alt_text=wording.boxed_alt(answer)),
        query.crop: answer.crop,
        query.face: gr.update(choices=choices, value=answer.face_number, visible=count > 1),
        query.every: gr.update(visible=count > 1),
        query.hints: wording.hints(hints(image, answer.face)) if answer.face else "",
    }


def _found(parts: Parts, request: Request, answers: tuple[Answer, ...]) -> Changes:
    """The results, and what can be done with them."""
    return {
        parts.reply.hits: results(parts.galleries.get(request.gallery), answers, request),
        parts.explore.answers: answers,
        parts.explore.tools: gr.update(visible=any(answer.hits for answer in answers)),
        **limited(parts, answers, request),
    }


def as_file(picture: Picture) -> str:
    """The path of a gallery's picture as the visitor's photo; one that is not kept lies where visitors' photos do.

    StorageError if it cannot be written there either.
    """
    if isinstance(picture, Path):
        return str(picture)
    path = own_folder() / OF_GALLERIES / hashlib.sha256(picture).hexdigest()
    try:
        with replacing(path, lasting=False) as beside:
            beside.write_bytes(picture)
    except OSError as error:
        raise StorageError(
            f"This photo cannot be written to this server's temporary folder ({error.strerror}); make room there."
        ) from error
    return str(path)


def example_photos(preparation: Preparation) -> list[tuple[str, str]]:
    """The example photos as (file, name)."""
    gallery = preparation.gallery
    try:
        return [(as_file(gallery.pictures.original(one)), gallery.person(one)) for one in gallery.examples()]
    except StorageError as error:
        log.warning("There are no examples: %s", error)
        return []


def show_example(parts: Parts, number: int, request: Request) -> Changes:
    """An example as the visitor's photo, and the page's search with it."""
    gallery = parts.galleries.get(request.gallery).gallery
    try:
        path = as_file(gallery.pictures.original(gallery.examples()[number]))
    except StorageError as error:
        return _blank(parts, request) | {
            parts.query.photo: request.photo,
            parts.reply.sentence: wording.notice(str(error)),
        }
    return anew(parts, replace(request, photo=path)) | {parts.query.photo: path}


def is_of_a_gallery(parts: Parts, photo: str) -> bool:
    """Whether a photo is the server's own, such as an example; a visitor's lies elsewhere."""
    return parts.galleries.is_picture(Path(photo)) or Path(photo).parent.name == OF_GALLERIES


def anew(parts: Parts, request: Request) -> Changes:
    """The search with another photo: its largest face, and no way back to the one before."""
    shown, explore = show(parts, request, largest), parts.explore
    return shown | {explore.trail: (), explore.back: gr.update(visible=False)}


def _at_shown(x: float, y: float) -> Choose:
    """Picks the face at a point of the photo as `framed` shows it."""

    def choose(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
        scale = max(1.0, max(size) / SHOWN_SIDE)
        return at(x * scale, y * scale)(faces, size)

    return choose


def search_events(parts: Parts) -> None:
    """Searches whenever the visitor changes something."""
    query, reply = parts.query, parts.reply
    with_face = [query.face, *parts.request]

    def of_number(number: int | None, *values: object) -> Changes:
        return show(parts, request_of(values), numbered(number or 0))

    def of_point(event: gr.SelectData, *values: object) -> Changes:
        return show(parts, request_of(values), _at_shown(*event.index))

    def of_every(number: int | None, *values: object) -> Changes:
        return show_every(parts, request_of(values), number or 1)

    def of_whole(*values: object) -> Changes:
        return show(parts, request_of(values), None)

    def of_photo(*values: object) -> Changes:
        request = request_of(values)
        # Gradio sends a photo of the server's along when it was just cleared.
        gone = request.photo is not None and is_of_a_gallery(parts, request.photo)
        return anew(parts, replace(request, photo=None) if gone else request)

    def of_example(event: gr.SelectData, *values: object) -> Changes:
        return show_example(parts, int(event.index), request_of(values))

    photos = [query.photo.input, query.photo.clear]
    gr.on(photos, of_photo, parts.request, parts.answer, trigger_mode="always_last", **SEARCH)
    choices = [reply.model.input, reply.index.input, reply.k.input, query.face.input]
    gr.on(choices, of_number, with_face, parts.answer, trigger_mode="always_last", **SEARCH)
    query.boxed.select(of_point, parts.request, parts.answer, **SEARCH)
    query.every.click(of_every, with_face, parts.answer, **SEARCH)
    reply.whole.click(of_whole, parts.request, parts.answer, **SEARCH)
    query.examples.select(of_example, parts.request, parts.photo_and_answer, **SEARCH)
