"""Asked for no recipe, every door takes the best that is built and ready: here the last of the order."""

from __future__ import annotations

import base64
import gc
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.core.errors import NotReady
from pipeline.core.recipes import MINI, RECIPES
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.live import Live
from pipeline.page.server.mcp import search_face
from tests.fakes import TinyEncoders, portrait

ONLY = {name: "Not here." for name in RECIPES if name not in (MINI, "mini-whole")}


@pytest.fixture
def only_mini(tiny_folder: Path, tmp_path: Path) -> Gallery:
    """A gallery that can be searched with the smallest model, and whose other weights cannot be had."""
    gallery = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(ONLY), tmp_path / "index")
    gallery.build([MINI])
    return gallery


@pytest.fixture
def galleries(only_mini: Gallery) -> Galleries:
    preparation = Preparation(only_mini, maps=False)
    preparation.start([MINI])
    preparation.wait()
    return Galleries(preparation)


@pytest.fixture
def served(galleries: Galleries) -> Iterator[str]:
    """The address of a running page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import app

        page = app.launch(galleries, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        yield str(page.local_url)
        page.close()
        gc.collect()


def test_the_command_line(
    only_mini: Gallery, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_mini.encoders.unavailable.clear()  # type: ignore[attr-defined]  # others could be had, and are not built
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: only_mini)
    assert main(["search", str(photo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == MINI


def test_the_endpoints(served: str, photo: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(served, verbose=False)
    *_, answer = client.predict(handle_file(photo), api_name="/search")
    assert (answer["recipe"], answer["hits"][0]["person"]) == (MINI, "Elif")
    *_, told = client.predict(handle_file(photo), api_name="/explain")
    assert told["recipe"] == MINI


def test_the_tool_for_programs(galleries: Galleries, photo: Path) -> None:
    assert search_face(galleries, {"photo": base64.b64encode(photo.read_bytes()).decode()})["recipe"] == MINI


def test_live(galleries: Galleries) -> None:
    frame = io.BytesIO()
    portrait(4, 2).save(frame, "JPEG", quality=95)
    seen = Live(galleries).search(frame.getvalue(), "", "", "")
    assert seen["about"].startswith(RECIPES[MINI].label)
    assert seen["hits"]


def test_where_nothing_is_ready_a_sentence_says_so(tiny: Gallery) -> None:
    preparation = Preparation(tiny)
    with pytest.raises(NotReady, match="not ready yet; ask again"):
        preparation.recipe("")
    assert preparation.recipe("mtcnn-reid") == "mtcnn-reid"
