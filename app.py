"""The page. Run `python app.py`; it opens at once and gets its gallery ready behind it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from pipeline import wording
from pipeline.background import Background
from pipeline.errors import PhotoError, PipelineError, SettingsError
from pipeline.images import open_image
from pipeline.indexes import INDEXES
from pipeline.library import open_library
from pipeline.recipes import DEFAULT, DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.report_tab import evaluation_tab
from pipeline.settings import Settings
from pipeline.types import Answer

CSS = Path(__file__).parent / "pipeline" / "page.css"
THEME = gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=["system-ui", "sans-serif"])
POLL_SECONDS = 1.0
KEEP_UPLOADS_SECONDS = 1800
SHOWN_SIDE = 900  # pixels; the boxed photo is for looking at

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)

PICTURES = {
    "show_label": False,
    "columns": 5,
    "object_fit": "cover",
    "height": "auto",
    "interactive": False,
    "buttons": [],
}

# Two cores: more searches at once would only make each slower. The rest queue, and are told their place.
SEARCH = {"concurrency_limit": 2, "concurrency_id": "search", "api_visibility": "private"}
QUEUE_LENGTH = 64

Results = list[tuple[str, str]]
Request = tuple[str, str, object]  # recipe, index, number of results; the last as the browser sent it


def as_sent(component: gr.Image | gr.Slider) -> None:
    """Makes a component hand over what the browser sent, untouched: a photo's path, or any value of a number.

    Every photo in this project is decoded by `open_image`, and `find` judges numbers, in sentences of ours. (Set on the
    object because a subclass makes Gradio write a stub file beside this one.)
    """
    component.preprocess = lambda payload: payload.path if isinstance(payload, ImageData) else payload


def find(background: Background, photo: str | None, request: Request, whole: bool) -> tuple[Image.Image, Answer]:
    """Searches and returns the decoded photo with the answer; PipelineError if that cannot be done."""
    recipe, index, k = request
    if photo is None:
        raise PhotoError("There is no photo yet; upload one, take one with the webcam, or click an example.")
    if isinstance(k, bool) or not isinstance(k, int | float) or k != k or k != int(k):
        raise SettingsError(f"The number of results must be a whole number from 1 to {MAX_K}.")
    image = open_image(Path(photo))
    return image, background.searcher(recipe).search(image, int(k), index, whole_photo=whole)


def results(background: Background, answer: Answer) -> Results:
    """The hits as (file, caption)."""
    return [(str(background.library.thumbnail(hit.photo_id)), wording.caption(hit)) for hit in answer.hits]


def framed(image: Image.Image, answer: Answer) -> Image.Image:
    """The photo with its faces framed, small enough to send."""
    from pipeline.faces import boxed

    shown = boxed(image, answer.faces, answer.face)
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return shown


def endpoint(background: Background, photo: str | None, recipe: str, index: str, k: object) -> tuple[object, ...]:
    """API `/search`: the boxed photo, the crop, the gallery and the JSON of `python -m pipeline search --json`."""
    try:
        image, answer = find(background, photo, (recipe, index, k), whole=False)
    except PipelineError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return framed(image, answer), answer.crop, results(background, answer), answer.as_json()


def show(background: Background, whole: bool, photo: str | None, *request: object) -> tuple[object, ...]:
    """The page's own search: boxed photo, crop, results, sentence, whether to offer the whole photo, model note."""
    recipe, index, k = str(request[0]), str(request[1]), request[2]
    pictures: tuple[object, ...] = (None, None, [])
    sentence, offer_whole = "", False
    if photo is not None:
        try:
            image, answer = find(background, photo, (recipe, index, k), whole)
            pictures = framed(image, answer), answer.crop, results(background, answer)
            sentence = wording.answer_line(answer, background.searcher(recipe).recall(index))
            offer_whole = not answer.found_face
        except PipelineError as error:
            sentence = wording.notice(str(error))
    note = wording.model_note(recipe, background.status(recipe))
    return *pictures, sentence, gr.update(visible=offer_whole), note


def examples(background: Background) -> Results:
    """The example photos as (file, name)."""
    library = background.library
    return [(str(library.original(photo_id)), library.person(photo_id)) for photo_id in library.examples()]


