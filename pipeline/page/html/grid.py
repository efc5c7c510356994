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

from pipeline.core.recipes import recipe_named
from pipeline.core.types import Answer, Box, Hit
from pipeline.galleries.own_galleries import picture_token
from pipeline.page.html.sources import TEMPLATES
from pipeline.page.html.wording import caption, counted
from pipeline.photos.pictures import Picture
from pipeline.search.comparison import Comparison

MEDIA_TYPES = {b"\x89PNG": "image/png", b"GIF8": "image/gif"}  # by their first bytes; all others are JPEG
Layout = Literal["grid", "people", "strips", "columns"]


@dataclass(frozen=True)
class Tile:
    """A hit with its picture's file; `mark` is a word about it.

    `answer` is the number of the answer that it is in, from 0; `beyond` whether it is farther than the limit.
    """

    hit: Hit
    picture: Picture
    mark: str = ""
    answer: int = 0
    beyond: bool = False

    @property
    def said(self) -> str:
        """The caption."""
        return caption(self.hit)

    @property
    def spoken(self) -> str:
        """The same for those who do not see the picture."""
        return ", ".join(self.said.split("\n"))

    @property
    def address(self) -> str:
        """Where the browser has the picture from."""
        return served(self.picture)


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


ONLY_HERE = "only here"


def comparison_html(comparison: Comparison, tiles: Sequence[Sequence[Tile]]) -> str:
    """`tiles` are those of each answer, in the comparison's order."""
    answers = comparison.answers
    groups = [_column(comparison, answer, of_it) for answer, of_it in zip(answers, tiles, strict=True)]
    shared = [[comparison.shared(one.recipe, other.recipe) for other in answers] for one in answers]
    return TEMPLATES("comparison", groups=groups, shared=shared)


def _column(comparison: Comparison, answer: Answer, tiles: Sequence[Tile]) -> Group:
    only = comparison.only(answer.recipe)
    marked = tuple(Tile(tile.hit, tile.picture, ONLY_HERE if tile.hit.photo_id in only else "") for tile in tiles)
    note = TEMPLATES("column", answer=answer, only=len(only), only_here=ONLY_HERE)
    return Group(recipe_named(answer.recipe).label, note, marked)
