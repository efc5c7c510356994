"""A page on this computer answers to this computer's names, on every route, and to other names only where told.

The threat is DNS rebinding: a site that a browser has open lets its own name point to 127.0.0.1, and reads the page's
galleries, private ones included, as if they were its own.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from pipeline.core.network import Access, Network, Rate
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.guard import LIVE_PATH, MCP_PATH, Message, Receive, Send
from pipeline.page.server.hosts import ANYWHERE, FOREIGN_HOST, FOREIGN_ORIGIN, OwnHosts, served_names

# Gradio leaves event loops and their sockets to the garbage collector; `launch` collects them here and now.
SILENT = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
pytestmark = SILENT
FOREIGN = "attacker.example"
SECONDS = 30
EVERYBODY = Access(public=True)

Launch = Callable[..., Any]


@pytest.fixture
def launch(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """Serves the tiny world's page, of which nothing is ready."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "of the test")  # and as it was when the test is over
    pages = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio and the libraries below it warn of each other's deprecated names
        import app

        def launch(server_name: str = "127.0.0.1", **options: Any) -> Any:  # noqa: ANN401
            options |= {"prevent_thread_lock": True, "quiet": True, "server_name": server_name}
            page = app.launch(Galleries(Preparation(tiny)), mcp=find_spec("mcp") is not None, **options)
            pages.append(page)
            return page

        yield launch
        for page in pages:
            page.close()
        gc.collect()


def answered(url: str, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body; of an answer without an end, such as a heartbeat, the status alone."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=SECONDS)
    connection.putrequest(method, path, skip_host=True)
    for name, value in ({"Host": str(address.netloc), "Content-Length": "0"} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read() if "event-stream" not in (answer.getheader("content-type") or "") else b""
    connection.close()
    return answer.status, body


def test_no_route_is_served_under_another_name(launch: Launch) -> None:
    page = launch()
    routes = routes_of(page.app)
    paths = {path for _, path in routes}
    assert len(paths) > 60
    assert {"/api/v1/search", "/health", "/metrics", "/api/docs"} <= paths
    assert {"/", "/config", LIVE_PATH, "/gradio_api/queue/data", "/gradio_api/heartbeat/{session_hash}"} <= paths
    assert (MCP_PATH in paths) == (find_spec("mcp") is not None)
    assert any("file=" in path for path in paths)
    for method, path in [*routes, ("GET", "/no/such/route"), ("POST", "/gradio_api/upload")]:
        status, said = answered(page.local_url, method, path, Host=f"{FOREIGN}:7860")
        assert status == 403, path
        assert method == "HEAD" or told(said) == told(FOREIGN_HOST), path
        status, said = answered(page.local_url, method, path, Origin=f"http://{FOREIGN}")
        assert status == 403, path
        assert method == "HEAD" or told(said) == told(FOREIGN_ORIGIN), path
    assert answered(page.local_url, "GET", "/config")[0] == 200


def told(said: bytes) -> str:
    """The sentence, whether it came alone or in the envelope."""
    if not said.startswith(b"{"):
        return said.decode().lower()
    error = json.loads(said)["error"]
    assert error["code"] == "forbidden"
    return f"{error['message'][:-1]}; {error['remedy']}".lower()


def routes_of(app: Any, above: str = "") -> list[tuple[str, str]]:  # noqa: ANN401
    """All methods and paths, those of routers and applications within included."""
    found: list[tuple[str, str]] = []
    for route in app.routes:
        inner = getattr(route, "effective_candidates", None)
        for each in list(inner()) if callable(inner) else [route]:
            path = above + getattr(each, "path", "")
            if getattr(each, "routes", None):
                found += routes_of(each, path)
            elif hasattr(each, "path"):
                found += [(method, path) for method in getattr(each, "methods", None) or ("GET", "POST")]
    return found


def test_names_of_this_computer_are_served(launch: Launch) -> None:
    url = launch().local_url
    port = urlsplit(url).port
    for host in ("localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.9.10", "[::1]"):
        for written in (host, f"{host}:{port}", f"{host}:1"):
            assert answered(url, "GET", "/config", Host=written)[0] == 200, written
            assert answered(url, "GET", "/config", Origin=f"http://{written}")[0] == 200, written


@pytest.mark.parametrize(
    "host",
    [
        "", FOREIGN, "localhost.attacker.example", "127.0.0.1.attacker.example", "128.0.0.1", "192.168.1.7", "[::2]",
        "localhost@attacker.example", "attacker.example@localhost", "localhost/", "null", "127.1", "a.localhost",
    ],
)  # fmt: skip
def test_names_that_only_look_like_it_are_not(host: str) -> None:
    assert status_of(OwnHosts(served, ()), "http", host) == 403
    assert status_of(OwnHosts(served, ()), "http", "localhost", f"http://{host}") == 403


async def served(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b""})


def status_of(guard: OwnHosts, kind: str, host: str, origin: str | None = None) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin is not None else [])]
    asyncio.run(guard({"type": kind, "headers": headers}, receive, send))
    return int(sent[0].get("status", sent[0].get("code")))


