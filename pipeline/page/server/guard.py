"""What stands between visitors and Gradio: no fetching for them, no words but ours, no body without a limit.

Gradio's server fetches http addresses that are given as a photo, and serves any public address as `/file=https://...`.
That makes a relay of every page; and a photo would leave a trace on another server.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NoReturn

import gradio as gr
import safehttpx
from gradio.exceptions import InvalidPathError

from pipeline.search import journal

FETCHED = "Photos are taken as files, not from addresses; download the photo and upload it."
NOT_UPLOADED = "This is no photo that was uploaded here; upload it first."
NO_CHOICE = "This is none of the page's choices; the endpoint /galleries lists them."
MAX_BODY = 4_000_000  # bytes of a request that is no upload; one that names 5,000 photos has 1.5 million
UPLOADS = "/gradio_api/upload"
LIVE_PATH = "/gradio_api/live"
MCP_PATH = "/gradio_api/mcp"
MAX_MCP_BODY = 24_000_000  # the same for the tool, to which photos come as base64: one of 18 MB
PLAIN = [(b"content-type", b"text/plain")]
FOREIGN = "Frames are taken from this page only; programs have the endpoint /search."
TOO_LARGE = b"This request is too large; upload photos as files."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def refuse_fetching() -> None:
    """Makes every address that Gradio is asked to fetch an error; all its fetching for visitors goes through these."""
    for name in ("get", "async_validate_url"):
        getattr(safehttpx, name)  # an AttributeError where a new version calls them otherwise
        setattr(safehttpx, name, _refuse)


async def _refuse(*address: object, **options: object) -> NoReturn:
    raise gr.Error(FETCHED, print_exception=False)


class GuardedBlocks(gr.Blocks):
    """A page whose every error is a sentence of ours; what should not have happened is logged by kind and place."""

    async def preprocess_data(self, *request: Any, **options: Any) -> list[Any]:  # noqa: ANN401
        """The values of one event's components."""
        try:
            values: list[Any] = await super().preprocess_data(*request, **options)
            return values
        except gr.Error as error:  # Gradio's own names the value's Python type, and repeats it however long it is
            sentence = error.message if error.message == FETCHED else NO_CHOICE
            raise gr.Error(sentence, print_exception=False) from error

    async def process_api(self, *request: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Runs one event; `gr.Error` is all it raises."""
        with journal.request():
            try:
                done: dict[str, Any] = await super().process_api(*request, **options)
                return done
            except gr.Error as error:
                error.print_exception = False
                raise
            except InvalidPathError as error:
                raise gr.Error(NOT_UPLOADED, print_exception=False) from error
            except Exception as error:  # Gradio's text may hold paths, and what the visitor sent
                raise gr.Error(unforeseen(error), print_exception=False) from error


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
    """Refuses requests whose body is larger than any of the page's own; uploads have a limit of theirs."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].endswith(UPLOADS):
            await self._app(scope, receive, send)
            return
        limit = MAX_MCP_BODY if scope["path"].endswith(MCP_PATH) else MAX_BODY
        body = await read_body(receive, limit)
        if len(body) > limit:
            await send({"type": "http.response.start", "status": 413, "headers": PLAIN})
            await send({"type": "http.response.body", "body": TOO_LARGE})
            return
        await self._app(scope, with_body(body, receive), send)


async def read_body(receive: Receive, most: float = math.inf) -> bytes:
    """A request's body; of one that is larger than `most`, so much that this is seen."""
    body = b""
    while len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


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
