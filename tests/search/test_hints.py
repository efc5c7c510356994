"""What is wrong with a photo as a query: each hint appears for what it is about, and only then."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.core.types import Face, Landmarks
from pipeline.search.hints import hints, look, tilted, turned

FRONT: Landmarks = ((30, 40), (70, 40), (50, 60), (35, 80), (65, 80))


def face(confidence: float = 0.999, side: float = 100, landmarks: Landmarks = FRONT) -> Face:
    return Face((0, 0, side, side), confidence, landmarks)


def photo(brightness: int = 128, blur: float = 0) -> Image.Image:
    """Noise, as sharp as can be, around a brightness."""
    noise = np.random.default_rng(0).integers(-40, 41, (100, 100))
    image = Image.fromarray(np.clip(brightness + noise, 0, 255).astype(np.uint8)).convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(blur)) if blur else image


def test_a_good_photo_has_no_hints() -> None:
    assert hints(photo(), face()) == ()


@pytest.mark.parametrize(
    ("image", "one", "said"),
    [
        (photo(), face(side=49), "small, 49 pixels"),
        (photo(blur=4), face(), "blurred"),
        (photo(brightness=40), face(), "dark"),
        (photo(brightness=230), face(), "very bright"),
        (photo(), face(landmarks=((30, 40), (70, 40), (68, 60), (35, 80), (65, 80))), "turned away"),
        (photo(), face(landmarks=((30, 40), (70, 60), (45, 65), (30, 80), (60, 95))), "tilted"),
        (photo(), face(confidence=0.91), "gives it 91 %"),
    ],
)
def test_each_hint_appears_alone_for_what_it_is_about(image: Image.Image, one: Face, said: str) -> None:
    found = hints(image, one)
    assert len(found) == 1
    assert said in found[0]


def test_of_a_large_photo_only_the_face_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole photo of 12 megapixels in grey takes 16 ms."""
    large = Image.new("RGB", (4000, 3000), "grey")
    large.paste(photo(), (0, 0))
    assert look(large, np.array((0, 0, 100, 100), np.float32)) == look(photo(), np.array((0, 0, 100, 100), np.float32))
    greyed: list[tuple[int, int]] = []
    convert = Image.Image.convert

    def noted(image: Image.Image, mode: str) -> Image.Image:
        greyed.append(image.size)
        return convert(image, mode)

    monkeypatch.setattr(Image.Image, "convert", noted)
    hints(large, face())
    assert greyed == [(100, 100)]


def test_a_small_face_is_not_called_blurred_as_well() -> None:
    assert len(hints(photo(blur=4), face(side=30))) == 1


def test_several_hints_come_together() -> None:
    assert len(hints(photo(brightness=40, blur=4), face(confidence=0.5))) == 3


def test_how_far_a_face_is_turned() -> None:
    assert turned(FRONT) == 0
    assert turned(((30, 40), (70, 40), (70, 60), (0, 0), (0, 0))) == pytest.approx(1)
    assert turned(((30, 40), (70, 40), (30, 60), (0, 0), (0, 0))) == pytest.approx(1)
    # The same face with its head tilted by 45 degrees is turned as far.
    assert turned(((0, 0), (10, 10), (0, 10), (0, 0), (0, 0))) == pytest.approx(0)
    assert turned(((5, 5), (5, 5), (5, 5), (0, 0), (0, 0))) == math.inf


def test_how_far_a_head_is_tilted() -> None:
    assert tilted(FRONT) == 0
    assert tilted(((0, 0), (10, 10), *FRONT[2:])) == pytest.approx(45)
    assert tilted(((0, 0), (10, -10), *FRONT[2:])) == pytest.approx(45)
