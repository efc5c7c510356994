"""What stands between visitors and Gradio: no fetching for them, no words but ours, no body without a limit.

Gradio's server fetches http addresses that are given as a photo, and serves any public address as `/file=https://...`.
That makes a relay of every page; and a photo would leave a trace on another server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import gradio as gr
import safehttpx
from gradio.exceptions import InvalidPathError
from gradio.route_utils import GradioMultiPartParser
from gradio.utils import get_function_params
from gradio_client.utils import is_file_obj_with_meta  # type: ignore[import-untyped]
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send

from pipeline.core.errors import PhotoError, PipelineError, SettingsError
from pipeline.galleries.ask import FETCHED
from pipeline.page.server.envelope import API_PATH, refuse
from pipeline.search import journal

NOT_UPLOADED = "This is no photo that was uploaded here; upload it first."
NO_UPLOAD = (
    "A photo is sent as a file that was uploaded: POST it to /gradio_api/upload, and send "
    '{"path": ..., "meta": {"_type": "gradio.FileData"}} with the path that comes back.'
)
TOO_FEW = "Values are missing; send as many as the endpoint takes, in its order: {}."
CALL_V2 = "/call/v2/"
MAX_BODY = 4_000_000  # bytes of a request that is no upload; one that names 5,000 photos has 1.5 million
UPLOADS = "/gradio_api/upload"
LIVE_PATH = "/gradio_api/live"
MCP_PATH = "/gradio_api/mcp"
MAX_MCP_BODY = 24_000_000  # the same for the tool, to which photos come as base64: one of 18 MB
API_UPLOADS = f"{API_PATH}/v1/own/photos"
MAX_API_BODY = 42_500_000  # a photo of 40 MB as a form, one of 30 MB as base64
FOREIGN = "Frames are taken from this page only; programs have the endpoint /search."
TOO_LARGE = b"This request is too large; upload photos as files."
TOO_LARGE_PHOTO = b"This request is too large; a photo may have up to 40 MB, or 30 MB as base64."
TOO_LARGE_UPLOAD = b"These files are too large; upload fewer, or smaller ones."
NO_LENGTH = b"An upload must say how large it is; send the header Content-Length."
TOO_MANY = b"The server is busy with other requests; ask again in a while."
LONG_SESSION = b"The name of this session is too long; leave session_hash out, or give a short one."
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
MAX_DRAINED = 64_000_000  # bytes that are read of what is refused
MAX_HELD = 200_000_000  # bytes of bodies in memory at the same time, of all visitors
SMALL_BODY = 65_536  # is taken whatever else there is: the server itself reads that much ahead
MAX_SESSION = 100  # characters; Gradio's own have 11
MAX_FIELD = 4096  # bytes; the page's uploads have no fields at all, and a form may have a thousand


def refuse_fetching() -> None:
    """Makes every address that Gradio is asked to fetch an error; all its fetching for visitors goes through these."""
    for name in ("get", "async_validate_url"):
        getattr(safehttpx, name)  # an AttributeError where a new version calls them otherwise
        setattr(safehttpx, name, _refuse)


async def _refuse(*address: object, **options: object) -> NoReturn:
    raise gr.Error(FETCHED, print_exception=False)


class GuardedBlocks(gr.Blocks):
    """A page whose every error is a sentence of ours; what should not have happened is logged by kind and place."""

    async def process_api(self, *request: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Runs one event; `gr.Error` is all it raises."""
        with journal.request():
            try:
                done: dict[str, Any] = await super().process_api(*request, **options)
                return done
            except gr.Error as error:
                error.print_exception = False
                raise
            except PipelineError as error:
                journal.refused(error)
                raise gr.Error(str(error), print_exception=False) from error
            except InvalidPathError as error:
                raise gr.Error(NOT_UPLOADED, print_exception=False) from error
            except Exception as error:  # Gradio's text may hold paths, and what the visitor sent
                raise gr.Error(unforeseen(error), print_exception=False) from error

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:  # noqa: ANN401
        """SettingsError where too few values were sent, PhotoError where a photo is none that Gradio has looked at.

        It looks only at files that say they are one, and takes the path of any: whoever leaves that out would have the
        server read a file of its own.
        """
        if len(inputs) < len(block_fn.inputs):
            names = [name for name, *_ in get_function_params(block_fn.fn)]
            raise SettingsError(TOO_FEW.format(", ".join(names)))
        for component, value in zip(block_fn.inputs, inputs, strict=False):
            sent = value if isinstance(value, list) else [] if value is None else [value]
            if isinstance(component, gr.Image | gr.File) and not all(map(_is_file, sent)):
                raise PhotoError(NO_UPLOAD)


def _is_file(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("meta"), dict) and is_file_obj_with_meta(value)


