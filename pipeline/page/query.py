"""The photo that a browser or a program sent, and the same with its faces framed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from pipeline.core.types import Answer, Box
from pipeline.encoder.faces import boxed

SHOWN_SIDE = 900  # pixels; the boxed photo is for looking at


def as_path(photo: str | None) -> Path | None:
    """Where the photo that the browser sent lies."""
    return None if photo is None else Path(photo)


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
