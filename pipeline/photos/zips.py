"""Zips of others: a list of their files that is bounded before it is read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from charset_normalizer import from_bytes

from pipeline.core.errors import PhotosError

UTF8 = 0x800  # bit of an entry's flags
ENTRY_BYTES = 200  # of the list for each file: 46, its name, and what systems note besides


@contextmanager
def open_zip(path: Path, most: int) -> Iterator[zipfile.ZipFile]:
    """The zip, open in the block; PhotosError if it holds more than `most` files. What zipfile raises is not caught."""
    with _Reader(io.FileIO(path), most * ENTRY_BYTES) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except _ListTooLong as error:
            raise PhotosError(
                f"{path.name} holds more than {most:,} files, or files of very long names; split it into several zips."
            ) from error
        if (count := len(archive.infolist())) > most:
            raise PhotosError(
                f"{path.name} holds {count:,} files, and {most:,} is the limit; split it into several zips."
            )
        stream.most = None
        with archive:
            yield archive


def names_in(archive: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of a zip with their names as they were written.

    A zip marks names that are UTF-8. Of all others it does not say what they are; all of them together tell.
    """
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    unmarked = {entry: entry.orig_filename.encode("cp437") for entry in files if not entry.flag_bits & UTF8}
    encoding = _encoding(b"\n".join(unmarked.values()))
    told = {entry: name.decode(encoding, errors="replace") for entry, name in unmarked.items()}
    return [(entry, PurePosixPath(told.get(entry, entry.filename).replace("\\", "/"))) for entry in files]


def _encoding(names: bytes) -> str:
    if names.isascii():
        return "ascii"
    found = from_bytes(names).best()
    return found.encoding if found else "cp437"


class _ListTooLong(Exception):
    """What zipfile was about to read in one piece."""


class _Reader(io.BufferedReader):
    """A file of which nobody reads more than `most` bytes in one piece."""

    def __init__(self, file: io.FileIO, most: int | None) -> None:
        super().__init__(file)
        self.most = most

    def read(self, size: int | None = -1) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise _ListTooLong
        return super().read(size)
