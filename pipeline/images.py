"""One photo's file: any format Pillow knows becomes upright 8-bit RGB; and back to a file that browsers show."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.errors import PhotoError
from pipeline.files import replacing
from pipeline.types import Box, Photo

MAX_PIXELS = 65_000_000  # what large phones take; 260 MB decoded, and as much again while it is turned
UNREADABLE = "This file cannot be read as a photo; use an undamaged JPEG, PNG or WebP."
STRIP_PIXELS = 1 << 22
THUMBNAIL_SIDE = 320
FACE_SIDE = 200
FACE_SHARE = 1.3  # how much of a photo a picture of a face shows, in sides of its box
SMALL_BYTES = 64_000  # a JPEG below this is its own thumbnail
JPEG_START = b"\xff\xd8"
BROWSER_FORMATS = {JPEG_START: ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif"}


def open_image(source: bytes | Path, *, small: bool = False) -> Image.Image:
    """Decodes a photo: first frame, EXIF orientation applied, transparency on white, 8-bit RGB. PhotoError if not.

    A `small` one is as many times smaller as its format makes cheap: enough to know whether it can be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF, and of sizes that MAX_PIXELS judges below
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise PhotoError(
                        f"This photo has {image.width:,} x {image.height:,} pixels; the limit is "
                        f"{MAX_PIXELS // 1_000_000} megapixels, so scale it down first."
                    )
                if small:
                    image.draft("RGB", (1, 1))
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return _rgb(image)
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"This photo is larger than {MAX_PIXELS // 1_000_000} megapixels; scale it down first."
        ) from error
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ValueError, ...
        raise PhotoError(UNREADABLE) from error


def _rgb(image: Image.Image) -> Image.Image:
    """Strip by strip where there is arithmetic: a photo of 60 megapixels takes 240 MB, and again for every copy."""
    if image.mode.startswith("I") or image.mode == "F":
        peak = max(float(_numbers(strip).max(initial=0)) for _, strip in _strips(image))
        white = 1 if peak <= 1 else 255 if peak <= 255 else 65_535 if peak <= 65_535 else peak
        return _stripwise(image, lambda strip: Image.fromarray(_eight_bit(_numbers(strip), white)))
    if image.has_transparency_data:
        return _stripwise(image, _on_white)
    animated = getattr(image, "is_animated", False)  # whose frames would hang on to what is returned
    return image if image.mode == "RGB" and not animated else image.convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in strips of its full width, each with the row it begins at."""
    rows = max(1, STRIP_PIXELS // max(image.width, 1))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _stripwise(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    made = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        made.paste(convert(strip), (0, top))
    return made


def _on_white(strip: Image.Image) -> Image.Image:
    layer = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _numbers(strip: Image.Image) -> npt.NDArray[np.float32]:
    return np.nan_to_num(np.asarray(strip).astype(np.float32))


def _eight_bit(values: npt.NDArray[np.float32], white: float) -> npt.NDArray[np.uint8]:
    """Greyscale of more than 8 bits: 0 to 1, 0 to 255 and 0 to 65,535 are told apart by the photo's largest value."""
    scaled: npt.NDArray[np.uint8] = (np.clip(values, 0, white) * (255 / white)).round().astype(np.uint8)
    return scaled


def thumbnail_path(photo_id: str, folder: Path) -> Path:
    """Where the photo's thumbnail is, or will be."""
    return folder / f"{_file_name(photo_id)}.jpg"


def face_path(photo_id: str, box: Box, folder: Path) -> Path:
    """Where the picture of that face in the photo is, or will be."""
    return folder / f"{_file_name(photo_id)}-{'-'.join(str(round(value)) for value in box)}.jpg"


def made(path: Path) -> bool:
    """Whether the picture is there; one that a power cut left empty is not."""
    return path.exists() and path.stat().st_size > 0


def thumbnail_file(photo: Photo, folder: Path) -> Path:
    """The photo as a small JPEG in `folder`, made once: as it is where it is one, else scaled down."""
    path = thumbnail_path(photo.photo_id, folder)
    if not made(path):
        with replacing(path, lasting=False) as beside:
            if small_enough(photo.source):
                beside.write_bytes(photo.source)
            else:
                image = open_image(photo.source)
                image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
                image.save(beside, "JPEG", quality=88)
    return path


def small_enough(source: bytes | Path) -> TypeGuard[bytes]:
    """Whether a photo is its own thumbnail."""
    return isinstance(source, bytes) and len(source) < SMALL_BYTES and source[:2] == JPEG_START


def face_file(photo: Photo, box: Box, folder: Path) -> Path:
    """A square around the face in `box`, in pixels of the photo, as a small JPEG in `folder`; made once."""
    path = face_path(photo.photo_id, box, folder)
    if not made(path):
        left, top, right, bottom = box
        half = FACE_SHARE * max(right - left, bottom - top) / 2
        across, down = (left + right) / 2, (top + bottom) / 2
        square = (round(across - half), round(down - half), round(across + half), round(down + half))
        with replacing(path, lasting=False) as beside:
            face = open_image(photo.source).crop(square).resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC)
            face.save(beside, "JPEG", quality=88)
    return path


def original_file(photo: Photo, folder: Path) -> Path:
    """The photo in full in `folder`, made once: byte for byte where browsers know the format, else as PNG."""
    try:
        content = photo.source if isinstance(photo.source, bytes) else photo.source.read_bytes()
    except OSError as error:
        raise PhotoError(UNREADABLE) from error
    known = next((ending for start, ending in BROWSER_FORMATS.items() if content.startswith(start)), None)
    path = folder / f"{_file_name(photo.photo_id)}-original{known or '.png'}"
    if not made(path):
        with replacing(path, lasting=False) as beside:
            if known:
                beside.write_bytes(content)
            else:
                open_image(content).save(beside, "PNG")
    return path


def _file_name(photo_id: str) -> str:
    # Names of people in file names would stand in logs and browser histories; and ids may hold any character.
    return hashlib.sha256(photo_id.encode()).hexdigest()[:20]
