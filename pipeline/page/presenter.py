"""What the search tab shows: a request and its answers in; sentences, pictures and what is visible out. No Gradio."""

from __future__ import annotations

from collections import Counter
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

NOTHING = Image.new("RGB", (1, 1))
FARTHEST = 1.5  # of the limit's slider; at 1.41 two vectors have nothing in common

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """The search tab after a search; whatever is not given is empty or hidden.

    `role` and `recipe` are what was searched with. `frames` lie on the photo, `faces` below it; `face` is the number of
    the one that was searched with. `whole` offers a search with the whole photo;
    `limit` is the distance beyond which results only look alike. A `photo` takes the place of the visitor's; without
    one that stays, as does the way back without a `trail`. `seen` is how the photo of that path was looked at.
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


def attempted(work: Callable[[], T], otherwise: Callable[[str], T]) -> T:
    """What the work gives; where it cannot be done, what is made of the sentence that says why."""
    try:
        return work()
    except PipelineError as error:
        journal.refused(error)
        return otherwise(str(error))


def searched(preparation: Preparation, request: Request, face: object = 0) -> Shown:
    """Searches with `face`, as a `Question` has it; what comes out, or in a sentence why nothing does."""
    request = replace(request, recipe=request.by(preparation.ready()))
    blank = unanswered(preparation, request)
    if request.photo is None:
        return blank
    question = Question(Path(request.photo), request.index, request.k, face, request.look)
    return attempted(
        lambda: answered(preparation, request, ask(question, partial(preparation.searcher, request.recipe))),
        lambda sentence: replace(blank, sentence=wording.notice(sentence)),
    )


def unanswered(preparation: Preparation, request: Request) -> Shown:
    """The tab without an answer."""
    note = wording.model_note(request.recipe, request.role, preparation.status(request.recipe))
    link = wording.link(request.linked, request.recipe, request.index, request.k)
    return Shown(request.recipe, request.role, note, link)


def answered(preparation: Preparation, request: Request, found: Found) -> Shown:
    """The tab with one answer, or one for each of several faces, of which the request's stays chosen."""
    answers, limit = found.answers, limit_of(found.answers, request)
    several = len(answers) > 1
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
    """The face chosen in this very photo, which a model that looks for none does not forget."""
    keeps = request.looked_at and not RECIPES[answer.recipe].finds_faces
    return request.face if keeps and isinstance(request.face, int) and request.face else None


def _sentence(request: Request, answer: Answer, searcher: Searcher) -> str:
    people = Counter(searcher.embeddings.people)
    of_person = people[answer.hits[0].person] if answer.hits else 0
    return wording.answer_line(answer, searcher.recall(request.index), of_person, _changed(request, answer, people))


def _changed(request: Request, answer: Answer, people: Counter[str]) -> str:
    """What the model before found of this photo, and what this one finds, where the gallery knows whom it shows."""
    before = request.answers[0] if request.looked_at and len(request.answers) == 1 else answer
    if (before.recipe, answer.gallery) == (answer.recipe, before.gallery) or before.gallery != answer.gallery:
        return ""
    shown = next((hit.person for each in (answer, before) for hit in each.hits if hit.is_query), None)
    if shown is None:
        return ""
    counts = [sum(hit.person == shown for hit in each.hits) for each in (before, answer)]
    labels = [RECIPES[each.recipe].label for each in (before, answer)]
    return f"{labels[0]} finds {counts[0]} of {people[shown]}, {labels[1]} {counts[1]} of {people[shown]}."


def _seen(request: Request, found: Found) -> tuple[str, Look | None] | None:
    """What the next search of this photo need not do again; the photo itself is not kept."""
    if request.photo is None:
        return None
    looked = found.searcher.encoder.detector is not None
    return request.photo, replace(found.look, image=NOTHING) if looked else request.look


def _picture(request: Request, look: Look) -> str:
    """The photo to be shown in place of its file: where it lies on its side, or browsers cannot show such a file."""
    shown = not look.turned and request.photo is not None and for_browsers(Path(request.photo))
    return "" if shown else inline(look.image, SHOWN_SIDE)


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
    alarms = searcher.calibration.hits.false_alarms(limit, len(searcher.embeddings))
    return wording.limit_line(alarms, beyond, len(distances))


def moved(preparation: Preparation, request: Request, distance: object) -> tuple[Request, str, str]:
    """The request with the limit that was sent, what it means, and the answers marked by it; nothing is searched."""
    if isinstance(distance, bool) or not isinstance(distance, int | float) or not 0 <= distance <= FARTHEST:
        raise SettingsError(f"The distance must be a number from 0 to {FARTHEST}.")
    first, answers = request.answers[0], request.answers
    request = replace(request, own_limit=(first.gallery, first.recipe, float(distance)))
    return request, limit_line(preparation, answers, request), results(preparation, answers, request)


def picture(preparation: Preparation, searcher: Searcher, photo_id: str, view: str) -> Picture:
    """The picture that stands for a photo among the results: the photo, or the face by which it was indexed."""
    box = searcher.embeddings.box(photo_id) if view == FACES else None
    return preparation.gallery.pictures.face(photo_id, box) if box else preparation.gallery.pictures.thumbnail(photo_id)


def tiles(preparation: Preparation, answer: Answer, request: Request, number: int = 0) -> tuple[Tile, ...]:
    """The hits of the answer of this number, with their pictures, marked by the limit."""
    searcher, limit = preparation.searcher(answer.recipe), limit_of([answer], request)
    return tuple(
        Tile(
            hit,
            picture(preparation, searcher, hit.photo_id, request.view),
            number,
            limit is not None and hit.distance > limit,
        )
        for hit in answer.hits
    )


def results(preparation: Preparation, answers: Sequence[Answer], request: Request) -> str:
    """The answers as HTML: photo by photo, by person, or a row for each of several faces."""
    each = [tiles(preparation, answer, request, number) for number, answer in enumerate(answers)]
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


def enlarged(preparation: Preparation, answer: Answer, hit: Hit, number: int) -> str:
    """A hit's whole photo with its face framed, as HTML; `number` is that of its answer, from 0."""
    pictures, box = preparation.gallery.pictures, preparation.searcher(answer.recipe).embeddings.box(hit.photo_id)
    return enlarged_html(Tile(hit, pictures.original(hit.photo_id), answer=number), pictures.size(hit.photo_id), box)


def further(request: Request) -> Trail:
    """The way back from a search with another photo."""
    return request.trail if request.photo is None else (*request.trail, (request.photo, request.face or 0))
