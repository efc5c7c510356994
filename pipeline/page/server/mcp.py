"""A server of the Model Context Protocol beside the page, with one tool: `search_face`.

The package `mcp` itself, and not Gradio's `launch(mcp_server=True)`: that makes a tool of every endpoint, takes photos
by their address, and answers with pictures as files, while the page fetches nothing for anybody.
"""

from __future__ import annotations

import reprlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.settings import VERSION
from pipeline.galleries.galleries import Galleries
from pipeline.page.server.face_tool import DESCRIPTION, NAME, SCHEMA, search_face
from pipeline.page.server.guard import MAX_MCP_BODY, MCP_PATH, Message, Receive, Send, read_body, unforeseen, with_body
from pipeline.search import journal

MISSING = (
    "FACESEARCH_MCP is on, but the package mcp is not installed in a version that works here; run "
    "`pip install 'mcp>=1.28.1,<2'`, or unset the variable."
)
FOREIGN = "Scripts of web pages may not use this; it is for programs."
BUSY = "The server is busy with other searches; ask again in a while."
NO_REQUEST = f"This is no request of the Model Context Protocol; call the tool {NAME} by one of its clients."
AT_ONCE, WAITING = 2, 16  # searches at the same time, as on the page; and how many may wait, each with its photo

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

    def __init__(self, galleries: Galleries) -> None:
        self._galleries = galleries
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """What a call answers; what is raised here is told to the caller as it is."""
        if name != NAME:
            raise SettingsError(f"There is no tool {reprlib.repr(name)}; call {NAME}.")
        if self._limiter is None:  # which needs the event loop that it is for
            self._limiter = anyio.CapacityLimiter(AT_ONCE)
        if self._limiter.statistics().tasks_waiting >= WAITING:
            raise SettingsError(BUSY)
        with journal.request():
            search = partial(search_face, self._galleries, given)
            try:
                return await anyio.to_thread.run_sync(search, limiter=self._limiter)
            except PipelineError as error:
                journal.refused(error)
                raise
            except Exception as error:
                raise RuntimeError(unforeseen(error)) from error


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


def mcp_server(galleries: Galleries) -> tuple[Route, Lifespan]:
    """The route at which the server answers (streamable HTTP, without sessions), and what must run while it does."""
    require_mcp()
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    server: Any = Server("reverse-face-search", VERSION)

    async def tools() -> list[Any]:
        return [types.Tool(name=NAME, description=DESCRIPTION, inputSchema=SCHEMA)]

    server.list_tools()(tools)
    server.call_tool(validate_input=False)(SearchTool(galleries))  # which has sentences for it
    manager = StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=MAX_MCP_BODY
    )

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return Route(MCP_PATH, _ForPrograms(manager.handle_request)), running
