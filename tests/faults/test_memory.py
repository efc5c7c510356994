"""However many ask at once, and whatever they send, the page takes so much memory and no more.

The threat: a decoded photo of 40 megapixels has 120 MB, and a field of a form has as much as somebody sends. Who may
ask by a way that nothing bounds brings the page, and whatever else runs there, to its end.

Found and mended on the way: `/gradio_api/run/...` went past the queue, and so did who cancelled what was asked for;
the tool and Live had bounds of their own beside the page's; fields of an upload's form were kept in memory, whatever
their size.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from pipeline.core.recipes import MINI
from pipeline.page.server.guard import MAX_FIELD, MAX_HELD, MAX_MCP_BODY
from tests.conftest import Tally
from tests.faults.conftest import ROOT, Served
from tests.faults.corpus import encode, face

SECONDS = 300
MB = 1_000_000
LARGE = (7300, 5480)  # 40 megapixels


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page of its own, for what it took before counts."""
    served = Served(tmp_path_factory.mktemp("memory"), keep_seconds=SECONDS)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A photo of 40 megapixels with a face."""
    shown = Image.new("RGB", LARGE, (120, 130, 140))
    shown.paste(face().resize((2000, 2000)), (2600, 1700))
    return encode(shown, quality=60)


def peak(served: Served, work: Callable[[], object]) -> float:
    """The most memory resident meanwhile, in MB."""
    process = Path(f"/proc/{served.process.pid}")
    (process / "clear_refs").write_text("5")  # the peak starts anew: proc(5)
    work()
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / MB


def uploaded(served: Served, photo: bytes) -> dict[str, Any]:
    """The photo as the server calls it."""
    files = {"files": ("photo.jpg", photo)}
    (path,) = requests.post(f"{served.url}gradio_api/upload", files=files, timeout=SECONDS).json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def values(served: Served, photo: bytes) -> list[Any]:
    return [uploaded(served, photo), MINI, "annoy", 5, 0, ""]


def by_call(served: Served, photo: bytes, number: int) -> str:
    url = f"{served.url}gradio_api/call/search"
    event = requests.post(url, json={"data": values(served, photo)}, timeout=SECONDS).json()["event_id"]
    return requests.get(f"{url}/{event}", timeout=SECONDS).text


def by_page(served: Served, photo: bytes, number: int) -> str:
    events = requests.get(f"{served.url}config", timeout=SECONDS).json()["dependencies"]
    event = next(event["id"] for event in events if event["api_name"] == "search")
    asked = {"data": values(served, photo), "fn_index": event, "session_hash": f"page{number}"}
    assert requests.post(f"{served.url}gradio_api/queue/join", json=asked, timeout=SECONDS).ok
    url = f"{served.url}gradio_api/queue/data?session_hash=page{number}"
    with requests.get(url, stream=True, timeout=SECONDS) as answer:
        return next(line.decode() for line in answer.iter_lines() if b"process_completed" in line)


def by_run(served: Served, photo: bytes, number: int) -> str:
    url = f"{served.url}gradio_api/run/search"
    return requests.post(url, json={"data": values(served, photo)}, timeout=SECONDS).text


def by_tool(served: Served, photo: bytes, number: int) -> str:
    arguments = {"photo": base64.b64encode(photo).decode(), "recipe": MINI}
    params = {"name": "search_face", "arguments": arguments}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    accepts = {"accept": "application/json, text/event-stream"}
    return requests.post(f"{served.url}gradio_api/mcp", json=asked, headers=accepts, timeout=SECONDS).text


def by_live(served: Served, photo: bytes, number: int) -> str:
    headers = {"sec-fetch-site": "same-origin", "x-gallery": "main", "x-recipe": MINI, "x-index": "exact"}
    small = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((320, 240)).save(small, "JPEG")
    return requests.post(f"{served.url}gradio_api/live", small.getvalue(), headers=headers, timeout=SECONDS).text


DOORS = [by_call, by_page, by_run, *([by_tool] if find_spec("mcp") else []), by_live]
ANSWERS = ("Composite 01", "is busy with other", "join the queue", '"dropped"')


def at_once(ask: Sequence[Callable[[int], str]]) -> list[str]:
    """What they all are told."""
    with ThreadPoolExecutor(len(ask)) as pool:
        return [future.result() for future in [pool.submit(one, number) for number, one in enumerate(ask)]]


def test_large_photos_by_every_door_at_once(page: Served, photo: bytes, tally: Tally, full: bool) -> None:
    clients = 24 if full else 12
    alone = peak(page, lambda: by_call(page, photo, 0))
    said: list[str] = []

    def crowd() -> None:
        for door in DOORS:
            said.extend(at_once([lambda number, door=door: door(page, photo, number)] * clients))
        doors = [lambda number, door=door: door(page, photo, 1000 + number) for door in DOORS]
        said.extend(at_once(doors * (clients // len(DOORS))))

    most = peak(page, crowd)
    tally.add("photos of 40 megapixels at once", len(said))
    tally.most("memory with one of them, MB", alone)
    tally.most(f"memory with {clients} at once by each door, MB", most)
    assert [answer for answer in said if not any(known in answer for known in ANSWERS)] == []
    assert sum("Composite 01" in answer for answer in said) >= 2 * clients, "who waits in the queue gets an answer"
    assert most < alone + 1000, "a second one is under way at the same time; 12 would have 1,450 MB decoded alone"
    assert "Composite 01" in by_call(page, photo, 0)


def form(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form of these parts, each with what stands behind its name, and the header for it."""
    each = [
        b'--limit\r\nContent-Disposition: form-data; name="files"' + more.encode() + b"\r\n\r\n" + value + b"\r\n"
        for more, value in parts
    ]
    return b"".join(each) + b"--limit--\r\n", {"content-type": "multipart/form-data; boundary=limit"}


