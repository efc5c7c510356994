"""Taking in what a visitor drops: what is kept, what is skipped and counted, and every limit with its sentence."""

from __future__ import annotations

import errno
import io
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

import pytest
from PIL import Image

from pipeline.core.errors import PhotosError, Stopped
from pipeline.core.progress import Progress, silent
from pipeline.galleries import uploads
from pipeline.galleries.uploads import NO_PHOTO, Taken, take
from pipeline.photos.folders import HIDDEN
from pipeline.photos.folders import OTHER as OTHERS
from tests.fakes import portrait

WANTED = "drop JPEG, HEIC, PNG, WebP, AVIF, GIF, BMP or TIFF files, or a zip of them"


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


PHOTO, OTHER = png(portrait(0)), png(portrait(1))


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """Where dropped files lie."""
    (tmp_path / "dropped").mkdir()
    return tmp_path / "dropped"


@pytest.fixture
def zipped(dropped: Path) -> Path:
    """Where a dropped zip lies."""
    return dropped / "photos.zip"


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def taken_from(*files: Path) -> Taken:
    """What is taken of these, into the folder `taken` beside them, where `present` is what is there already."""
    place = files[0].parent.parent
    return take(files, place / "taken", place / "present", silent)


def refusal(*files: Path) -> str:
    with pytest.raises(PhotosError) as caught:
        taken_from(*files)
    return str(caught.value)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What is taken


def test_photos_are_copied_as_they_are(dropped: Path, tmp_path: Path) -> None:
    (dropped / "a.png").write_bytes(PHOTO)
    portrait(2).save(dropped / "b.JPG", "JPEG")
    assert taken_from(dropped / "a.png", dropped / "b.JPG") == Taken(
        (PurePosixPath("a.png"), PurePosixPath("b.JPG")), (), 0
    )
    assert files_below(tmp_path / "taken") == ["a.png", "b.JPG"]
    assert (tmp_path / "taken" / "a.png").read_bytes() == PHOTO
    assert (dropped / "a.png").is_file(), "whoever dropped it decides what becomes of it"


def test_of_a_zip_the_photos_are_taken_with_the_folder_they_lie_in(zipped: Path, tmp_path: Path) -> None:
    write_zip(
        zipped,
        {
            "trip/holiday/1.png": PHOTO,
            "trip\\Ann\\2.png": OTHER,
            "3.png": PHOTO,
            "trip/notes.txt": b"notes",
            "__MACOSX/trip/._1.png": b"",
            "trip/.hidden/4.png": PHOTO,
        },
    )
    assert dict(taken_from(zipped).left_out) == {"notes.txt": OTHERS, "_1.png": HIDDEN, "4.png": HIDDEN}
    assert files_below(tmp_path / "taken") == ["3.png", "Ann/2.png", "holiday/1.png"]
    assert (tmp_path / "taken" / "Ann" / "2.png").read_bytes() == OTHER


def test_of_a_folder_the_photos_are_taken_with_the_folder_that_says_who_they_show(
    dropped: Path, tmp_path: Path
) -> None:
    named = {
        "family/Ann/2019/1.png": PHOTO,
        "family/Ben/2019/1.png": PHOTO,  # which the browser sends once, and the server has at one path
        "family/@eaDir/1.png": PHOTO,
        "family/../../1.png": PHOTO,
        "1.png": OTHER,
    }
    files = []
    for name, content in named.items():
        files.append(dropped / ("loose" if name == "1.png" else "family") / "1.png")
        files[-1].parent.mkdir(exist_ok=True)
        files[-1].write_bytes(content)
    taken = take(files, tmp_path / "taken", tmp_path / "present", silent, list(named))
    assert taken.left_out == (("1.png", HIDDEN), ("1.png", HIDDEN))
    assert files_below(tmp_path / "taken") == ["1.png", "Ann/1.png", "Ben/1.png"]
    assert (tmp_path / "taken" / "1.png").read_bytes() == OTHER


