"""The pictures of a gallery: what browsers show of a photo, made once, and of the photo that is there now."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from pipeline.core.errors import PhotosError, SettingsError
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.photos.pictures import THUMBNAIL_SIDE, Pictures
from tests.photos.test_images import WHITE, encode, noise, pixels

GONE = "A photo of this gallery cannot be read any more; put the gallery's photos back where they were, or start again "


def pictures(folder: Path, *sources: bytes | Path, stamp: str = "1") -> Pictures:
    """Of the photos "0", "1", ..."""
    labels = [(str(row), "Ada") for row in range(len(sources))]
    return Pictures(Photos(("p", "P"), labels, (stamp, [stamp] * len(sources)), sources.__getitem__), folder)


def test_a_small_jpeg_is_its_own_thumbnail_byte_for_byte(tmp_path: Path) -> None:
    content = encode(noise(64, 64), "JPEG")
    assert pictures(tmp_path / "thumbnails", content).thumbnail("0").read_bytes() == content


def test_a_large_photo_is_scaled_down_in_proportion(tmp_path: Path) -> None:
    source = tmp_path / "large.png"
    noise(1000, 500).save(source)
    path = pictures(tmp_path, source).thumbnail("0")
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (THUMBNAIL_SIDE, THUMBNAIL_SIDE // 2))


def test_a_large_jpeg_is_not_kept_as_it_is(tmp_path: Path) -> None:
    content = encode(noise(400, 400), "JPEG", quality=95)
    assert len(content) > 64_000
    with Image.open(pictures(tmp_path, content).thumbnail("0")) as image:
        assert image.size == (THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def test_the_thumbnail_of_a_large_jpeg_needs_no_whole_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 of 12 megapixels took 1.7 s, and take 0.55 s."""
    content = encode(noise(40, 30).resize((4000, 3000)), "JPEG", quality=88)
    decoded: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def noted(image: ImageFile.ImageFile) -> object:
        decoded.append(image.size)
        return load(image)

    with monkeypatch.context() as patched:
        patched.setattr(ImageFile.ImageFile, "load", noted)
        made = pictures(tmp_path, content).thumbnail("0")
    assert max(decoded) == (500, 375)
    with Image.open(made) as thumbnail:
        expected = open_image(content).resize((320, 240), Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(thumbnail, np.float32) - np.asarray(expected, np.float32)).mean() < 4


