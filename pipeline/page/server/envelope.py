"""How the REST interface says that there is no answer: one envelope, with the status that fits each error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope, Send

from pipeline.core.errors import (
    GalleryDamaged,
    GalleryError,
    GalleryMissing,
    GalleryStale,
    NotReady,
    PhotoError,
    PhotoOutOfReach,
    PipelineError,
    SettingsError,
    Unknown,
)
from pipeline.search import journal

API_PATH = "/api"
BESIDE = ("/health", "/metrics")  # what belongs to the REST interface and does not lie below its path

# The first that fits. What is none of these is beyond the caller's power, and 503: the same request may succeed later.
STATUSES: tuple[tuple[tuple[type[PipelineError], ...], int], ...] = (
    ((PhotoOutOfReach, GalleryMissing, GalleryStale, GalleryDamaged), 503),
    ((NotReady,), 409),
    ((Unknown, GalleryError), 404),  # the latter: a recipe that is not to be had for this gallery, or on this server
    ((SettingsError,), 400),
    ((PhotoError,), 415),
)
# By status: a word for programs, and what to do where the sentence does not say it.
CODES: Mapping[int, tuple[str, str]] = {
    400: ("invalid", "Correct the request; /api/docs says what it may hold."),
    401: ("no_token", "Send a token of FACESEARCH_TOKENS as `Authorization: Bearer TOKEN`."),
    403: ("forbidden", "Ask whoever runs this server."),
    404: ("not_found", "See /api/v1/galleries for what can be searched, and /api/docs for what can be asked."),
    405: ("wrong_method", "See /api/docs."),
    409: ("preparing", "Ask again in a while; /health says how far it is."),
    411: ("no_length", "Send the header Content-Length."),
    413: ("too_large", "Send a smaller photo, or fewer."),
    415: ("no_photo", "Send a JPEG, HEIC, PNG, WebP or AVIF."),
    422: ("no_face", "Send a photo that shows a face, or choose a recipe for whole photos."),
    429: ("too_many", "Ask again after the seconds that Retry-After says."),
    500: ("failed", "Try again; the server's log says more under the request's id."),
    503: ("unavailable", "Ask again after the seconds that Retry-After says."),
}
RETRY_SECONDS = 5
SAID = 500  # characters of a sentence, which may repeat a name that was sent


class Refused(PipelineError):
    """A request that gets no answer, with a status of its own."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def status_of(error: PipelineError) -> int:
    """The status that fits an error."""
    if isinstance(error, Refused):
        return error.status
    return next((status for kinds, status in STATUSES if isinstance(error, kinds)), 503)


def envelope(status: int, said: str) -> dict[str, Any]:
    """The body: a word for programs, the cause, the remedy, and the request's id, under which the log has it."""
    code, remedy = CODES.get(status, CODES[500])
    said = said if said.endswith(".") else f"{said}."
    cause, semicolon, own_remedy = said[:SAID].partition("; ")
    if semicolon:
        cause, remedy = f"{cause}.", f"{own_remedy[:1].upper()}{own_remedy[1:]}"
    return {"error": {"code": code, "message": cause, "remedy": remedy, "request": journal.turned_away(status)}}


def headers_of(status: int, wait: int = 0) -> dict[str, str]:
    """The headers that belong to a status: when to ask again, or how to say who asks."""
    if status in (429, 503):
        return {"retry-after": str(wait or RETRY_SECONDS)}
    return {"www-authenticate": "Bearer"} if status == 401 else {}


def has_envelope(path: str) -> bool:
    """Whether a path is of the REST interface."""
    return path.startswith(f"{API_PATH}/") or path in BESIDE


async def refuse(scope: Scope, send: Send, status: int, said: str, wait: int = 0) -> None:
    """Refuses a request of any route: of the REST interface by its envelope, of others by the sentence alone."""
    if has_envelope(scope.get("path", "")):
        kind, body = "application/json", json.dumps(envelope(status, said)).encode()
    else:
        kind, body = "text/plain", said.encode()
    headers = {"content-type": kind} | headers_of(status, wait)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
