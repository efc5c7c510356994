"""What the page's tests search with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio import http_server

from tests.fakes import portrait


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of Elif."""
    path = tmp_path / "query.png"
    portrait(4, 2).save(path)
    return path


@pytest.fixture(autouse=True, scope="session")
def ports_of_its_own() -> Iterator[None]:
    """Each of several test processes serves on other ports: Gradio finds a free one first, and takes it later."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_server, "INITIAL_PORT_VALUE", http_server.INITIAL_PORT_VALUE + 100 * number)
        yield
