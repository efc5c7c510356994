"""Why this match: below an enlarged result, what its similarity rests on."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.types import Answer
from pipeline.page.html.why import LOOKING, why_html
from pipeline.page.html.wording import notice
from pipeline.page.parts import SEARCH, Parts
from pipeline.page.tabs.search import hit_in
from pipeline.search.why import why

SAY_SO = f"() => {LOOKING!r}"  # without a way to the server and back
# Meanwhile the visitor may have enlarged something else or searched again: then what was found out is dropped.
SHOW = """(told, shown) => {
  const button = document.querySelector('#enlarged [data-event="expand"]');
  return button?.dataset.photo === told.photo && button.dataset.answer === told.answer ? told.html : shown;
}"""
TO_THE_WHY = "() => document.querySelector('#why').scrollIntoView({block: 'nearest'})"


def explained(parts: Parts, photo_id: str, number: int, answers: Sequence[Answer]) -> str:
    """What a hit of the answer of this number rests on, as HTML, or in one sentence why that cannot be told."""
    try:
        found = hit_in(answers, photo_id, number)
        if found is None or found[0].crop is None:
            raise SettingsError("This photo is not among the results any more; search again.")
        answer, crop = found[0], found[0].crop
        background = parts.galleries.named(answer.gallery)
        searcher = background.searcher(answer.recipe)
        return why_html(why(searcher, crop, background.library.photos.found(photo_id)))
    except PipelineError as error:
        return notice(str(error))


def explain_events(parts: Parts) -> None:
    """The button of an enlarged result, and that nothing is said of one that is not shown any more."""
    explore = parts.explore

    told = gr.JSON(visible="hidden")

    def asked(event: gr.EventData, answers: tuple[Answer, ...]) -> dict[str, str]:
        photo, answer = str(event.photo), str(event.answer)
        return {"photo": photo, "answer": answer, "html": explained(parts, photo, int(answer), answers)}

    explore.enlarged.expand(None, None, explore.why, js=SAY_SO).then(None, None, None, js=TO_THE_WHY)
    hidden = SEARCH | {"show_progress": "hidden", "trigger_mode": "multiple"}
    looking = explore.enlarged.expand(asked, explore.answers, told, **hidden)
    looking.then(None, [told, explore.why], explore.why, js=SHOW).then(None, None, None, js=TO_THE_WHY)
    explore.enlarged.change(None, None, explore.why, js="() => ''")
