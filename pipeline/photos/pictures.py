"""A gallery's photos and faces as files that browsers show, each made once, when it is first asked for.

A gallery's thumbnails also travel in one file: thousands of small ones are more than a repository of the Hub takes
well. Only those that cost work are in it. A photo that is its own thumbnail, as all of LFW's are, comes with the
dataset.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from pipeline.core.errors import HubError, PhotoError, PhotosError, StorageError
from pipeline.core.files import replacing
from pipeline.core.progress import Report, tracked
from pipeline.core.types import Box
from pipeline.photos.images import JPEG_START, UNREADABLE, open_image, small_enough
from pipeline.photos.photos import Photos
from pipeline.photos.zips import open_zip

log = logging.getLogger(__name__)

# Whoever asks for pictures, so many photos are decoded for them at the same time: one takes up to 260 MB.
DECODING = threading.Semaphore(2)
THUMBNAIL_SIDE = 320
SMALL_SIDE, SMALL = 160, "-small.jpg"  # as large as results are shown where a pixel of the page is one of the screen
FACE_SIDE = 200
FACE_SHARE = 1.3  # how much of a photo a picture of a face shows, in sides of its box
BROWSER_FORMATS = {JPEG_START: ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif"}


# A picture's file; its content where that cannot be written: the disk is full, say.
Picture = Path | bytes


class Pictures:
    """The pictures of some photos, in a folder; PhotosError where a photo cannot be read.

    Where the folder cannot be written a picture is made whenever it is asked for, and kept in memory only.
    A picture is named by its photo's id and stamp, so a photo that takes another's place gets pictures of its own.
    """

    def __init__(self, photos: Photos, folder: Path) -> None:
        self.photos = photos
        self.folder = folder

    def thumbnail(self, photo_id: str) -> Picture:
        """A photo as a small JPEG: as it is where it is one, else scaled down."""
        row, path = self._row_and_path(photo_id, ".jpg")
        if _made(path):
            return path
        with _of_the_gallery():
            source = self.photos[row].source
            if small_enough(source):
                return self._kept(row, path, source)
            image = open_image(source, side=THUMBNAIL_SIDE)
            image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            return self._kept(row, path, bytes_of(image, "JPEG", quality=88))

    def face(self, photo_id: str, box: Box) -> Picture:
        """A square around the face in `box`, in pixels of the photo, as a small JPEG."""
        row, path = self._row_and_path(photo_id, f"-{'-'.join(str(round(value)) for value in box)}.jpg")
        if _made(path):
            return path
        left, top, right, bottom = box
        half = FACE_SHARE * max(right - left, bottom - top) / 2
        across, down = (left + right) / 2, (top + bottom) / 2
        square = (round(across - half), round(down - half), round(across + half), round(down + half))
        with _of_the_gallery():
            face = open_image(self.photos[row].source).crop(square)
            face = face.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC)
            return self._kept(row, path, bytes_of(face, "JPEG", quality=88))

    def small(self, name: str) -> Path | None:
        """A picture of this folder at `SMALL_SIDE`, `name` being that of `small_name`; None where there is none."""
        path, large = self.folder / name, self.folder / f"{name.removesuffix(SMALL)}.jpg"
        if _made(path):
            return path
        try:
            with DECODING:
                image = open_image(large, side=SMALL_SIDE)
            image.thumbnail((SMALL_SIDE, SMALL_SIDE))
            with replacing(path, lasting=False) as beside:
                image.save(beside, "JPEG", quality=88)
        except (PhotoError, OSError):
            return large if _made(large) else None
        if not large.exists():  # its photo was deleted meanwhile, see `remove`
            path.unlink(missing_ok=True)
            return None
        return path

    def original(self, photo_id: str) -> Picture:
        """A photo in full, to look at and to search with: byte for byte where browsers know the format, else as PNG."""
        with _of_the_gallery():
            content = self._content(photo_id)
            known = next((ending for start, ending in BROWSER_FORMATS.items() if content.startswith(start)), None)
            row, path = self._row_and_path(photo_id, f"-original{known or '.png'}")
            if _made(path):
                return path
            return self._kept(row, path, content if known else bytes_of(open_image(content), "PNG"))

    def size(self, photo_id: str) -> tuple[int, int]:
        """Width and height of a photo, in pixels and upright."""
        with _of_the_gallery():
            return open_image(self.photos.found(photo_id).source).size

    def remove(self, photo_ids: Iterable[str]) -> None:
        """Deletes the pictures of photos whose files were deleted before: after that no more are made of them."""
        for photo_id in photo_ids:
            _, path = self._row_and_path(photo_id, "")
            for picture in (*self.folder.glob(f"{path.name}*"), *self.folder.glob(f".{path.name}*")):
                picture.unlink(missing_ok=True)

    def _kept(self, row: int, path: Path, content: bytes) -> Picture:
        """The picture as a file, or as it is where that cannot be written; PhotoError if the photo is gone by then."""
        try:
            with replacing(path, lasting=False) as beside:
                beside.write_bytes(content)
            source = self.photos[row].source
            # Asked last: a photo that is deleted later goes together with this picture, see `remove`.
            if isinstance(source, Path) and not source.exists():
                path.unlink(missing_ok=True)
                raise PhotoError(UNREADABLE)
        except FileNotFoundError:
            raise  # a visitor's gallery is being deleted
        except OSError as error:
            log.warning("Pictures cannot be kept in %s (%s), and are made anew each time.", path.parent, error.strerror)
            return content
        return path

    def _content(self, photo_id: str) -> bytes:
        source = self.photos.found(photo_id).source
        try:
            return source if isinstance(source, bytes) else source.read_bytes()
        except OSError as error:
            raise PhotoError(UNREADABLE) from error

    def _row_and_path(self, photo_id: str, ending: str) -> tuple[int, Path]:
        """The photo's row, and where a picture of it is or will be: for that it need not be read."""
        row = self.photos.row(photo_id)
        # Names of people in file names would stand in logs and browser histories; and ids may hold any character.
        named = f"{self.photos.photo_ids[row]}\0{self.photos.stamps[row]}"
        return row, self.folder / f"{hashlib.sha256(named.encode()).hexdigest()[:20]}{ending}"


