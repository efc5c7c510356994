"""A gallery's photos and faces as files that browsers show, each made once, when it is first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from pipeline.core.errors import PhotoError, PhotosError
from pipeline.core.files import replacing
from pipeline.core.types import Box
from pipeline.photos.images import JPEG_START, UNREADABLE, open_image, small_enough
from pipeline.photos.sources import Photos

THUMBNAIL_SIDE = 320
FACE_SIDE = 200
FACE_SHARE = 1.3  # how much of a photo a picture of a face shows, in sides of its box
BROWSER_FORMATS = {JPEG_START: ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif"}


class Pictures:
    """The pictures of some photos, in a folder; PhotosError where a photo cannot be read.

    A picture is named by its photo's id and stamp, so a photo that takes another's place gets pictures of its own.
    """

    def __init__(self, photos: Photos, folder: Path) -> None:
        self.photos = photos
        self._folder = folder

    def thumbnail(self, photo_id: str) -> Path:
        """A photo as a small JPEG: as it is where it is one, else scaled down."""
        row, path = self._row_and_path(photo_id, ".jpg")
        if not _made(path):
            with _of_the_gallery(), replacing(path, lasting=False) as beside:
                source = self.photos[row].source
                if small_enough(source):
                    beside.write_bytes(source)
                else:
                    image = open_image(source)
                    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
                    image.save(beside, "JPEG", quality=88)
        return path

    def face(self, photo_id: str, box: Box) -> Path:
        """A square around the face in `box`, in pixels of the photo, as a small JPEG."""
        row, path = self._row_and_path(photo_id, f"-{'-'.join(str(round(value)) for value in box)}.jpg")
        if not _made(path):
            left, top, right, bottom = box
            half = FACE_SHARE * max(right - left, bottom - top) / 2
            across, down = (left + right) / 2, (top + bottom) / 2
            square = (round(across - half), round(down - half), round(across + half), round(down + half))
            with _of_the_gallery(), replacing(path, lasting=False) as beside:
                face = open_image(self.photos[row].source).crop(square)
                face.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC).save(beside, "JPEG", quality=88)
        return path

    def original(self, photo_id: str) -> Path:
        """A photo in full, to look at and to search with: byte for byte where browsers know the format, else as PNG."""
        with _of_the_gallery():
            content = self._content(photo_id)
            known = next((ending for start, ending in BROWSER_FORMATS.items() if content.startswith(start)), None)
            _, path = self._row_and_path(photo_id, f"-original{known or '.png'}")
            if not _made(path):
                with replacing(path, lasting=False) as beside:
                    if known:
                        beside.write_bytes(content)
                    else:
                        open_image(content).save(beside, "PNG")
        return path

    def size(self, photo_id: str) -> tuple[int, int]:
        """Width and height of a photo, in pixels and upright."""
        with _of_the_gallery():
            return open_image(self.photos.found(photo_id).source).size

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
        return row, self._folder / f"{hashlib.sha256(named.encode()).hexdigest()[:20]}{ending}"


def _made(path: Path) -> bool:
    """Whether the picture is there; one that a power cut left empty is not."""
    return path.exists() and path.stat().st_size > 0


@contextmanager
def _of_the_gallery() -> Iterator[None]:
    """PhotosError where a photo of the gallery cannot be read: the visitor's, of whom PhotoError speaks, is not it."""
    try:
        yield
    except PhotoError as error:
        raise PhotosError(
            "A photo of this gallery cannot be read any more; put the gallery's photos back where they were, or start "
            "again for what is there now."
        ) from error
