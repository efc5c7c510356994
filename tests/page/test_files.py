"""The page's own style and scripts are files that browsers keep for good, as long as nothing in them changes."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pipeline.page.html.sources import loading
from pipeline.page.server.files import KEPT, SCRIPTS, files_routes


@pytest.fixture
def client() -> TestClient:
    page: Any = SimpleNamespace(theme_css="p { color: red; }", theme_hash="known")
    return TestClient(Starlette(routes=files_routes(page)))


def test_a_script_is_a_module_that_is_kept_for_good(client: TestClient) -> None:
    for name in SCRIPTS:
        address = re.search(r"'(scripts/[^']+)'", loading(name))[1]
        answer = client.get(address)
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["cache-control"] == KEPT
        assert answer.text.startswith("export default (element, trigger, watch, server) => {")
        assert client.get(address.replace("v=", "v=0")).headers["cache-control"] == "no-cache", "another version"


def test_the_style_comes_with_the_theme(client: TestClient) -> None:
    answer = client.get("theme.css?v=known")
    assert (answer.text, answer.headers["cache-control"]) == ("p { color: red; }", KEPT)
    assert client.get("theme.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["page.css", "grid.py", "..%2fparts.py", "none.js"])
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"scripts/{name}").status_code == 404
