"""The REST interface as routes for the page's server: `/api` with its description, `/health`, `/metrics`."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from pipeline.core.settings import VERSION
from pipeline.galleries.galleries import Galleries
from pipeline.page.rest import listing, own, searching
from pipeline.page.rest.door import Beside, Door, Json, answer_by_envelope
from pipeline.page.rest.metrics import Metrics
from pipeline.page.server.envelope import API_PATH
from pipeline.page.server.gate import Gate

HEALTH_PATH = "/health"
VERSIONED = "/v1"
ANSWERING = ("ok", "degraded")
ABOUT = """Find the photos of a gallery whose face is most like a face in yours.

Distances are Euclidean between unit vectors, 0 to 2, and compare within one recipe only. A small distance is no proof
of identity, and a search answers even where the gallery does not hold the person: see `person` and `probably_absent`.
"""


def known_paths(routes: Sequence[BaseRoute]) -> list[str]:
    """The paths of the interface's description, which hold nothing of anybody's."""
    described = [route.app for route in routes if isinstance(route, Mount) and isinstance(route.app, FastAPI)]
    return [f"{API_PATH}{path}" for app in described for path in app.openapi()["paths"]]


def rest_routes(galleries: Galleries, gate: Gate, metrics: Metrics) -> Sequence[BaseRoute]:
    """All of them."""
    app = FastAPIOffline(
        title="Reverse Face Search", version=VERSION, description=ABOUT, redoc_url=None, openapi_url="/openapi.json"
    )
    door = Door(gate)
    for router in (searching.routes(galleries, door), listing.routes(galleries, door), own.routes(galleries, door)):
        app.include_router(router, prefix=VERSIONED)
    answer_by_envelope(app)
    return [Mount(API_PATH, app), _health(galleries), metrics.route()]


def _health(galleries: Galleries) -> Route:
    def tell(_: Request) -> Response:
        told = galleries.health()
        return Json(told, 200 if told["status"] in ANSWERING else 503)

    return Beside(HEALTH_PATH, tell)
