"""The comparison as the page shows it: what the models have in common, and their answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipeline.core.recipes import recipe_named
from pipeline.core.types import Answer
from pipeline.page.html.grid import Group, Tile, results_html
from pipeline.search.comparison import Comparison

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
