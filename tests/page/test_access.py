"""Who may come: by every route and every door, and by nothing but what a setting says."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from pipeline.core.errors import SettingsError
from pipeline.core.network import Access, Network
from pipeline.core.settings import Settings
from pipeline.galleries.galleries import Galleries, open_galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.access import HEALTH_PATH, LOGIN_FOLDERS, LOGIN_PATHS, STARTUP, STRANGER, Guarded
from pipeline.page.server.guard import Message, Receive, Send
from tests.fakes import portrait, tiny_gallery
from tests.faults.corpus import encode
from tests.page.rest.conftest import serving
from tests.page.test_hosts import SILENT, answered, routes_of

pytestmark = SILENT
SECONDS = 30
TOKEN, PASSWORD = "0123456789abcdef", "correct horse"
SECRETS = {"FACESEARCH_TOKENS": f"ci:{TOKEN}, other:fedcba9876543210", "FACESEARCH_AUTH": f"ann:{PASSWORD}"}
NETWORK = Settings.from_env(SECRETS).network
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PHOTO = encode(portrait(4, 2))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Galleries:
    preparation = Preparation(tiny_gallery(tmp_path_factory.mktemp("tiny")), maps=False)
    preparation.start(["mtcnn-reid"])
    preparation.wait()
    return Galleries(preparation)


@pytest.fixture(scope="module")
def page(ready: Galleries) -> Iterator[Any]:
    """A page with tokens and a login."""
    with serving(ready, network=NETWORK) as page:
        yield page


def test_nothing_is_served_without_a_token_or_a_login_but_health(page: Any) -> None:  # noqa: ANN401
    routes = routes_of(page.app)
    doors = ("/", "/gradio_api/queue/join", "/gradio_api/live", "/gradio_api/mcp", "/pictures/{token}/{name}")
    assert {*doors, "/api/v1/search", "/api/docs", "/metrics", "/gradio_api/upload"} <= {path for _, path in routes}
    for method, path in [*routes, ("OPTIONS", "/api/v1/search"), ("GET", "/no/such/route")]:
        if path == HEALTH_PATH or path in LOGIN_PATHS or path.startswith((*LOGIN_FOLDERS, STARTUP)):
            continue
        status, body = answered(page.local_url, method, path)
        assert status == 401, (method, path)
        assert b"Elif" not in body
    assert answered(page.local_url, "GET", HEALTH_PATH)[0] == 200
    form = requests.get(page.local_url, timeout=SECONDS).text
    assert '"auth_required":true' in form
    assert "Elif" not in form


@pytest.mark.parametrize("sent", ["", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"])
def test_a_token_that_is_none(page: Any, sent: str) -> None:  # noqa: ANN401
    answer = requests.post(f"{page.local_url}api/v1/search", headers={"Authorization": sent}, timeout=SECONDS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_token")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_opens_every_door(page: Any, tmp_path: Path) -> None:  # noqa: ANN401
    from gradio_client import Client, handle_file

    url = page.local_url
    answer = requests.post(f"{url}api/v1/search", files={"photo": PHOTO}, headers=BEARER, timeout=SECONDS).json()
    assert answer["hits"][0]["person"] == "Elif"
    (tmp_path / "query.jpg").write_bytes(PHOTO)
    client = Client(url, headers=BEARER, verbose=False)
    *_, found = client.predict(handle_file(tmp_path / "query.jpg"), api_name="/search")
    assert found["hits"][0]["person"] == "Elif"
    picture = f"{url}{found['hits'][0]['picture']}"
    assert requests.get(picture, headers=BEARER, timeout=SECONDS).status_code == 200
    assert requests.get(picture, timeout=SECONDS).status_code == 401
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "search_face", "arguments": {"photo": base64.b64encode(PHOTO).decode()}},
    }
    accepts = {"Accept": "application/json, text/event-stream"}
    tool = requests.post(f"{url}gradio_api/mcp", json=asked, headers=BEARER | accepts, timeout=SECONDS).json()
    assert tool["result"]["structuredContent"]["hits"][0]["person"] == "Elif"
    own = {"sec-fetch-site": "same-origin"}
    live = requests.post(f"{url}gradio_api/live", PHOTO, headers=BEARER | own, timeout=SECONDS).json()
    assert live["state"] == "found"
    assert b"facesearch" in requests.get(f"{url}metrics", headers=BEARER, timeout=SECONDS).content


def test_who_has_logged_in_may_use_the_page_and_another_site_may_not(page: Any) -> None:  # noqa: ANN401
    url = page.local_url
    with requests.Session() as session:
        wrong = session.post(f"{url}login", data={"username": "ann", "password": "x"}, timeout=SECONDS)
        assert wrong.status_code == 400
        assert session.get(f"{url}config", timeout=SECONDS).status_code == 401
        told = session.post(f"{url}login", data={"username": "ann", "password": PASSWORD}, timeout=SECONDS)
        assert told.status_code == 200
        cookies = {cookie.name: str(cookie.value) for cookie in session.cookies}
    assert requests.get(f"{url}config", cookies=cookies, timeout=SECONDS).status_code == 200
    search = {"files": {"photo": PHOTO}, "cookies": cookies, "timeout": SECONDS}
    assert requests.post(f"{url}api/v1/search", **search).status_code == 200
    for site in ("cross-site", "same-site"):
        assert requests.post(f"{url}api/v1/search", headers={"Sec-Fetch-Site": site}, **search).status_code == 401
    other = {"Origin": "http://localhost:3000"}
    assert requests.post(f"{url}api/v1/search", headers=other, **search).status_code == 401


@pytest.mark.slow
def test_passwords_cannot_be_guessed_quickly(ready: Galleries) -> None:
    with serving(ready, network=NETWORK) as page:
        guess = {"data": {"username": "ann", "password": "x"}, "timeout": SECONDS}
        statuses = [requests.post(f"{page.local_url}login", **guess).status_code for _ in range(12)]
    assert statuses == [400] * 10 + [429] * 2


def status_of(guard: Guarded, client: str = "127.0.0.1", path: str = "/config", **headers: str) -> int:
    """What comes to a request from that address."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = {"host": "localhost:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "client": (client, 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(guard(scope, receive, send))
    return int(sent[0]["status"])


def guard(proxies: tuple[str, ...] = (), **environ: str) -> Guarded:
    """The guard, and behind it a page."""

    async def served(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    page: Any = SimpleNamespace(app=SimpleNamespace(cookie_id="x", tokens={}))
    return Guarded(served, page, Settings.from_env(environ).network.access, proxies)


def test_without_tokens_and_login_only_this_computer_is_served() -> None:
    ours = guard()
    assert [status_of(ours, client) for client in ("127.0.0.1", "::1", "127.8.9.10")] == [200] * 3
    assert [status_of(ours, client) for client in ("192.168.1.7", "8.8.8.8", "", "2001:db8::1")] == [403] * 4
    assert status_of(ours, host="faces.example.org") == 403, "a proxy here serves it to others"
    for header in ("x_forwarded_for", "forwarded", "x_real_ip"):
        assert status_of(ours, **{header: "8.8.8.8"}) == 403, "a proxy here hands on what others ask"
    assert status_of(guard(("127.0.0.1/32",)), x_forwarded_for="127.0.0.1") == 200
    assert status_of(ours, "8.8.8.8", HEALTH_PATH) == 200


def test_strangers_come_where_a_setting_says_so_and_on_a_space() -> None:
    for environ in ({"FACESEARCH_PUBLIC": "on"}, {"SPACE_ID": "user/page"}):
        assert status_of(guard(**environ), "8.8.8.8", host="faces.example.org") == 200
    assert status_of(guard(SPACE_ID="user/page", FACESEARCH_PUBLIC="off"), "8.8.8.8") == 403
    assert status_of(guard(SPACE_ID="user/page", FACESEARCH_TOKENS=f"ci:{TOKEN}"), "8.8.8.8") == 401
    assert status_of(guard(FACESEARCH_TOKENS=f"ci:{TOKEN}"), "8.8.8.8", authorization=f"bearer {TOKEN}") == 200
    assert status_of(guard(FACESEARCH_TOKENS=f"ci:{TOKEN}"), path="/") == 401, "without a login there is no form"
    assert status_of(guard(FACESEARCH_TOKENS=f"ci:{TOKEN}"), "8.8.8.8", STARTUP) == 401


def test_a_space_serves_everybody_at_a_rate_and_keeps_no_photos(tmp_path: Path, tiny_folder: Path) -> None:
    environ = {"SPACE_ID": "user/page", "FACESEARCH_DATASET": "sample", "FACESEARCH_INDEX": str(tmp_path)}
    settings = Settings.from_env(environ)
    assert settings.network.access == Access(public=True)
    assert settings.rate.a_minute
    assert open_galleries(settings).own is None


def test_neither_tokens_nor_passwords_are_kept() -> None:
    kept = repr(NETWORK) + repr(vars(NETWORK.access))
    assert TOKEN not in kept
    assert PASSWORD not in kept
    code = "from pipeline.core.settings import values_to_show; print(values_to_show())"
    done = subprocess.run([sys.executable, "-c", code], env=SECRETS, capture_output=True, text=True, check=True)
    assert TOKEN not in done.stdout
    assert PASSWORD not in done.stdout


@pytest.mark.parametrize("value", ["0123456789abcdef", "ci:short", ":0123456789abcdef", "ci:", "a:0123456789abcdef,b"])
def test_tokens_that_are_none_are_one_sentence_that_repeats_nothing(value: str) -> None:
    with pytest.raises(SettingsError, match="at least 16 characters") as caught:
        Settings.from_env({"FACESEARCH_TOKENS": value})
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ORIGINS", "*"), ("ORIGINS", "app.example.org"), ("ORIGINS", "https://a.example/x"), ("ROOT_PATH", "faces")],
)
def test_origins_and_root_paths_that_are_none(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"FACESEARCH_{name}"):
        Settings.from_env({f"FACESEARCH_{name}": value})


@pytest.mark.slow
def test_no_other_sites_script_may_read_unless_a_setting_names_it(ready: Galleries) -> None:
    ours, other = "https://app.example.org", "https://evil.example"
    open_to_all = Access(public=True)

    def shared(origins: tuple[str, ...], origin: str) -> tuple[int, str | None, int, str | None]:
        network = Network(hosts=("faces.example.org",), access=open_to_all, origins=origins)
        asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-gallery"}
        allowed = "access-control-allow-origin"
        with serving(ready, network=network) as page:
            headers = {"Host": "faces.example.org", "Origin": origin}
            asked = requests.options(f"{page.local_url}api/v1/search", headers=headers | asking, timeout=SECONDS)
            got = requests.get(f"{page.local_url}config", headers=headers, timeout=SECONDS)
        assert "access-control-allow-credentials" not in got.headers
        return asked.status_code, asked.headers.get(allowed), got.status_code, got.headers.get(allowed)

    assert shared((), ours) == (403, None, 403, None)
    assert shared((ours,), ours) == (200, ours, 200, ours)
    assert shared((ours,), other)[1:] == (None, 403, None)


def test_beyond_this_computer_the_refusal_says_what_to_set(tiny: Gallery) -> None:
    with serving(Galleries(Preparation(tiny))) as page:
        headers = {"X-Forwarded-For": "8.8.8.8"}
        told = requests.get(f"{page.local_url}config", headers=headers, timeout=SECONDS)
        assert (told.status_code, told.text) == (403, STRANGER)
        api = requests.get(f"{page.local_url}api/v1/galleries", headers=headers, timeout=SECONDS)
        assert json.loads(api.text)["error"]["remedy"].startswith("Set FACESEARCH_TOKENS")