def test_a_field_of_a_form_is_small(page: Served, tally: Tally) -> None:
    body, headers = form(("", bytes(300 * MB)))
    statuses = []

    def upload(_: int) -> str:
        answer = requests.post(f"{page.url}gradio_api/upload", body, headers=headers, timeout=SECONDS)
        statuses.append(answer.status_code)
        return answer.text

    before = peak(page, lambda: None)
    after = peak(page, lambda: at_once([upload] * 4))
    tally.most("memory added by fields of 300 MB, MB", after - before)
    assert statuses == [413] * 4
    assert after < before + 150


def test_fields_that_are_small_are_taken_and_a_thousand_are_few(page: Served) -> None:
    def status(*parts: tuple[str, bytes]) -> int:
        body, headers = form(*parts)
        return requests.post(f"{page.url}gradio_api/upload", body, headers=headers, timeout=SECONDS).status_code

    photo = ('; filename="a.jpg"', encode(face()))
    assert status(photo) == 200
    assert status(('; filename="a.jpg"', bytes(MAX_FIELD + 1))) == 200, "files are no fields"
    assert status(photo, ("", bytes(MAX_FIELD + 1))) == 413
    assert status(*[("", b"")] * 1001) == 400
    assert status(*[photo] * 1001) == 400
    assert status((f'; filename="{"a" * 9000}"', b"")) in (400, 413)


def test_an_upload_says_how_large_it_is(page: Served) -> None:
    body, headers = form(('; filename="a.jpg"', encode(face())))
    answer = requests.post(f"{page.url}gradio_api/upload", iter([body]), headers=headers, timeout=SECONDS)
    assert (answer.status_code, answer.text[-1]) == (411, ".")
    many = form(*[('; filename="a.jpg"', bytes(15 * MB))] * 3)
    answer = requests.post(f"{page.url}gradio_api/upload", many[0], headers=many[1], timeout=SECONDS)
    assert answer.status_code == 413, "all files of an upload together"


def test_headers_and_addresses_are_bounded(page: Served) -> None:
    address = urlsplit(page.url)
    for request in (
        b"GET /config HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 10 * MB,
        b"GET /config HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: a\r\n" * MB,
        b"GET /" + b"a" * 10 * MB,
    ):
        with socket.create_connection((address.hostname, address.port), SECONDS) as connection:
            try:
                connection.sendall(request)
                said = connection.recv(1000)
            except (ConnectionResetError, BrokenPipeError):
                continue  # it has heard enough
            assert said.startswith(b"HTTP/1.1 4"), said


@pytest.mark.parametrize("path", ["queue/join", "call/search", "cancel", "component_server", "live", "no/such/route"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_every_body_is_bounded(page: Served, path: str, method: str) -> None:
    for body in (bytes(40 * MB), iter([bytes(MB)] * 40)):
        try:
            answer = requests.request(method, f"{page.url}gradio_api/{path}", data=body, timeout=SECONDS)
        except requests.ConnectionError:
            continue  # what has no length is broken off
        assert answer.status_code == 413


def test_a_name_of_a_session_is_short(page: Served) -> None:
    asked = {"data": [None] * 6, "session_hash": "a" * 3 * MB}
    answer = requests.post(f"{page.url}gradio_api/call/search", json=asked, timeout=SECONDS)
    assert (answer.status_code, answer.text[:28]) == (413, "The name of this session is ")


def test_bodies_that_are_still_coming_are_bounded_together(page: Served) -> None:
    """As many as fit are waited for, the next is refused, and the small ones are answered all the same."""
    address = urlsplit(page.url)
    open_ones = []
    for _ in range(MAX_HELD // MAX_MCP_BODY):
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=SECONDS)
        connection.putrequest("POST", "/gradio_api/mcp")
        connection.putheader("Content-Length", str(MAX_MCP_BODY))
        connection.endheaders(b"{")
        open_ones.append(connection)
    accepts = {"accept": "application/json, text/event-stream"}
    url = f"{page.url}gradio_api/mcp"
    refused = requests.post(url, json=["a" * (MAX_MCP_BODY - MB)], headers=accepts, timeout=SECONDS)
    small = requests.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=accepts, timeout=SECONDS)
    for connection in open_ones:
        connection.close()
    assert refused.status_code == 503
    assert json.loads(small.text)["id"] == 1


def test_own_galleries_that_were_removed_leave_nothing_in_memory(tally: Tally, full: bool) -> None:
    """Connections to Milvus were kept for good, each with its file and its buffers."""
    galleries, settled = (56 if full else 8), 3
    command = [sys.executable, "-m", "tests.faults.own_galleries", str(galleries)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS * 3)
    assert ended.returncode == 0, ended.stderr
    held = [json.loads(line) for line in ended.stdout.splitlines()]
    more = {what: held[-1][what] - held[settled][what] for what in held[-1]}
    tally.most(f"memory added by {galleries - settled} own galleries that were removed, MB", more["MB"])
    assert more["MB"] < 15
    assert more["files"] == 0
    assert more["objects"] < 100 * (galleries - settled), "one connection alone has a thousand"
