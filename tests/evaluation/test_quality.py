"""What a photo is like: qualities of faces drawn so that they can be worked out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.core.progress import Progress
from pipeline.evaluation.groups import measure_photos
from pipeline.photos.photos import Photos
from pipeline.search.hints import SIDE


def stored(image: Image.Image, path: object) -> object:
    image.save(path)
    return path


@pytest.fixture
def photos(tmp_path: object) -> Photos:
    """A white photo with a dark square, one with a chequered square in its place, and a file that is no photo."""
    plain = Image.new("L", (300, 200), 255)
    chequered = plain.copy()
    plain.paste(40, (100, 50, 100 + SIDE, 50 + SIDE))
    board = (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 200).astype(np.uint8)
    chequered.paste(Image.fromarray(board), (100, 50))
    files = [stored(plain, tmp_path / "a.png"), stored(chequered, tmp_path / "b.png"), b"not a photo"]
    return Photos(("p", "P"), [(str(row), "A") for row in range(3)], ("1", "123"), files.__getitem__)


def face(left: float, top: float, right: float, bottom: float, confidence: float) -> np.ndarray:
    return np.array([left, top, right, bottom, confidence, *[0] * 10], np.float32)


def test_a_face_is_judged_by_its_own_pixels(photos: Photos) -> None:
    inside = face(100, 50, 100 + SIDE, 50 + SIDE, 0.9)
    seen: list[Progress] = []
    found = measure_photos(photos, np.stack([inside, inside, inside]), seen.append)
    assert found["face size"].tolist() == [SIDE] * 3
    assert found["detection confidence"] == pytest.approx([0.9] * 3)
    assert found["brightness"][:2] == pytest.approx([40, 100])
    # On a chequered board every neighbour differs by 200: the Laplacian is 800, up and down in turn.
    assert found["sharpness"][:2] == pytest.approx([0, 800])
    assert np.isnan([found["brightness"][2], found["sharpness"][2]]).all()
    assert [progress.done for progress in seen] == [0, 1, 2, 3]


def test_without_a_face_the_whole_photo_is_judged(photos: Photos) -> None:
    unknown = np.full(15, np.nan, np.float32)
    outside = face(-50, -50, -10, -10, 0.5)
    found = measure_photos(photos, np.stack([unknown, outside, unknown]))
    assert np.isnan(found["face size"][[0, 2]]).all()
    assert found["brightness"][0] == pytest.approx(255 - 215 * SIDE**2 / 60_000, abs=1)
    assert found["brightness"][1] > 200


def test_a_box_past_the_photos_edge_is_cut(photos: Photos) -> None:
    found = measure_photos(photos, np.stack([face(-20, -20, 100, 50, 1)] * 3))
    assert found["brightness"][0] == 255
