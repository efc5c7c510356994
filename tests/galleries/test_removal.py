"""Removed is removed: whoever is still searching, whatever is asked meanwhile, on whichever disk the photos lie."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeline.core.errors import PhotosError, PipelineError, SettingsError
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.own_gallery import REMOVED
from tests.fakes import portrait
from tests.galleries.test_own_galleries import Encoders, encoders, filled, own, temporary

__all__ = ["encoders", "own", "temporary"]  # fixtures
RECIPE = "mtcnn-reid"
ATTEMPTS = 15
SEARCHERS = 4
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Twelve photos of two people, too large to be their own thumbnails."""
    (tmp_path / "party").mkdir()
    paths = [tmp_path / "party" / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        portrait(number % 2, number % 4).resize((400, 400)).save(path)
    return paths


def everything_in(folder: Path) -> list[str]:
    """What lies below a folder, folders too; but for the lock that says the server lives, and all galleries' folder."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.endswith(".lock"))
    return sorted(name for name in names if name.split("/")[1:] != ["pictures"])


@contextmanager
def searching(gallery: Gallery, photo_ids: tuple[str, ...]) -> Iterator[None]:
    """While threads make every picture of a gallery over and over; what they raise but sentences is raised."""
    stop, started = threading.Event(), threading.Barrier(SEARCHERS + 1, timeout=60)

    def search() -> None:
        started.wait()
        pictures = gallery.pictures
        while not stop.is_set():
            for photo_id in photo_ids:
                with suppress(PipelineError):
                    pictures.original(photo_id)
                    pictures.thumbnail(photo_id)
                    pictures.face(photo_id, (10.0, 10.0, 90.0, 90.0 + time.monotonic() % 1 * 100))

    with ThreadPoolExecutor(SEARCHERS) as pool:
        searches = [pool.submit(search) for _ in range(SEARCHERS)]
        started.wait()
        try:
            yield
            time.sleep(0.05)  # in which they go on
        finally:
            stop.set()
    for ended in searches:
        ended.result()


@pytest.mark.parametrize("kept", [False, True], ids=["temporary", "kept"])
@pytest.mark.slow
def test_nothing_is_left_of_a_gallery_that_is_searched_meanwhile(
    own: OwnGalleries, photos: list[Path], temporary: Path, tmp_path: Path, kept: bool
) -> None:
    for _ in range(ATTEMPTS):
        key, mine = filled(own, photos)
        own.keep(key, kept=kept)
        mine.wait()
        assert mine.preparation is not None
        with searching(mine.preparation.gallery, mine.photo_ids):
            time.sleep(0.03)
            own.remove(key)
            assert own.find(key) is None
        assert own.find(key) is None
        assert [name for name in everything_in(temporary) if "/" in name] == []
        assert everything_in(tmp_path / "kept") == []


@pytest.mark.slow
def test_nothing_is_left_of_photos_that_are_searched_meanwhile(own: OwnGalleries, photos: list[Path]) -> None:
    _, mine = filled(own, photos)
    while len(mine.photo_ids) > 1:
        assert mine.preparation is not None
        first, before = mine.photo_ids[0], mine.preparation.gallery
        with searching(before, (first,)):
            time.sleep(0.03)
            mine.discard([first])
        mine.wait()
        assert mine.problem == ""
        _, picture = before.pictures._row_and_path(first, "")
        for folder in (mine.folder, own.pictures):
            assert [path.name for path in folder.rglob(f"*{picture.name}*")] == []
        assert not (mine.folder / "photos" / first).exists()


def test_nothing_is_left_when_the_server_stops(own: OwnGalleries, photos: list[Path], temporary: Path) -> None:
    _, mine = filled(own, photos)
    assert mine.preparation is not None
    with searching(mine.preparation.gallery, mine.photo_ids):
        time.sleep(0.03)
        own.close()
    assert list(temporary.iterdir()) == []


def test_nothing_is_begun_with_a_gallery_that_is_being_removed(
    own: OwnGalleries, photos: list[Path], encoders: Encoders, temporary: Path, tmp_path: Path
) -> None:
    key, mine = filled(own, photos[:1])
    own.keep(key, kept=True)
    mine.wait()
    reached, go_on = threading.Event(), threading.Event()
    encoders.hold = lambda: (reached.set(), go_on.wait(60))
    mine.add(photos, lambda: None)
    assert reached.wait(60)
    removing = threading.Thread(target=own.remove, args=[key])
    removing.start()
    time.sleep(0.2)
    assert own.find(key) is None, "its folder is still there, and nobody is given it"
    go_on.set()
    removing.join()
    with pytest.raises(SettingsError) as caught:
        mine.add(photos, lambda: None)
    assert str(caught.value) == REMOVED
    assert everything_in(tmp_path / "kept") == []
    assert [name for name in everything_in(temporary) if "/" in name] == []


def test_all_photos_discarded_is_a_gallery_removed(own: OwnGalleries, photos: list[Path], temporary: Path) -> None:
    key, mine = filled(own, photos[:2])
    mine.discard(mine.photo_ids)
    assert own.find(key) is None
    assert [name for name in everything_in(temporary) if "/" in name] == []


def test_one_that_another_process_removed_is_not_found(own: OwnGalleries, photos: list[Path], tmp_path: Path) -> None:
    key, mine = filled(own, photos[:2])
    own.keep(key, kept=True)
    mine.wait()
    assert own.find(key) is mine
    shutil.rmtree(mine.folder)
    assert own.find(key) is None
    assert everything_in(tmp_path / "kept") == []


@pytest.mark.skipif(
    not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == Path("/tmp").stat().st_dev,
    reason="needs a second file system at /dev/shm",
)
def test_it_moves_to_another_disk_while_it_is_searched(
    encoders: Encoders, photos: list[Path], temporary: Path, tmp_path: Path
) -> None:
    elsewhere = SHARED_MEMORY / f"reverse-face-search-test-{os.getpid()}"
    own = OwnGalleries(encoders, elsewhere / "kept")
    try:
        key, mine = filled(own, photos)
        for kept in (True, False, True):
            mine.wait()
            assert mine.preparation is not None
            with searching(mine.preparation.gallery, mine.photo_ids):
                own.keep(key, kept=kept)
            mine.wait()
            assert mine.problem == ""
            assert sorted(mine.photo_ids) == sorted(path.name for path in photos)
        left = [name for name in everything_in(temporary) if "/" in name]
        assert [name for name in left if name.split("/")[1] != "pictures"] == []
        assert [path.name for path in (elsewhere / "kept").iterdir()] == [mine.name]
        own.remove(key)
        assert not mine.folder.exists()
        assert [name for name in everything_in(temporary) if "/" in name] == []
    finally:
        own.close()
        shutil.rmtree(elsewhere, ignore_errors=True)


def test_a_move_that_fails_loses_nothing(own: OwnGalleries, photos: list[Path], tmp_path: Path) -> None:
    key, mine = filled(own, photos)
    (tmp_path / "kept").write_text("a file where the folder is to be")
    with pytest.raises(PhotosError, match="cannot be moved"):
        own.keep(key, kept=True)
    mine.wait()
    assert not mine.kept
    assert len(mine.photo_ids) == len(photos)
