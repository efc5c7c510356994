"""The names under which a page is served: a page on a loopback address must not answer to any other site's.

Any site may let its own name point to 127.0.0.1 (DNS rebinding); to a browser the page on the visitor's own computer is
then that site's, which may read all of it. The one thing that gives it away is the name, in `Host` and `Origin`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Sequence

from gradio.http_server import INITIAL_PORT_VALUE, LOCALHOST_NAME
from starlette.types import ASGIApp, Message, Receive, Send

from pipeline.core.errors import SettingsError
from pipeline.core.settings import of_library
from pipeline.page.server.envelope import refuse

AUTHORITY = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(\[[0-9a-f:.]+\]|[^:/@\s\[\]]+)(?::\d*)?", re.IGNORECASE)
FOREIGN_HOST = (
    b"This page answers to localhost only, and to the names in FACESEARCH_HOSTS; add the name that it is served under."
)
FOREIGN_ORIGIN = (
    b"Scripts of this site may not ask here; name its origin in FACESEARCH_ORIGINS, or where it is this page behind "
    b"a proxy, its name in FACESEARCH_HOSTS."
)
ANYWHERE = ("*",)


def asked_port() -> int | None:
    """The port that GRADIO_SERVER_PORT names, or None; SettingsError if it is taken: Gradio would take the next one."""
    if not of_library("GRADIO_SERVER_PORT"):
        return None
    family = socket.AF_INET6 if ":" in LOCALHOST_NAME else socket.AF_INET
    try:
        socket.create_server((LOCALHOST_NAME.strip("[]"), INITIAL_PORT_VALUE), family=family).close()
    except OSError as error:
        raise SettingsError(
            f"The page cannot be served on port {INITIAL_PORT_VALUE}, which GRADIO_SERVER_PORT names "
            f"({os.strerror(error.errno or 0)}); end what is served there, or name another port."
        ) from error
    return INITIAL_PORT_VALUE


def served_names(listening: str, named: Sequence[str]) -> Sequence[str]:
    """The names for `OwnHosts`: those of the setting; without it none beside localhost, or any beyond this computer."""
    return named if named or is_loopback(listening.strip("[]")) else ANYWHERE


class WithoutRoot:
    """Takes the path below which a proxy serves the page off every request's, where the proxy has left it there.

    Guards know paths without it; routes need both, see `WithRoot`.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        if scope["type"] != "lifespan" and scope["path"].startswith(f"{self._root}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self._root)}
        await self._app(scope, receive, send)


class WithRoot:
    """Puts it back: ASGI has it in `path` as well as in `root_path`, or an application that is mounted goes unfound."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        if scope["type"] != "lifespan":
            scope = {**scope, "path": self._root + scope["path"], "root_path": self._root}
        await self._app(scope, receive, send)


class OwnHosts:
    """Refuses every request under a name that is neither localhost's nor one of `names`."""

    def __init__(self, app: ASGIApp, names: Sequence[str], origins: Sequence[str] = ()) -> None:
        """`origins` are those whose scripts may ask, beside the server's own."""
        self._app = app
        self._names = frozenset(names)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        refusal = b"" if scope["type"] == "lifespan" else self._refusal(scope)
        if not refusal:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the request to connect, which closing answers with 403
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await refuse(scope, send, 403, refusal.decode())

    def _refusal(self, scope: Message) -> bytes:
        """Why not, by the headers with the name that a browser thinks it talks to; empty if it may."""
        if ANYWHERE[0] in self._names:
            return b""
        hosts, origins = (
            [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
            for wanted in (b"host", b"origin")
        )
        if not hosts or not all(map(self._is_served, hosts)):
            return FOREIGN_HOST
        own = (origin in self._origins or self._is_served(origin) for origin in origins)
        return b"" if all(own) else FOREIGN_ORIGIN

    def _is_served(self, value: str) -> bool:
        name = name_in(value)
        return name in self._names or is_loopback(name)


def name_in(value: str) -> str:
    """The name in a header `Host` or `Origin`; empty where there is none."""
    found = AUTHORITY.fullmatch(value)
    return found[1].lower().rstrip(".").strip("[]") if found else ""


def is_loopback(name: str) -> bool:
    """Whether a name or an address is always this computer's own."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