def test_what_cannot_be_read_is_skipped_and_counted(dropped: Path, zipped: Path, tmp_path: Path) -> None:
    (dropped / "good.png").write_bytes(PHOTO)
    (dropped / "broken.jpg").write_bytes(b"not a photo")
    (dropped / "notes.txt").write_bytes(b"notes")
    stream = io.BytesIO()
    Image.effect_noise((400, 400), 80).save(stream, "JPEG")
    write_zip(zipped, {"cut.jpg": stream.getvalue()[:9000], "empty.png": b""})
    files = [dropped / name for name in ("good.png", "broken.jpg", "notes.txt", "photos.zip")]
    left_out = {"broken.jpg": NO_PHOTO, "cut.jpg": NO_PHOTO, "empty.png": NO_PHOTO, "notes.txt": OTHERS}
    assert taken_from(*files) == Taken((PurePosixPath("good.png"),), tuple(left_out.items()), 0)
    assert files_below(tmp_path / "taken") == ["good.png"]


def test_a_photo_that_is_too_large_is_told_so(dropped: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(dropped / "large.png")
    with pytest.raises(PhotosError, match="9,000 x 9,000 pixels; the limit is 65 megapixels"):
        taken_from(dropped / "large.png")
    (dropped / "good.png").write_bytes(PHOTO)
    ((name, reason),) = taken_from(dropped / "large.png", dropped / "good.png").left_out
    assert (name, "65 megapixels" in reason) == ("large.png", True)


def test_names_are_told_apart_and_the_same_photo_is_not_taken_twice(zipped: Path, tmp_path: Path) -> None:
    (tmp_path / "present").mkdir()
    (tmp_path / "present" / "1.png").write_bytes(PHOTO)
    write_zip(zipped, {"1.png": PHOTO, "x/1.png": PHOTO, "x/a/1.png": OTHER, "x/b/1.png": OTHER})
    (zipped.parent / "1.png").write_bytes(OTHER)
    taken = taken_from(zipped, zipped.parent / "1.png")
    assert taken.known == 2
    assert files_below(tmp_path / "taken") == ["1 (2).png", "x/1 (2).png", "x/1.png"]
    assert (tmp_path / "taken" / "1 (2).png").read_bytes() == OTHER


def test_names_that_no_file_can_have_are_mended(zipped: Path, tmp_path: Path) -> None:
    write_zip(zipped, {"\U0001f600" * 300 + "/a\nb.png": PHOTO, " ./..png": PHOTO, "n" * 400 + ".png": PHOTO})
    assert taken_from(zipped).left_out == (("_.png", HIDDEN),)
    assert files_below(tmp_path / "taken") == ["n" * 50 + ".png", "\U0001f600" * 50 + "/a_b.png"]


@pytest.mark.parametrize(
    ("encoding", "person", "photo"),
    [
        ("cp932", "\u30bd\u30cb\u30a2\u8868", "\u5199\u771f"),
        ("gb18030", "\u738b\u5c0f\u660e", "\u7167\u7247"),
        ("utf-8", "M\u00fcller", "Bild"),
    ],
)
def test_names_are_read_as_they_were_written(
    encoding: str, person: str, photo: str, zipped: Path, tmp_path: Path
) -> None:
    """One of them has a backslash among its bytes. Python marks names that are UTF-8; other programs do not."""

    class Unmarked(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:
            return self.filename.encode(encoding), self.flag_bits

    with zipfile.ZipFile(zipped, "w") as archive:
        for number, content in enumerate((PHOTO, OTHER)):
            archive.writestr(Unmarked(f"{person}/{photo}{number}.png"), content)
    assert taken_from(zipped).left_out == ()
    assert files_below(tmp_path / "taken") == [f"{person}/{photo}0.png", f"{person}/{photo}1.png"]


def test_years_in_a_folder_of_people_are_nobody(zipped: Path, tmp_path: Path) -> None:
    write_zip(
        zipped, {"Photos/Colin/2019/1.png": PHOTO, "Photos/Tony/2019/1.png": PHOTO, "Photos/Tony/2020/1.png": OTHER}
    )
    assert taken_from(zipped).left_out == ()
    assert files_below(tmp_path / "taken") == ["Colin/1.png", "Tony/1 (2).png", "Tony/1.png"]


def test_progress_is_told_and_may_end_it(dropped: Path) -> None:
    for number in range(3):
        (dropped / f"{number}.png").write_bytes(png(portrait(number)))
    seen: list[tuple[int, int]] = []

    def report(progress: Progress) -> None:
        seen.append((progress.done, progress.total))
        if progress.done == 1:
            raise Stopped("Enough.")

    with pytest.raises(Stopped):
        take(sorted(dropped.iterdir()), dropped.parent / "taken", dropped.parent / "present", report)
    assert seen == [(0, 3), (1, 3)]


# What is refused


def test_nothing_dropped(tmp_path: Path) -> None:
    with pytest.raises(PhotosError) as caught:
        take([], tmp_path / "taken", tmp_path / "present", silent)
    assert str(caught.value) == f"Nothing was dropped; {WANTED}."


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (93, "Zstandard"), (77, "method 77")])
def test_a_zip_of_another_method_is_not_called_damaged(zipped: Path, method: int, name: str) -> None:
    content = write_zip(zipped, {"a.png": PHOTO}).read_bytes()
    there = content.index(b"PK\x01\x02")
    for start in (8, there + 10):  # where its file, and the list of its files, have the method
        content = content[:start] + method.to_bytes(2, "little") + content[start + 2 :]
    zipped.write_bytes(content)
    assert refusal(zipped) == (
        f"photos.zip is compressed by {name}, which is not read here; unpack it, and drop the photos themselves."
    )


