"""The tool `search_face` on a running page, called by the real client of the package `mcp`."""

from __future__ import annotations

import base64
import gc
import io
import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from PIL import Image

from pipeline.__main__ import main
from pipeline.core.errors import Busy, NotReady, PhotoError, SettingsError
from pipeline.core.network import Rate
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server import mcp
from pipeline.page.server.gate import AT_ONCE, WAITING, Gate
from pipeline.page.server.guard import MAX_BODY, MAX_MCP_BODY
from pipeline.page.server.mcp import MISSING, Asked, SearchTool, decoded, require_mcp, search_face
from tests.fakes import draw, portrait, tiny_gallery

ROOT = Path(__file__).parents[2]
SILENT = [
    # Gradio leaves sockets and event loops to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
pytestmark = SILENT


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """The tiny world, one for all: nothing here changes it."""
    return tiny_gallery(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def galleries(tiny: Gallery) -> Galleries:
    """The tiny world, two models ready."""
    preparation = Preparation(tiny)
    preparation.start(["mtcnn-reid", "mini-whole"])
    preparation.wait()
    return Galleries(preparation)


@pytest.fixture(scope="module")
def served(galleries: Galleries) -> Iterator[str]:
    """The address of the tool on a running page."""
    pytest.importorskip("mcp", reason="needs the package mcp: pip install 'mcp>=1.28.1,<3'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import app

        page = app.launch(galleries, mcp=True, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield f"{page.local_url}gradio_api/mcp"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page.close()
        gc.collect()  # here and now, what is left to the garbage collector


def with_client(url: str, use: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    """What comes of using a client's session at this address."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def run() -> object:
        async with streamable_http_client(url) as (read, write, *_), ClientSession(read, write) as session:
            await session.initialize()
            return (await use(session)).model_dump(by_alias=True)  # in Python, version 2 has other names than 1

    return anyio.run(run)


def call(url: str, **arguments: object) -> Any:  # noqa: ANN401
    return with_client(url, lambda session: session.call_tool("search_face", arguments))


def as_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_there_is_one_tool_and_its_arguments_are_documented(served: str) -> None:
    listed = with_client(served, lambda session: session.list_tools())["tools"]
    assert [tool["name"] for tool in listed] == ["search_face"]
    properties = listed[0]["inputSchema"]["properties"]
    assert set(properties) == set(Asked.model_fields)
    assert all(about["description"] for about in properties.values())
    assert listed[0]["inputSchema"]["required"] == ["photo"]


def test_hits_are_those_of_the_command_line_and_of_the_endpoint(
    served: str, photo: Path, tiny: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gradio_client import Client, handle_file

    result = call(served, photo=as_base64(photo), recipe="mtcnn-reid", index="exact", k=7)
    assert not result["isError"]
    answer = result["structuredContent"]
    assert json.loads(result["content"][0]["text"]) == answer

    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: tiny)
    assert main(["search", str(photo), "--recipe", "mtcnn-reid", "--index", "exact", "--k", "7", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    *_, endpoint = Client(served.removesuffix("gradio_api/mcp"), verbose=False).predict(
        handle_file(photo), "mtcnn-reid", "exact", 7, api_name="/search"
    )
    assert len(answer["hits"]) == 7
    assert answer["hits"][0]["person"] == "Elif"
    assert all(hit.pop("picture") for hit in endpoint["hits"])
    for one in (answer, printed, endpoint):
        del one["timings_ms"]
    assert answer == printed == endpoint


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"photo": base64.b64encode(b"no photo").decode()}, "This file cannot be read as a photo"),
        ({"photo": "%%%"}, "The photo is no base64"),
        ({"photo": "https://a.example/photo.jpg"}, "not from an address"),
        ({"photo": "", "gallery": "nonsense"}, "This file cannot be read"),
        ({"photo": "", "recipe": "nonsense"}, "The argument recipe cannot be that; choose one of resnet50, "),
        ({"photo": "", "k": 0}, "The argument k cannot be that; give a whole number, 1 to 100."),
        ({"photo": "", "link": "x"}, "There is no argument 'link'; there are photo, recipe, "),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(served: str, arguments: dict[str, object], sentence: str) -> None:
    result = call(served, **arguments)
    assert result["isError"]
    assert sentence in result["content"][0]["text"]


@pytest.mark.slow
def test_it_is_off_unless_switched_on_and_only_for_programs(served: str, galleries: Galleries) -> None:
    import app

    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
    }
    accepts = {"Accept": "application/json, text/event-stream"}

    def status(url: str, **headers: str) -> int:
        return requests.post(url, json=initialize, headers=accepts | headers, timeout=30).status_code

    assert status(served) == 200
    assert status(served, Origin="http://a.example") == 403
    assert requests.post(served, data=b"0" * (MAX_MCP_BODY + 1), headers=accepts, timeout=30).status_code == 413
    off = app.launch(galleries, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    assert status(f"{off.local_url}gradio_api/mcp") in (404, 405)
    off.close()
    gc.collect()


@pytest.mark.slow
def test_who_calls_too_often_is_told_so_by_the_tool(galleries: Galleries, photo: Path) -> None:
    import app

    pytest.importorskip("mcp", reason="needs the package mcp: pip install 'mcp>=1.28.1,<3'")
    rate = Rate(1)
    page = app.launch(galleries, mcp=True, rate=rate, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    url, asked = f"{page.local_url}gradio_api/mcp", {"photo": as_base64(photo)}
    first, second = call(url, **asked), call(url, **asked)
    page.close()
    gc.collect()
    assert first["structuredContent"]["hits"][0]["person"] == "Elif"
    assert second["isError"]
    assert second["content"][0]["text"].startswith(
        "This page takes 1 searches a minute from one visitor; try again in "
    )


def test_a_photo_may_be_a_data_url_and_larger_than_other_requests(served: str) -> None:
    image, encoded = portrait(1).resize((1800, 1800), Image.Resampling.NEAREST), io.BytesIO()
    image.save(encoded, "PNG", compress_level=0)
    url = f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    assert MAX_BODY < len(url) < MAX_MCP_BODY
    assert call(served, photo=url)["structuredContent"]["hits"][0]["person"] == "Bruno"


def test_without_choices_the_best_model_answers(galleries: Galleries, photo: Path) -> None:
    answer = search_face(galleries, {"photo": as_base64(photo)})
    assert (answer["recipe"], answer["index"], len(answer["hits"])) == ("mtcnn-reid", "exact", 20)
    named = search_face(galleries, {"photo": as_base64(photo), "gallery": MAIN, "k": 3})
    assert named["hits"] == answer["hits"][:3]


def test_no_face_is_an_answer(galleries: Galleries, tmp_path: Path) -> None:
    draw().save(tmp_path / "nobody.png")
    answer = search_face(galleries, {"photo": as_base64(tmp_path / "nobody.png")})
    assert (answer["face"], answer["hits"]) == (None, [])


def test_before_anything_is_ready_it_says_so(tiny: Gallery, photo: Path) -> None:
    with pytest.raises(NotReady, match="not ready yet"):
        search_face(Galleries(Preparation(tiny)), {"photo": as_base64(photo)})


@pytest.mark.parametrize("photo", ["http://a.example/x.jpg", "file:///etc/passwd", "data:image/png,abc", "a b!"])
def test_no_address_is_followed(photo: str) -> None:
    with pytest.raises(PhotoError):
        decoded(photo)


def test_what_should_not_happen_is_not_told(galleries: Galleries, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("/secret/path")

    monkeypatch.setattr(mcp, "search_face", broken)
    with pytest.raises(RuntimeError, match="This did not work; try again") as caught:
        anyio.run(SearchTool(galleries, Gate()), "search_face", {"photo": as_base64(photo)})
    assert "secret" not in str(caught.value)


def test_so_many_may_wait_and_no_more(galleries: Galleries, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on, seen = threading.Event(), []

    def slow(_: Galleries, given: dict[str, Any]) -> dict[str, Any]:
        seen.append(given["photo"])
        assert may_go_on.wait(30)
        return {}

    monkeypatch.setattr(mcp, "search_face", slow)
    tool = SearchTool(galleries, Gate())

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for number in range(AT_ONCE + WAITING):
                group.start_soon(tool, "search_face", {"photo": number})
            while len(seen) < AT_ONCE:
                await anyio.sleep(0.01)
            await anyio.sleep(0.5)
            assert len(seen) == AT_ONCE
            with pytest.raises(Busy):
                await tool("search_face", {"photo": "one too many"})
            may_go_on.set()

    anyio.run(crowd)
    assert len(seen) == AT_ONCE + WAITING


@pytest.mark.parametrize("installed", ["", "0.9.1", "3.0.0"])
def test_a_missing_package_is_one_sentence_with_the_remedy(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if not installed:
            raise mcp.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(mcp, "version", version)
    with pytest.raises(SettingsError, match="pip install 'mcp>="):
        require_mcp()
    assert MISSING.count(". ") == 0


@pytest.mark.slow
def test_the_page_does_not_start_with_a_setting_that_cannot_be(tmp_path: Path) -> None:
    environ = {"FACESEARCH_MCP": "maybe", "FACESEARCH_INDEX": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "FACESEARCH_MCP is 'maybe'; write on or off."
    assert "Traceback" not in done.stderr
