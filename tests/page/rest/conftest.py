"""A page with the REST interface on the tiny world, in this process."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.preparation import Preparation
from tests.fakes import TinyEncoders, draw, known, tiny_gallery
from tests.galleries.test_own_galleries import ONLY

SECONDS = 60
RECIPES = ("mtcnn-reid", "mini-whole")
DISTANCES = (0.3, 0.6, 1.0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gradio leaves event loops and their sockets to the garbage collector; `serving` collects them here and now."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for kind in ("ResourceWarning", "DeprecationWarning", "pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@contextmanager
def serving(galleries: Galleries, **options: Any) -> Iterator[Any]:  # noqa: ANN401
    """A page of these galleries, with the MCP tool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import app

        settings = {"prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"} | options
        page = app.launch(galleries, mcp=find_spec("mcp") is not None, **settings)
    try:
        yield page
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            page.close()
            gc.collect()


@pytest.fixture(scope="module")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """The tiny world, one for all."""
    return tiny_gallery(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def galleries(tiny_world: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Galleries]:
    """The tiny world, two models ready, one of them calibrated, and visitors' own galleries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.galleries.gallery.shipped", lambda: (known("mtcnn-reid", "tiny-reid", DISTANCES),))
        preparation = Preparation(tiny_world, maps=False)
        preparation.start(RECIPES)
        preparation.wait()
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
        own = OwnGalleries(TinyEncoders(ONLY), tmp_path_factory.mktemp("kept"))
        yield Galleries(preparation, own=own)
        own.close()


@pytest.fixture(scope="module")
def url(galleries: Galleries) -> Iterator[str]:
    """The page's address."""
    with serving(galleries) as page:
        yield page.local_url.rstrip("/")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A photo of Ada and, smaller, Bruno."""
    path = tmp_path / "two.png"
    draw((0, 1, (10, 20, 44)), (1, 0, (64, 30, 24))).save(path)
    return path


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    """A photo without a face."""
    path = tmp_path / "nobody.png"
    draw().save(path)
    return path


Post = Callable[..., requests.Response]


@pytest.fixture
def post(url: str) -> Post:
    """Posts photos as files with the options as fields."""

    def post(route: str, *photos: Path | bytes, headers: dict[str, str] | None = None, **fields: object) -> Any:  # noqa: ANN401
        names = ("photo", "other")
        files = {
            name: ("x", photo if isinstance(photo, bytes) else photo.read_bytes())
            for name, photo in zip(names, photos, strict=False)
        }
        return requests.post(
            f"{url}/api/v1/{route}", data=fields, files=files or {"": ("", b"")}, headers=headers, timeout=SECONDS
        )

    return post