def test_no_photos(dropped: Path, zipped: Path) -> None:
    (dropped / "notes.txt").write_bytes(b"notes")
    assert refusal(dropped / "notes.txt") == f"There are no photos in what you dropped; {WANTED}."
    assert refusal(write_zip(zipped, {"a/notes.txt": b""})) == f"There are no photos in what you dropped; {WANTED}."
    assert refusal(write_zip(zipped, {})) == f"There are no photos in what you dropped; {WANTED}."


def test_no_photo_that_can_be_read(zipped: Path) -> None:
    assert refusal(write_zip(zipped, {"a.jpg": b"x"})) == f"None of these files can be read as a photo; {WANTED}."


def test_too_many_photos(zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PHOTOS", 3)
    (tmp_path / "present" / "x").mkdir(parents=True)
    (tmp_path / "present" / "x" / "0.png").write_bytes(PHOTO)
    write_zip(zipped, {f"{number}.png": PHOTO for number in range(3)})
    assert refusal(zipped) == "That makes 4 photos, and a gallery of your own holds 3; drop fewer."
    write_zip(zipped, {f"{number}.png": PHOTO for number in range(2)})
    assert len(taken_from(zipped).photos) == 2


def test_a_zip_of_too_many_files(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_ENTRIES", 2)
    write_zip(zipped, {"1.txt": b"", "2.txt": b"", "3.png": PHOTO})
    assert refusal(zipped) == "photos.zip holds 3 files, and 2 is the limit; split it into several zips."


def test_the_limit_of_files_holds_for_all_that_is_dropped_together(
    dropped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_ENTRIES", 3)
    zips = [write_zip(dropped / f"{number}.zip", {"1.png": PHOTO, "2.png": OTHER}) for number in range(2)]
    assert len(taken_from(zips[0], zips[0], zips[0]).photos) == 2, "one file is dropped once, however often it is named"
    assert refusal(*zips) == "You dropped more than 3 files, those in zips included; drop fewer."


def test_a_zip_is_opened_as_often_for_many_photos_as_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one of 18,000 files takes 0.1 s: for each of 200 photos, 20 s."""
    opened: list[object] = []
    opening = zipfile.ZipFile.__init__

    def noted(*args: object, **options: object) -> None:
        opened.append(args)
        opening(*args, **options)

    monkeypatch.setattr(zipfile.ZipFile, "__init__", noted)
    times = []
    for numbers in (range(1), range(1, 20)):
        zipped = tmp_path / f"{len(numbers)}.zip"
        write_zip(zipped, {f"{number}.png": png(portrait(number % 6, number)) for number in numbers})
        opened.clear()
        assert len(taken_from(zipped).photos) == len(numbers)
        times.append(len(opened))
    assert times[0] == times[1]


def test_the_list_of_a_zips_files_is_bounded_before_it_is_read(zipped: Path) -> None:
    """One of 71 MB took 497 MB of memory, and 19 s."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
    files = (entry + b"a.jpg") * 1_000_000
    zipped.write_bytes(files + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, len(files), 0, 0))
    del files
    tracemalloc.start()
    said = refusal(zipped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said == ("photos.zip holds more than 20,000 files, or files of very long names; split it into several zips.")
    assert peak < 5_000_000


def test_a_bomb_is_refused_before_it_is_unpacked(zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 2_000_000_000)
    write_zip(zipped, {f"{number}.png": bytes(1_500_000) for number in range(2)})
    content = bytearray(zipped.read_bytes())
    for _ in range(2):  # says 1.5 GB each, as a real bomb does
        place = content.index(struct.pack("<L", 1_500_000), content.index(b"PK\x01\x02"))
        content[place : place + 4] = struct.pack("<L", 1_500_000_000)
    zipped.write_bytes(content)
    assert refusal(zipped) == "These photos take 3.0 GB, and 2 GB is the limit; drop fewer at a time."
    assert not (tmp_path / "taken").exists()


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_further(
    dropped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dropped / "a.png").write_bytes(PHOTO)
    monkeypatch.setattr(uploads, "MAX_BYTES", len(PHOTO) - 1)
    monkeypatch.setattr(uploads, "_check_size", lambda photos, folder: folder.mkdir())
    assert refusal(dropped / "a.png") == "These photos take more than 0 GB; drop fewer at a time."
    assert files_below(tmp_path / "taken") in ([], [".coming"])
    assert sum(path.stat().st_size for path in (tmp_path / "taken").iterdir()) < len(PHOTO)


@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", "C:\\a.png", "..\\a.png"])
def test_a_zip_that_leads_out_of_its_folder(zipped: Path, tmp_path: Path, name: str) -> None:
    write_zip(zipped, {"good.png": PHOTO, name: PHOTO})
    assert refusal(zipped) == "photos.zip wants to write outside its folder, as no honest zip does; make it anew."
    assert not (tmp_path / "taken").exists()


def test_a_zip_in_a_zip(zipped: Path) -> None:
    write_zip(zipped, {"good.png": PHOTO, "a/inner.ZIP": b""})
    assert refusal(zipped) == "photos.zip holds another zip, inner.ZIP, which is not opened; unpack it first."


def test_a_zip_with_a_password(zipped: Path) -> None:
    write_zip(zipped, {"good.png": PHOTO})
    content = bytearray(zipped.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    zipped.write_bytes(content)
    assert refusal(zipped) == "photos.zip is protected by a password; unpack it, and drop the photos themselves."


DAMAGED = "photos.zip is damaged or no zip at all; make it anew, or drop the photos themselves."


def test_a_zip_that_is_none_or_is_damaged(zipped: Path) -> None:
    zipped.write_bytes(b"no zip")
    assert refusal(zipped) == DAMAGED
    zipped.write_bytes(b"")
    assert refusal(zipped) == DAMAGED
    write_zip(zipped, {"good.png": PHOTO})
    content = bytearray(zipped.read_bytes())
    content[60:70] = bytes(10)
    zipped.write_bytes(content)
    assert refusal(zipped) == DAMAGED


DISK_FULL = "The disk of this server is full; free some space, or drop fewer photos."


def test_a_disk_without_room_is_asked_first(dropped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (dropped / "a.png").write_bytes(PHOTO)
    usage = shutil.disk_usage(tmp_path)._replace(free=uploads.SPARE_BYTES + len(PHOTO) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert refusal(dropped / "a.png") == DISK_FULL
    usage = usage._replace(free=uploads.SPARE_BYTES + len(PHOTO))
    assert len(taken_from(dropped / "a.png").photos) == 1


def test_a_disk_that_runs_full(dropped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: IO[bytes], path: Path, most: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    (dropped / "a.png").write_bytes(PHOTO)
    monkeypatch.setattr(uploads, "_copy", full)
    assert refusal(dropped / "a.png") == DISK_FULL


def test_another_fault_of_the_disk_is_not_called_a_full_one(dropped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(stream: IO[bytes], path: Path, most: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    (dropped / "a.png").write_bytes(PHOTO)
    monkeypatch.setattr(uploads, "_copy", broken)
    with pytest.raises(OSError, match="Input/output"):
        taken_from(dropped / "a.png")
