"""Whatever is sent to the two routes beside Gradio's, a camera's frames and the tool: an answer or one sentence.

The threat: both are open to whoever reaches the page, take photos as bytes and read them themselves; a web page that is
open beside ours may post to them from a visitor's browser.

Found and mended on the way: the tool's words for wrong arguments were a library's, said nothing of a remedy and
repeated what was sent, however long; so did those for galleries, models, indexes and faces that there are not. What was
no message of the protocol was answered in a validator's words, and stood in the log, a notification with all it held.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import requests
from PIL import Image

from pipeline.core.recipes import MINI
from pipeline.page.server.guard import FOREIGN, MAX_MCP_BODY, TOO_LARGE
from pipeline.page.server.hosts import FOREIGN_ORIGIN
from pipeline.page.server.live import FRAME_BYTES, NO_FRAME
from pipeline.page.server.mcp import FOREIGN as FOR_PROGRAMS
from pipeline.page.server.mcp import NO_REQUEST, NOT_BASE64, NOT_FETCHED
from pipeline.photos.images import UNREADABLE
from tests.conftest import Tally
from tests.faults.conftest import ROOT, Served
from tests.faults.corpus import bomb, encode, face

SECONDS = 60
OWN = {"sec-fetch-site": "same-origin", "x-gallery": "main", "x-recipe": MINI, "x-index": "exact"}
GOOD = encode(face())
PHOTO = base64.b64encode(GOOD).decode()
LONG = "n" * 5000


def is_one_sentence(said: str, served: Served) -> bool:
    """Short, and without a trace or a path of ours."""
    secrets = ("Traceback", "Error", "site-packages", str(ROOT), str(served.folder))
    return bool(re.fullmatch(r"[A-Z][^\n]{,300}\.", said)) and not any(secret in said for secret in secrets)


@pytest.fixture
def send(served: Served, tally: Tally) -> Iterator[Callable[..., requests.Response]]:
    """Sends a frame; the next one is answered as ever."""

    def send(frame: bytes, **headers: str | None) -> requests.Response:
        tally.add("frames and calls of the tool")
        return requests.post(f"{served.url}gradio_api/live", frame, headers=OWN | headers, timeout=SECONDS)

    yield send
    assert send(GOOD).json()["hits"][0]["photo_id"] == "Composite 01/1.jpg"


FRAMES = {
    "empty": b"",
    "one byte": b"\xff",
    "cut off": GOOD[: len(GOOD) // 2],
    "HTML": b"<!DOCTYPE html><script>alert(1)</script>",
    "PNG": encode(face(), "PNG")[:FRAME_BYTES],
    "a bomb": bomb(12_500, 12_500)[:FRAME_BYTES],
    "too wide": encode(Image.new("RGB", (641, 10))),
    "10,000 x 10,000": encode(Image.new("L", (5_000, 5_000)), quality=1)[:FRAME_BYTES],
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_no_frame(send: Callable[..., requests.Response], served: Served, name: str) -> None:
    answer = send(FRAMES[name])
    assert (answer.status_code, answer.json()) == (422, {"detail": NO_FRAME})
    assert is_one_sentence(NO_FRAME, served)


def test_frames_that_are_too_large(send: Callable[..., requests.Response]) -> None:
    answer = send(GOOD + bytes(FRAME_BYTES))
    assert (answer.status_code, answer.json()) == (413, {"detail": NO_FRAME})
    answer = send(bytes(5_000_000))
    assert (answer.status_code, answer.content) == (413, TOO_LARGE)


@pytest.mark.parametrize("kind", ["text/html", "application/json", "multipart/form-data", "x" * 999])
def test_what_a_frame_is_called_does_not_matter(send: Callable[..., requests.Response], kind: str) -> None:
    assert send(GOOD, **{"content-type": kind}).json()["state"] == "found"


@pytest.mark.parametrize("header", ["x-gallery", "x-recipe", "x-index"])
@pytest.mark.parametrize("value", ["nope", "../../etc", "<script>", LONG, None])
def test_choices_that_are_none(
    send: Callable[..., requests.Response], served: Served, header: str, value: str | None
) -> None:
    answer = send(GOOD, **{header: value})
    if value is None:  # asked for nothing: the first gallery that is ready, the best recipe, the default index
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code == 422
    assert is_one_sentence(answer.json()["detail"], served), answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": None, "origin": "http://a.example"},
        {"sec-fetch-site": None, "origin": "null"},
        {"sec-fetch-site": None},
    ],
)
def test_frames_of_others(send: Callable[..., requests.Response], headers: dict[str, str | None]) -> None:
    answer = send(GOOD, **headers)
    # Who names another site as the origin does not come as far as the route.
    said = FOREIGN_ORIGIN.decode() if "origin" in headers else json.dumps({"detail": FOREIGN}, separators=(",", ":"))
    assert (answer.status_code, answer.text) == (403, said)


# The tool

Call = Callable[..., requests.Response]


@pytest.fixture
def post(served: Served, tally: Tally) -> Iterator[Call]:
    """Sends a body to the tool as it is; the next call is answered as ever."""
    if find_spec("mcp") is None:
        pytest.skip("needs the package mcp: pip install 'mcp>=1.28.1,<3'")

    def post(body: str | bytes, **headers: str) -> requests.Response:
        tally.add("frames and calls of the tool")
        accepted = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        return requests.post(f"{served.url}gradio_api/mcp", body, headers=accepted | headers, timeout=SECONDS)

    yield post
    answer = post(call({"photo": PHOTO, "recipe": MINI})).json()["result"]
    assert answer["structuredContent"]["hits"][0]["person"] == "Composite 01"


def call(arguments: object, name: str = "search_face") -> str:
    params = {"name": name, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})


BUT = "The argument"
NUMBER = f"{BUT} k cannot be that; give a whole number, 1 to 100."
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "The argument photo is missing; give it."),
    *(({"photo": photo}, f"{BUT} photo cannot be that; give a text.") for photo in (None, 7, [LONG], {"path": "x"})),
    *(({"photo": photo}, NOT_BASE64) for photo in ("../../etc/passwd", "%%%", "data:text/html,<b>", "A" * 1_000_001)),
    *(({"photo": f"{kind}://a.example/etc/passwd"}, NOT_FETCHED) for kind in ("file", "http", "https", "ftp")),
    *(({"photo": photo}, UNREADABLE) for photo in ("", "AAAA", PHOTO[:400])),
    *(({"k": k}, NUMBER) for k in (-1, 0, 10**9, 10**400, "20; drop", math.nan, math.inf, 1.5, True, None, [1])),
    *(({"recipe": recipe}, f"{BUT} recipe cannot be that; choose one of ") for recipe in ("nope", LONG, None, [MINI])),
    *(({"index": index}, "The argument index cannot be that; choose one of exact, ") for index in ("nope", LONG, {})),
    *(({"gallery": key}, "There is no gallery '") for key in ("nope", "../../etc", LONG)),
    ({"gallery": 1}, "The argument gallery cannot be that; give a text."),
    *(({"face": number}, f"{BUT} face cannot be that; give a whole number, 0 or more.") for number in (-1, "1", 0.5)),
    ({"face": 99}, "This photo shows 1 face, so there is no face 99"),
    ({"face": 10**400}, "The face's number must be a whole number."),
    *(({name: 1}, "There is no argument '") for name in ("path", LONG)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_arguments(post: Call, served: Served, number: int) -> None:
    arguments, said = WRONG[number]
    whole = arguments if "photo" in arguments or not arguments else {"photo": PHOTO} | arguments
    answer = post(call(whole)).json()["result"]
    assert answer["isError"]
    (part,) = answer["content"]
    assert part["text"].startswith(said)
    assert is_one_sentence(part["text"], served), part["text"]


@pytest.mark.parametrize("name", ["", "nope", "../search_face", LONG])
def test_a_tool_that_there_is_not(post: Call, served: Served, name: str) -> None:
    (part,) = post(call({"photo": PHOTO}, name)).json()["result"]["content"]
    assert is_one_sentence(part["text"], served)


def rpc(**message: object) -> str:
    return json.dumps({"jsonrpc": "2.0"} | message)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "{", "[]", "null", "NaN", '{"jsonrpc": "2.0"}', "[" * 100_000, "\0", "\xff"),
        *(call([1]), call(LONG), f"[{call({})}]"),
        rpc(id=1, method=LONG),
        rpc(id=1, method="tools/call"),
        rpc(id=1, result={"secret": LONG}),
        rpc(id=1, error={"code": 1, "message": LONG}),
    ],
)
def test_a_body_that_is_no_call(post: Call, served: Served, wrong: str) -> None:
    before = served.log.read_text()
    answer = post(wrong)
    assert answer.json()["error"]["message"] == NO_REQUEST
    assert is_one_sentence(NO_REQUEST, served)
    assert_nothing_new(before, served)


def test_a_notification_that_is_none(post: Call, served: Served) -> None:
    before = served.log.read_text()
    cancelled = rpc(method="notifications/cancelled", params={"requestId": [LONG]})
    for wrong in (rpc(method=LONG), cancelled, rpc(id=[LONG], method="ping")):
        answer = post(wrong)
        assert (answer.status_code, answer.content) == (202, b"")
    assert_nothing_new(before, served)


def assert_nothing_new(before: str, served: Served) -> None:
    """The log has nothing of what was sent, and no trace."""
    new = served.log.read_text()[len(before) :]
    assert not re.search("nnnn|Traceback|valid|secret", new), new


def test_calls_that_are_too_large_or_come_from_a_web_page(post: Call) -> None:
    assert post(b" " * (MAX_MCP_BODY + 1)).status_code == 413
    for origin, said in (("http://a.example", FOREIGN_ORIGIN.decode()), ("http://localhost:3000", FOR_PROGRAMS)):
        answer = post(call({"photo": PHOTO}), origin=origin)
        assert (answer.status_code, answer.text) == (403, said)
