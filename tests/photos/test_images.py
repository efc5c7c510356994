"""Any photo becomes upright 8-bit RGB or one clear sentence; every image here is drawn by the test itself."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.core.errors import PhotoError
from pipeline.photos.images import MAX_PIXELS, PROGRESSIVE, RAW, UNREADABLE, open_image, shrunk

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(image: Image.Image) -> list[list[list[int]]]:
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def test_a_photo_comes_from_bytes_or_from_a_path(tmp_path: Path) -> None:
    photo = noise(7, 5)
    content = encode(photo, "PNG")
    (tmp_path / "photo.png").write_bytes(content)
    assert pixels(open_image(content)) == pixels(photo)
    assert pixels(open_image(tmp_path / "photo.png")) == pixels(photo)


def test_greyscale() -> None:
    grey = Image.fromarray(np.array([[0, 127, 255]], np.uint8))
    assert grey.mode == "L"
    assert pixels(open_image(encode(grey, "PNG"))) == [[[0, 0, 0], [127, 127, 127], [255, 255, 255]]]


def test_one_bit() -> None:
    bits = Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1")
    assert pixels(open_image(encode(bits, "PNG"))) == [[[0, 0, 0], [255, 255, 255], [0, 0, 0]]]


def test_palette_with_a_transparent_entry_on_white() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    assert pixels(open_image(encode(image, "PNG", transparency=1))) == [[list(RED), list(WHITE), list(BLUE)]]


def test_a_transparent_layer_on_white() -> None:
    layer = Image.new("RGBA", (3, 1))
    layer.putdata([(*RED, 255), (0, 0, 0, 0), (0, 0, 0, 51)])
    assert pixels(open_image(encode(layer, "PNG"))) == [[list(RED), list(WHITE), [204, 204, 204]]]


def test_grey_with_transparency_on_white() -> None:
    layer = Image.new("LA", (2, 1))
    layer.putdata([(40, 255), (40, 0)])
    assert pixels(open_image(encode(layer, "PNG"))) == [[[40, 40, 40], list(WHITE)]]


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, WHITE, (0, 0, 0)])
def test_cmyk_as_jpeg_keeps_its_colour(colour: tuple[int, int, int]) -> None:
    printed = Image.new("RGB", (16, 16), colour).convert("CMYK")
    image = open_image(encode(printed, "JPEG", quality=95))
    np.testing.assert_allclose(np.asarray(image), np.full((16, 16, 3), colour), atol=6)


def test_sixteen_bit_greyscale_png_keeps_its_range() -> None:
    deep = Image.fromarray(np.array([[0, 257, 32_896, 65_535]], np.uint16))
    content = encode(deep, "PNG")
    with Image.open(io.BytesIO(content)) as stored:
        assert stored.mode.startswith("I")  # Pillow's own conversion would clip all but the first to white
    assert [row[0] for row in pixels(open_image(content))[0]] == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([0.0, 257.0, 65_535.0], [0, 1, 255]),
        ([-3.0, 0.0, 1.0], [0, 0, 255]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255]),
        ([0.0, 100_000.0, 200_000.0], [0, 128, 255]),
    ],
    ids=["to-one", "to-255", "to-65535", "negative", "not-a-number", "beyond"],
)
def test_float_tiff_by_its_largest_value(values: list[float], expected: list[int]) -> None:
    image = open_image(encode(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    assert [row[0] for row in pixels(image)[0]] == expected


def test_the_first_frame_of_an_animated_gif() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    image = open_image(content)
    assert image.getpixel((0, 0)) == RED
    assert not getattr(image, "is_animated", False)


def test_the_first_frame_of_an_animated_webp() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    content = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=50, lossless=True)
    assert open_image(content).getpixel((0, 0)) == RED


# Where the first row and the first column of the stored pixels lie in the upright picture, by the EXIF standard
# (CIPA DC-008, tag 0x0112), written as the stored array made from the upright one.
STORED = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.transpose(1, 0, 2),  # left, top
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_gives_the_upright_pixels(orientation: int) -> None:
    upright: npt.NDArray[np.uint8] = np.asarray(noise(3, 2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    assert pixels(open_image(encode(stored, "PNG", exif=exif))) == upright.tolist()


def test_exif_orientation_of_a_jpeg() -> None:
    upright = Image.new("RGB", (32, 64), BLUE)
    upright.paste(RED, (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = open_image(encode(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif))
    assert image.size == (32, 64)
    np.testing.assert_allclose(image.getpixel((16, 8)), RED, atol=6)
    np.testing.assert_allclose(image.getpixel((16, 56)), BLUE, atol=6)


def test_nonsense_in_exif_is_no_reason_to_refuse_a_photo() -> None:
    content = encode(noise(8, 8), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff" + b"\xff" * 20)
    assert open_image(content).size == (8, 8)


def refused(source: bytes | Path) -> str:
    with pytest.raises(PhotoError) as caught:
        open_image(source)
    return str(caught.value)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_truncated_jpeg(kept: float) -> None:
    content = encode(noise(640, 640), "JPEG")
    assert refused(content[: int(len(content) * kept)]) == UNREADABLE


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95}])
def test_a_jpeg_without_its_last_two_bytes(options: dict[str, object], tmp_path: Path) -> None:
    content = encode(noise(200, 130), "JPEG", **options)
    (tmp_path / "cut.jpg").write_bytes(content[:-2])
    assert pixels(open_image(content[:-2])) == pixels(open_image(tmp_path / "cut.jpg")) == pixels(open_image(content))


def test_a_heic_whatever_it_is_called(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    photo = Image.new("RGB", (64, 48), "red")
    (tmp_path / "IMG_0001.jpg").write_bytes(encode(photo, "HEIF"))
    red = np.asarray(open_image(tmp_path / "IMG_0001.jpg"))
    assert red.shape == (48, 64, 3)
    assert np.abs(red.astype(int) - RED).max() < 8


@pytest.mark.slow  # 80 megapixels are drawn and encoded
def test_a_jpeg_beyond_the_limit_is_read_at_half_its_size() -> None:
    large = encode(Image.new("RGB", (10_000, 8_000), "red"), "JPEG")
    assert open_image(large).size == (5_000, 4_000)
    progressive = encode(Image.new("RGB", (10_000, 8_000), "red"), "JPEG", progressive=True)
    assert refused(progressive) == PROGRESSIVE.format(80)


def test_of_a_raw_file_only_a_preview_could_be_read() -> None:
    stream = io.BytesIO()
    noise(64, 48).save(stream, "TIFF", tiffinfo={254: 1})
    assert refused(stream.getvalue()) == RAW


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert refused(tmp_path / "empty.jpg") == UNREADABLE
    assert refused(b"") == UNREADABLE


def test_a_web_page_named_jpg(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("<!DOCTYPE html><title>403 Forbidden</title>")
    assert refused(tmp_path / "photo.jpg") == UNREADABLE


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_the_formats_that_photos_have(kind: str) -> None:
    assert open_image(encode(Image.new("RGB", (32, 24), "red"), kind)).size == (32, 24)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "PPM", "SGI", "TGA"])
def test_decoders_that_no_photo_needs_are_not_there_for_strangers(kind: str) -> None:
    file = encode(Image.new("RGB", (32, 24), "red"), kind)
    Image.open(io.BytesIO(file)).close()  # Pillow would take it
    with pytest.raises(PhotoError, match="use an undamaged JPEG"):
        open_image(file)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.jpg") == "There is no file gone.jpg; correct the path."
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file" / "gone.jpg") == "There is no file gone.jpg; correct the path."


ROOT = Path(__file__).parents[2]
READ = """
import os, sys
from pathlib import Path
from pipeline.core.errors import PhotoOutOfReach
from pipeline.photos.images import open_image
if os.geteuid() == 0:  # who may read everything
    os.seteuid(65534)
