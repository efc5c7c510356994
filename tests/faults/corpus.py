"""Photos that a visitor might send by accident or on purpose, made anew at every run; nothing of them is stored.

Faces come from the sample gallery, whose people do not exist.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps

from pipeline.core.settings import SAMPLE

Outcome = Literal["answered", "refused", "either"]
FACE_SIDE = 250  # px, that of the sample's photos
CHANNELS = {0: 1, 2: 3, 6: 4}  # of a PNG's pixel, by its kind of colour: grey, RGB, RGBA


@dataclass(frozen=True)
class Sent:
    """One file: its name, how its bytes are made, and what must come of it.

    `answered` is hits or "no face was found"; `refused` one sentence; `either` where decoders may differ.
    """

    name: str
    make: Callable[[], bytes]
    outcome: Outcome
    file: str = "photo.jpg"


def corpus() -> Iterator[Sent]:
    """Everything, the cheap before the large."""
    yield from _no_photos()
    yield from _truncated()
    yield from _kinds()
    yield from _orientations()
    yield from _names()
    yield from _scenes()
    yield from _large()


def face(person: int = 1, number: int = 1) -> Image.Image:
    """A photo of the sample gallery."""
    with Image.open(SAMPLE / f"Composite {person:02d}" / f"{number}.jpg") as image:
        return image.convert("RGB")


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The image as a file's bytes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _no_photos() -> Iterator[Sent]:
    texts = {
        "empty": b"",
        "one byte": b"\xff",
        "HTML": b"<!DOCTYPE html><title>403 Forbidden</title><script>alert(1)</script>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\nshowpage\n",
        "zip": b"PK\x05\x06" + bytes(18),
        "pickle": b"cos\nsystem\n(S'true'\ntR.",
        "random bytes": np.random.default_rng(0).bytes(5000),
        "JPEG's first bytes, then random": b"\xff\xd8\xff\xe0" + np.random.default_rng(1).bytes(5000),
    }
    for name, content in texts.items():
        yield Sent(name, lambda content=content: content, "refused")
    huge = struct.pack(">IIBBBBB", 2_000_000, 2_000_000, 8, 2, 0, 0, 0)
    yield Sent("PNG bomb, 50,000 x 50,000", lambda: bomb(50_000, 50_000), "refused", "photo.png")
    yield Sent("PNG bomb below Pillow's limit", lambda: bomb(12_500, 12_500), "refused", "photo.png")
    yield Sent("PNG that claims 2,000,000 x 2,000,000", lambda: _png(chunk(b"IHDR", huge)), "refused")
    yield Sent("PNG whose text unpacks to 200 MB", text_bomb, "either", "photo.png")
    yield Sent("PNG with a wrong checksum", lambda: _flipped(encode(face(), "PNG"), 60), "refused", "photo.png")
    yield Sent("TIFF whose directory points at itself", looped_tiff, "refused", "photo.tif")


def _truncated() -> Iterator[Sent]:
    whole = encode(face(), quality=90)
    for percent in range(1, 100):
        part = whole[: len(whole) * percent // 100]
        # The last bytes may be no more than padding, or hold no more than the last rows of pixels.
        yield Sent(f"JPEG cut at {percent} %", lambda part=part: part, "either" if percent > 92 else "refused")


def _kinds() -> Iterator[Sent]:
    grey = np.asarray(face().convert("L"))
    kinds: dict[str, tuple[Callable[[], bytes], str]] = {
        "PNG named .jpg": (lambda: encode(face(), "PNG"), "photo.jpg"),
        "JPEG named .txt": (lambda: encode(face()), "photo.txt"),
        "JPEG without an ending": (lambda: encode(face()), "photo"),
        "BMP": (lambda: encode(face(), "BMP"), "photo.bmp"),
        "CMYK JPEG": (lambda: encode(face().convert("CMYK")), "photo.jpg"),
        "16-bit PNG": (lambda: encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"), "photo.png"),
        "1-bit PNG": (lambda: encode(face().convert("1"), "PNG"), "photo.png"),
        "palette with transparency": (_palette, "photo.png"),
        "RGBA, half transparent": (lambda: encode(_half_transparent(), "PNG"), "photo.png"),
        "float TIFF": (lambda: encode(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"), "photo.tif"),
        "TIFF of NaN": (
            lambda: encode(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"),
            "photo.tif",
        ),
        "LAB TIFF": (lambda: encode(_lab(), "TIFF"), "photo.tif"),
        "animated WebP": (lambda: _animated("WEBP"), "photo.webp"),
        "GIF of 10,000 frames": (many_frames, "photo.gif"),
        "ICC profile": (lambda: encode(face(), icc_profile=_profile()), "photo.jpg"),
        "broken ICC profile": (lambda: encode(face(), icc_profile=b"no profile" * 99), "photo.jpg"),
        "broken EXIF": (lambda: encode(face(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40)), "photo.jpg"),
        "EXIF of random bytes": (
            lambda: encode(face(), exif=b"Exif\0\0II*\0\x08\0\0\0" + np.random.default_rng(2).bytes(900)),
            "photo.jpg",
        ),
        "1 x 1": (lambda: encode(Image.new("RGB", (1, 1)), "PNG"), "photo.png"),
        "1 x 10,000": (lambda: encode(Image.new("RGB", (1, 10_000)), "PNG"), "photo.png"),
        "10,000 x 1": (lambda: encode(Image.new("RGB", (10_000, 1)), "PNG"), "photo.png"),
        "19 x 19": (lambda: encode(face().resize((19, 19))), "photo.jpg"),
        "black": (lambda: encode(Image.new("RGB", (300, 300))), "photo.jpg"),
    }
    for name, (make, file) in kinds.items():
        yield Sent(name, make, "either" if name == "LAB TIFF" else "answered", file)


def _orientations() -> Iterator[Sent]:
    for orientation in (*range(1, 9), 0, 9, 65_535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield Sent(f"EXIF orientation {orientation}", lambda exif=exif: encode(face(), exif=exif), "answered")


def _names() -> Iterator[Sent]:
    names = {
        "accents and Chinese": "Zoë-Ångström-照片.jpg",
        "right to left": "\u202egpj.אבג.jpg",
        "255 bytes": "n" * 251 + ".jpg",
        "255 bytes of umlauts": "ü" * 125 + "n.jpg",
        "spaces and quotes": ' it\'s a "photo" .jpg',
        "looks like an option": "--help.jpg",
        "looks like HTML": "<img src=x onerror=alert(1)>.jpg",
    }
    for name, file in names.items():
        yield Sent(f"name: {name}", lambda: encode(face()), "answered", file)


def _scenes() -> Iterator[Sent]:
    scenes: dict[str, Callable[[], Image.Image]] = {
        "no face": lambda: Image.linear_gradient("L").resize((640, 480)).convert("RGB"),
        "60 faces": lambda: crowd(60, 100),
        "upside down": lambda: ImageOps.flip(face()),
        "mirrored": lambda: ImageOps.mirror(face()),
        "on its side": lambda: face().rotate(90),
        "half a face, left": lambda: face().crop((FACE_SIDE // 2, 0, FACE_SIDE, FACE_SIDE)),
        "half a face, top": lambda: face().crop((0, FACE_SIDE // 2, FACE_SIDE, FACE_SIDE)),
        "face at the border": lambda: face().crop((75, 70, FACE_SIDE, FACE_SIDE)),
        "nothing but face": lambda: face().crop((85, 85, 165, 165)).resize((600, 600)),
        "noise": lambda: Image.fromarray(np.random.default_rng(3).integers(0, 256, (1024, 1024, 3), np.uint8)),
        "thousands of proposals": lambda: crowd(1600, 25),
    }
    for name, make in scenes.items():
        yield Sent(name, lambda make=make: encode(make(), quality=90), "answered")


def _large() -> Iterator[Sent]:
    side = 8_000  # 64 megapixels, just allowed
    exif = Image.Exif()
    exif[0x0112] = 6
    large: dict[str, tuple[Callable[[], bytes], str]] = {
        "64 megapixels, JPEG": (lambda: encode(face().resize((side, side)), quality=30), "photo.jpg"),
        "64 megapixels, turned": (lambda: encode(face().resize((side, side)), quality=30, exif=exif), "photo.jpg"),
        "64 megapixels, PNG": (lambda: bomb(side, side), "photo.png"),
        "64 megapixels, 16 bits": (lambda: bomb(side, side, depth=16, colour=0), "photo.png"),
        "64 megapixels, RGBA": (lambda: bomb(side, side, colour=6), "photo.png"),
    }
    for name, (make, file) in large.items():
        yield Sent(name, make, "answered", file)
    yield Sent("100 megapixels", lambda: encode(Image.new("L", (10_000, 10_000))), "answered")


def crowd(count: int, side: int) -> Image.Image:
    """So many faces side by side, each so wide."""
    columns = int(np.ceil(np.sqrt(count)))
    photo = Image.new("RGB", (columns * side, -(-count // columns) * side), "grey")
    for number in range(count):
        one = face(1 + number % 40).crop((65, 65, 185, 185)).resize((side, side))
        photo.paste(one, (number % columns * side, number // columns * side))
    return photo


def bomb(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of zeros, a thousandth of what it unpacks to."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _png(chunk(b"IHDR", header), chunk(b"IDAT", _zeros(height * (1 + width * CHANNELS[colour] * depth // 8))))


def _zeros(count: int) -> bytes:
    """What zlib makes of so many zeros, without their going through it: the packed megabyte over and over."""

    def packed(size: int) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)

    many, rest = divmod(count, 1 << 20)
    checksum = struct.pack(">HH", count % 65_521, 1)  # Adler-32 of zeros
    return b"\x78\x9c" + packed(1 << 20) * many + packed(rest) + b"\x03\x00" + checksum


def text_bomb() -> bytes:
    """A small PNG with a text of 200 MB, packed."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    text = chunk(b"zTXt", b"Comment\0\0" + _zeros(200_000_000))
    return _png(chunk(b"IHDR", header), text, chunk(b"IDAT", _zeros(8 * 25)))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def many_frames() -> bytes:
    """A GIF of one face and 9,999 dots."""
    dot = Image.new("P", (1, 1))
    first = encode(face().convert("P"), "GIF")
    frame = encode(dot, "GIF")
    picture = frame[frame.index(b"\x2c", 13 + 3) :].rstrip(b"\x3b")
    return first.rstrip(b"\x3b") + picture * 9_999 + b"\x3b"


def looped_tiff() -> bytes:
    """A TIFF whose only directory is empty and names itself as the next."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def _palette() -> bytes:
    return encode(face().convert("P"), "PNG", transparency=3)


def _half_transparent() -> Image.Image:
    image = face().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _animated(kind: str) -> bytes:
    return encode(face(), kind, save_all=True, append_images=[face(number) for number in range(2, 9)], duration=40)


def _lab() -> Image.Image:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    changed = ImageCms.applyTransform(face(), to_lab)
    assert changed is not None
    return changed


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
