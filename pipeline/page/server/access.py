"""Who may come: this computer, whoever has a token or has logged in, or everybody where a setting says so.

One guard stands before all routes. Gradio's own login leaves out the routes that were added to it, and some of its own.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

import gradio as gr
from gradio import routes as gradio_routes
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send

from pipeline.core.network import Access, Network, digest_of
from pipeline.page.server.envelope import refuse
from pipeline.page.server.hosts import is_loopback, name_in

HEALTH_PATH = "/health"
STARTUP = "/gradio_api/startup-events"  # which Gradio asks itself for before the page is there
# What the login itself consists of; of the page only Gradio's form is given to who has not logged in.
LOGIN_PATHS = ("/", "/login", "/login/", "/logout", "/theme.css", "/gradio_api/theme.css", "/favicon.ico")
LOGIN_FOLDERS = ("/assets/", "/static/", "/svelte/")
STRANGER = (
    "This server answers to its own computer only; set FACESEARCH_TOKENS, FACESEARCH_AUTH or FACESEARCH_PUBLIC=on "
    "where it runs."
)
NO_TOKEN = "Only who has a token or has logged in may use this; send the token as `Authorization: Bearer TOKEN`."
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")  # what a proxy adds
SAFE = ("GET", "HEAD")
CORS = "CustomCORSMiddleware"


class Guarded:
    """Lets nobody in but those of `access`; `/health` is for everybody."""

    def __init__(self, app: ASGIApp, page: gr.Blocks, access: Access, proxies: tuple[str, ...]) -> None:
        """`page` is Gradio's, which knows who has logged in; `proxies` are those whose headers count."""
        self._app, self._page, self._access, self._proxies = app, page, access, proxies
        self._program = secrets.token_urlsafe()  # what a token's holder has instead of having logged in

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        access = self._access
        if scope["type"] == "lifespan" or scope["path"] == HEALTH_PATH:
            await self._app(scope, receive, send)
        elif not (access.tokens or access.logins):
            if access.public or is_local(scope, self._proxies):
                await self._app(scope, receive, send)
            else:
                await refuse_any(scope, receive, send, 403, STRANGER)
        elif has_token(scope, access.tokens):
            await self._app(self._as_logged_in(scope), receive, send)
        elif self._may_pass(scope):
            await self._app(scope, receive, send)
        else:
            await refuse_any(scope, receive, send, 401, NO_TOKEN)

    def _may_pass(self, scope: Message) -> bool:
        """Whether who sent this has logged in, or is about to."""
        path = scope["path"]
        if path == STARTUP:
            return is_local(scope, self._proxies)
        if not self._access.logins:
            return False
        return path in LOGIN_PATHS or path.startswith(LOGIN_FOLDERS) or self._has_logged_in(scope)

    def _has_logged_in(self, scope: Message) -> bool:
        connection, app = HTTPConnection(scope), self._page.app
        names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
        known = any(app.tokens.get(connection.cookies.get(name)) is not None for name in names)
        # Browsers add the cookie to what another site's script sends, too.
        return known and (scope.get("method") in SAFE or not _by_another_site(connection.headers))

    def _as_logged_in(self, scope: Message) -> Message:
        """The request with the cookie that Gradio asks for, where it has a login."""
        if not self._access.logins:
            return scope
        app = self._page.app
        app.tokens.setdefault(self._program, "program")
        cookie = f"access-token-{app.cookie_id}={self._program}"
        others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        return {**scope, "headers": [*others, (b"cookie", cookie.encode())]}


async def refuse_any(scope: Message, receive: Receive, send: Send, status: int, said: str) -> None:
    """Refuses a request, or a connection of a web socket."""
    if scope["type"] == "websocket":
        await receive()  # the request to connect, which closing answers with 403
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await refuse(scope, send, status, said)


def has_token(scope: Message, tokens: Mapping[str, bytes]) -> bool:
    """Whether a request bears one of the tokens; how long that takes does not tell which letters are right."""
    kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    sent = digest_of(token.strip())
    found = [hmac.compare_digest(sent, known) for known in tokens.values()]
    return kind.lower() == "bearer" and any(found)


def may_log_in(logins: Mapping[str, bytes], user: str, password: str) -> bool:
    """What Gradio's login asks."""
    return hmac.compare_digest(digest_of(password), logins.get(user, b""))


def is_local(scope: Message, proxies: tuple[str, ...] = ()) -> bool:
    """Whether a request comes from this computer, to this computer, and by no proxy but the trusted ones."""
    headers, client = Headers(scope=scope), scope.get("client")
    if not client or not is_loopback(str(client[0])):
        return False
    by_proxy = any(name in headers for name in FORWARDED)
    return is_loopback(name_in(headers.get("host", ""))) and (bool(proxies) or not by_proxy)


def _by_another_site(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site:
        return site not in ("same-origin", "none")
    return origin is not None and origin.split("://")[-1] != headers.get("host")


def share_with(network: Network) -> None:
    """Lets scripts of these origins alone read answers: Gradio lets those of any site, with the visitor's cookies.

    To be called before the page is launched.
    """
    getattr(gradio_routes, CORS)  # an AttributeError where a new version calls it otherwise

    def shared(app: ASGIApp, **_: object) -> ASGIApp:
        if not network.origins:
            return app
        return CORSMiddleware(
            app,
            allow_origins=network.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-gallery"],
            expose_headers=["retry-after", "x-request-id"],
        )

    setattr(gradio_routes, CORS, shared)