def test_a_web_socket_is_closed_before_it_opens() -> None:
    assert status_of(OwnHosts(served, ()), "websocket", FOREIGN) == 1008
    assert status_of(OwnHosts(served, ()), "websocket", "localhost") == 200


def test_a_request_without_a_name_is_refused(launch: Launch) -> None:
    address = urlsplit(launch().local_url)
    with socket.create_connection((address.hostname, address.port), SECONDS) as connection:
        connection.sendall(b"GET /config HTTP/1.0\r\n\r\n")
        assert b" 403 " in connection.recv(100)


def test_names_in_the_setting_are_served(launch: Launch) -> None:
    url = launch(network=Network(hosts=("faces.example.org",), access=EVERYBODY)).local_url
    assert answered(url, "GET", "/config", Host="Faces.Example.org", Origin="https://faces.example.org")[0] == 200
    assert answered(url, "GET", "/config", Host="localhost")[0] == 200
    assert answered(url, "GET", "/config", Host=FOREIGN)[0] == 403


@pytest.mark.parametrize(
    ("listening", "named", "names"),
    [
        ("127.0.0.1", (), ()),
        ("localhost", (), ()),
        ("[::1]", (), ()),
        ("0.0.0.0", (), ANYWHERE),
        ("192.168.1.7", (), ANYWHERE),
        ("0.0.0.0", ("nas",), ("nas",)),
    ],
)
def test_beyond_this_computer_any_name_is_served_unless_some_are_named(
    listening: str, named: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert tuple(served_names(listening, named)) == names
    guard = OwnHosts(served, names)
    assert status_of(guard, "http", FOREIGN) == (200 if names == ANYWHERE else 403)


def asks(page: Any, forwarded: str) -> int:  # noqa: ANN401
    """The status of a search that an address asks for which is told by a header."""
    url, asked = f"{page.local_url}gradio_api/call/search", {"data": [None] * 6}
    return requests.post(url, json=asked, headers={"X-Forwarded-For": forwarded}, timeout=SECONDS).status_code


def test_an_invented_address_is_no_other_visitor(launch: Launch) -> None:
    page = launch(rate=Rate(1), network=Network(access=EVERYBODY))
    assert [asks(page, f"9.9.9.{number}") for number in range(3)] == [200, 429, 429]


def test_a_proxy_of_the_setting_tells_visitors_apart(launch: Launch) -> None:
    page = launch(rate=Rate(1), network=Network(proxies=("127.0.0.1/32",), access=EVERYBODY))
    assert [asks(page, address) for address in ("9.9.9.1", "9.9.9.2", "8.8.8.8, 9.9.9.1")] == [200, 200, 429]


def test_a_proxy_elsewhere_is_not_who_asks_here(launch: Launch) -> None:
    page = launch(rate=Rate(1), network=Network(proxies=("10.0.0.0/8",), access=EVERYBODY))
    assert [asks(page, f"9.9.9.{number}") for number in range(2)] == [200, 429]


def test_on_a_space_the_last_word_tells_visitors_apart(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    page = launch(rate=Rate(1, behind_proxy=True), network=Network(access=EVERYBODY))
    assert [asks(page, address) for address in ("9.9.9.1", "9.9.9.2", "8.8.8.8, 9.9.9.1")] == [200, 200, 429]
