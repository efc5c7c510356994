"""Results as HTML: tiles that can be clicked, in rows or columns with headings.

A tile is a picture to search with (`select`) and a button that shows it large (`expand`). `ON_LOAD` tells the page's
handlers of both; they get the photo's id.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal
from urllib.parse import quote

from pipeline.core.recipes import recipe_named
from pipeline.core.types import Answer, Box, Hit
from pipeline.galleries.own_galleries import picture_token
from pipeline.page.html.wording import caption, counted
from pipeline.photos.pictures import Picture
from pipeline.search.comparison import Comparison

# A click on a button with data-event="select" becomes the component's event `select`, and so on.
ON_LOAD = """
element.addEventListener('click', (click) => {
  const button = click.target.closest('button[data-event]');
  if (button) trigger(button.dataset.event, {photo: button.dataset.photo, answer: button.dataset.answer});
});
"""

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


def enlarged_html(hit: Hit, picture: Picture, size: tuple[int, int], box: Box | None, answer: int = 0) -> str:
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


def served(picture: Picture) -> str:
    """The address at which the page's server has this file, from wherever the page itself is; or the picture itself."""
    if isinstance(picture, bytes):
        kind = next((kind for start, kind in MEDIA_TYPES.items() if picture.startswith(start)), "image/jpeg")
        return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
    return quote(f"pictures/{picture_token(picture.parent.name)}/{picture.name}")


ONLY_HERE = "only here"
LEAD = (
    "Your photo of the tab “Search”, searched with every model that is ready. Each model has a scale of its own, so "
    "compare distances within one column only."
)


def comparison_html(comparison: Comparison, tiles: Sequence[Sequence[Tile]]) -> str:
    """`tiles` are those of each answer, in the comparison's order."""
    columns = [_column(comparison, answer, of_it) for answer, of_it in zip(comparison.answers, tiles, strict=True)]
    return f"<p class='note'>{LEAD}</p>{_shared(comparison)}{results_html(columns, 'columns')}"


def _column(comparison: Comparison, answer: Answer, tiles: Sequence[Tile]) -> Group:
    only = comparison.only(answer.recipe)
    marked = tuple(Tile(tile.hit, tile.picture, ONLY_HERE if tile.hit.photo_id in only else "") for tile in tiles)
    return Group(_label(answer), _note(answer, len(only)), marked)


def _label(answer: Answer) -> str:
    return recipe_named(answer.recipe).label


def _note(answer: Answer, only: int) -> str:
    """How long it took, how far the answers reach, and how many are this model's alone."""
    steps = answer.timings_ms
    took = (
        f"{steps['total']:.0f} ms: finding the face {steps['detect']:.0f}, embedding {steps['embed']:.0f}, "
        f"searching {steps['search']:.1f}."
    )
    if not answer.found_face:
        return f"{took} No face was found in this photo."
    reach = f"Distances {answer.hits[0].distance:.2f} to {answer.hits[-1].distance:.2f}." if answer.hits else ""
    people = len({hit.person for hit in answer.hits})
    who = f"{people} different people" if people != 1 else "one person"
    return f"{took} {reach} {who}; {only} of {len(answer.hits)} photos {ONLY_HERE}."


def _shared(comparison: Comparison) -> str:
    """How many photos each two models have in common, as a table."""
    answers = comparison.answers
    if len(answers) < 2:
        return ""
    head = "".join(f"<th scope='col'>{escape(_label(answer))}</th>" for answer in answers)
    rows = "".join(
        f"<tr><th scope='row'>{escape(_label(one))}</th>"
        + "".join(f"<td>{comparison.shared(one.recipe, other.recipe)}</td>" for other in answers)
        + "</tr>"
        for one in answers
    )
    return (
        "<div class='scroll' tabindex='0' role='group' aria-label='Photos in common'><table>"
        "<caption>How many of the photos found two models have in common</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
