"""The tab "Compare": the visitor's photo searched with every model that is ready, side by side."""

from __future__ import annotations

import gradio as gr

from pipeline.core.errors import PipelineError
from pipeline.galleries.ask import Question, ask_all
from pipeline.page.html.grid import ON_LOAD, comparison_html
from pipeline.page.html.wording import notice
from pipeline.page.parts import SEARCH, Changes, Parts, Request, in_a_sentence, request_of
from pipeline.page.query import as_path
from pipeline.page.tabs.explore import Trail, search_with
from pipeline.page.tabs.search import tiles
from pipeline.search import journal


def compared(parts: Parts, number: int, request: Request) -> str:
    """The comparison as HTML, or in one sentence why there is none."""
    preparation = parts.galleries.get(request.gallery)
    if not preparation.ready():
        return notice("The gallery is not ready yet; open this tab again when it is.")
    try:
        question = Question(as_path(request.photo), request.index, request.k, number)
        comparison = ask_all(question, preparation.searchers)
        pictures = [tiles(preparation, answer, request.view) for answer in comparison.answers]
    except PipelineError as error:
        journal.refused(error)
        return notice(str(error))
    return comparison_html(comparison, pictures)


def compare_tab(parts: Parts, tab: gr.Tab) -> None:
    """Fills the tab; the comparison is made whenever it is opened."""
    with tab:
        shown = gr.HTML(js_on_load=ON_LOAD, elem_id="compare")
    with_face = [parts.query.face, *parts.request]

    def opening(number: int | None, *values: object) -> str:
        return compared(parts, number or 0, request_of(values))

    def picked(event: gr.EventData, trail: Trail, number: int | None, *values: object) -> Changes:
        with in_a_sentence():
            found = search_with(parts, str(event.photo), (trail, number), request_of(values))
            return found | {parts.tabs: gr.Tabs(selected="search")}

    tab.select(opening, with_face, shown, **SEARCH)
    shown.select(picked, [parts.explore.trail, *with_face], [*parts.photo_and_answer, parts.tabs], **SEARCH)
