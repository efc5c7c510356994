"""The page. Run `python app.py`; it opens at once and gets its gallery ready behind it."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from functools import partial
from typing import Any, NoReturn

if __name__ == "__main__":
    gc.disable()  # until the page is served: a fifth of the time that importing takes, see `collect_from_now`

import pipeline  # noqa: F401 - before Gradio, because it switches telemetry off

# isort: split
from pipeline.core.errors import SettingsError
from pipeline.core.settings import Settings, require_port

if __name__ == "__main__":
    try:
        require_port()
    except SettingsError as error:
        sys.exit(str(error))

# isort: split
import gradio as gr
from gradio.http_server import LOCALHOST_NAME
from starlette.middleware import Middleware

from pipeline.core.network import LOCAL, UNLIMITED, Network, Rate
from pipeline.galleries.galleries import MAIN, Galleries, open_galleries
from pipeline.page.html import wording
from pipeline.page.html.sources import source
from pipeline.page.parts import KEEP_UPLOADS_SECONDS, Parts
from pipeline.page.rest.application import known_paths, rest_routes
from pipeline.page.rest.metrics import Metrics
from pipeline.page.rest.record import Recorded, log_json
from pipeline.page.server import machine
from pipeline.page.server.access import STRANGER, Guarded, may_log_in, share_with
from pipeline.page.server.endpoints import endpoints
from pipeline.page.server.files import files_routes
from pipeline.page.server.gate import Gate, around_events
from pipeline.page.server.guard import BodyLimit, GuardedBlocks, bound_forms, no_such_call, refuse_fetching
from pipeline.page.server.hosts import ANYWHERE, OwnHosts, WithoutRoot, WithRoot, asked_port, served_names
from pipeline.page.server.machine import (
    bound_headers,
    collect_from_now,
    keep_giving_back,
    keep_no_statistics,
    share_freed_memory,
    spare_cores,
    trust_proxies,
)
from pipeline.page.server.mcp import mcp_server, require_mcp
from pipeline.page.server.pictures import pictures_route
from pipeline.page.server.rate import RateLimit
from pipeline.page.server.stopping import StopSignal
from pipeline.page.server.uploads import keep_no_lists, keep_swept, own_folder, remove
from pipeline.page.tabs.compare import compare_tab
from pipeline.page.tabs.evaluation import evaluation_tab
from pipeline.page.tabs.explore import explain_events, explore_events
from pipeline.page.tabs.live import live_route, live_tab
from pipeline.page.tabs.map import DRAWN, map_tab
from pipeline.page.tabs.own_photos import OwnPhotos
from pipeline.page.tabs.people import people_tab
from pipeline.page.tabs.preparing import Watch
from pipeline.page.tabs.search import search_events

THEME = gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=["system-ui", "sans-serif"]).set(
    body_text_color_subdued="*neutral_500"  # the theme's own has a contrast of 2.6 to 1; AA wants 4.5
)
QUEUE_LENGTH = 64
SESSIONS = 1000  # that are remembered, 180 KB each; Gradio would keep those of the last 10,000 visits
MOST_UPLOADED = 42_500_000  # bytes of one upload: a photo of 40 MB, and what is around it
MOST_DROPPED = 20_100_000_000  # where visitors drop galleries of their own, whose photos may have 20 GB
STOP_SECONDS = 3.0  # of the five that a process is given

log = logging.getLogger(__name__)

logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")  # of libraries, warnings and worse
for _ours in (__name__, "pipeline"):
    logging.getLogger(_ours).setLevel(logging.INFO)


def build_page(galleries: Galleries, gate: Gate | None = None, *, strangers: bool = False) -> gr.Blocks:
    """The page on top of galleries that are being prepared; what searches goes through `gate`.

    Where `strangers` may come, they cannot say who is in the photos it was started for.
    """
    gate = gate or Gate()
    with GuardedBlocks(title=wording.TITLE, analytics_enabled=False, fill_width=True) as page:
        with gr.Row(elem_id="top"):
            header = gr.HTML(wording.header(galleries, MAIN), elem_id="header")
            # Its choices change while galleries get ready.
            title = (wording.gallery_label(galleries.main), MAIN)
            bare: dict[str, Any] = {"container": False, "show_label": False, "elem_classes": "positions"}
            gallery = gr.Radio([title], value=MAIN, label="Gallery", elem_id="gallery", **bare)
        with gr.Tabs() as tabs:
            with gr.Tab("Search", id="search"), gr.Row(elem_id="main"):
                parts = Parts(galleries, gallery, tabs)
            comparing = gr.Tab("Compare")
            own = gr.Tab(wording.TAB, id="own") if galleries.own else None
            live = gr.Tab("Live", id="live")
            mapping = gr.Tab("Map", id="map")
            people = gr.Tab("People") if galleries.main.gallery.of_people else None
            with gr.Tab("Evaluation") as evaluation:
                figures = gr.HTML(elem_id="evaluation")
        with gr.Accordion("About", open=False, elem_id="about"):
            about = gr.HTML(wording.about(galleries.main), elem_id="about-gallery")
            gr.Markdown(source("explanation.md"))
        search_events(parts)
        explore_events(parts)
        explain_events(parts)
        compare_tab(parts, comparing)
        map_tab(parts, mapping, gate)
        live_tab(parts, live)
        watch = Watch(page, parts, header, about)
        if galleries.own and own:
            OwnPhotos(page, own, watch, galleries.own)
        if people:
            people_tab(people, watch, editing=not strangers)
        endpoints(parts)
        evaluation.select(partial(evaluation_tab, galleries.main), None, figures, api_visibility="private")
    keep_no_lists(page)
    around_events(page, gate, {DRAWN: Gate(at_once=1)})
    page.queue(max_size=QUEUE_LENGTH, api_open=False)  # Gradio has a way past the queue, unless told otherwise
    return page


def launch(
    galleries: Galleries,
    keep_uploads: int = KEEP_UPLOADS_SECONDS,
    *,
    mcp: bool = False,
    rate: Rate = UNLIMITED,
    network: Network = LOCAL,
    **options: object,
) -> gr.Blocks:
    """Serves the page, to each visitor at that rate, with the tool for programs where `mcp` says so.

    `network` is how others reach it. `keep_uploads` is for how many seconds photos are kept. `options` go to Gradio's
    `launch`.
    """
    gate = Gate()
    metrics = Metrics(gate)
    metrics.start()
    ours = [live_route(galleries, gate), pictures_route(galleries)]
    routes = [*ours, *rest_routes(galleries, gate, metrics)]
    served: dict[str, Any] = {"routes": routes}
    if mcp:
        route, served["lifespan"] = mcp_server(galleries, gate)
        served["routes"].append(route)
    refuse_fetching()
    bound_forms()
    bound_headers()
    if not rate.behind_proxy:
        trust_proxies(network.proxies)
    keep_no_statistics()
    keep_swept(own_folder(), keep_uploads)
    if galleries.own:
        galleries.own.start()
    gr.set_static_paths(galleries.picture_roots)  # as the visitor's photo and as examples, for which Gradio has files
    page = build_page(galleries, gate, strangers=network.access.public)
    routes += files_routes(page)
    THEME.custom_css = source("page.css") + wording.index_style()
    names = served_names(str(options.get("server_name") or LOCALHOST_NAME), network.hosts)
    most = MOST_DROPPED if galleries.own else MOST_UPLOADED
    served["exception_handlers"] = {TypeError: no_such_call, KeyError: no_such_call}
    served["middleware"] = [
        Middleware(Recorded, count=metrics.requested, known=known_paths(routes), lines=network.json_log),
        Middleware(OwnHosts, names=names, origins=network.origins),
        Middleware(Guarded, page=page, access=network.access, proxies=network.proxies),
        Middleware(BodyLimit, most_upload=most),
        Middleware(RateLimit, page=page, rate=rate, most_upload=most),
    ]
    if root := network.root_path:
        served["middleware"] = [
            Middleware(WithoutRoot, root=root),
            *served["middleware"],
            Middleware(WithRoot, root=root),
        ]
    share_with(network)
    access = network.access
    if names == ANYWHERE and not (access.public or access.tokens or access.logins):
        log.warning("%s", STRANGER)
    if logins := access.logins:
        options["auth"] = partial(may_log_in, logins)
    page.launch(
        root_path=root or None,
        theme=THEME,
        state_session_capacity=SESSIONS,
        show_error=False,  # of errors that are not sentences of ours: they hold paths
        app_kwargs=served,
        footer_links=["api"],
        run_history=False,
        max_file_size="2gb" if galleries.own else "40mb",  # a zip of photos, or one photo
        _frontend=False,  # does not ask itself for the page, only to give up if a busy machine takes over three seconds
        **options,
    )
    return page


def stop(page: gr.Blocks, galleries: Galleries) -> NoReturn:
    """Ends the process: searches under way have a moment, a build goes on at the next start, visitors' photos go."""
    log.info("stopping")
    closing = threading.Thread(target=page.close, kwargs={"verbose": False}, daemon=True)
    closing.start()
    closing.join(STOP_SECONDS)
    if galleries.own:
        galleries.own.close()
    remove(own_folder())
    logging.shutdown()
    os._exit(0)  # Python would wait for threads that decode and embed


def main() -> None:
    """Starts preparing and serves the page until SIGTERM or Ctrl+C."""
    spare_cores()
    share_freed_memory()
    keep_giving_back()
    stopping = StopSignal()
    try:
        settings = Settings.from_env()
        if settings.mcp:
            require_mcp()
        port = asked_port()
    except SettingsError as error:
        sys.exit(str(error))
    if settings.network.json_log:
        log_json()
    machine.register_zero_gpu(zero_gpu=settings.zero_gpu)
    galleries = open_galleries(settings)
    galleries.start()
    page = launch(
        galleries,
        mcp=settings.mcp,
        rate=settings.rate,
        network=settings.network,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
    )
    collect_from_now()
    log.info("the page is at %s", page.local_url)
    stopping.wait()
    stop(page, galleries)


if __name__ == "__main__":
    main()
