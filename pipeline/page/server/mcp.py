"""A server of the Model Context Protocol beside the page, with one tool: `search_face`.

The package `mcp` itself, and not Gradio's `launch(mcp_server=True)`: that makes a tool of every endpoint, takes photos
by their address, and answers with pictures as files, while the page fetches nothing for anybody.
"""

from __future__ import annotations

import base64
import binascii
import reprlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipeline.core.errors import PhotoError, PipelineError, SettingsError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.core.settings import VERSION
from pipeline.galleries.ask import Question, ask
from pipeline.galleries.galleries import Galleries
from pipeline.indexes.registry import INDEXES
from pipeline.page.server.gate import Gate
from pipeline.page.server.guard import MAX_MCP_BODY, MCP_PATH, Message, Receive, Send, read_body, unforeseen, with_body
from pipeline.search import journal

NAME = "search_face"
DESCRIPTION = (
    "Find the photos of this server's gallery whose face is most like a face in the given photo, nearest first. The "
    "distance is Euclidean between unit vectors, 0 (the same photo) to 2, and compares within one recipe only. A small "
    "distance is no proof of identity, and a search answers even where the gallery does not hold the person: see "
    "`person` and `probably_absent`. Without a face in the photo, `face` is null and `hits` is empty."
)
NOT_FETCHED = "The photo is taken as base64, not from an address; read the file and send what is in it."
NOT_BASE64 = "The photo is no base64; send the file's bytes as base64, or as a data URL (data:image/jpeg;base64,...)."
# The arguments, as JSON Schema has them; those without a default must be given.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "photo": {
        "type": "string",
        "description": "A photo with a face, JPEG, PNG or WebP: the file as base64, or as a data URL. No address.",
    },
    "recipe": {
        "type": "string",
        "enum": ["", *RECIPES],
        "default": "",
        "description": "The model to search with; empty for the best one that is ready.",
    },
    "index": {
        "type": "string",
        "enum": list(INDEXES),
        "default": DEFAULT_INDEX,
        "description": "How neighbours are found; `exact` compares with every photo.",
    },
    "k": {"type": "integer", "minimum": 1, "maximum": MAX_K, "default": DEFAULT_K, "description": "How many hits."},
    "face": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": "Which face of a photo with several: 1, 2, ... by size; 0 for the largest that is surely one.",
    },
    "gallery": {
        "type": "string",
        "default": "",
        "description": "The gallery's key, of those the endpoint /galleries lists; empty for the first that is ready.",
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": ARGUMENTS,
    "required": [name for name, about in ARGUMENTS.items() if "default" not in about],
    "additionalProperties": False,
}


