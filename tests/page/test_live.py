"""Live, without a browser: what is said of a frame, what is none."""

from __future__ import annotations

import io
import logging

import pytest
from PIL import Image

from pipeline.core.errors import GalleryError, PhotoError, SettingsError
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.guard import from_own_page
from pipeline.page.server.live import FRAME_SIDE, Live
from tests.fakes import draw, portrait

RECIPE = "mtcnn-reid"


def jpeg(photo: Image.Image, kind: str = "JPEG") -> bytes:
    """The photo as a frame."""
    encoded = io.BytesIO()
    photo.save(encoded, kind, quality=95)
    return encoded.getvalue()


@pytest.fixture
def galleries(tiny: Gallery) -> Galleries:
    """The tiny world, one model ready."""
    preparation = Preparation(tiny)
    preparation.start([RECIPE])
    preparation.wait()
    return Galleries(preparation)


def test_a_frame_finds_whom_it_shows(galleries: Galleries) -> None:
    seen = Live(galleries).search(jpeg(portrait(3, 1)), MAIN, RECIPE, "exact")
    assert seen["state"] == "found"
    assert seen["about"] == "Compact, photos"
    assert len(seen["hits"]) == 5
    first = seen["hits"][0]
    assert first["photo_id"].startswith("Dimitri/")
    assert first["caption"].startswith("1 · Dimitri\ndistance 0.")
    picture = galleries.main.gallery.pictures.thumbnail(first["photo_id"])
    assert (picture.is_file(), first["picture"]) == (True, f"pictures/{picture.parent.name}/{picture.name}")
    # The tiny photo is 96 px wide and high, its face 40 px, from 26 and 21.
    assert seen["box"] == pytest.approx([26 / 96, 21 / 96, 40 / 96, 40 / 96], abs=0.03)


def test_a_frame_without_a_face_says_so(galleries: Galleries) -> None:
    seen = Live(galleries).search(jpeg(draw()), MAIN, RECIPE, "exact")
    assert (seen["state"], seen["box"], seen["hits"]) == ("no_face", None, [])
    assert "No face is seen" in seen["sentence"]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"not a frame",
        jpeg(portrait(0))[:400],
        jpeg(portrait(0), "PNG"),
        jpeg(Image.new("RGB", (FRAME_SIDE + 1, 10))),
    ],
    ids=["empty", "text", "cut off", "another format", "too large"],
)
def test_what_is_no_frame_gets_one_sentence(galleries: Galleries, frame: bytes) -> None:
    with pytest.raises(PhotoError, match="This is no frame of a camera"):
        Live(galleries).search(frame, MAIN, RECIPE, "exact")


def test_what_cannot_be_searched_says_why(galleries: Galleries) -> None:
    live, frame = Live(galleries), jpeg(portrait(0))
    with pytest.raises(SettingsError, match="no recipe 'nonsense'"):
        live.search(frame, MAIN, "nonsense", "exact")
    with pytest.raises(SettingsError, match="no gallery 'nonsense'"):
        live.search(frame, "nonsense", RECIPE, "exact")
    with pytest.raises(SettingsError, match="nonsense"):
        live.search(frame, MAIN, RECIPE, "nonsense")
    with pytest.raises(GalleryError, match="still being prepared"):
        live.search(frame, MAIN, "mtcnn-facenet", "exact")


def test_of_a_frame_nothing_is_logged(galleries: Galleries, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="pipeline"):
        Live(galleries).search(jpeg(portrait(3, 1)), MAIN, RECIPE, "exact")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"host": "a.example", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a.example", "sec-fetch-site": "cross-site", "origin": "https://a.example"}, False),
        ({"host": "a.example", "sec-fetch-site": "none"}, False),
        ({"host": "a.example", "origin": "https://a.example"}, True),
        ({"host": "a.example", "origin": "https://b.example"}, False),
        ({"host": "a.example"}, False),
    ],
)
def test_only_this_page_sends_frames(headers: dict[str, str], own: bool) -> None:
    assert from_own_page(headers) == own
