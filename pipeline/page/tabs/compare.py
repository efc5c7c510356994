"""The tab "Compare": the visitor's photo by the baseline and the improved model side by side, and by others ticked."""

from __future__ import annotations

from collections.abc import Collection

import gradio as gr

from pipeline.core.recipes import RECIPES
from pipeline.core.types import Answer
from pipeline.galleries.ask import Question, ask_all
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.grid import Group, comparison_html
from pipeline.page.html.sources import TEMPLATES, loading
from pipeline.page.html.wording import notice
from pipeline.page.parts import SEARCH, Changes, Parts, Values
from pipeline.page.presenter import attempted, tiles
from pipeline.page.query import Request
from pipeline.page.roles import LABELS, behind
from pipeline.page.tabs.explore import picked_elsewhere
from pipeline.search.comparison import Comparison


def compared(preparation: Preparation, request: Request, more: Collection[str] = ()) -> str:
    """The comparison as HTML: the two roles, and the recipes of `more` that are ready."""
    ready = preparation.ready()
    if not ready:
        return notice("The gallery is not ready yet; open this tab again when it is.")
    labels = _by_role(ready) | {name: recipe.label for name, recipe in RECIPES.items() if name in more}
    question = Question(request.photo, request.index, request.k, request.face, request.look)
    comparison = ask_all(question, lambda: [preparation.searcher(name) for name in labels if name in ready])
    by_roles = set(_by_role(ready)) == {answer.recipe for answer in comparison.answers}
    return comparison_html(comparison, _columns(preparation, request, comparison, labels), by_roles=by_roles)


def _by_role(ready: Collection[str]) -> dict[str, str]:
    """The recipes behind the switch's positions, with their labels."""
    return {behind(role, ready): label for role, label in LABELS.items()}


def _columns(preparation: Preparation, request: Request, comparison: Comparison, labels: dict[str, str]) -> list[Group]:
    hits = [hit for answer in comparison.answers for hit in answer.hits]
    shown = next((hit.person for hit in hits if hit.is_query and hit.named), None)

    def found(answer: Answer) -> str:
        """How many photos were found of the person whom the gallery knows the photo to show; else of the first."""
        if not answer.hits:
            return "nothing found"
        person = shown or answer.who
        photos = preparation.searcher(answer.recipe).photos_of(person)
        count = f"{sum(hit.person == person for hit in answer.hits)} of {photos} found" if photos else ""
        return count if shown else ", ".join(filter(None, (person, count)))

    def stands_in(recipe: str) -> str:
        """The model's own name where the heading does not say it."""
        return "" if labels[recipe] == RECIPES[recipe].label else RECIPES[recipe].label

    return [
        Group(
            f"{labels[answer.recipe]}: {found(answer)}",
            TEMPLATES(
                "column",
                answer=answer,
                label=stands_in(answer.recipe),
                only=len(comparison.only(answer.recipe)) if len(comparison.answers) > 1 else None,
            ),
            tiles(preparation, answer, request),
        )
        for answer in comparison.answers
    ]


def compare_tab(parts: Parts, tab: gr.Tab) -> None:
    """Fills the tab; the comparison is made whenever it is opened, and when another model is ticked."""
    with tab:
        more = gr.CheckboxGroup([], label="More models", container=False, elem_id="compare-more")
        shown = gr.HTML(js_on_load=loading("tiles.js"), elem_id="compare")

    def made(values: Values) -> Changes:
        request, ticked = parts.request(values), values[more] if isinstance(values[more], list) else []
        preparation = parts.galleries.get(request.gallery)
        ready = preparation.ready()
        others = [(RECIPES[name].label, name) for name in ready if name not in _by_role(ready)]
        return {
            shown: attempted(lambda: compared(preparation, request, ticked), notice),
            more: gr.update(choices=others, visible=bool(others)),
        }

    gr.on([tab.select, more.input], made, {more, *parts.asked}, [shown, more], trigger_mode="always_last", **SEARCH)
    picked_elsewhere(parts, shown)
