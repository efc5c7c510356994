"""What the search tab shows: a request and its answers in; sentences, pictures and what is visible out. No Gradio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.recipes import RECIPES
from pipeline.core.types import Answer, Hit
from pipeline.encoder.look import Look
from pipeline.galleries.ask import Found, Question, ask
from pipeline.galleries.preparation import Preparation
from pipeline.page.html import wording
from pipeline.page.html.grid import (
    Group,
    Tile,
    by_person,
    enlarged_html,
    faces_html,
    frames_html,
    inline,
    results_html,
)
from pipeline.page.query import FACES, SHOWN_SIDE, Request, Trail
from pipeline.photos.images import for_browsers
from pipeline.photos.pictures import Picture
from pipeline.search import journal
from pipeline.search.hints import hints
from pipeline.search.searcher import Searcher

NO_PIXELS = Image.new("RGB", (1, 1))
FARTHEST = 1.5  # right end of the distance slider; two unit vectors at a right angle are 1.41 apart

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """The search tab after a search. Defaults empty or hide their part, but leave the visitor's photo and trail alone.

    `frames` is HTML over the photo, `faces` below it; `face` the number, from 1, of the face searched with. `whole`:
    offer a search with the whole photo. `limit`: results farther than this only look alike. `photo` replaces the
    visitor's, `trail` the way back. `seen`: the photo's path, and what was detected in it. `waiting`: the recipe is not
    ready, so ask again soon where it stands.
    """

    recipe: str
    role: str | None
    note: str
    link: str
    sentence: str = ""
    frames: str = ""
    faces: str = ""
    face: int | None = None
    hints: str = ""
    whole: bool = False
    results: str = ""
    limit: float | None = None
    limit_note: str = ""
    answers: tuple[Answer, ...] = ()
    seen: tuple[str, Look | None] | None = None
    photo: str = ""
    trail: Trail | None = None
    waiting: bool = False


def attempted(work: Callable[[], T], otherwise: Callable[[str], T]) -> T:
    """Returns work(); on a PipelineError logs it and returns otherwise(its message)."""
    try:
        return work()
    except PipelineError as error:
        journal.refused(error)
        return otherwise(str(error))


def searched(preparation: Preparation, request: Request, face: object = 0) -> Shown:
    """Searches with a face, 0 being the largest. If that fails, the sentence says why; without a photo it is blank."""
    ready = preparation.ready()
    request = replace(request, recipe=request.by(ready))
    blank = unanswered(preparation, request)
    if request.photo is None:
        return blank
    question = Question(Path(request.photo), request.index, request.k, face, request.look)
    return attempted(
        lambda: answered(preparation, request, ask(question, partial(preparation.searcher, request.recipe))),
        lambda sentence: replace(blank, sentence=wording.notice(sentence), waiting=request.recipe not in ready),
    )


def unanswered(preparation: Preparation, request: Request) -> Shown:
    """The tab without an answer."""
    note = wording.note_of(preparation, request.recipe, request.role)
    link = wording.link(request.linked, request.recipe, request.index, request.k)
    return Shown(request.recipe, request.role, note, link)


def answered(preparation: Preparation, request: Request, found: Found) -> Shown:
    """The tab with one answer, or one per face; the face that the request names stays chosen."""
    answers, limit = found.answers, limit_of(found.answers, request)
    several = len(answers) > 1
    # Faces count from 1; a number out of range takes the nearest.
    number = request.face if several and isinstance(request.face, int) else 1
    answer = answers[max(0, min(number, len(answers)) - 1)]
    return replace(
        unanswered(preparation, request),
        sentence=wording.every_line(answers) if several else _sentence(request, answer, found.searcher),
        frames=frames_html(found.look, answer, _picture(request, found.look)),
        faces=faces_html(found.look, answer),
        face=answer.face_number or _kept_face(request, answer),
        hints=wording.hints(hints(found.look.image, answer.face)) if answer.face else "",
        whole=not answer.found_face,
        results=results(preparation, answers, request),
        limit=round(min(limit, FARTHEST), 2) if limit is not None and any(each.hits for each in answers) else None,
        limit_note=limit_line(preparation, answers, request),
        answers=answers,
        seen=_seen(request, found),
    )


def _kept_face(request: Request, answer: Answer) -> int | None:
    """The face chosen in this photo, kept while a whole-photo model is in use; None otherwise."""
    keeps = request.looked_at and not RECIPES[answer.recipe].finds_faces
    return request.face if keeps and isinstance(request.face, int) and request.face else None


def _sentence(request: Request, answer: Answer, searcher: Searcher) -> str:
    changed = _changed(request, answer, searcher)
    return wording.answer_line(answer, searcher.recall(request.index), searcher.photos_of(answer.who), changed)


def _changed(request: Request, answer: Answer, searcher: Searcher) -> str:
    """One sentence comparing the previous model's hits with this one's, if the photo itself is in the gallery."""
    before = request.answers[0] if request.looked_at and len(request.answers) == 1 else answer
    if before.gallery != answer.gallery or before.recipe == answer.recipe:
        return ""
    shown = next((hit.person for each in (answer, before) for hit in each.hits if hit.is_query and hit.named), None)
    if shown is None:
        return ""
    of = searcher.photos_of(shown)
    counts = [sum(hit.person == shown for hit in each.hits) for each in (before, answer)]
    labels = [RECIPES[each.recipe].label for each in (before, answer)]
    return f"{labels[0]} finds {counts[0]} of {of}, {labels[1]} {counts[1]} of {of}."


def _seen(request: Request, found: Found) -> tuple[str, Look | None] | None:
    """The photo's path and what was detected in it, so that its next search skips detection; no pixels are kept."""
    if request.photo is None:
        return None
    looked = found.searcher.encoder.detector is not None
    return request.photo, replace(found.look, image=NO_PIXELS) if looked else request.look


