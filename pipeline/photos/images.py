"""One photo's file: a photo in any usual format becomes upright 8-bit RGB."""

from __future__ import annotations

import errno
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.core.errors import PhotoError, PhotoOutOfReach

MAX_PIXELS = 65_000_000  # what large phones take; 260 MB decoded, and as much again while it is turned
UNREADABLE = "This file cannot be read as a photo; use an undamaged JPEG, PNG or WebP."
OUT_OF_REACH = "{} cannot be read ({}); see that it is there, and may be read."
# Pillow has decoders of fifty formats, one of which hands files to Ghostscript; strangers' files get to these only.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
STRIP_PIXELS = 1 << 22
SMALL_BYTES = 64_000  # a JPEG below this is its own thumbnail
JPEG_START = b"\xff\xd8"
# The turn in which photos that visitors drop are decoded, however many visitors do: one photo takes up to 260 MB.
DROPPED = threading.Semaphore(1)


def open_image(source: bytes | Path, *, side: int = 0) -> Image.Image:
    """Decodes a photo: first frame, EXIF orientation applied, transparency on white, 8-bit RGB. PhotoError if not.

    PhotoOutOfReach where it is not the photo that is at fault, but the disk that it lies on.
    With `side` it is as many times smaller as its format makes cheap and leaves so many pixels: a JPEG of 12 megapixels
    is decoded three times as fast so.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF, and of sizes that MAX_PIXELS judges below
            file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            with file, Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise PhotoError(
                        f"This photo has {image.width:,} x {image.height:,} pixels; the limit is "
                        f"{MAX_PIXELS // 1_000_000} megapixels, so scale it down first."
                    )
                if side:
                    image.draft("RGB", (side, side))
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
        if isinstance(source, Path) and (cause := _why_out_of_reach(source, error)):
            raise PhotoOutOfReach(OUT_OF_REACH.format(source.name, cause)) from error
        raise PhotoError(UNREADABLE) from error


def _why_out_of_reach(path: Path, error: Exception) -> str | None:
    """Why the file cannot be read, as the system says; None where it can, and what is in it is no photo."""
    # A decoder's OSError has no number, but for one that a broken photo made look before its beginning.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return error.strerror or str(error)
    try:
        with path.open("rb") as stream:
            while stream.read(STRIP_PIXELS):
                pass
    except OSError as out_of_reach:
        return out_of_reach.strerror or str(out_of_reach)
    return None


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


def small_enough(source: bytes | Path) -> TypeGuard[bytes]:
    """Whether a photo is its own thumbnail."""
    return isinstance(source, bytes) and len(source) < SMALL_BYTES and source[:2] == JPEG_START