def show_example(background: Background, number: int, *request: object) -> tuple[object, ...]:
    """An example as the visitor's photo, and the page's search with it."""
    path = str(background.library.original(background.library.examples()[number]))
    return path, *show(background, False, path, *request)


def show_first(background: Background, can: bool, photo: str | None, *request: object) -> tuple[object, ...]:
    """The first thing on the page is an answer; unless the visitor was faster."""
    return show_example(background, 0, *request) if can and photo is None else (gr.skip(),) * 7


def poll(background: Background, recipe: str, answerable: bool) -> tuple[object, ...]:
    """What the page shows of the preparation: header, toggle, retry, timer, whether it can answer, examples."""
    ready = background.ready()
    chosen = recipe if recipe in ready or answerable or not ready else ready[0]
    choices = [(wording.model_label(name, background.status(name)), name) for name in RECIPES]
    # A head that was never trained is nothing to try again.
    retried = [name for name, recipe in RECIPES.items() if recipe.layer != "head"]
    stuck = bool(background.problem) or any(background.status(name).state == "unavailable" for name in retried)
    return (
        wording.header(background),
        gr.update(choices=choices, value=chosen),
        gr.update(visible=stuck and not background.working),
        gr.update(active=background.working),
        bool(ready),
        *((gr.update(visible=True), examples(background)) if ready and not answerable else (gr.skip(), gr.skip())),
    )


def retry(background: Background, recipe: str, answerable: bool) -> tuple[object, ...]:
    """Prepares again what could not be had, and shows that it does."""
    background.start()
    return poll(background, recipe, answerable)


@dataclass(frozen=True)
class Query:
    """The left column: the visitor's photo and what was found in it."""

    photo: gr.Image
    boxed: gr.Image
    crop: gr.Image
    examples_box: gr.Column
    examples: gr.Gallery


@dataclass(frozen=True)
class Reply:
    """The right column: what to search with, and the answer."""

    model: gr.Radio
    note: gr.HTML
    index: gr.Radio
    k: gr.Slider
    sentence: gr.HTML
    whole: gr.Button
    retry: gr.Button
    hits: gr.Gallery


def _query_column() -> Query:
    small = {"interactive": False, "height": 170, "min_width": 120, "buttons": []}
    with gr.Column(scale=4, min_width=320):
        photo = gr.Image(
            label="Your photo",
            sources=["upload", "webcam", "clipboard"],
            height=230,
            placeholder="Drop a photo here\nor click to choose one",
            buttons=[],
            elem_id="photo",
        )
        with gr.Row():
            boxed = gr.Image(label="Face found", elem_id="boxed", **small)
            crop = gr.Image(label="Searched with", elem_id="crop", **small)
        with gr.Column(visible=False) as examples_box:
            gr.HTML(wording.ABOVE_EXAMPLES)
            tries = gr.Gallery(label="Examples", allow_preview=False, elem_id="examples", **PICTURES)
    as_sent(photo)
    return Query(photo, boxed, crop, examples_box, tries)


def _reply_column() -> Reply:
    models = [(recipe.label, name) for name, recipe in RECIPES.items()]
    indexes = [(wording.index_label(name), name) for name in INDEXES]
    with gr.Column(scale=7, min_width=320):
        model = gr.Radio(models, value=DEFAULT, label="Model", elem_id="model")
        note = gr.HTML(elem_id="note")
        with gr.Accordion("Options", open=False):
            index = gr.Radio(indexes, value=DEFAULT_INDEX, label="Index", info=wording.INDEX_NOTE, elem_id="index")
            k = gr.Slider(1, MAX_K, DEFAULT_K, step=1, label="Number of results", elem_id="k")
        sentence = gr.HTML(elem_id="sentence")
        whole = gr.Button("Search with the whole photo instead", visible=False, elem_id="whole")
        again = gr.Button("Try again", visible=False, elem_id="retry")
        hits = gr.Gallery(label="Most similar photos", elem_id="results", **PICTURES)
        with gr.Accordion("What the numbers mean", open=False):
            gr.Markdown(wording.EXPLANATION)
    as_sent(k)
    return Reply(model, note, index, k, sentence, whole, again, hits)


