"""One search, whoever asks for it: the page, its endpoints, the tool for programs, Live, the command line.

What was sent is checked here, so whoever asks hands it on as it came, and tells a PipelineError in a way of its own.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from PIL import Image

from pipeline.core.errors import PhotoError, SettingsError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K
from pipeline.core.types import Answer, FloatArray
from pipeline.encoder.faces import Choose, numbered
from pipeline.encoder.look import Look
from pipeline.indexes.registry import INDEXES
from pipeline.photos.images import open_image
from pipeline.search.comparison import Comparison
from pipeline.search.searcher import Searcher, check_request

MOST = 10**12
FETCHED = "Photos are taken as files, not from addresses; download the photo first."


class Which(Enum):
    """What to search with where it is not one face."""

    WHOLE_PHOTO = auto()
    EVERY_FACE = auto()


@dataclass(frozen=True)
class Question:
    """A photo, and how to search with it; nothing has been checked yet.

    `photo` is a file by its path, its bytes, or the picture itself. `face` is a face's number, 0 for the largest, or a
    `Which`, or what chooses one (`Choose`). `vector` stands for the face's own, see `Searcher.search`.
    """

    photo: Path | str | bytes | Image.Image | None
    index: object = DEFAULT_INDEX
    k: object = DEFAULT_K
    face: object = 0
    seen: Look | None = None
    vector: FloatArray | None = None


@dataclass(frozen=True)
class Found:
    """The question's RGB photo as it was looked at, what was asked, and an answer for each face searched with."""

    look: Look
    searcher: Searcher
    answers: tuple[Answer, ...]


def ask(question: Question, searcher: Callable[[], Searcher]) -> Found:
    """Searches; `searcher` is called once the question itself is known to be good.

    PhotoError, SettingsError or GalleryError say why there is no answer.
    """
    image, k, index, choose = _checked(question)
    asked = searcher()
    seen = asked.look(image, question.seen)
    if question.face is Which.EVERY_FACE:
        return Found(seen, asked, asked.search_every_face(seen, k, index))
    return Found(seen, asked, (asked.search(seen, k, index, choose=choose, vector=question.vector),))


def ask_all(question: Question, searchers: Callable[[], Sequence[Searcher]]) -> Comparison:
    """Searches with each, with one face or the whole photo; one look for all who share a detector."""
    image, k, index, choose = _checked(question)
    looks: dict[int, Look] = {}  # by detector
    answers = []
    for searcher in searchers():
        detector = id(searcher.encoder.detector)
        if detector not in looks:
            looks[detector] = Look(image, ()) if choose is None else searcher.look(image, question.seen)
        answers.append(searcher.search(looks[detector], k, index, choose=choose))
    return Comparison(tuple(answers))


def choice(value: object, choices: Collection[str], what: str) -> str:
    """What was sent if it is one of the choices; else SettingsError, which repeats little of it."""
    if isinstance(value, str) and value in choices:
        return value
    raise SettingsError(f"There is no {what} {reprlib.repr(value)}; choose one of {', '.join(choices)}.")


def _checked(question: Question) -> tuple[Image.Image, int, str, Choose | None]:
    k = _whole_number(question.k, f"The number of results, 1 to {MAX_K},")
    index = choice(question.index, INDEXES, "index")
    check_request(k, index)
    choose = _choose(question.face)
    return _opened(question.photo), k, index, choose


def _opened(photo: Path | str | bytes | Image.Image | None) -> Image.Image:
    if photo is None:
        raise PhotoError("There is no photo yet; upload one, take one with the webcam, or click an example.")
    if isinstance(photo, Image.Image):
        return photo
    if isinstance(photo, str) and re.match(r"data:|\w+://", photo):
        raise PhotoError(FETCHED)
    return open_image(Path(photo) if isinstance(photo, str) else photo)


def _choose(face: object) -> Choose | None:
    if isinstance(face, Which):
        return None
    return face if callable(face) else numbered(_whole_number(face, "The face's number"))


def _whole_number(value: object, what: str) -> int:
    """A number as JSON has it, where it may also be NaN, infinity or have 400 digits; SettingsError if it is broken."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST or value != int(value):
        raise SettingsError(f"{what} must be a whole number.")
    return int(value)
