"""What a browser or a program sent: its photo and its numbers, checked; and the photo with its faces framed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from pipeline.core.errors import PhotoError, SettingsError
from pipeline.core.recipes import MAX_K
from pipeline.core.types import Answer, Box
from pipeline.encoder.faces import boxed
from pipeline.photos.images import open_image

MOST = 10**12
SHOWN_SIDE = 900  # pixels; the boxed photo is for looking at


def opened(photo: str | None) -> Image.Image:
    """The photo the browser sent, decoded; PhotoError if there is none."""
    if photo is None:
        raise PhotoError("There is no photo yet; upload one, take one with the webcam, or click an example.")
    return open_image(Path(photo))


def whole(value: float) -> bool:
    """Whether this is a whole number of any sensible size; JSON may hold NaN, infinity and numbers of 400 digits."""
    return abs(value) <= MOST and value == int(value)


def whole_number(value: object, what: str) -> int:
    """A number as the browser sent it; SettingsError if it is none, or a broken one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not whole(value):
        raise SettingsError(f"{what} must be a whole number.")
    return int(value)


def count_of(k: object) -> int:
    """The number of results asked for."""
    return whole_number(k, f"The number of results, 1 to {MAX_K},")


def framed(image: Image.Image, answer: Answer) -> Image.Image:
    """The photo with its faces framed, small enough to send; shrunk first, for a copy of a large one is large too."""
    scale = min(1.0, SHOWN_SIDE / max(image.size))
    if scale < 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size], reducing_gap=2)
    small = {face: replace(face, box=scaled(face.box, scale)) for face in answer.faces}
    return boxed(image, tuple(small.values()), small[answer.face] if answer.face else None)


def scaled(box: Box, scale: float) -> Box:
    """The same box where the photo is so many times as large."""
    left, top, right, bottom = box
    return left * scale, top * scale, right * scale, bottom * scale
