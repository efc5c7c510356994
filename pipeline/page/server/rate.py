"""A limit to how many searches one visitor may start in a minute, for pages that strangers reach.

A visitor is an address: a page has no names. Behind a proxy every request comes from the proxy, and the visitor's
address is what the proxy wrote last into X-Forwarded-For; what stands before that was sent along, and may be invented.
On a Hugging Face Space the last word is taken from whoever sends it; elsewhere the server itself reads the header, of
the proxies that a setting names (`trust_proxies`) and of nobody else.

Uploads have a limit in bytes also where there is none to searches: they lie on the disk until they are swept.

A call of the MCP tool is a search, and so is whatever is posted to the REST interface. Frames of the tab "Live" have
an allowance of their own, or a minute of it would be all of a visitor's searches, and without one a stranger could
keep the processor busy with them for ever.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import gradio as gr
from starlette.types import ASGIApp, Message, Receive, Send

from pipeline.core.network import Rate
from pipeline.page.parts import SEARCH
from pipeline.page.server.envelope import API_PATH, refuse
from pipeline.page.server.guard import LIVE_PATH, MCP_PATH, drain, is_api, is_upload, read_body, size_of, with_body

MOST_VISITORS = 10_000  # who are remembered; the one who was away longest is forgotten first
EVENT = re.compile(r"/(queue/join|(call|call/v2|run|api)/[^/]+)/?$")  # Gradio's roads to a function
AN_HOUR = 3600
PEOPLE_PATH = f"{API_PATH}/v1/people"  # groups a gallery's faces, or lists all of them
LOGIN, LOGINS = "/login", 10  # in a minute, whatever the rate: passwords may be guessed
UPLOAD_BYTES = 1_000_000  # for each search of an hour: what a photo has
UNRATED_BYTES = 20_100_000_000  # of an hour where searches have no limit: all that is ever dropped at once
FRAMES = 10  # for each search; at 60 searches a minute that is ten a second, about what two cores answer
NETWORK_BITS = 64  # of an IPv6 address: the rest anybody may choose anew for every request


def sentence(a_minute: int, wait: int, what: str = "searches") -> str:
    """What a visitor is told who has to wait so many seconds."""
    return f"This page takes {a_minute} {what} a minute from one visitor; try again in {wait} s."


class Allowance:
    """So much in a time for each visitor: all of it at first, and what is used comes back evenly over that time."""

    def __init__(self, most: int, seconds: int = 60) -> None:
        self.most, self.seconds = most, seconds
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how much is left, and when that was

    def __len__(self) -> int:
        return len(self._left)

    def wait(self, visitor: str, wanted: int = 1) -> int:
        """Takes so much; the seconds until the visitor may have it, 0 if that is now."""
        now, most = time.monotonic(), self.most
        left, since = self._left.pop(visitor, (float(most), now))
        left = min(most, left + (now - since) * most / self.seconds)
        self._left[visitor] = (max(left - wanted, 0.0) if left >= wanted else left, now)
        if len(self._left) > MOST_VISITORS:
            self._left.popitem(last=False)
        return 0 if left >= wanted else math.ceil((wanted - left) * self.seconds / most)


class RateLimit:
    """Refuses in one sentence what would start a search where a visitor has started too many, and too large uploads."""

    def __init__(self, app: ASGIApp, page: gr.Blocks, rate: Rate, most_upload: int) -> None:
        """Searches are the events of `page` that wait in the queue for searching; `most_upload` is in bytes.

        Without a rate only the bytes of uploads are limited.
        """
        self._app = app
        self._behind_proxy, self._is_rated = rate.behind_proxy, bool(rate.a_minute)
        self.searches, self.frames = Allowance(rate.a_minute), Allowance(rate.a_minute * FRAMES)
        self.uploads, self.logins = Allowance(rate.a_minute), Allowance(LOGINS)
        most = rate.a_minute * AN_HOUR // 60 * UPLOAD_BYTES if self._is_rated else UNRATED_BYTES
        self.bytes = Allowance(max(most, most_upload), AN_HOUR)
        searches = [event for event in page.fns.values() if event.concurrency_id == SEARCH["concurrency_id"]]
        self._numbers = {event._id for event in searches}
        self._names = {event.api_name for event in searches if event.api_name}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application around another; the body's size is limited already."""
        counts = scope["type"] == "http" and (scope["method"] == "POST" or scope["path"] == PEOPLE_PATH)
        path = scope["path"] if counts else ""
        if is_upload(path):
            await self._upload(scope, receive, send)
            return
        if path.rstrip("/") == LOGIN and (wait := self.logins.wait(self._visitor(scope))):
            await drain(receive)
            await _answer(send, {"detail": sentence(LOGINS, wait, "logins")}, 429, wait)
            return
        if self._is_rated and is_api(path):
            await self._api(scope, receive, send)
            return
        is_frame, is_tool = path.endswith(LIVE_PATH), path.endswith(MCP_PATH)
        if not (self._is_rated and (is_frame or is_tool or EVENT.search(path))):
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        call = _call(body) if is_tool else None
        allowance = self.frames if is_frame else self.searches
        counts = is_frame or call is not None or (not is_tool and self._is_search(path, body))
        wait = allowance.wait(self._visitor(scope)) if counts else 0
        if not wait:
            await self._app(scope, with_body(body, receive), send)
            return
        said = sentence(allowance.most, wait, "frames" if is_frame else "searches")
        # Clients of MCP hand their model what a tool says, and break off at any status but 200.
        answer, status = ({"detail": said}, 429) if call is None else (_told(call, said), 200)
        await _answer(send, answer, status, wait)

    async def _upload(self, scope: Message, receive: Receive, send: Send) -> None:
        """Counts uploads and their bytes; that an upload says how large it is was seen to already."""
        visitor, size = self._visitor(scope), size_of(scope) or 0
        said = ""
        if self._is_rated and (wait := self.uploads.wait(visitor)):
            said = sentence(self.uploads.most, wait, "uploads")
        elif wait := self.bytes.wait(visitor, size):
            most = f"{self.bytes.most // 1_000_000:,} MB of uploads an hour"
            said = f"This page takes {most} from one visitor; try again in {wait} s."
        if not said:
            await self._app(scope, receive, send)
            return
        await drain(receive)
        if is_api(scope["path"]):
            await refuse(scope, send, 429, said, wait)
        else:
            await _answer(send, {"detail": said}, 429, wait)

    async def _api(self, scope: Message, receive: Receive, send: Send) -> None:
        """Counts what makes the REST interface work: all that is posted decodes, searches or makes a gallery."""
        if wait := self.searches.wait(self._visitor(scope)):
            await refuse(scope, send, 429, sentence(self.searches.most, wait), wait)
        else:
            await self._app(scope, receive, send)

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
        if self._behind_proxy:
            forwarded = _values(scope["headers"], b"x-forwarded-for")
            address = forwarded.rsplit(",", 1)[-1].strip() or address
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return ""  # all of whom nothing is known are one
        if isinstance(known, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((known, NETWORK_BITS), strict=False))
        return str(known)


async def _answer(send: Send, answer: Mapping[str, Any], status: int, wait: int) -> None:
    headers = [(b"content-type", b"application/json"), (b"retry-after", str(wait).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def _call(body: bytes) -> Any:  # noqa: ANN401
    """The number of the call to the MCP tool that this is; None if it is none."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):  # the tool's server says so
        return None
    return message.get("id") if isinstance(message, dict) and message.get("method") == "tools/call" else None


def _told(call: object, said: str) -> dict[str, Any]:
    """An error of the tool as the protocol has it."""
    result = {"content": [{"type": "text", "text": said}], "isError": True}
    return {"jsonrpc": "2.0", "id": call, "result": result}


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    """The values of all headers of that name, as if they were one."""
    return ",".join(value.decode("latin-1") for name, value in headers if name.lower() == wanted)
