"""What a visitor drops, photos, folders and zips of photos, taken into a folder; whatever else a zip may be is refused.

Nothing of a zip is trusted: neither its names, of which the last two parts are kept, nor its sizes, which are counted
while it is read. Files are taken one at a time and only if they can be read as photos, so the folder never holds
anything else.
"""

from __future__ import annotations

import errno
import lzma
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.core.errors import PhotoError, PhotoOutOfReach, PhotosError
from pipeline.core.files import digest
from pipeline.core.folders import PRIVATE_FILE, make_folder
from pipeline.core.progress import Report, tracked
from pipeline.photos.folders import HIDDEN, people_of, why_left_out
from pipeline.photos.images import DROPPED, UNREADABLE, open_image
from pipeline.photos.zips import names_in, open_zip

MAX_PHOTOS = 5_000  # in one gallery: an hour's work for two cores, if they are large
MAX_ENTRIES = 20_000  # files of any kind in one drop, those in zips included
MAX_BYTES = 20_000_000_000  # of all photos of one drop, unpacked: 5,000 of 4 MB
SPARE_BYTES = 500_000_000  # of disk that stay free for everybody else
BLOCK = 1 << 20
NAME_LENGTH = 50  # characters of a name that are kept, of up to four bytes each; file systems allow 255 bytes
DISK_FULL = "The disk of this server is full; free some space, or drop fewer photos."
WANTED = "drop JPEG, HEIC, PNG, WebP, AVIF, GIF, BMP or TIFF files, or a zip of them"
BROKEN_ZIP = (zipfile.BadZipFile, ValueError, NotImplementedError)
NO_PHOTO = "no photo that can be read"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
OTHER_METHODS = {9: "Deflate64", 93: "Zstandard"}  # the first as Windows packs files of more than 2 GB
ENCRYPTED = 0x1  # bit of a zip entry's flags


@dataclass(frozen=True)
class Taken:
    """The photos that were taken, as paths in the folder; what was left out and why; how many were there already."""

    photos: tuple[PurePosixPath, ...]
    left_out: tuple[tuple[str, str], ...]
    known: int


@dataclass(frozen=True)
class _Source:
    """One file that was dropped, or that a zip holds (`entry`); why it is left out, where it is."""

    name: PurePosixPath
    size: int
    file: Path
    entry: zipfile.ZipInfo | None = None
    left_out: str = ""


def take(dropped: Sequence[Path], folder: Path, present: Path, report: Report, names: Sequence[str] = ()) -> Taken:
    """Copies the photos among what was dropped, zips unpacked, into `folder`, under names free in `present` as well.

    `names` are the paths in the folders that were dropped, as the browser has them: one for each file, or none at all.
    `present` holds the photos that are there already: one of the same name and content is not taken again. PhotosError
    says in one sentence why nothing can be taken; what `report` raises ends the work. Both leave files in `folder`.
    """
    if not dropped:
        raise PhotosError(f"Nothing was dropped; {WANTED}.")
    named = dict.fromkeys(zip(dropped, map(PurePosixPath, names or [file.name for file in dropped]), strict=True))
    folders = _folders([name for _, name in named])
    sources: list[_Source] = []
    for file, name in named:
        sources += _sources(file, name, folders)
        if len(sources) > MAX_ENTRIES:
            raise PhotosError(f"You dropped more than {MAX_ENTRIES:,} files, those in zips included; drop fewer.")
    photos = [source for source in sources if not source.left_out]
    if not photos:
        raise PhotosError(f"There are no photos in what you dropped; {WANTED}.")
    count = sum(path.is_file() for path in present.rglob("*"))
    if count + len(photos) > MAX_PHOTOS:
        total = count + len(photos)
        raise PhotosError(f"That makes {total:,} photos, and a gallery of your own holds {MAX_PHOTOS:,}; drop fewer.")
    _check_size(photos, folder)
    taken = _take_all(photos, folder, present, report)
    others = tuple((str(source.name), source.left_out) for source in sources if source.left_out)
    return replace(taken, left_out=taken.left_out + others)


def _check_size(photos: Sequence[_Source], folder: Path) -> None:
    size = sum(photo.size for photo in photos)
    if size > MAX_BYTES:
        raise PhotosError(
            f"These photos take {size / 1e9:.1f} GB, and {MAX_BYTES / 1e9:.0f} GB is the limit; drop fewer at a time."
        )
    make_folder(folder)
    if shutil.disk_usage(folder).free < size + SPARE_BYTES:
        raise PhotosError(DISK_FULL)


def _take_all(photos: Sequence[_Source], folder: Path, present: Path, report: Report) -> Taken:
    taken: list[PurePosixPath] = []
    unreadable: list[tuple[str, str]] = []
    known, left = 0, MAX_BYTES
    beside = folder / ".coming"
    reading = tracked(photos, "Reading your photos", "photos", report)
    for file, inside in groupby(reading, lambda photo: photo.file):
        with _archive(file) as archive:  # opened once, however many photos are in it
            for photo in inside:
                with _no_space_in_a_sentence(), _opened(photo, archive) as stream:
                    left -= _copy(stream, beside, left)
                if reason := _why_unreadable(beside):
                    unreadable.append((str(photo.name), reason))
                elif (name := _free_name(photo.name, beside, (folder, present))) is None:
                    known += 1
                else:
                    make_folder((folder / name).parent)
                    beside.replace(folder / name)
                    taken.append(name)
    beside.unlink(missing_ok=True)
    if not taken and not known:
        reason = next((reason for _, reason in unreadable if reason != NO_PHOTO), "")
        raise PhotosError(f"{reason}." if reason else f"None of these files can be read as a photo; {WANTED}.")
    return Taken(tuple(taken), tuple(unreadable), known)


