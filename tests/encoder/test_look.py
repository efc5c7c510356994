"""Photos as phones have them: large ones with small faces, and sideways ones, by the real detector."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE
from pipeline.core.types import Face
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.faces import MtcnnDetector
from pipeline.encoder.look import TURNS, Look, look
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.own_faces import OwnFaces
from pipeline.photos.images import open_image

PEOPLE = sorted(SAMPLE.iterdir())[:12]


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector()


def portrait(person: Path, detector: MtcnnDetector, width: int) -> Image.Image:
    """A composite photo whose face is so many pixels wide."""
    photo = open_image(sorted(person.iterdir())[0])
    face = max(detector.detect([photo])[0], key=lambda face: face.area)
    scale = width / (face.box[2] - face.box[0])
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)


def scene(size: tuple[int, int], portraits: list[Image.Image]) -> tuple[Image.Image, list[tuple[int, int]]]:
    """The portraits spread over a plain photo of this size, and where their middles are."""
    photo, side = Image.new("RGB", size, (120, 130, 140)), max(max(one.size) for one in portraits) + 10
    places = [(x, y) for x in range(0, size[0] - side, side) for y in range(0, size[1] - side, side)]
    places = random.Random(0).sample(places, len(portraits))
    for one, place in zip(portraits, places, strict=True):
        photo.paste(one, place)
    return photo, [(x + one.width // 2, y + one.height // 2) for (x, y), one in zip(places, portraits, strict=True)]


def shown(faces: tuple[Face, ...], x: int, y: int) -> bool:
    return any(left < x < right and top < y < bottom for left, top, right, bottom in (face.box for face in faces))


@pytest.mark.parametrize(
    ("size", "width"),
    [
        ((1024, 768), 47),
        ((4000, 3000), 47),
        pytest.param((8000, 6000), 47, marks=pytest.mark.slow),
        ((16_382, 1_000), 80),
    ],
)
def test_small_faces_are_found_however_large_the_photo(
    size: tuple[int, int], width: int, detector: MtcnnDetector
) -> None:
    portraits = [portrait(person, detector, width) for person in PEOPLE]
    photo, middles = scene(size, portraits)
    found = look(photo, detector)
    assert found.turned == 0
    assert sum(shown(found.faces, *middle) for middle in middles) == len(middles)
    assert len(found.faces) == len(middles)  # none twice, though tiles overlap
    areas = [face.area for face in found.faces]
    assert areas == sorted(areas, reverse=True)


def test_a_face_as_large_as_the_photo_is_one_face(detector: MtcnnDetector) -> None:
    large = portrait(PEOPLE[0], detector, 2000)
    (face,) = look(large, detector).faces
    assert 1800 < face.box[2] - face.box[0] < 2200


@pytest.mark.parametrize("degrees", [0, *TURNS])
def test_a_photo_that_lies_is_turned_upright(degrees: int, detector: MtcnnDetector) -> None:
    right = 0
    for person in PEOPLE:
        photo = open_image(sorted(person.iterdir())[1])
        lying = photo.transpose(TURNS[360 - degrees]) if degrees else photo
        found = look(lying, detector)
        right += found.turned == degrees and found.image.tobytes() == photo.tobytes()
    assert right >= len(PEOPLE) - 1


def test_where_there_is_no_face_nothing_is_turned(detector: MtcnnDetector) -> None:
    plain = Image.new("RGB", (300, 200), "green")
    assert look(plain, detector) == Look(plain, ())


def test_in_a_gallery_of_every_face_small_ones_of_large_photos_are_rows_too(
    detector: MtcnnDetector, tmp_path: Path
) -> None:
    photo, middles = scene((4000, 3000), [portrait(person, detector, 47) for person in PEOPLE])
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "crowd.png")
    encoders = StoredEncoders(WeightStore(None, tmp_path / "cache", {}))
    gallery = OwnFaces(tmp_path, encoders, tmp_path / "pictures")
    gallery.build([MINI])
    embeddings = gallery.searcher(MINI).embeddings
    boxes = [embeddings.box(photo_id) for photo_id in embeddings.photo_ids]
    assert len(boxes) == len(middles)
    assert all(any(box and box[0] < x < box[2] and box[1] < y < box[3] for box in boxes) for x, y in middles)