def build_page(background: Background) -> gr.Blocks:
    """The page on top of a library that is being prepared."""
    with gr.Blocks(
        title=wording.TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(KEEP_UPLOADS_SECONDS, KEEP_UPLOADS_SECONDS),
    ) as page:
        header = gr.HTML(wording.header(background), elem_id="header")
        with gr.Tabs():
            with gr.Tab("Search"), gr.Row(elem_id="main"):
                query, reply = _query_column(), _reply_column()
            with gr.Tab("Evaluation") as evaluation:
                figures = gr.HTML(elem_id="evaluation")
        _preparation(page, background, header, query, reply)
        _searches(background, query, reply)
        _api(background, query, reply)
        evaluation.select(partial(evaluation_tab, background), None, figures, api_visibility="private")
    page.queue(max_size=QUEUE_LENGTH)
    return page


def _preparation(page: gr.Blocks, background: Background, header: gr.HTML, query: Query, reply: Reply) -> None:
    """Keeps the page up to date while the gallery is being prepared, and answers an example once it can."""
    answerable, timer = gr.State(False), gr.Timer(POLL_SECONDS)
    inputs = [reply.model, answerable]
    outputs = [header, reply.model, reply.retry, timer, answerable, query.examples_box, query.examples]
    quiet = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    gr.on([page.load, timer.tick], partial(poll, background), inputs, outputs, **quiet)
    reply.retry.click(partial(retry, background), inputs, outputs, **quiet)
    request = [answerable, query.photo, reply.model, reply.index, reply.k]
    answerable.change(partial(show_first, background), request, [query.photo, *_shown(query, reply)], **SEARCH)


def _searches(background: Background, query: Query, reply: Reply) -> None:
    """Searches whenever the visitor changes something."""
    choices, outputs = [reply.model, reply.index, reply.k], _shown(query, reply)
    request = [query.photo, *choices]

    def picked(event: gr.SelectData, *values: object) -> tuple[object, ...]:
        return show_example(background, int(event.index), *values)

    changes = [query.photo.input, query.photo.clear, reply.model.input, reply.index.input, reply.k.input]
    gr.on(changes, partial(show, background, False), request, outputs, trigger_mode="always_last", **SEARCH)
    reply.whole.click(partial(show, background, True), request, outputs, **SEARCH)
    query.examples.select(picked, choices, [query.photo, *outputs], **SEARCH)


def _shown(query: Query, reply: Reply) -> list[gr.components.Component]:
    """What `show` returns, in its order."""
    return [query.boxed, query.crop, reply.hits, reply.sentence, reply.whole, reply.note]


def _api(background: Background, query: Query, reply: Reply) -> None:
    """The endpoint for programs; it needs components to hang on, which nobody sees."""
    answer, trigger = gr.JSON(visible=False), gr.Button(visible=False)

    def search(photo: str | None, recipe: str, index: str, k: object) -> tuple[object, ...]:
        """Find the photos of the gallery whose face is most like the largest face of this photo."""
        return endpoint(background, photo, recipe, index, k)

    request, outputs = [query.photo, reply.model, reply.index, reply.k], [query.boxed, query.crop, reply.hits, answer]
    trigger.click(search, request, outputs, **(SEARCH | {"api_name": "search", "api_visibility": "public"}))


def launch(background: Background, **options: object) -> gr.Blocks:
    """Serves the page; `options` go to Gradio's `launch`."""
    # Thumbnails are files of ours that never change: served as they are, cached by the browser.
    gr.set_static_paths([background.library.thumbnails_root.resolve()])
    page = build_page(background)
    page.launch(
        theme=THEME,
        css=wording.index_style(),
        css_paths=CSS,
        show_error=True,
        footer_links=["api"],
        run_history=False,
        max_file_size="40mb",
        **options,
    )
    return page


def main() -> None:
    """Starts preparing and serves the page."""
    background = Background(open_library(Settings.from_env()))
    background.start()
    launch(background)


if __name__ == "__main__":
    main()
