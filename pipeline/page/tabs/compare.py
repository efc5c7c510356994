"""The tab "Compare": the visitor's photo searched with every model that is ready, side by side."""

from __future__ import annotations

import gradio as gr

from pipeline.galleries.ask import Question, ask_all
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.grid import comparison_html
from pipeline.page.html.sources import source
from pipeline.page.html.wording import notice
from pipeline.page.parts import SEARCH, Parts, Values
from pipeline.page.presenter import attempted, tiles
from pipeline.page.query import Request
from pipeline.page.tabs.explore import picked_elsewhere


def compared(preparation: Preparation, request: Request) -> str:
    """The comparison as HTML."""
    if not preparation.ready():
        return notice("The gallery is not ready yet; open this tab again when it is.")
    question = Question(request.photo, request.index, request.k, request.face)
    comparison = ask_all(question, preparation.searchers)
    return comparison_html(comparison, [tiles(preparation, answer, request.view) for answer in comparison.answers])


def compare_tab(parts: Parts, tab: gr.Tab) -> None:
    """Fills the tab; the comparison is made whenever it is opened."""
    with tab:
        shown = gr.HTML(js_on_load=source("tiles.js"), elem_id="compare")

    def opening(values: Values) -> str:
        request = parts.request(values)
        return attempted(lambda: compared(parts.galleries.get(request.gallery), request), notice)

    tab.select(opening, parts.asked, shown, **SEARCH)
    picked_elsewhere(parts, shown)
