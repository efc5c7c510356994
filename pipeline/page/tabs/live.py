"""The tab "Live": a camera's frames are searched one after the other, by a script of the page and a route for it.

Not `gr.Image(streaming=True)`: that writes every frame to a file, and sends frames whether or not the last one is done.
"""

from __future__ import annotations

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pipeline.core.errors import PipelineError
from pipeline.galleries.galleries import Galleries
from pipeline.page.html.sources import TEMPLATES, loading, source
from pipeline.page.parts import Parts
from pipeline.page.server.gate import Gate
from pipeline.page.server.guard import FOREIGN, LIVE_PATH, from_own_page, unforeseen
from pipeline.page.server.live import DROPPED, FRAME_BYTES, NO_FRAME, Live

# Tells the script what is chosen; it may be there later than this, so it is kept where the script looks.
CHOICE = "(gallery, recipe, index) => { window.liveChoice = {gallery, recipe, index}; }"


def live_tab(parts: Parts, tab: gr.Tab) -> None:
    """Fills the tab."""
    with tab:
        gr.HTML(TEMPLATES("live"))
        gr.HTML(source("live.html"), js_on_load=loading("live.js"), elem_id="live")
    chosen = [parts.gallery, parts.model, parts.index]
    gr.on([tab.select, *(choice.change for choice in chosen)], None, chosen, None, js=CHOICE)


def live_route(galleries: Galleries, gate: Gate) -> Route:
    """Where the script sends frames: the body is a JPEG, what to search it in stands in headers; answers are JSON.

    A frame for which `gate` has no turn now is dropped. Errors are `detail`, a sentence of ours.
    """
    live = Live(galleries)

    async def frame(request: Request) -> JSONResponse:
        if not from_own_page(request.headers):
            raise HTTPException(403, FOREIGN)
        body = await request.body()
        if len(body) > FRAME_BYTES:
            raise HTTPException(413, NO_FRAME)
        chosen = [request.headers.get(f"x-{name}", "") for name in ("gallery", "recipe", "index")]
        with gate.turn_at_once() as free:
            if not free:
                return JSONResponse(DROPPED)
            try:
                return JSONResponse(await run_in_threadpool(live.search, body, *chosen))
            except PipelineError as error:
                raise HTTPException(422, str(error)) from error
            except Exception as error:
                raise HTTPException(500, unforeseen(error)) from error

    return Route(LIVE_PATH, frame, methods=["POST"])
