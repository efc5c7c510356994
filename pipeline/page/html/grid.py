"""Results as HTML: tiles that can be clicked, in rows or columns with headings.

A tile is a picture to search with (`select`) and a button that shows it large (`expand`). `tiles.js` tells the
page's handlers of both; they get the photo's id.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from PIL import Image

from pipeline.core.recipes import recipe_named
from pipeline.core.types import Answer, Box, Face, Hit
from pipeline.encoder.look import Look
from pipeline.galleries.own_galleries import picture_token
from pipeline.page.html.sources import TEMPLATES
from pipeline.page.html.wording import CROP_ALT, caption, counted
from pipeline.photos.images import shrunk
from pipeline.photos.pictures import Picture, bytes_of, small_name
from pipeline.search.comparison import Comparison

MEDIA_TYPES = {b"\x89PNG": "image/png", b"GIF8": "image/gif"}  # by their first bytes; all others are JPEG
FACE_SIDE, MOST = 112, 24  # of a face below the photo, in pixels; and of the other faces there
Layout = Literal["grid", "people", "strips", "columns"]


@dataclass(frozen=True)
class Tile:
    """A hit with its picture's file.

    `answer` is the number of the answer that it is in, from 0; `beyond` whether it is farther than the limit.
    """

    hit: Hit
    picture: Picture
    answer: int = 0
    beyond: bool = False

    @property
    def word(self) -> str:
        """How likely it is the person searched for; empty where nothing is to say."""
        if self.hit.is_query:
            return "same photo"
        return self.hit.verdict.words if self.hit.verdict and not self.beyond else ""

    @property
    def kind(self) -> str:
        """The same as a class of its mark's colour and shape; without a mark where nothing is known."""
        if self.beyond:
            return "alike"
        if self.hit.is_query or self.hit.verdict is None:
            return "sure" if self.hit.is_query else ""
        return "sure" if self.hit.verdict.words in ("very likely", "likely") else "maybe"

    @property
    def spoken(self) -> str:
        """The tile for those who do not see it: rank, person, distance, word."""
        return caption(self.hit).replace("\n", ", ")

    @property
    def address(self) -> str:
        """Where the browser has the picture from."""
        return served(self.picture)

    @property
    def small(self) -> str:
        """The same for a screen that needs no more pixels than the page has."""
        return small_served(self.picture)


@dataclass(frozen=True)
class Group:
    """Tiles that belong together, under a heading with a note; both may be empty."""

    heading: str
    note: str
    tiles: tuple[Tile, ...]


def by_person(tiles: Sequence[Tile]) -> tuple[Group, ...]:
    """A group for each person, whoever comes first in front."""
    people: dict[str, list[Tile]] = {}
    for tile in tiles:
        people.setdefault(tile.hit.person, []).append(tile)
    return tuple(
        Group(person, f"{counted(len(theirs), 'photo')}, the nearest at {theirs[0].hit.distance:.2f}", tuple(theirs))
        for person, theirs in people.items()
    )


def results_html(groups: Sequence[Group], layout: Layout = "grid") -> str:
    """The groups in their layout: one grid, people one below the other, strips that scroll, or columns side by side."""
    return TEMPLATES("results", groups=groups, layout=layout)


def frames_html(look: Look, answer: Answer, picture: str) -> str:
    """The faces framed, to be laid on the photo; `picture` is the photo itself where the browser cannot show it."""
    size = look.image.size
    places = [(number, _frame(size, face.box)) for number, face in enumerate(answer.faces, start=1)]
    chosen = answer.face_number
    return TEMPLATES("frames", ratio=size[0] / size[1], places=places, chosen=chosen, picture=picture)


def faces_html(look: Look, answer: Answer) -> str:
    """What was searched with, and the other faces to choose from."""
    if answer.crop is None:
        return ""
    others = [number for number in range(1, len(answer.faces) + 1) if number != answer.face_number]
    shown = [(answer.face_number or 0, inline(answer.crop, FACE_SIDE))]
    shown += [(number, inline(_portrait(look.image, answer.faces[number - 1]), FACE_SIDE)) for number in others[:MOST]]
    alt = CROP_ALT if answer.face_number is None else f"Face {answer.face_number}: {CROP_ALT}"
    more = max(len(others) - MOST, 0)
    count, chosen = len(answer.faces), answer.face_number
    return TEMPLATES("faces", faces=shown, chosen=chosen, alt=alt, count=count, more=more)


def _portrait(image: Image.Image, face: Face) -> Image.Image:
    left, top, right, bottom = (round(side) for side in face.box)
    return image.crop((max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)))


def inline(image: Image.Image, side: int) -> str:
    """A picture of at most `side` pixels, to stand in the page itself: nothing of a visitor's has an address."""
    return served(bytes_of(shrunk(image, side), "JPEG", quality=85))


def enlarged_html(tile: Tile, size: tuple[int, int], box: Box | None) -> str:
    """A hit's whole photo of `size` pixels, with the face by which it was indexed framed."""
    return TEMPLATES("enlarged", tile=tile, size=size, frame=_frame(size, box) if box else "")


def _frame(size: tuple[int, int], box: Box) -> str:
    left, right = (min(max(box[side] / size[0], 0), 1) * 100 for side in (0, 2))
    top, bottom = (min(max(box[side] / size[1], 0), 1) * 100 for side in (1, 3))
    return f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"


def served(picture: Picture) -> str:
    """The address at which the page's server has this file, from wherever the page itself is; or the picture itself."""
    if isinstance(picture, bytes):
        kind = next((kind for start, kind in MEDIA_TYPES.items() if picture.startswith(start)), "image/jpeg")
        return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
    return quote(f"pictures/{picture_token(picture.parent.name)}/{picture.name}")


def small_served(picture: Picture) -> str:
    """The address of a thumbnail's or a face's smaller one, which is made there when it is first asked for."""
    return served(picture) if isinstance(picture, bytes) else served(picture.with_name(small_name(picture)))


def examples_html(examples: Sequence[tuple[Picture, str]]) -> str:
    """Thumbnails of the example photos, with the people's names, to search with."""
    return TEMPLATES("examples", examples=[(small_served(picture), person) for picture, person in examples])


def comparison_html(comparison: Comparison, columns: Sequence[Group], *, by_roles: bool) -> str:
    """A column for each of the comparison's answers, in its order, and what they have in common.

    `by_roles` says that these are the two positions of the switch.
    """
    answers = comparison.answers
    shared = [[comparison.shared(one.recipe, other.recipe) for other in answers] for one in answers]
    labels = [recipe_named(answer.recipe).label for answer in answers]
    return TEMPLATES("comparison", groups=columns, shared=shared, labels=labels, by_roles=by_roles)