def _picture(request: Request, look: Look) -> str:
    """The photo inlined if it was turned or browsers cannot show its file; else empty, and the file is shown."""
    shown = not look.turned and request.photo is not None and for_browsers(Path(request.photo))
    return "" if shown else inline(look.image, SHOWN_SIDE)


def limit_of(answers: Sequence[Answer], request: Request) -> float | None:
    """The distance beyond which results are dimmed: the visitor's, if set for this gallery and recipe.

    Else the one beyond which hits are called unlikely. None where distances were not measured.
    """
    if not answers or answers[0].limit is None:
        return None
    if request.own_limit is not None and request.own_limit[:2] == (answers[0].gallery, answers[0].recipe):
        return request.own_limit[2]
    return answers[0].limit.distance


def limit_line(preparation: Preparation, answers: Sequence[Answer], request: Request) -> str:
    """One sentence: what the limit means, or why there is none. Empty without hits."""
    distances = [hit.distance for answer in answers for hit in answer.hits]
    if not distances:
        return ""
    limit, searcher = limit_of(answers, request), preparation.searcher(answers[0].recipe)
    if limit is None or searcher.calibration is None:
        whole = answers[0].face is None and RECIPES[answers[0].recipe].finds_faces
        return wording.no_limit_line(whole_photo=whole)
    beyond = sum(distance > limit for distance in distances)
    alarms = searcher.calibration.hits.false_alarms(limit, len(searcher.embeddings))
    return wording.limit_line(alarms, beyond, len(distances))


def limit_moved(preparation: Preparation, request: Request, distance: object) -> tuple[Request, float, str, str]:
    """Applies the slider's distance, or the nearest to what was typed into it, without searching.

    Returns the new request, that distance, what the limit means, and the results as HTML.
    """
    if isinstance(distance, bool) or not isinstance(distance, int | float) or math.isnan(distance):
        raise SettingsError(f"The distance must be a number from 0 to {FARTHEST}.")
    first, answers = request.answers[0], request.answers
    meant = min(max(float(distance), 0.0), FARTHEST)
    request = replace(request, own_limit=(first.gallery, first.recipe, meant))
    return request, meant, limit_line(preparation, answers, request), results(preparation, answers, request)


def picture(preparation: Preparation, searcher: Searcher, photo_id: str, view: str) -> Picture:
    """A result's picture: its indexed face if faces are shown and its box is known, else the thumbnail."""
    box = searcher.embeddings.box(photo_id) if view == FACES else None
    return preparation.gallery.pictures.face(photo_id, box) if box else preparation.gallery.pictures.thumbnail(photo_id)


def tiles(preparation: Preparation, answer: Answer, request: Request, position: int = 0) -> tuple[Tile, ...]:
    """The answer's hits with pictures, those beyond the limit marked; `position` is the answer's, from 0."""
    searcher, limit = preparation.searcher(answer.recipe), limit_of([answer], request)
    return tuple(
        Tile(
            hit,
            picture(preparation, searcher, hit.photo_id, request.view),
            position,
            limit is not None and hit.distance > limit,
        )
        for hit in answer.hits
    )


def results(preparation: Preparation, answers: Sequence[Answer], request: Request) -> str:
    """The answers as HTML: photo by photo, by person, a row for each of several faces, or for each of its people."""
    each = [tiles(preparation, answer, request, position) for position, answer in enumerate(answers)]
    if request.by_person:
        several = len(answers) > 1
        groups = [
            replace(group, heading=f"Face {answer.face_number}: {group.heading}") if several else group
            for answer, row in zip(answers, each, strict=True)
            for group in by_person(row)
        ]
        return results_html(groups, "people")
    if len(answers) > 1:
        rows = [
            Group(f"Face {answer.face_number}", wording.person_line(answer), row)
            for answer, row in zip(answers, each, strict=True)
        ]
        return results_html(rows, "strips")
    return results_html([Group("", "", row) for row in each])


def hit_in(answers: Sequence[Answer], photo_id: str, position: int) -> tuple[Answer, Hit] | None:
    """The answer at this position, from 0, and its hit that shows this photo; None if the results have changed."""
    found = [hit for answer in answers[position : position + 1] for hit in answer.hits if hit.photo_id == photo_id]
    return (answers[position], found[0]) if found else None


def enlarged(preparation: Preparation, answer: Answer, hit: Hit, position: int) -> str:
    """A hit's whole photo with its face framed, as HTML; `position` is its answer's, from 0."""
    pictures, box = preparation.gallery.pictures, preparation.searcher(answer.recipe).embeddings.box(hit.photo_id)
    return enlarged_html(Tile(hit, pictures.original(hit.photo_id), answer=position), pictures.size(hit.photo_id), box)


def extended_trail(request: Request) -> Trail:
    """The way back, with the present photo and face added."""
    return request.trail if request.photo is None else (*request.trail, (request.photo, request.face or 0))
