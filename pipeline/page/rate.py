"""A limit to how many searches one visitor may start in a minute, for pages that strangers reach.

A visitor is an address: a page has no names. Behind a proxy, as on a Hugging Face Space, every request comes from the
proxy, and the visitor's address is what the proxy wrote last into X-Forwarded-For; what stands before that was sent
along, and may be invented. Where no proxy is known, the header is not looked at.

Not counted: frames of the tab "Live", which is busy with one at a time and drops the others, and calls of the MCP tool.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Iterable

import gradio as gr

from pipeline.page.guard import Application, Message, Receive, Send, read_body, with_body
from pipeline.page.parts import SEARCH
from pipeline.settings import Rate

MOST_VISITORS = 10_000  # who are remembered; the one who was away longest is forgotten first
EVENT = re.compile(r"/(queue/join|(call|call/v2|run|api)/[^/]+)/?$")  # Gradio's roads to a function
NETWORK_BITS = 64  # of an IPv6 address: the rest anybody may choose anew for every request


def sentence(a_minute: int, wait: int) -> str:
    """What a visitor is told who has to wait so many seconds."""
    return f"This page takes {a_minute} searches a minute from one visitor; try again in {wait} s."


class RateLimit:
    """Refuses what would start a search, with 429 and one sentence, where a visitor has started too many.

    Each visitor has a minute's searches to begin with, and gets them back evenly over a minute.
    """

    def __init__(self, app: Application, page: gr.Blocks, rate: Rate) -> None:
        """Searches are the events of `page` that wait in the queue for searching."""
        self._app = app
        self._rate = rate
        searches = [event for event in page.fns.values() if event.concurrency_id == SEARCH["concurrency_id"]]
        self._numbers = {event._id for event in searches}
        self._names = {event.api_name for event in searches if event.api_name}
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # searches left, and when that was

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another; the body's size is limited already."""
        if scope["type"] != "http" or scope["method"] != "POST" or EVENT.search(scope["path"]) is None:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        wait = self._wait(self._visitor(scope)) if self._is_search(scope["path"], body) else 0
        if not wait:
            await self._app(scope, with_body(body, receive), send)
            return
        headers = [(b"content-type", b"application/json"), (b"retry-after", str(wait).encode())]
        said = json.dumps({"detail": sentence(self._rate.a_minute, wait)}).encode()
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": said})

    def _is_search(self, path: str, body: bytes) -> bool:
        if path.rstrip("/").rsplit("/", 1)[-1] in self._names:
            return True
        try:
            return int(json.loads(body)["fn_index"]) in self._numbers
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # no event at all: Gradio says so
            return False

    def _visitor(self, scope: Message) -> str:
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if self._rate.behind_proxy:
            forwarded = _values(scope["headers"], b"x-forwarded-for")
            address = forwarded.rsplit(",", 1)[-1].strip() or address
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return ""  # all of whom nothing is known are one
        if isinstance(known, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((known, NETWORK_BITS), strict=False))
        return str(known)

    def _wait(self, visitor: str) -> int:
        """Counts a search; the seconds until the visitor may start one, 0 if that is now."""
        now, most = time.monotonic(), self._rate.a_minute
        left, since = self._left.pop(visitor, (float(most), now))
        left = min(most, left + (now - since) * most / 60)
        self._left[visitor] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._left) > MOST_VISITORS:
            self._left.popitem(last=False)
        return 0 if left >= 1 else math.ceil((1 - left) * 60 / most)


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    """The values of all headers of that name, as if they were one."""
    return ",".join(value.decode("latin-1") for name, value in headers if name.lower() == wanted)
