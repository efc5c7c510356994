"""Every request, counted and with `FACESEARCH_LOG=json` written down: one line, with nothing of what was sent."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send

from pipeline.page.server.envelope import API_PATH, has_envelope
from pipeline.page.server.guard import LIVE_PATH, MCP_PATH, UPLOADS
from pipeline.search import journal

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
OURS = ("pipeline", "app", "__main__")
# By the beginning of a path, the first that fits: what stands in the log and in the figures instead of it.
DOORS = (
    (f"{API_PATH}/", "api"),
    (LIVE_PATH, "live"),
    (MCP_PATH, "mcp"),
    (UPLOADS, "upload"),
    ("/gradio_api/", "events"),
    ("/pictures/", "pictures"),
    ("/health", "health"),
    ("/metrics", "metrics"),
)


class Recorded:
    """Counts requests, and gives those of the REST interface an id, which the answer bears as `X-Request-ID`.

    Frames of Live leave no line. `known` are the paths that may stand in one: all others hold names or tokens.
    """

    def __init__(self, app: ASGIApp, count: Callable[[str, int], None], known: Collection[str], *, lines: bool) -> None:
        self._app, self._count, self._known, self._lines = app, count, frozenset(known), lines

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        door = next((name for start, name in DOORS if scope["path"].startswith(start)), "page")
        of_rest = has_envelope(scope["path"])
        entry = journal.Entry(facts={} if self._lines else None)
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if of_rest:
                    MutableHeaders(scope=message)[REQUEST_ID] = entry.request
            await send(message)

        # Elsewhere what a request starts goes on in tasks of Gradio's, which serve others too.
        own = of_rest or (door == "mcp" and self._lines)
        try:
            with journal.request(entry) if own else nullcontext():
                await self._app(scope, receive, sent)
        finally:
            self._count(door, status)
            if self._lines and door != "live":
                route = {"route": scope["path"]} if scope["path"] in self._known else {}
                facts = {"door": door, **route, "method": _method(scope), "status": status, **(entry.facts or {})}
                log.info("request", extra={"facts": facts | {"request": entry.request, "ms": entry.milliseconds}})


def _method(scope: Message) -> str:
    method = str(scope["method"])
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_json() -> None:
    """Lets the process log lines of JSON, and of libraries nothing."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
        handler.addFilter(lambda record: record.name.split(".")[0] in OURS)
