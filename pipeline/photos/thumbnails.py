"""A gallery's thumbnails in one file: thousands of small ones are more than a repository of the Hub takes well.

Only those that cost work are in it. A photo that is its own thumbnail, as all of LFW's are, comes with the dataset.
"""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from pipeline.core.errors import HubError, PhotoError, PhotosError
from pipeline.core.files import replacing
from pipeline.core.types import Progress, Report
from pipeline.photos.images import JPEG_START, small_enough
from pipeline.photos.sources import Photos

PACK = "thumbnails.zip"
MAX_BYTES = 1_000_000  # of one thumbnail: 320 pixels a side are 30 kB
NAME = re.compile(r"[0-9a-f]{20}\.jpg")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same thumbnails are the same bytes, whenever they are packed


def pack(photos: Photos, thumbnail: Callable[[str], Path], path: Path, report: Report) -> int:
    """Writes the photos' thumbnails into one archive, uncompressed; returns how many. `thumbnail` gives one's file."""
    started, count = time.perf_counter(), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row, photo_id in enumerate(photos.photo_ids):
            report(Progress("Packing thumbnails", "photos", row, len(photos), row, time.perf_counter() - started))
            try:
                if small_enough(photos[row].source):
                    continue
                file = thumbnail(photo_id)
            except (PhotoError, PhotosError):  # a file that is no photo is in no gallery either
                continue
            archive.writestr(zipfile.ZipInfo(file.name, EPOCH), file.read_bytes())
            count += 1
    report(
        Progress("Packing thumbnails", "photos", len(photos), len(photos), len(photos), time.perf_counter() - started)
    )
    return count


def unpack(path: Path, folder: Path) -> int:
    """Puts an archive's thumbnails into `folder`, each whole or not at all; returns how many.

    HubError, before anything is written, if there is something else in it than small JPEGs with a thumbnail's name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if not all(_is_thumbnail(archive, entry) for entry in entries):
                raise HubError(f"{PACK} holds something else than thumbnails; they are made here instead.")
            for entry in entries:
                if not (folder / entry.filename).exists():
                    with replacing(folder / entry.filename, lasting=False) as beside:
                        beside.write_bytes(archive.read(entry))
    except HubError:
        raise
    except Exception as error:  # encrypted, cut off, shifted: what is no archive makes zipfile raise anything
        raise HubError(f"{PACK} cannot be unpacked; thumbnails are made here instead.") from error
    return len(entries)


def _is_thumbnail(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    # The name comes first: it is what would lead out of the folder.
    if NAME.fullmatch(entry.filename) is None or entry.compress_type != zipfile.ZIP_STORED:
        return False
    return entry.file_size <= MAX_BYTES and archive.read(entry)[: len(JPEG_START)] == JPEG_START