def _why_unreadable(file: Path) -> str:
    try:
        with DROPPED:
            open_image(file, side=1)
    except PhotoOutOfReach:  # its sentence names the copy here, not the visitor's file
        return NO_PHOTO
    except PhotoError as error:
        return NO_PHOTO if str(error) == UNREADABLE else str(error).rstrip(".")
    return ""


@contextmanager
def _archive(file: Path) -> Iterator[zipfile.ZipFile | None]:
    """The file if it is a zip, open in the block; None for any other."""
    if file.suffix.lower() != ".zip":
        yield None
        return
    with _damage_in_a_sentence(file), open_zip(file, MAX_ENTRIES) as archive:
        yield archive


def _sources(file: Path, name: PurePosixPath, folders: Mapping[PurePosixPath, str]) -> list[_Source]:
    """The file that was dropped under this name, or if it is a zip, what is in it."""
    with _archive(file) as archive:
        if archive is None or why_left_out(name) == HIDDEN:
            return [_source(name, folders, file, file.stat().st_size)]
        entries = names_in(archive)
    for entry, path in entries:
        _check_entry(file, entry, path)
    inside = _folders([path for _, path in entries])
    return [_source(path, inside, file, entry.file_size, entry) for entry, path in entries]


def _source(
    path: PurePosixPath,
    folders: Mapping[PurePosixPath, str],
    file: Path,
    size: int,
    entry: zipfile.ZipInfo | None = None,
) -> _Source:
    return _Source(_cleaned(path.name, folders.get(path, "")), size, file, entry, why_left_out(path))


def _folders(paths: Sequence[PurePosixPath]) -> dict[PurePosixPath, str]:
    """The folder that says whom a photo shows, of each photo that is in one."""
    photos = [path for path in paths if not why_left_out(path)]
    return {path: person for path, person in zip(photos, people_of(photos), strict=True) if path.parent.name}


def _check_entry(file: Path, entry: zipfile.ZipInfo, path: PurePosixPath) -> None:
    if entry.flag_bits & ENCRYPTED:
        raise PhotosError(f"{file.name} is protected by a password; unpack it, and drop the photos themselves.")
    if entry.compress_type not in METHODS:
        method = OTHER_METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        raise PhotosError(
            f"{file.name} is compressed by {method}, which is not read here; unpack it, and drop the photos themselves."
        )
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", path.as_posix()):
        raise PhotosError(f"{file.name} wants to write outside its folder, as no honest zip does; make it anew.")
    if path.suffix.lower() == ".zip":
        raise PhotosError(f"{file.name} holds another zip, {path.name}, which is not opened; unpack it first.")


def _cleaned(name: str, folder: str = "") -> PurePosixPath:
    """The name, in a folder if there is one, of printable characters and not too long."""
    photo = PurePosixPath(name)
    parts = [_plain(folder)[:NAME_LENGTH]] if folder else []
    return PurePosixPath(*parts, (_plain(photo.stem)[:NAME_LENGTH] + photo.suffix[:6]) if name else "photo")


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "_" for letter in text).strip(" .") or "_"


def _opened(source: _Source, archive: zipfile.ZipFile | None) -> AbstractContextManager[IO[bytes]]:
    return source.file.open("rb") if archive is None or source.entry is None else archive.open(source.entry)


@contextmanager
def _damage_in_a_sentence(file: Path) -> Iterator[None]:
    try:
        yield
    except (*BROKEN_ZIP, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise _damaged(file) from error


def _copy(stream: IO[bytes], path: Path, most: int) -> int:
    """Writes what the stream gives; PhotosError as soon as it is more than `most` bytes, whatever a zip said."""
    written = 0
    path.touch(PRIVATE_FILE)
    with path.open("wb") as file:
        while block := stream.read(BLOCK):
            written += len(block)
            if written > most:
                raise PhotosError(f"These photos take more than {MAX_BYTES / 1e9:.0f} GB; drop fewer at a time.")
            file.write(block)
    return written


def _free_name(name: PurePosixPath, file: Path, folders: Sequence[Path]) -> PurePosixPath | None:
    """The name, or with a number behind it if it is taken; None if what has it is the same photo."""
    number = 1
    while True:
        free = name if number == 1 else name.with_name(f"{name.stem} ({number}){name.suffix}")
        there = [folder / free for folder in folders if (folder / free).exists()]
        if not there:
            return free
        if any(_same(file, other) for other in there):
            return None
        number += 1


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.stat().st_size == other.stat().st_size and digest(one) == digest(other)


@contextmanager
def _no_space_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PhotosError(DISK_FULL) from error
        raise


def _damaged(file: Path) -> PhotosError:
    return PhotosError(f"{file.name} is damaged or no zip at all; make it anew, or drop the photos themselves.")