async def no_such_call(request: Request, error: Exception) -> Response:
    """The answer to names that are none of an endpoint's, for which Gradio's second interface has a traceback."""
    if CALL_V2 not in request.url.path:
        raise error
    said = f"There is no such endpoint, or it takes other names; GET {request.url.path.split('/call')[0]}/info."
    return PlainTextResponse(said, 404 if isinstance(error, KeyError) else 422)


def unforeseen(error: Exception) -> str:
    """What visitors are told of an error that should not have happened; it is logged by kind and place."""
    return f"This did not work; try again. The server's log says more under {journal.failed(error)}."


def from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a script of this page sent the request, and none of another site's that is open beside it.

    A camera is given only to pages whose requests bear `Sec-Fetch-Site`; older browsers and programs say who they are
    by `Origin`, or not at all, and have no camera here.
    """
    site = headers.get("sec-fetch-site")
    return site == "same-origin" if site else headers.get("origin", "").split("://")[-1] == headers.get("host")


class BodyLimit:
    """Refuses requests whose body is larger than any of the page's own, and those that together fill the memory.

    Uploads go to the disk as they come: they say how large they are, and are no larger than `most_upload` bytes.
    """

    def __init__(self, app: ASGIApp, most_upload: int) -> None:
        self._app = app
        self._most_upload = most_upload
        self._held = 0  # bytes of bodies in memory

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        if scope["type"] != "http" or scope["method"] in WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        path, size = scope["path"], size_of(scope)
        upload = scope["method"] == "POST" and is_upload(path)
        limit, too_large = (self._most_upload, TOO_LARGE_UPLOAD) if upload else _bound(path)
        if refusal := self._refusal(size, limit, too_large, upload=upload):
            await drain(receive)
            status, said = refusal
            await refuse(scope, send, status, said.decode())
        elif upload:
            await self._app(scope, receive, send)
        else:
            self._held += (held := limit if size is None else size)
            try:
                await self._hand_on(scope, receive, send, limit, too_large)
            finally:
                self._held -= held

    def _refusal(self, size: int | None, limit: int, too_large: bytes, *, upload: bool) -> tuple[int, bytes] | None:
        """The status and the sentence for a request of so many bytes; None if it may come."""
        if size is None and upload:
            return 411, NO_LENGTH
        if size is not None and size > limit:
            return 413, too_large
        wanted = limit if size is None else size
        full = not upload and wanted > SMALL_BODY and self._held + wanted > MAX_HELD
        return (503, TOO_MANY) if full else None

    async def _hand_on(self, scope: Message, receive: Receive, send: Send, limit: int, too_large: bytes) -> None:
        body = await read_body(receive, limit)
        if len(body) > limit:
            await refuse(scope, send, 413, too_large.decode())
        elif limit == MAX_BODY and len(body) > SMALL_BODY and not _is_short(body):
            await refuse(scope, send, 413, LONG_SESSION.decode())
        else:
            await self._app(scope, with_body(body, receive), send)


def _bound(path: str) -> tuple[int, bytes]:
    """How many bytes a request may have that is no upload, and what is said of one with more."""
    if path.endswith(MCP_PATH):
        return MAX_MCP_BODY, TOO_LARGE
    return (MAX_API_BODY, TOO_LARGE_PHOTO) if is_api(path) else (MAX_BODY, TOO_LARGE)


def is_api(path: str) -> bool:
    """Whether a path is of the REST interface."""
    return path.startswith(f"{API_PATH}/")


def is_upload(path: str) -> bool:
    """Whether what is posted to a path goes to the disk."""
    return path.endswith((UPLOADS, API_UPLOADS))


def size_of(scope: Message) -> int | None:
    """How large a request says its body is, in bytes; None if it does not. (The server holds it to that.)"""
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(value) if value.isdigit() else None


async def drain(receive: Receive) -> None:
    """Reads what is left of a body, and keeps nothing of it: who is still sending would not hear an answer."""
    left = MAX_DRAINED
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _is_short(body: bytes) -> bool:
    """Whether the session's name is no longer than Gradio's: it is remembered long after the request."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):  # no JSON: Gradio says so, the other routes take what it is
        return True
    return not isinstance(asked, dict) or len(str(asked.get("session_hash", ""))) <= MAX_SESSION


def bound_forms() -> None:
    """Lets no field of a form be larger than `MAX_FIELD`: Gradio bounds files and headers, and has fields in memory."""
    take = GradioMultiPartParser.on_part_data
    if getattr(take, "bounded", False):
        return

    def taken(self: GradioMultiPartParser, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > MAX_FIELD:
            raise MultiPartException(f"A form field exceeds the maximum allowed size of {MAX_FIELD:,} bytes.")
        take(self, data, start, end)

    taken.bounded = True  # type: ignore[attr-defined]
    GradioMultiPartParser.on_part_data = taken  # type: ignore[method-assign]


async def read_body(receive: Receive, most: float = math.inf) -> bytes:
    """A request's body; of one that is larger than `most`, so much that this is seen."""
    body = bytearray()
    while len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


def with_body(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, and then whatever follows."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
