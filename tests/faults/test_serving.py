"""Whatever happens to the files under a running page: it says so in one sentence and recovers without a restart.

The threat: somebody cleans up, moves or rebuilds the folder of galleries while the page has it open; the photos go
away; the thread that prepares dies. Elsewhere: weights that are gone, and the retry (`test_background.py`); Milvus
killed and started again under an open page (`test_milvus.py`); files that are written over (`test_overwriting.py`).
"""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.recipes import DEFAULT, RECIPES
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.presenter import searched
from pipeline.page.query import Request
from tests.conftest import Tally
from tests.fakes import portrait

Search = Callable[..., str]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Gradio leaves sockets and event loops to the garbage collector: here, where they are no error (`conftest.py`)."""
    yield
    gc.collect()


@pytest.fixture
def preparation(tiny: Gallery) -> Preparation:
    prepared = Preparation(tiny)
    prepared.start(RECIPES)
    prepared.wait()
    assert prepared.ready()
    return prepared


@pytest.fixture
def search(preparation: Preparation, tmp_path: Path, tally: Tally) -> Search:
    """What the page says to a photo of the gallery."""
    portrait(3, 1).save(tmp_path / "query.png")

    def search(index: str = "annoy") -> str:
        tally.add("faults while serving")
        return searched(preparation, Request(str(tmp_path / "query.png"), MAIN, DEFAULT, index=index)).sentence

    return search


FOUND = "4 of 4 photos found, your photo one of them"


@pytest.mark.parametrize("index", ["exact", "annoy", "knn", "kmeans"])
def test_the_index_folder_is_deleted_and_the_page_goes_on(search: Search, tiny: Gallery, index: str) -> None:
    assert FOUND in search(index)
    shutil.rmtree(tiny.index_root)
    assert FOUND in search(index), "what is open stays open, and pictures are made anew"


def test_a_gallery_that_is_gone_is_built_again_on_retry(
    preparation: Preparation, tiny: Gallery, search: Search
) -> None:
    shutil.rmtree(tiny.index_root)
    again = Preparation(Gallery(tiny._dataset, tiny.encoders, tiny.index_root))
    again.start(RECIPES)
    again.wait()
    assert set(again.ready()) == set(RECIPES)
    assert FOUND in search()


def test_a_gallery_that_was_replaced_by_another_build(search: Search, tiny: Gallery, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    portrait(0, 2).save(photos / "Ada" / "new.png")
    Gallery(f"imagefolder:{photos}", tiny.encoders, tiny.index_root).build([DEFAULT])
    assert FOUND in search(), "the page answers from the gallery it opened"


def test_the_photos_are_gone_and_come_back(search: Search, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    said = search()
    assert "A photo of this gallery cannot be read any more" in said, "and not that the visitor's is at fault"
    assert str(tmp_path) not in said
    (tmp_path / "elsewhere").rename(tmp_path / "photos")
    assert FOUND in search()


def test_the_thread_that_prepares_dies_and_is_started_again(
    tiny: Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tally: Tally
) -> None:
    preparation = Preparation(tiny)
    with monkeypatch.context() as broken:
        broken.setattr(tiny, "build", lambda *arguments: 1 / 0)
        preparation.start()
        preparation.wait()
    health = Galleries(preparation).health()
    assert health["status"] == "unavailable"
    assert "see the log, then try again" in health["problem"]
    preparation.start()
    preparation.wait()
    assert Galleries(preparation).health()["status"] == "ok"
    tally.add("faults while serving")


def test_nothing_can_be_written_and_then_it_can(tiny: Gallery, tally: Tally) -> None:
    tiny.index_root.write_text("in the way")
    preparation = Preparation(tiny)
    preparation.start()
    preparation.wait()
    assert "cannot be written to" in preparation.problem
    tiny.index_root.unlink()
    preparation.start()
    preparation.wait()
    assert preparation.ready()
    tally.add("faults while serving")


def test_an_idle_connection_to_milvus_lite_stays_and_says_nothing(idle: subprocess.Popen[str] | None) -> None:
    if idle is None:
        pytest.skip("needs the package milvus-lite")
    out, err = idle.communicate()
    assert (idle.returncode, out, err) == (0, "", "")