def test_two_photos_are_decoded_at_the_same_time_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll of the page passes no gate, and makes the pictures of ten examples where there are none yet."""
    lock, most, now = threading.Lock(), 0, 0

    def counted(source: bytes | Path, *, side: int = 0) -> Image.Image:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return open_image(source, side=side)

    monkeypatch.setattr("pipeline.photos.pictures.open_image", counted)
    made = pictures(tmp_path, *[encode(noise(40, 30 + number), "WEBP") for number in range(9)])
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(made.original, map(str, range(9))))
    assert most == 2


def test_a_small_photo_in_another_format_becomes_jpeg_and_is_not_enlarged(tmp_path: Path) -> None:
    content = encode(Image.new("RGBA", (40, 30)), "PNG")
    with Image.open(pictures(tmp_path, content).thumbnail("0")) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("JPEG", (40, 30), WHITE)


def test_a_thumbnail_is_made_once(tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    noise(20, 20).save(source)
    first = pictures(tmp_path / "thumbnails", source).thumbnail("0")
    source.unlink()
    assert pictures(tmp_path / "thumbnails", source).thumbnail("0") == first
    assert list((tmp_path / "thumbnails").iterdir()) == [first]


def test_a_photo_in_anothers_place_has_pictures_of_its_own(tmp_path: Path) -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    before = pictures(tmp_path, encode(Image.new("RGB", (20, 20), "red"), "JPEG"))
    after = pictures(tmp_path, encode(Image.new("RGB", (20, 20), "blue"), "JPEG"), stamp="2")
    for old, new in zip(
        (before.thumbnail("0"), before.face("0", box), before.original("0")),
        (after.thumbnail("0"), after.face("0", box), after.original("0")),
        strict=True,
    ):
        assert middle(old) == "red"
        assert middle(new) == "blue"


def middle(path: Path) -> str:
    """Which of two colours a picture has in its middle."""
    image = open_image(path)
    red, _, blue = image.getpixel((image.width // 2, image.height // 2))  # type: ignore[misc]
    return "red" if red > blue else "blue"


def test_a_thumbnail_that_a_power_cut_left_empty_is_made_again(tmp_path: Path) -> None:
    made = pictures(tmp_path, encode(noise(40, 40), "PNG"))
    path = made.thumbnail("0")
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert made.thumbnail("0").read_bytes() == whole


def test_every_photo_has_a_thumbnail_of_its_own(tmp_path: Path) -> None:
    content = encode(noise(8, 8), "JPEG")
    ids = ("Ada/1.jpg", "Ada_1.jpg", "../Ada/1.jpg", "Ada/1.JPG")
    photos = Photos(("p", "P"), [(photo_id, "Ada") for photo_id in ids], ("1", ["1"] * len(ids)), lambda row: content)
    paths = {Pictures(photos, tmp_path).thumbnail(photo_id) for photo_id in ids}
    assert len(paths) == len(ids)
    assert {path.parent for path in paths} == {tmp_path}
    assert not any("Ada" in path.name for path in paths)


def test_an_unreadable_photo_leaves_no_picture(tmp_path: Path) -> None:
    made = pictures(tmp_path / "pictures", b"nothing", tmp_path / "gone.jpg")
    for photo_id in ("0", "1"):
        for ask in (made.thumbnail, made.original, made.size, lambda name: made.face(name, (0.0, 0.0, 9.0, 9.0))):
            with pytest.raises(PhotosError, match=GONE):
                ask(photo_id)
    assert list(tmp_path.rglob("*.*")) == []


def test_a_photo_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no photo 'x' in this gallery"):
        pictures(tmp_path).thumbnail("x")


@pytest.mark.parametrize(("kind", "ending"), [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".gif")])
def test_an_original_that_browsers_know_is_kept_byte_for_byte(tmp_path: Path, kind: str, ending: str) -> None:
    content = encode(noise(400, 300), kind)
    (tmp_path / "photo").write_bytes(content)
    for source in (content, tmp_path / "photo"):
        path = pictures(tmp_path / f"originals {type(source)}", source).original("0")
        assert path.suffix == ending
        assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP"])
def test_another_original_becomes_png_pixel_for_pixel_and_once(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "photo"
    source.write_bytes(encode(noise(400, 300), kind))
    shown = pixels(open_image(source))
    made = pictures(tmp_path / "originals", source)
    path = made.original("0")
    assert path.suffix == ".png"
    assert pixels(Image.open(path)) == shown
    first = path.stat().st_mtime_ns
    assert made.original("0") == path
    assert path.stat().st_mtime_ns == first


def test_original_and_thumbnail_of_one_photo_are_two_files(tmp_path: Path) -> None:
    made = pictures(tmp_path, encode(noise(8, 8), "JPEG"))
    assert made.original("0") != made.thumbnail("0")


def test_a_face_is_cut_out_square_with_a_margin_and_made_once(tmp_path: Path) -> None:
    image = Image.new("RGB", (100, 100), "grey")
    image.paste("red", (40, 30, 60, 70))
    image.save(tmp_path / "photo.png")
    faces = pictures(tmp_path / "faces", tmp_path / "photo.png")
    path = faces.face("0", (40.2, 30.0, 60.0, 69.8))
    with Image.open(path) as face:
        side = face.width
        assert face.size == (side, side)
        shown = np.asarray(face.convert("RGB")).astype(int)
    red = shown[..., 0] - shown[..., 1] > 100
    # The box is 40 px high of 52 shown, and 20 wide.
    assert red.any(axis=1).mean() == pytest.approx(40 / 52, abs=0.03)
    assert red.any(axis=0).mean() == pytest.approx(20 / 52, abs=0.03)
    made = path.stat().st_mtime_ns
    assert faces.face("0", (40.2, 30.0, 60.0, 69.8)) == path
    assert path.stat().st_mtime_ns == made
    assert faces.face("0", (0.0, 0.0, 20.0, 20.0)) != path
