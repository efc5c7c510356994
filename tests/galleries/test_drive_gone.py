"""Photos on a drive that goes away while a gallery is built: the cause is said, and none is left out for good."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.cli.doctor import embeddings
from pipeline.core.errors import PhotoError, PhotoOutOfReach, PhotosError
from pipeline.core.progress import Progress
from pipeline.core.recipes import MINI
from pipeline.embeddings import embed, store
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.photos.images import UNREADABLE, open_image
from tests.fakes import BROKEN, TinyEncoders

BATCH = 5
MEMORY = Path("/proc/self/mem")  # a file that can be opened, and whose reading ends in an input/output error


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART_SIZE", 2 * BATCH)
    monkeypatch.setattr(embed, "BATCH", BATCH)


class Drive:
    """A drive that is pulled out once so many photos are done, by `report`."""

    def __init__(self, folder: Path, after: int) -> None:
        self._folder, self._aside, self._after = folder, folder.with_name("unmounted"), after
        self.gone = False

    def __call__(self, progress: Progress) -> None:
        if progress.unit == "photos" and progress.done >= self._after and not self.gone:
            self._folder.rename(self._aside)
            self.gone = True

    def plug_in(self) -> None:
        self._aside.rename(self._folder)


def test_a_build_fails_with_the_cause_and_goes_on_once_the_drive_is_there(
    tiny: Gallery, tiny_folder: Path, tmp_path: Path
) -> None:
    drive = Drive(tiny_folder, after=12)
    with pytest.raises(PhotosError, match=r"could not be read, though .*There is no file.*kept; build again"):
        tiny.build([MINI], drive)
    assert drive.gone
    drive.plug_in()
    fresh = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tiny.index_root)
    fresh.build([MINI])
    counts = fresh.searcher(MINI).embeddings.manifest["counts"]
    assert (counts["indexed"], counts["unreadable"]) == (24, 1), "one file is no photo"
    assert fresh.encoders.detector.photos_seen < 24, "what was embedded before was kept"  # type: ignore[attr-defined]


def test_the_page_tries_again_with_the_photos_that_are_there_then(tiny: Gallery, tiny_folder: Path) -> None:
    preparation = Preparation(tiny, maps=False)
    _ = tiny.photos
    away = tiny_folder.rename(tiny_folder.with_name("unmounted"))
    preparation.start([MINI])
    preparation.wait()
    assert "could not be read" in preparation.problem
    away.rename(tiny_folder)
    (tiny_folder / "Ada" / "0.png").unlink()
    preparation.start([MINI])
    preparation.wait()
    assert preparation.problem == ""
    assert preparation.searcher(MINI).embeddings.manifest["counts"]["indexed"] == 23


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/mem, whose reading fails")
def test_an_input_output_error_is_not_an_unreadable_photo(tmp_path: Path, tiny: Gallery, tiny_folder: Path) -> None:
    (tiny_folder / "Ada" / "bad sector.jpg").symlink_to(MEMORY)
    with pytest.raises(PhotoOutOfReach, match="Input/output error"):
        open_image(tiny_folder / "Ada" / "bad sector.jpg")
    with pytest.raises(PhotosError, match=r"Ada/bad sector\.jpg could not be read.*Input/output error"):
        tiny.build([MINI])
    assert not (tiny.folder(MINI) / "manifest.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a photo", b"II*\0\xff\xff\xff\xff", b"\xff\xd8\xff\xe0", b"BM" + bytes(60)]
)
def test_what_cannot_be_decoded_is_no_fault_of_the_disk(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(PhotoError) as caught:
        open_image(tmp_path / "photo.jpg")
    assert (type(caught.value), str(caught.value)) == (PhotoError, UNREADABLE)


def test_a_gallery_that_lacks_photos_since_before_says_so_and_gets_them(tiny: Gallery, tiny_folder: Path) -> None:
    """Up to version 0.9 an error of the drive was kept for good, as this manifest has it."""
    photo = tiny_folder / "Ada" / "0.png"
    content, times = photo.read_bytes(), photo.stat()
    photo.write_bytes(bytes(len(content)))
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    tiny.build([MINI, "mini-whole"])
    photo.write_bytes(content)
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tiny.index_root)
    (said,) = (finding for finding in embeddings(again) if finding.what.startswith(f"gallery {MINI}"))
    assert (said.level, said.remedy) == ("warn", f"run `python -m pipeline build --recipe {MINI}`")
    assert "lacks 1 photos that could not be read, and now can" in said.what
    again.build([MINI])
    assert again.searcher(MINI).embeddings.manifest["counts"]["indexed"] == 24
    assert again.encoders.detector.photos_seen == 1, "the others are known"  # type: ignore[attr-defined]
    (said,) = (finding for finding in embeddings(again) if finding.what.startswith(f"gallery {MINI}"))
    assert said.level == "ok"
    assert said.what.endswith("; 1 files cannot be read as photos")
    assert BROKEN in {one["photo_id"] for one in again.searcher(MINI).embeddings.manifest["skipped"]}
