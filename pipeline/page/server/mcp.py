"""A server of the Model Context Protocol beside the page, with one tool: `search_face`.

By the package `mcp`'s own server, and not Gradio's `launch(mcp_server=True)`: that makes a tool of every endpoint,
takes photos by their address, and answers with pictures as files, while the page fetches nothing for anybody.
"""

from __future__ import annotations

import base64
import binascii
import json
import reprlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import anyio
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Send

from pipeline.core.errors import PhotoError, PipelineError, SettingsError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.galleries.ask import Question, ask
from pipeline.galleries.galleries import Galleries
from pipeline.indexes.registry import INDEXES
from pipeline.page.server.gate import Gate
from pipeline.page.server.guard import MAX_MCP_BODY, MCP_PATH, read_body, unforeseen, with_body
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
# Recipes and indexes are known when this runs only.
Recipe: Any = Literal[tuple(["", *RECIPES])]
Index: Any = Literal[tuple(INDEXES)]


class Asked(BaseModel, extra="forbid", strict=True):
    """The tool's arguments."""

    photo: str = Field(
        description="A photo with a face, JPEG, PNG or WebP: the file as base64, or as a data URL. No address."
    )
    recipe: Recipe = Field("", description="The model to search with; empty for the best one that is ready.")
    index: Index = Field(DEFAULT_INDEX, description="How neighbours are found; `exact` compares with every photo.")
    k: int = Field(DEFAULT_K, ge=1, le=MAX_K, description="How many hits.")
    face: int = Field(
        0, ge=0, description="Which face of several: 1, 2, ... by size; 0 for the largest that is surely one."
    )
    gallery: str = Field(
        "", description="The gallery's key, of those the endpoint /galleries lists; empty for the first that is ready."
    )


SCHEMA = Asked.model_json_schema()


def search_face(galleries: Galleries, given: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as `Answer.as_json` has it; `given` are arguments as `Asked` has them.

    PhotoError if the photo is none, SettingsError or GalleryError where it cannot be searched so.
    """
    try:
        asked = Asked.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_why_not(error)) from error
    question = Question(decoded(asked.photo), asked.index, asked.k, asked.face)
    found = ask(question, lambda: galleries.get(asked.gallery).searcher(asked.recipe))
    return found.answers[0].as_json()


def _why_not(error: ValidationError) -> str:
    """One sentence, which repeats nothing of a value: it may be megabytes."""
    wrong = error.errors()[0]
    name = str(wrong["loc"][0])
    if wrong["type"] == "extra_forbidden":
        return f"There is no argument {reprlib.repr(name)}; there are {', '.join(Asked.model_fields)}."
    if wrong["type"] == "missing":
        return f"The argument {name} is missing; give it."
    about = SCHEMA["properties"][name]
    if "enum" in about:
        remedy = f"choose one of {', '.join(filter(None, about['enum']))}"
    elif about["type"] == "string":
        remedy = "give a text"
    else:
        most = f"to {about['maximum']}" if "maximum" in about else "or more"
        remedy = f"give a whole number, {about['minimum']} {most}"
    return f"The argument {name} cannot be that; {remedy}."


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
    "`pip install 'mcp>=1.28.1,<3'`, or unset the variable."
)
FOREIGN = "Scripts of web pages may not use this; it is for programs."
NO_REQUEST = f"This is no request of the Model Context Protocol; call the tool {NAME} by one of its clients."

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[Any]]


def require_mcp() -> None:
    """SettingsError with the remedy where the package is missing, or of a version that this was not tested with."""
    try:
        installed = version("mcp")
    except PackageNotFoundError as error:
        raise SettingsError(MISSING) from error
    if not installed.startswith(("1.", "2.")):
        raise SettingsError(MISSING)


class SearchTool:
    """The tool for all who call it: bounded, logged as every search is, and silent about what should not happen."""

    def __init__(self, galleries: Galleries, gate: Gate) -> None:
        self._search = gate.turn()(partial(search_face, galleries))

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


class _ForPrograms:
    """Lets no browser in: `Origin` comes with whatever a page's script posts, also if its host's name became ours.

    And no message that the package would refuse, for it does so in its validator's words, and logs what was sent.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app

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
        await self._app(scope, receive, send)


def refused(body: bytes) -> Response | None:
    """The answer to what is no message to a server as the protocol has it; None if it is one.

    Notifications are never answered, and those that the package does not know are passed over.
    """
    from mcp import types

    kinds: dict[type, Any] = {
        types.JSONRPCRequest: types.ClientRequest,
        types.JSONRPCNotification: types.ClientNotification,
    }
    message: Any = None
    try:
        message = TypeAdapter(types.JSONRPCMessage).validate_json(body)
        message = getattr(message, "root", message)  # version 1 has it in another model
        plain = message.model_dump(by_alias=True, mode="json", exclude_none=True)
        TypeAdapter(kinds[type(message)]).validate_python(plain)
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
    app = _application(SearchTool(galleries, gate))
    return Route(MCP_PATH, _ForPrograms(app)), lambda _: app.router.lifespan_context(app)


def _application(search: SearchTool) -> Starlette:
    """The package's own server, which takes arguments as they are: `Asked` has sentences for them."""
    from mcp import types
    from mcp.server.transport_security import TransportSecuritySettings

    is_first = version("mcp").startswith("1.")
    Server: Any = import_module("mcp.server.fastmcp").FastMCP if is_first else import_module("mcp.server").MCPServer

    class Searching(Server):  # type: ignore[misc]
        async def list_tools(self) -> list[types.Tool]:
            return [types.Tool(name=NAME, description=DESCRIPTION, inputSchema=SCHEMA)]

        async def call_tool(self, name: str, arguments: dict[str, Any], *_: object) -> types.CallToolResult:
            try:
                found = await search(name, arguments)
            except (PipelineError, RuntimeError) as error:
                text = types.TextContent(type="text", text=str(error))
                return types.CallToolResult(content=[text], isError=True)
            text = types.TextContent(type="text", text=json.dumps(found))
            return types.CallToolResult(content=[text], structuredContent=found)

    options: dict[str, Any] = {
        "streamable_http_path": MCP_PATH,
        "json_response": True,
        "stateless_http": True,
        "max_request_body_size": MAX_MCP_BODY,
        # The page's own guard knows its names.
        "transport_security": TransportSecuritySettings(enable_dns_rebinding_protection=False),
    }
    server = Searching("reverse-face-search", **(options if is_first else {}))
    application: Starlette = server.streamable_http_app(**({} if is_first else options))
    return application