def search_face(galleries: Galleries, given: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as `Answer.as_json` has it; `given` are arguments as `SCHEMA` has them.

    PhotoError if the photo is none, SettingsError or GalleryError where it cannot be searched so.
    """
    asked: dict[str, Any] = {name: about.get("default") for name, about in ARGUMENTS.items()} | dict(checked(given))
    question = Question(decoded(asked["photo"]), asked["index"], asked["k"], asked["face"])
    found = ask(question, lambda: galleries.get(asked["gallery"]).searcher(asked["recipe"]))
    return found.answers[0].as_json()


def checked(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments if they fit `SCHEMA`; else SettingsError, which repeats nothing of a value: it may be megabytes."""
    if unknown := [name for name in given if name not in ARGUMENTS]:
        raise SettingsError(f"There is no argument {reprlib.repr(unknown[0])}; there are {', '.join(ARGUMENTS)}.")
    for name, about in ARGUMENTS.items():
        if name not in given and "default" not in about:
            raise SettingsError(f"The argument {name} is missing; give it.")
        if name in given and not _fits(given[name], about):
            raise SettingsError(f"The argument {name} cannot be that; {_remedy(about)}.")
    return given


def _fits(value: object, about: Mapping[str, Any]) -> bool:
    if about["type"] == "string":
        return isinstance(value, str) and value in about.get("enum", [value])
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and about["minimum"] <= value <= about.get("maximum", value)


def _remedy(about: Mapping[str, Any]) -> str:
    if "enum" in about:
        return f"choose one of {', '.join(filter(None, about['enum']))}"
    if about["type"] == "string":
        return "give a text"
    most = f"to {about['maximum']}" if "maximum" in about else "or more"
    return f"give a whole number, {about['minimum']} {most}"


def decoded(photo: str) -> bytes:
    """The bytes of a photo that is sent as base64 or as a data URL; PhotoError if it is neither."""
    head, comma, data = photo.partition(",") if photo.startswith("data:") else ("", "", photo)
    if "://" in photo[:16]:
        raise PhotoError(NOT_FETCHED)
    if comma and not head.endswith(";base64"):
        raise PhotoError(NOT_BASE64)
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PhotoError(NOT_BASE64) from error


MISSING = (
    "FACESEARCH_MCP is on, but the package mcp is not installed in a version that works here; run "
    "`pip install 'mcp>=1.28.1,<2'`, or unset the variable."
)
FOREIGN = "Scripts of web pages may not use this; it is for programs."
NO_REQUEST = f"This is no request of the Model Context Protocol; call the tool {NAME} by one of its clients."

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def require_mcp() -> None:
    """SettingsError with the remedy where the package is missing, or of version 2, which calls all things otherwise."""
    try:
        installed = version("mcp")
    except PackageNotFoundError as error:
        raise SettingsError(MISSING) from error
    if not installed.startswith("1."):
        raise SettingsError(MISSING)


class SearchTool:
    """The tool for all who call it: bounded, logged as every search is, and silent about what should not happen."""

    def __init__(self, galleries: Galleries, gate: Gate) -> None:
        self._galleries = galleries
        self._gate = gate

    async def __call__(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """What a call answers; what is raised here is told to the caller as it is."""
        if name != NAME:
            raise SettingsError(f"There is no tool {reprlib.repr(name)}; call {NAME}.")
        with journal.request():
            try:
                return await anyio.to_thread.run_sync(self._search, given)
            except PipelineError as error:
                journal.refused(error)
                raise
            except Exception as error:
                raise RuntimeError(unforeseen(error)) from error

    def _search(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._gate.turn():
            return search_face(self._galleries, given)


class _ForPrograms:
    """Lets no browser in: `Origin` comes with whatever a page's script posts, also if its host's name became ours.

    And no message that the package would refuse, for it does so in its validator's words, and logs what was sent.
    """

    def __init__(self, handle: Callable[[Message, Receive, Send], Any]) -> None:
        self._handle = handle

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if "origin" in Headers(scope=scope):
            await PlainTextResponse(FOREIGN, 403)(scope, receive, send)
            return
        if scope["method"] == "POST":
            body = await read_body(receive)
            receive = with_body(body, receive)
            if (refusal := refused(body)) is not None:
                await refusal(scope, receive, send)
                return
        await self._handle(scope, receive, send)


def refused(body: bytes) -> Response | None:
    """The answer to what is no message to a server as the protocol has it; None if it is one.

    Notifications are never answered, and those that the package does not know are passed over.
    """
    from mcp import types

    kinds = {types.JSONRPCRequest: types.ClientRequest, types.JSONRPCNotification: types.ClientNotification}
    message: Any = None
    try:
        message = types.JSONRPCMessage.model_validate_json(body).root
        kinds[type(message)].model_validate(message.model_dump(by_alias=True, mode="json", exclude_none=True))
    except (ValueError, KeyError):
        if isinstance(message, types.JSONRPCNotification):
            return Response(status_code=202)
        known = isinstance(message, types.JSONRPCRequest)
        error = {"code": types.INVALID_PARAMS if known else types.INVALID_REQUEST, "message": NO_REQUEST}
        answer = {"jsonrpc": "2.0", "id": message.id if known else None, "error": error}
        return JSONResponse(answer, 200 if known else 400)
    return None


def mcp_server(galleries: Galleries, gate: Gate) -> tuple[Route, Lifespan]:
    """The route at which the server answers (streamable HTTP, without sessions), and what must run while it does."""
    require_mcp()
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    server: Any = Server("reverse-face-search", VERSION)

    async def tools() -> list[Any]:
        return [types.Tool(name=NAME, description=DESCRIPTION, inputSchema=SCHEMA)]

    server.list_tools()(tools)
    server.call_tool(validate_input=False)(SearchTool(galleries, gate))  # which has sentences for it
    manager = StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=MAX_MCP_BODY
    )

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return Route(MCP_PATH, _ForPrograms(manager.handle_request)), running
