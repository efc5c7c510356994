"""The page. Run `python app.py`; it opens at once and gets its gallery ready behind it."""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial
from pathlib import Path

import gradio as gr

from pipeline import own_wording, wording
from pipeline.galleries import MAIN, Galleries, open_galleries
from pipeline.page import hosting
from pipeline.page.comparing import compare_tab
from pipeline.page.endpoints import endpoints
from pipeline.page.explaining import explain_events
from pipeline.page.exploring import explore_events
from pipeline.page.own_photos import Actions, own_events, own_memory, own_panel
from pipeline.page.parts import KEEP_UPLOADS_SECONDS, Parts, query_column, reply_column
from pipeline.page.preparing import preparation_events
from pipeline.page.searching import search_events
from pipeline.report_tab import evaluation_tab
from pipeline.settings import Settings

CSS = Path(__file__).parent / "pipeline" / "page.css"
THEME = gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=["system-ui", "sans-serif"]).set(
    body_text_color_subdued="*neutral_500"  # the theme's own has a contrast of 2.6 to 1; AA wants 4.5
)
QUEUE_LENGTH = 64

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)


def build_page(galleries: Galleries) -> gr.Blocks:
    """The page on top of galleries that are being prepared."""
    with gr.Blocks(
        title=wording.TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(KEEP_UPLOADS_SECONDS, KEEP_UPLOADS_SECONDS),
    ) as page:
        header = gr.HTML(wording.header(galleries, MAIN), elem_id="header")
        memory = own_memory()
        with gr.Tabs() as tabs:
            with gr.Tab("Search", id="search"), gr.Row(elem_id="main"):
                query, (reply, explore) = query_column(), reply_column()
            comparing = gr.Tab("Compare")
            if galleries.own:
                with gr.Tab(own_wording.TAB, id="own"):
                    panel = own_panel(*memory)
            with gr.Tab("Evaluation") as evaluation:
                figures = gr.HTML(elem_id="evaluation")
        parts = Parts(galleries, tabs, query, reply, explore, gr.State(""))
        search_events(parts)
        explore_events(parts)
        explain_events(parts)
        compare_tab(parts, comparing)
        watch = preparation_events(page, parts, header)
        if galleries.own:
            own_events(page, Actions(parts, panel, watch, galleries.own))
        endpoints(parts)
        evaluation.select(partial(evaluation_tab, galleries.main), None, figures, api_visibility="private")
    page.queue(max_size=QUEUE_LENGTH)
    return page


def launch(galleries: Galleries, **options: object) -> gr.Blocks:
    """Serves the page; `options` go to Gradio's `launch`."""
    # Thumbnails are files of ours that never change: served as they are, cached by the browser.
    gr.set_static_paths([galleries.main.library.thumbnails_root.resolve()])
    page = build_page(galleries)
    page.launch(
        theme=THEME,
        css=wording.index_style(),
        css_paths=CSS,
        show_error=True,
        footer_links=["api"],
        run_history=False,
        max_file_size="2gb" if galleries.own else "40mb",  # a zip of photos, or one photo
        **options,
    )
    return page


def main() -> None:
    """Starts preparing and serves the page."""
    settings = Settings.from_env()
    hosting.register(zero_gpu=settings.zero_gpu)
    galleries = open_galleries(settings)
    galleries.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that visitors' photos are deleted when it is stopped
    launch(galleries)


if __name__ == "__main__":
    main()
