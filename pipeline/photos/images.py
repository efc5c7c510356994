"""One photo's file: a photo in any usual format becomes upright 8-bit RGB."""

from __future__ import annotations

import errno
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageOps

from pipeline.core.errors import PhotoError, PhotoOutOfReach

MAX_PIXELS = 65_000_000  # decoded: 260 MB, and as much again while it is turned
# A JPEG may have more: it is decoded at half its width and height. Today's largest phone photos have 200 million.
MAX_JPEG_PIXELS = 4 * MAX_PIXELS
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS  # Pillow refuses twice that; what is between is judged below
UNREADABLE = "This file cannot be read as a photo; use an undamaged JPEG, HEIC, PNG, WebP or AVIF."
RAW = "This is a camera's raw file, of which only a small preview could be read; export it as JPEG."
PROGRESSIVE = "This photo is a progressive JPEG of {:.0f} megapixels, which takes too much memory; scale it down first."
NOT_THERE = "There is no file {}; correct the path."
NO_FILE = "{} is a folder; name a photo in it, or have all of it as a gallery: FACESEARCH_DATASET=imagefolder:PATH."
NOT_ALLOWED = "{} may not be read by this account; make it readable, or copy it."
OUT_OF_REACH = "{} cannot be read ({}); see that its drive is there."
# Pillow has decoders of fifty formats, one of which hands files to Ghostscript; strangers' files get to these only.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
# By these endings a photo is looked for in a folder or a zip; what it is, its content says.
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .avif .heic .heif .hif .gif .bmp .tif .tiff".split()  # noqa: SIM905
)
NEW_SUBFILE_TYPE, REDUCED = 254, 1  # the tag of TIFF's first picture that says it is a preview, as raw files have it
JPEG_END = b"\xff\xd9"
LAST_ROWS, LAST_BYTES = 32, 64  # of pixels, two rows of a JPEG's blocks; of a file
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
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF, and of sizes that are judged below
            return _decoded(source, side)
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"This photo is larger than can be read here; scale it down to {MAX_PIXELS // 1_000_000} megapixels first."
        ) from error
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ValueError, ...
        if isinstance(source, Path) and (why := _why_out_of_reach(source, error)):
            raise PhotoOutOfReach(why) from error
        if repaired := _without_end(source):
            return open_image(repaired, side=side)
        raise PhotoError(UNREADABLE) from error


def _decoded(source: bytes | Path, side: int) -> Image.Image:
    file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with file:
        boxed = file.read(12)[4:8] == b"ftyp"  # the container of HEIF and AVIF
        file.seek(0)
        with Image.open(file, formats=(*FORMATS, _heif()) if boxed else FORMATS) as image:
            _check(image)
            if side:
                image.draft("RGB", (side, side))
            elif image.width * image.height > MAX_PIXELS:
                image.draft("RGB", (image.width // 2, image.height // 2))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)


@cache
def _heif() -> str:
    """Makes Pillow read HEIF; the format's name."""
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
    return "HEIF"


def _check(image: Image.Image) -> None:
    """PhotoError for a photo with too many pixels, and for the preview of a raw file."""
    jpeg = image.format in ("JPEG", "MPO")
    pixels, most = image.width * image.height, MAX_JPEG_PIXELS if jpeg else MAX_PIXELS
    if pixels > most:
        raise PhotoError(
            f"This photo has {image.width:,} x {image.height:,} pixels; the limit is "
            f"{most // 1_000_000} megapixels, so scale it down first."
        )
    if pixels > MAX_PIXELS and "progressive" in image.info:  # whose coefficients all have to be in memory at once
        raise PhotoError(PROGRESSIVE.format(pixels / 1e6))
    if image.format == "TIFF" and image.tag_v2.get(NEW_SUBFILE_TYPE) == REDUCED:  # type: ignore[attr-defined]
        raise PhotoError(RAW)


def _without_end(source: bytes | Path) -> bytes | None:
    """A JPEG that lacks its end marker, and of pixels at most some of the last rows, with one; None for any other.

    The last bytes that are there decide: the pixels that they change are where the photo ends.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    if not content.startswith(JPEG_START) or content.endswith(JPEG_END):
        return None
    whole, shorter = content + JPEG_END, content[:-LAST_BYTES] + JPEG_END
    try:
        with Image.open(io.BytesIO(whole), formats=("JPEG",)) as image, Image.open(io.BytesIO(shorter)) as other:
            if image.width * image.height > MAX_PIXELS:
                return None
            changed = ImageChops.difference(image, other).getbbox()
            return whole if changed and changed[1] >= image.height - LAST_ROWS else None
    except (OSError, SyntaxError, ValueError):
        return None


def _why_out_of_reach(path: Path, error: Exception) -> str | None:
    """Why the file cannot be read, in a sentence; None where it can, and what is in it is no photo."""
    # A decoder's OSError has no number, but for one that a broken photo made look before its beginning.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return _out_of_reach(path, error)
    try:
        with path.open("rb") as stream:
            while stream.read(STRIP_PIXELS):
                pass
    except OSError as out_of_reach:
        return _out_of_reach(path, out_of_reach)
    return None


def _out_of_reach(path: Path, error: OSError) -> str:
    sentences = {
        errno.ENOENT: NOT_THERE,
        errno.ENOTDIR: NOT_THERE,
        errno.EISDIR: NO_FILE,
        errno.EACCES: NOT_ALLOWED,
        errno.EPERM: NOT_ALLOWED,
    }
    return sentences.get(error.errno or 0, OUT_OF_REACH).format(path.name or path, error.strerror or error)


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


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """The image with at most so many pixels a side, to look at: averaged first, which takes a third of the time."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=1)


def for_browsers(file: Path) -> bool:
    """Whether every browser shows such a file as it is."""
    with file.open("rb") as stream:
        start = stream.read(12)
    return start.startswith((JPEG_START, b"\x89PNG", b"GIF8")) or start[8:] == b"WEBP"


def small_enough(source: bytes | Path) -> TypeGuard[bytes]:
    """Whether a photo is its own thumbnail."""
    return isinstance(source, bytes) and len(source) < SMALL_BYTES and source[:2] == JPEG_START
