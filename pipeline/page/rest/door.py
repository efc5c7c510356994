"""How every route of the REST interface answers: after a turn at the gate, in JSON, or by the one envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.core.errors import PipelineError
from pipeline.page.rest import models
from pipeline.page.server.envelope import CODES, envelope, headers_of, status_of
from pipeline.page.server.gate import Gate
from pipeline.page.server.guard import unforeseen
from pipeline.search import journal

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Refusal, "description": code.replace("_", " ")} for status, (code, _) in CODES.items()
}
FAILED, WRONG_METHOD = 500, 405
SEARCHES = "photos"  # the tag of the routes that search


class Json(JSONResponse):
    """A body of JSON, which nobody on the way is to keep: it may be about photos of one's own."""

    def __init__(self, content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status, {"cache-control": "no-store"} | dict(headers or {}))


class Door:
    """Does what the routes ask for, bounded by the gate that all doors share."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def answered(self, work: Callable[[], Mapping[str, Any]], status: int = 200, *, quick: bool = False) -> Json:
        """What the work gives, done in a thread; `quick` work neither decodes nor searches, and takes no turn."""
        try:
            return Json(await run_in_threadpool(work if quick else self._gate.turn()(work)), status)
        except PipelineError:
            raise
        except Exception as error:
            raise HTTPException(FAILED, unforeseen(error)) from error


class Beside(Route):
    """A route beside the application, which has the envelope for other methods, too."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or says that the method is another."""
        allowed = self.methods or set()
        if scope["method"] in allowed:
            await super().handle(scope, receive, send)
        else:
            headers = {"allow": ", ".join(sorted(allowed))}
            await _refusal(WRONG_METHOD, "Method Not Allowed", headers)(scope, receive, send)


def answer_by_envelope(app: FastAPI) -> None:
    """Lets every refusal of the application be an envelope."""

    @app.exception_handler(PipelineError)
    def refused(request: Request, error: PipelineError) -> Json:
        if SEARCHES in getattr(request.scope.get("route"), "tags", ()):
            journal.refused(error)
        return _refusal(status_of(error), str(error))

    @app.exception_handler(HTTPException)
    def not_routed(request: Request, error: HTTPException) -> Json:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == WRONG_METHOD:  # the router names those of the first route of this path
            path = request.scope["path"].removeprefix(request.scope["root_path"])
            described = app.openapi()["paths"].get(path, {})
            headers |= {"allow": ", ".join(method.upper() for method in described)} if described else {}
        return _refusal(error.status_code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    def not_valid(_: Request, error: RequestValidationError) -> Json:
        wrong = error.errors()[0]
        return _refusal(400, f"The field {wrong['loc'][-1]!r} cannot be that: {wrong['msg']}; correct it.")


def _refusal(status: int, said: str, headers: Mapping[str, str] | None = None) -> Json:
    return Json(envelope(status, said), status, headers_of(status) | dict(headers or {}))
