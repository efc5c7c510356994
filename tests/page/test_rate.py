"""A visitor who starts too many searches is told to wait; nobody else is, and nothing else counts."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipeline.core.network import UNLIMITED, Rate
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server import rate as rates
from pipeline.page.server.guard import LIVE_PATH, MCP_PATH, Message, Receive, Send
from pipeline.page.server.rate import FRAMES, RateLimit, sentence
from tests.fakes import TinyEncoders

if TYPE_CHECKING:
    import gradio as gr

# Gradio leaves event loops and their sockets to the garbage collector; `page` collects them here and now.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


MOST_UPLOAD = 40_000_000


class Site:
    """A page behind the limit, as its server sees it."""

    def __init__(self, limit: RateLimit, reached: list[bytes]) -> None:
        self.limit = limit
        self.reached = reached

    def post(self, path: str, body: bytes, client: str = "10.0.0.1", forwarded: str = "") -> tuple[int, bytes, bytes]:
        """Status, Retry-After and body of what comes back; 200 where the page was reached."""
        sent: list[Message] = []
        halves = [body[: len(body) // 2], body[len(body) // 2 :]]

        async def receive() -> Message:
            return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-length", str(len(body)).encode())]
        if forwarded:
            headers.append((b"x-forwarded-for", forwarded.encode()))
        scope = {"type": "http", "method": "POST", "path": path, "client": (client, 1), "headers": headers}
        asyncio.run(self.limit(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]).get(b"retry-after", b""), sent[1]["body"]

    def search(self, client: str = "10.0.0.1", forwarded: str = "") -> int:
        return self.post("/gradio_api/call/search", b'{"data": []}', client, forwarded)[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    gallery = Gallery("imagefolder:/nowhere", TinyEncoders(), tmp_path_factory.mktemp("index"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio and the libraries below it warn of each other's deprecated names
        import app

        yield app.build_page(Galleries(Preparation(gallery)))
        gc.collect()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def site(page: gr.Blocks, rate: Rate) -> Site:
    reached: list[bytes] = []

    async def behind(scope: Message, receive: Receive, send: Send) -> None:
        reached.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return Site(RateLimit(behind, page, rate, MOST_UPLOAD), reached)


def test_who_starts_too_many_is_told_how_long_to_wait(page: gr.Blocks, clock: list[float]) -> None:
    ours = site(page, Rate(4))
    assert [ours.search() for _ in range(5)] == [200] * 4 + [429]
    status, wait, body = ours.post("/gradio_api/call/search", b"{}")
    assert (status, wait, json.loads(body)) == (429, b"15", {"detail": sentence(4, 15)})
    clock[0] += 14.9
    assert ours.search() == 429
    clock[0] += 0.2
    assert [ours.search(), ours.search()] == [200, 429], "one search in every quarter of a minute"
    clock[0] += 1e6
    assert [ours.search() for _ in range(5)] == [200] * 4 + [429], "and never more than a minute's at once"


def test_without_a_rate_a_visitors_uploads_still_have_a_total(page: gr.Blocks, clock: list[float]) -> None:
    """25 uploads of 20 MB passed, and so would have any number."""
    ours = site(page, UNLIMITED)
    ours.limit.bytes.most = 1_000
    upload = bytes(400)
    assert [ours.post("/gradio_api/upload", upload)[0] for _ in range(3)] == [200, 200, 429]
    status, wait, body = ours.post("/gradio_api/upload", upload)
    assert (status, wait) == (429, b"720")
    assert "uploads an hour from one visitor" in json.loads(body)["detail"]
    assert ours.post("/gradio_api/upload", upload, client="10.0.0.2")[0] == 200
    clock[0] += 720
    assert ours.post("/gradio_api/upload", upload)[0] == 200
    assert [ours.search() for _ in range(100)] == [200] * 100


def test_the_page_gets_the_body_as_it_was_sent(page: gr.Blocks) -> None:
    ours = site(page, Rate(4))
    ours.post("/gradio_api/call/search", b'{"data": [1, 2]}')
    assert ours.reached == [b'{"data": [1, 2]}']


def numbers(page: gr.Blocks, *, searching: bool) -> list[int]:
    return [number for number, event in page.fns.items() if (event.concurrency_id == "search") == searching]


def test_every_event_that_searches_counts_and_no_other(page: gr.Blocks, clock: list[float]) -> None:
    searching, others = numbers(page, searching=True), numbers(page, searching=False)
    assert len(searching) > 5
    assert len(others) > 5, "polling, above all"
    for number in searching:
        for written in (str(number), f'"{number}"', f"{number}.0"):
            ours = site(page, Rate(1))
            body = f'{{"fn_index": {written}}}'.encode()
            statuses = [
                ours.post(f"/gradio_api/{road}", body)[0] for road in ("queue/join", "queue/join/", "run/predict")
            ]
            assert statuses == [200, 429, 429]
    ours = site(page, Rate(1))
    for number in others:
        assert ours.post("/gradio_api/queue/join", f'{{"fn_index": {number}}}'.encode())[0] == 200
    for path in ("call/galleries", "call/health", "queue/data", "cancel"):
        assert [ours.post(f"/gradio_api/{path}", b"{}")[0] for _ in range(3)] == [200] * 3
    assert [ours.post(f"/gradio_api/{path}", b"{}")[0] for path in ("call/explain", "call/v2/compare")] == [200, 429]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"fn_index": null}', b'{"fn_index": 1e999}', b'{"fn_index": []}', b"[" * 99_999],
)
def test_what_is_no_event_is_left_to_the_page(body: bytes, page: gr.Blocks) -> None:
    ours = site(page, Rate(1))
    assert [ours.post("/gradio_api/queue/join", body)[0] for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("behind_proxy", "first", "second", "same"),
    [
        (False, ("1.1.1.1", ""), ("1.1.1.2", ""), False),
        (False, ("1.1.1.1", "9.9.9.9"), ("1.1.1.1", "8.8.8.8"), True),
        (True, ("1.1.1.1", "9.9.9.9"), ("1.1.1.1", "8.8.8.8"), False),
        (True, ("1.1.1.1", "7.7.7.7, 9.9.9.9"), ("1.1.1.1", "6.6.6.6,9.9.9.9"), True),
        (True, ("1.1.1.1", ""), ("1.1.1.2", ""), False),
        (False, ("2001:db8::1", ""), ("2001:db8::ffff:2", ""), True),
        (False, ("2001:db8::1", ""), ("2001:db8:0:1::1", ""), False),
        (True, ("1.1.1.1", "invented"), ("1.1.1.2", "otherwise"), True),
    ],
)
def test_who_is_one_visitor(
    behind_proxy: bool, first: tuple[str, str], second: tuple[str, str], same: bool, page: gr.Blocks
) -> None:
    ours = site(page, Rate(1, behind_proxy))
    assert [ours.search(*first), ours.search(*second)] == [200, 429 if same else 200]


def test_so_many_are_remembered_and_no_more(page: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_VISITORS", 3)
    ours = site(page, Rate(1))
    assert [ours.search(f"10.0.0.{number}") for number in (1, 2, 3, 1, 4, 1)] == [200, 200, 200, 429, 200, 429]
    assert len(ours.limit.searches) == 3
    assert ours.search("10.0.0.2") == 200, "who was away longest is new again"


def call(method: str = "tools/call", **more: object) -> bytes:
    """What a client of the tool posts."""
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": {}} | more).encode()


def test_a_call_of_the_tool_is_a_search_and_its_refusal_is_the_tools(page: gr.Blocks, clock: list[float]) -> None:
    ours = site(page, Rate(2))
    assert [ours.search(), ours.post(MCP_PATH, call())[0], ours.search()] == [200, 200, 429]
    assert ours.reached == [b'{"data": []}', call()]
    status, wait, body = ours.post(MCP_PATH, call(id=0))
    told = {"content": [{"type": "text", "text": sentence(2, 30)}], "isError": True}
    assert (status, wait, json.loads(body)) == (200, b"30", {"jsonrpc": "2.0", "id": 0, "result": told})
    assert len(ours.reached) == 2


@pytest.mark.parametrize(
    "body",
    [
        call("initialize"),
        call("tools/list"),
        call(id=None),
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 99_999,
        b'{"fn_index": 2}',
    ],
)
def test_what_else_a_client_of_the_tool_sends_does_not_count(body: bytes, page: gr.Blocks) -> None:
    ours = site(page, Rate(1))
    for _ in range(3):
        ours.post(MCP_PATH, body)
    assert ours.reached == [body] * 3
    assert ours.search() == 200


def test_frames_have_an_allowance_of_their_own(page: gr.Blocks, clock: list[float]) -> None:
    ours = site(page, Rate(2))
    statuses = [ours.post(LIVE_PATH, b"a frame")[0] for _ in range(2 * FRAMES + 1)]
    assert statuses == [200] * 2 * FRAMES + [429]
    assert ours.reached == [b"a frame"] * 2 * FRAMES
    status, wait, body = ours.post(LIVE_PATH, b"a frame")
    assert (status, wait, json.loads(body)["detail"]) == (
        429,
        b"3",
        "This page takes 20 frames a minute from one visitor; try again in 3 s.",
    )
    assert ours.post(LIVE_PATH, b"a frame", "10.0.0.2")[0] == 200
    assert [ours.search() for _ in range(3)] == [200, 200, 429]
    clock[0] += 3.1
    assert [ours.post(LIVE_PATH, b"a frame")[0] for _ in range(2)] == [200, 429]


def test_waiting_is_whole_seconds(page: gr.Blocks, clock: list[float]) -> None:
    ours = site(page, Rate(60))
    for _ in range(60):
        ours.search()
    assert ours.post("/gradio_api/call/search", b"{}")[1] == b"1"


UPLOAD = "/gradio_api/upload"


def test_uploads_have_an_allowance_of_their_own(page: gr.Blocks, clock: list[float]) -> None:
    ours = site(page, Rate(2))
    assert [ours.post(UPLOAD, b"a photo")[0] for _ in range(3)] == [200, 200, 429]
    assert len(ours.reached) == 2
    status, wait, body = ours.post(UPLOAD, b"a photo")
    said = "This page takes 2 uploads a minute from one visitor; try again in 30 s."
    assert (status, wait, json.loads(body)) == (429, b"30", {"detail": said})
    assert ours.post(UPLOAD, b"a photo", "10.0.0.2")[0] == 200
    assert [ours.search() for _ in range(3)] == [200, 200, 429]


def test_a_visitors_uploads_have_a_total_in_bytes(
    page: gr.Blocks, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "UPLOAD_BYTES", 1_000)
    ours = site(page, Rate(500))  # half a million photos of 1,000 bytes
    assert ours.limit.bytes.most == MOST_UPLOAD, "one upload may always be as large as any"
    half = bytes(MOST_UPLOAD // 2)
    assert [ours.post(UPLOAD, half)[0] for _ in range(3)] == [200, 200, 429]
    status, wait, body = ours.post(UPLOAD, half)
    said = "This page takes 40 MB of uploads an hour from one visitor; try again in 1800 s."
    assert (status, wait, json.loads(body)) == (429, b"1800", {"detail": said})
    assert ours.post(UPLOAD, half, "10.0.0.2")[0] == 200
    clock[0] += 1800
    assert [ours.post(UPLOAD, half)[0] for _ in range(2)] == [200, 429]
