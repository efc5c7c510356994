"""Results as HTML: tiles that can be clicked, in rows or columns with headings.

A tile is a picture to search with (`select`) and a button that shows it large (`expand`). `ON_LOAD` tells the page's
handlers of both; they get the photo's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pipeline.core.types import Box, Hit
from pipeline.page.html.wording import caption, counted

# A click on a button with data-event="select" becomes the component's event `select`, and so on.
ON_LOAD = """
element.addEventListener('click', (click) => {
  const button = click.target.closest('button[data-event]');
  if (button) trigger(button.dataset.event, {photo: button.dataset.photo, answer: button.dataset.answer});
});
"""

Layout = Literal["grid", "people", "strips", "columns"]


@dataclass(frozen=True)
class Tile:
    """A hit with its picture's file; `mark` is a word about it.

    `answer` is the number of the answer that it is in, from 0; `beyond` whether it is farther than the limit.
    """

    hit: Hit
    picture: Path
    mark: str = ""
    answer: int = 0
    beyond: bool = False


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
    can_enlarge = layout != "columns"  # which have no place for it
    inner = "".join(_group(group, can_enlarge) for group in groups)
    return f"<div class='groups {layout}'>{inner}</div>" if groups else ""


def _group(group: Group, can_enlarge: bool) -> str:
    heading = f"<h3>{escape(group.heading)}</h3>" if group.heading else ""
    note = f"<p class='quiet'>{escape(group.note)}</p>" if group.note else ""
    tiles = "".join(_tile(tile, can_enlarge) for tile in group.tiles)
    return f"<section>{heading}{note}<ol class='tiles'>{tiles}</ol></section>"


def _tile(tile: Tile, can_enlarge: bool) -> str:
    photo, said = escape(tile.hit.photo_id), caption(tile.hit)
    spoken = escape(", ".join(said.split("\n")))
    mark = f"<span class='mark'>{escape(tile.mark)}</span>" if tile.mark else ""
    enlarge = (
        f"<button type='button' class='enlarge' data-answer='{tile.answer}' data-event='expand' data-photo='{photo}' "
        f"aria-label='Enlarge {spoken}'>Enlarge</button>"
    )
    return (
        f"<li class='tile{' marked' if tile.mark else ''}{' beyond' if tile.beyond else ''}'>"
        f"<button type='button' class='pick' data-event='select' data-photo='{photo}' title='Search with this photo'>"
        f"<img src='{served(tile.picture)}' alt='{spoken}' width='160' height='160'></button>"
        f"<div class='caption-label'>{escape(said)}{mark}</div>"
        f"{'<p class=farther>farther than the limit</p>' if tile.beyond else ''}"
        f"{enlarge if can_enlarge else ''}</li>"
    )


def enlarged_html(hit: Hit, picture: Path, size: tuple[int, int], box: Box | None, answer: int = 0) -> str:
    """A hit's whole photo of `size` pixels, with the face by which it was indexed framed.

    `answer` is the number of the answer that it is in, from 0.
    """
    photo, said = escape(hit.photo_id), caption(hit)
    return (
        f"<figure class='enlarged' role='group' aria-label='Photo {hit.rank}, enlarged'>"
        f"<div class='frame'><img src='{served(picture)}' alt='{escape(', '.join(said.split(chr(10))))}'>"
        f"{_frame(size, box)}</div><figcaption><div class='caption-label'>{escape(said)}</div>"
        f"<p class='quiet'>{photo} · {size[0]} x {size[1]} pixels</p>"
        f"<button type='button' class='act' data-event='select' data-photo='{photo}'>Search with this photo</button> "
        f"<button type='button' class='act' data-answer='{answer}' data-event='expand' data-photo='{photo}'>"
        "Why this match?</button> "
        f"<button type='button' class='act' data-event='collapse' data-photo='{photo}'>Close</button>"
        "</figcaption></figure>"
    )


def _frame(size: tuple[int, int], box: Box | None) -> str:
    if box is None:
        return ""
    left, right = (min(max(box[side] / size[0], 0), 1) * 100 for side in (0, 2))
    top, bottom = (min(max(box[side] / size[1], 0), 1) * 100 for side in (1, 3))
    place = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
    return f"<span class='box' style='{place}'></span>"


def served(path: Path) -> str:
    """The address at which the page's server has this file, from wherever the page itself is."""
    return f"gradio_api/file={quote(str(path.resolve()))}"