def small_name(picture: Path) -> str:
    """The name of a thumbnail's or a face's smaller one, which is made when it is first asked for."""
    return f"{picture.stem}{SMALL}"


def _made(path: Path) -> bool:
    """Whether the picture is there; one that a power cut left empty is not."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def bytes_of(image: Image.Image, kind: str, **options: int) -> bytes:
    """The image as a file of this kind, which is Pillow's name of a format; `options` are those of its `save`."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_bytes(picture: Picture) -> bytes:
    """What is in a picture."""
    return picture if isinstance(picture, bytes) else picture.read_bytes()


@contextmanager
def _of_the_gallery() -> Iterator[None]:
    """Takes a turn; PhotosError where a photo of the gallery cannot be read: PhotoError speaks of the visitor's."""
    try:
        with DECODING:
            yield
    except (PhotoError, FileNotFoundError) as error:  # the latter where a visitor's gallery is being deleted
        raise PhotosError(
            "A photo of this gallery cannot be read any more; put the gallery's photos back where they were, or start "
            "again for what is there now."
        ) from error


PACK = "thumbnails.zip"
MAX_BYTES = 1_000_000  # of one thumbnail: 320 pixels a side are 30 kB
NAME = re.compile(r"[0-9a-f]{20}\.jpg")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same thumbnails are the same bytes, whenever they are packed


def pack(photos: Photos, thumbnail: Callable[[str], Picture], path: Path, report: Report) -> int:
    """Writes the photos' thumbnails into one archive, uncompressed; returns how many. `thumbnail` gives one's file.

    StorageError where thumbnails cannot be written: their names are those of their files.
    """
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row, photo_id in enumerate(tracked(photos.photo_ids, "Packing thumbnails", "photos", report)):
            try:
                if small_enough(photos[row].source):
                    continue
                file = thumbnail(photo_id)
                if isinstance(file, bytes):
                    raise StorageError("Thumbnails cannot be written to FACESEARCH_INDEX; make room there.")
            except (PhotoError, PhotosError):  # a file that is no photo is in no gallery either
                continue
            archive.writestr(zipfile.ZipInfo(file.name, EPOCH), file.read_bytes())
            count += 1
    return count


def unpack(path: Path, folder: Path, most: int) -> int:
    """Puts an archive's thumbnails into `folder`, each whole or not at all; returns how many.

    HubError, before anything is written, if there is something else in it than small JPEGs with a thumbnail's name, or
    more than `most` of them.
    """
    try:
        with open_zip(path, most) as archive:
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
