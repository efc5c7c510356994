"""Live: one frame of a camera at a time, searched at once or dropped. Nothing of a frame is kept or logged."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from PIL import Image

from pipeline.core.errors import PhotoError
from pipeline.core.recipes import DEFAULT_INDEX, RECIPES
from pipeline.core.types import Answer
from pipeline.galleries.ask import Question, ask
from pipeline.galleries.galleries import Galleries
from pipeline.page.html.grid import served
from pipeline.page.html.wording import NO_FACE_LIVE, caption, person_line

SHOWN = 5  # hits; more cannot be read while they change
FRAME_SIDE = 640  # px, the longest; the page sends 320
FRAME_BYTES = 200_000  # the page's have about 10,000
NO_FRAME = f"This is no frame of a camera: send a JPEG of at most {FRAME_SIDE} x {FRAME_SIDE} pixels."
DROPPED: dict[str, Any] = {"state": "dropped"}


class Live:
    """Searches for frames. Safe to use from several threads."""

    def __init__(self, galleries: Galleries) -> None:
        self._galleries = galleries

    def search(self, frame: bytes, gallery: str, recipe: str, index: str) -> dict[str, Any]:
        """What the page shows of a frame: `state` (found, no_face), `box`, `hits`, a `sentence`, and what was searched.

        An empty `gallery`, `recipe` or `index` is the first that is ready, the best that is, and the default.
        PhotoError if it is no frame, SettingsError or GalleryError where it cannot be searched so.
        """
        preparation = self._galleries.get(gallery)
        question = Question(_opened(frame), index or DEFAULT_INDEX, SHOWN)
        found = ask(question, partial(preparation.searcher, recipe))
        answer = found.answers[0]
        hits = [
            {
                "photo_id": hit.photo_id,
                "caption": caption(hit),
                "picture": served(preparation.gallery.pictures.thumbnail(hit.photo_id)),
            }
            for hit in answer.hits
        ]
        return {
            "state": "found" if answer.found_face else "no_face",
            "box": _shares(answer, found.look.image.size),
            "hits": hits,
            "sentence": person_line(answer) if answer.found_face else NO_FACE_LIVE,
            "about": f"{RECIPES[answer.recipe].label}, {preparation.gallery.title}",
        }


def _opened(frame: bytes) -> Image.Image:
    """The frame, decoded; its size is known before it is, so a small file cannot become a large picture."""
    try:
        with Image.open(io.BytesIO(frame), formats=["JPEG"]) as image:
            if max(image.size) > FRAME_SIDE:
                raise PhotoError(NO_FRAME)
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PhotoError(NO_FRAME) from error


def _shares(answer: Answer, size: tuple[int, int]) -> list[float] | None:
    """Left, top, width and height of the face's box as shares of the frame; None without a face."""
    if answer.face is None:
        return None
    left, top, right, bottom = answer.face.box
    width, height = size
    shares = (left / width, top / height, (right - left) / width, (bottom - top) / height)
    return [round(share, 4) for share in shares]
