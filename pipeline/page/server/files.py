"""The page's own style and scripts, in files that browsers keep: the addresses change with what is in them."""

from __future__ import annotations

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.page.html.sources import HERE, source, version

KEPT = "public, max-age=31536000, immutable"
SCRIPT = "export default (element, trigger, watch, server) => {{\n{}\n}};"
SCRIPTS = frozenset(path.name for path in HERE.glob("*.js"))


def files_routes(page: gr.Blocks) -> list[Route]:
    """Serves scripts as modules, and the style with the theme, where Gradio has it and waits for it before it draws."""

    def style(request: Request) -> Response:
        return _kept(request, page.theme_css, "text/css", page.theme_hash)

    def script(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in SCRIPTS:
            return Response(status_code=404)
        return _kept(request, SCRIPT.format(source(name)), "text/javascript", version(name))

    return [Route("/theme.css", style), Route("/scripts/{name}", script)]


def _kept(request: Request, content: str, media: str, known: str) -> Response:
    """The file; whoever asks for another version, as a page from before an update does, is not to keep it."""
    headers = {"cache-control": KEPT if request.query_params.get("v") == known else "no-cache"}
    return Response(content, media_type=media, headers=headers)