try:
    open_image(Path(sys.argv[1]))
except PhotoOutOfReach as error:
    print(error)
"""


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    photo = tmp_path / "theirs.png"
    photo.write_bytes(encode(Image.new("RGB", (4, 4)), "PNG"))
    photo.chmod(0)
    done = subprocess.run([sys.executable, "-c", READ, str(photo)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "theirs.png may not be read by this account; make it readable, or copy it.\n", done.stderr


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def declared_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large; whoever decodes it finds no pixels and says UNREADABLE."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_more_than_the_limit_is_refused_before_it_is_decoded() -> None:
    assert refused(declared_png(MAX_PIXELS // 10_000 + 1, 10_000)) == (
        "This photo has 6,501 x 10,000 pixels; the limit is 65 megapixels, so scale it down first."
    )


def test_the_limit_itself_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is not too large goes on to the decoder, which finds no pixels: the size above was judged before.
    monkeypatch.setattr("pipeline.photos.images.MAX_PIXELS", 100)
    assert refused(declared_png(10, 10)) == UNREADABLE
    assert refused(declared_png(101, 1)).startswith("This photo has 101 x 1 pixels;")


def test_a_decompression_bomb_is_refused_at_once() -> None:
    bomb = declared_png(2_000_000, 2_000_000)  # 12 TB
    started = time.perf_counter()
    assert refused(bomb) == "This photo is larger than can be read here; scale it down to 65 megapixels first."
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("size", "shown"),
    [((4000, 3000), (900, 675)), ((901, 20), (900, 20)), ((900, 600), (900, 600)), ((8000, 3), (900, 1))],
)
def test_a_photo_to_look_at_has_so_many_pixels_a_side_at_most(size: tuple[int, int], shown: tuple[int, int]) -> None:
    photo = Image.linear_gradient("L").convert("RGB").resize(size)
    small = shrunk(photo, 900)
    assert small.size == shown
    if shown[1] > 1:
        best = photo.resize(shown, Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(small, np.int16) - np.asarray(best, np.int16)).mean() < 1
