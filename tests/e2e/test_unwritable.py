"""A folder of galleries that cannot be written, or a full disk: the page answers all the same, with pictures."""

from __future__ import annotations

import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.core.recipes import MINI
from pipeline.galleries.preparation import Preparation
from tests.e2e.conftest import Browse, Serve, loaded
from tests.e2e.test_page import captions, upload, wait_for_answer
from tests.fakes import PEOPLE, portrait, tiny_gallery

SMALL = 0  # bytes that a file may have when the disk is full


@pytest.fixture
def built(tmp_path: Path) -> Preparation:
    """The tiny world, built and opened; no picture is made yet."""
    preparation = Preparation(tiny_gallery(tmp_path), maps=False)
    preparation.start([MINI])
    preparation.wait()
    return preparation


def test_where_pictures_cannot_be_kept_the_answer_has_them(
    built: Preparation, serve: Serve, browse: Browse, tmp_path: Path
) -> None:
    """A file in place of their folder stops every account from writing, root too."""
    shutil.rmtree(built.gallery.thumbnails_root, ignore_errors=True)
    built.gallery.thumbnails_root.write_text("")
    page = browse(serve(built))
    wait_for_answer(page, "Ada")
    assert page.locator("#examples img").count() == len(PEOPLE)
    upload(page, portrait(4, 2), tmp_path / "query.png")
    wait_for_answer(page, "Elif")
    assert len(captions(page)) == 20
    pictures = loaded(page.locator("#results .tile img"))
    assert pictures.count() == 20
    assert all(
        source.startswith("data:image/jpeg;base64,")
        for source in pictures.evaluate_all("all => all.map(one => one.src)")
    )
    # Enlarging a result, faces in place of photos, and searching with a result, which lies where visitors' photos do.
    page.locator("#results .enlarge").first.click()
    loaded(page.locator("#enlarged img"))
    page.get_by_role("button", name="Options").click()
    page.locator("#view label", has_text="Faces").click()
    loaded(page.locator("#results .tile img"))
    page.locator("#results .tile .pick").nth(6).click()
    page.locator("#back").wait_for()
    assert len(captions(page)) == 20
    page.locator("#photo button[aria-label='Remove Image']").click()
    page.locator("#results .tile").first.wait_for(state="detached")
    assert built.gallery.thumbnails_root.is_file()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow."""
    former, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_leaves_pictures_in_memory(built: Preparation, tmp_path: Path) -> None:
    pictures, box = built.gallery.pictures, (10.0, 10.0, 40.0, 40.0)
    with full_disk():
        made = [pictures.thumbnail("Ada/0.png"), pictures.face("Ada/0.png", box), pictures.original("Ada/0.png")]
    assert [content[:2] for content in made if isinstance(content, bytes)] == [b"\xff\xd8", b"\xff\xd8", b"\x89P"]
    assert not [path for path in built.gallery.thumbnails_root.rglob("*") if path.is_file()], "nothing half is left"
    kept = [pictures.thumbnail("Ada/0.png"), pictures.face("Ada/0.png", box), pictures.original("Ada/0.png")]
    assert [path.read_bytes() for path in kept if isinstance(path, Path)] == made
