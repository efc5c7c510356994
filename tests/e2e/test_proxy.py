"""Behind a real nginx with TLS, below a path: the page in a browser, REST, the MCP tool, and who is which visitor."""

from __future__ import annotations

import base64
import gc
import re
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from pipeline.bench.processes import free_port
from pipeline.core.network import Access, Network, Rate
from pipeline.core.recipes import RECIPES
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import Browse
from tests.e2e.test_live import button, first_is, open_live
from tests.e2e.test_page import captions, upload, wait_for_answer
from tests.fakes import portrait, tiny_gallery
from tests.faults.corpus import encode

NGINX, OPENSSL = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"), shutil.which("openssl")
pytestmark = pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="needs nginx: apt-get install nginx openssl")
ROOT_PATH = "/faces"
SECONDS = 60
PHOTO = encode(portrait(4, 2))
# `proxy_bind`: visitors come from other loopback addresses, so that who is the proxy can be told from who is not.
CONFIG = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        client_max_body_size 5m;
        location / {{ return 204; }}
        location {root}/ {{
            proxy_pass http://127.0.0.1:{behind}/;
            proxy_bind 127.0.0.1;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 5m;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Proxied:
    """The page's address by way of the proxy, without a slash at the end, and the server's own."""

    url: str
    direct: str


@pytest.fixture
def proxied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Proxied]]:
    """Serves the tiny world behind nginx."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "of the test")  # and as it was when the test is over
    running: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import app

        def proxied(**options: Any) -> Proxied:  # noqa: ANN401
            preparation = Preparation(tiny_gallery(tmp_path), maps=False)
            preparation.start(RECIPES)
            preparation.wait()
            access = Access(public=True)
            network = Network(proxies=("127.0.0.1/32",), access=access, root_path=ROOT_PATH)
            quietly = {"prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"}
            page = app.launch(Galleries(preparation), mcp=True, network=network, **quietly, **options)
            running.append(page.close)
            port = nginx(tmp_path / "nginx", page.server_port, running)
            return Proxied(f"https://localhost:{port}{ROOT_PATH}", f"http://127.0.0.1:{page.server_port}")

        yield proxied
        for end in reversed(running):
            end()
        gc.collect()


def nginx(folder: Path, behind: int, running: list[Any]) -> int:
    """Starts it with a certificate of its own; its port."""
    folder.mkdir()
    port = free_port()
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, behind=behind, root=ROOT_PATH))
    made = [
        *(str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"),
    ]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    running.append(lambda: (process.terminate(), process.wait(SECONDS)))
    until = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, (folder / "error.log").read_text()
        assert time.monotonic() < until
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return port
        time.sleep(0.1)


class From(HTTPAdapter):
    """Connects from this address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    return str(tmp_path / "nginx" / "certificate.pem")


def test_the_page_works_behind_it(
    proxied: Callable[..., Proxied], browse: Browse, camera: Callable[..., Path], tmp_path: Path
) -> None:
    url = proxied().url
    page = browse("about:blank", camera=camera(portrait(1)), options=("--ignore-certificate-errors",))
    page.goto(f"{url}/")
    wait_for_answer(page, "Ada")
    upload(page, portrait(3, 1), tmp_path / "query.png")
    wait_for_answer(page, "Dimitri")
    improved = captions(page)
    page.get_by_label("Baseline", exact=True).check()
    page.locator("#note", has_text="whole photo").wait_for()
    page.locator("#sentence", has_text=re.compile("Improved finds 4 of 4, Baseline . of 4.")).wait_for()
    assert captions(page) != improved
    page.wait_for_function(
        "[...document.querySelectorAll('#results .tile img')].every(image => image.complete && image.naturalWidth)"
    )
    open_live(page)
    button(page, "Start").click()
    first_is(page, "Bruno")
    button(page, "Stop").click()


def test_programs_work_behind_it(proxied: Callable[..., Proxied], certificate: str) -> None:
    url = proxied().url
    asked = {"verify": certificate, "timeout": SECONDS}
    answer = requests.post(f"{url}/api/v1/search", files={"photo": PHOTO}, data={"pictures": True}, **asked)
    first = answer.json()["hits"][0]
    assert first["person"] == "Elif"
    assert first["picture"].startswith(f"{ROOT_PATH}/pictures/")
    host = url.removesuffix(ROOT_PATH)
    assert requests.get(f"{host}{first['picture']}", **asked).headers["content-type"] == "image/jpeg"
    docs = requests.get(f"{url}/api/docs", **asked).text
    for address in re.findall(r'(?:src|href)="([^"]+)"', docs):
        assert address.startswith(f"{ROOT_PATH}/api/")
        assert requests.get(f"{host}{address}", **asked).status_code == 200
    assert requests.get(f"{url}/api/openapi.json", **asked).json()["servers"] == [{"url": f"{ROOT_PATH}/api"}]
    assert requests.get(f"{url}/health", **asked).status_code == 200
    call = {"name": "search_face", "arguments": {"photo": base64.b64encode(PHOTO).decode(), "k": 1}}
    told = requests.post(
        f"{url}/gradio_api/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
        headers={"Accept": "application/json, text/event-stream"},
        **asked,
    ).json()
    assert told["result"]["structuredContent"]["hits"][0]["person"] == "Elif"
    too_large = requests.post(f"{url}/api/v1/search", files={"photo": bytes(6_000_000)}, **asked)
    assert too_large.status_code == 413


def test_visitors_are_told_apart_and_an_invented_header_is_nobody(
    proxied: Callable[..., Proxied], certificate: str
) -> None:
    served = proxied(rate=Rate(2))

    def asks(url: str, address: str, forwarded: str = "") -> int:
        with requests.Session() as session:
            session.mount("http://", From(address))
            session.mount("https://", From(address))
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            files = {"photo": PHOTO}
            sent = {"headers": headers, "files": files, "verify": certificate, "timeout": SECONDS}
            return int(session.post(f"{url}/api/v1/search", **sent).status_code)

    assert [asks(served.url, "127.0.0.2") for _ in range(3)] == [200, 200, 429]
    assert asks(served.url, "127.0.0.2", "9.9.9.9") == 429, "what a visitor sends to the proxy is not who it is"
    assert asks(served.url, "127.0.0.3") == 200, "another visitor by the same proxy"
    invented = [asks(served.direct, "127.0.0.4", f"9.9.9.{number}") for number in range(3)]
    assert invented == [200, 200, 429], "whoever comes past the proxy is the address it comes from"
    assert asks(served.direct, "127.0.0.4", "127.0.0.3") == 429


def test_a_proxy_that_leaves_the_path_does_as_well(proxied: Callable[..., Proxied]) -> None:
    direct = proxied(rate=Rate(1)).direct
    statuses = [
        requests.post(f"{direct}{ROOT_PATH}/api/v1/search", files={"photo": PHOTO}, timeout=SECONDS).status_code
        for _ in range(2)
    ]
    assert statuses == [200, 429]
