"""Faces: crops are those of the networks' authors, the right face is chosen, MTCNN runs on any photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from facenet_pytorch import MTCNN, extract_face
from PIL import Image, ImageDraw

from pipeline.core.errors import SettingsError
from pipeline.core.geometry import similarity_transform
from pipeline.core.recipes import recipe_named
from pipeline.core.settings import SAMPLE
from pipeline.core.types import Box, Face, Landmarks
from pipeline.encoder.faces import (
    REFERENCE_LANDMARKS,
    SMALL,
    MtcnnDetector,
    at,
    boxed,
    central,
    centred,
    cut,
    for_detection,
    largest,
    numbered,
)
from pipeline.encoder.mtcnn import MIN_FACE_SIZE
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos

BILINEAR = Image.Resampling.BILINEAR
FACENET = recipe_named("mtcnn-facenet")
ALIGNED = recipe_named("mtcnn-reid")
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
# In the README of Open Model Zoo's face-reidentification-retail-0095, to four digits: left eye, right eye, nose, mouth.
PUBLISHED = ((0.3156, 0.4616), (0.6827, 0.4616), (0.5003, 0.6405), (0.3495, 0.8247), (0.6534, 0.8247))
NO_LANDMARKS = cast(Landmarks, ((0.0, 0.0),) * 5)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def a_face(box: Sequence[float], confidence: float = 0.99, landmarks: Landmarks = NO_LANDMARKS) -> Face:
    return Face(cast(Box, tuple(map(float, box))), confidence, landmarks)


def random_boxes(count: int, width: int, height: int) -> np.ndarray:
    """Boxes of which about half reach past an edge, none lies wholly outside."""
    random = np.random.default_rng(1)
    centres = random.uniform((0, 0), (width, height), (count, 2))
    sides = random.uniform(12, 0.8 * min(width, height), (count, 2))
    return np.hstack((centres - sides / 2, centres + sides / 2))


# Crops


def test_the_box_crop_is_facenet_pytorchs() -> None:
    photo = noise(240, 180)
    reference = MTCNN(image_size=160, margin=14, post_process=False)
    boxes = random_boxes(120, *photo.size)
    reaching_out = (boxes.min(axis=1) < 0) | (boxes[:, 2] > 240) | (boxes[:, 3] > 180)
    assert 30 < reaching_out.sum() < 110
    for box in boxes:
        crop = np.asarray(cut(photo, a_face(box), FACENET))
        for theirs in (extract_face(photo, box, 160, 14), reference.extract(photo, box[None], None)):
            np.testing.assert_array_equal(crop, theirs.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("box", [(-50, -50, -10, -10), (100, 100, 140, 150), (9.2, 9.2, 9.4, 9.4), (-9, 5, 0.4, 6)])
def test_a_box_outside_the_photo_or_without_a_whole_pixel_still_gives_a_crop(box: tuple[float, ...]) -> None:
    crop = cut(Image.new("RGB", (64, 64), "white"), a_face(box), FACENET)
    assert crop.size == (160, 160)
    assert crop.getextrema() == ((255, 255),) * 3, "of the photo, not of the black beyond it"


def test_the_box_crop_of_another_recipe_keeps_its_own_size_and_margin() -> None:
    photo, recipe = noise(240, 180), recipe_named("mtcnn-resnet50")
    box = np.array((40.3, 30.7, 120.1, 140.9))
    theirs = extract_face(photo, box, recipe.size, recipe.margin).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(cut(photo, a_face(box), recipe)), theirs)


def dotted(scale: float, degrees: float) -> tuple[Image.Image, Face]:
    """A photo with five coloured dots where a face so large (1: as in the crop) and so turned has its landmarks."""
    turn = scale * np.exp(1j * np.deg2rad(degrees))
    reference = np.asarray(PUBLISHED) @ (1, 1j) * ALIGNED.size
    middle = complex(ALIGNED.size, ALIGNED.size) / 2
    side = int(2 * ALIGNED.size * scale)
    places = (reference - middle) * turn + complex(side, side) / 2
    photo = Image.new("RGB", (side, side))
    pixels = np.asarray(photo).copy()
    rows, columns = np.mgrid[:side, :side] + 0.5
    for place, colour in zip(places, COLOURS, strict=True):
        pixels[np.hypot(columns - place.real, rows - place.imag) < 4 * scale] = colour
    landmarks = cast(Landmarks, tuple((float(place.real), float(place.imag)) for place in places))
    return Image.fromarray(pixels), a_face((1, 1, side - 1, side - 1), landmarks=landmarks)


@pytest.mark.parametrize("degrees", [0, 25, -40, 180])
@pytest.mark.parametrize("scale", [0.5, 1, 1.9, 2.1, 4.5, 9])
def test_the_aligned_crop_has_the_landmarks_at_the_reference(scale: float, degrees: float) -> None:
    photo, face = dotted(scale, degrees)
    crop = np.asarray(cut(photo, face, ALIGNED)).astype(float)
    assert crop.shape == (128, 128, 3)
    rows, columns = np.mgrid[:128, :128] + 0.5
    for colour, (x, y) in zip(COLOURS, PUBLISHED, strict=True):
        like = np.maximum(0, 1 - np.abs(crop - colour).sum(axis=2) / 200)
        assert like.sum() > 20, f"the dot {colour} is not in the crop"
        found = (columns * like).sum() / like.sum(), (rows * like).sum() / like.sum()
        assert found == pytest.approx((x * 128, y * 128), abs=0.75)


def test_a_large_face_is_averaged_not_sampled() -> None:
    """Noise that is averaged over 7 x 7 pixels becomes grey; four of them would leave half of it."""
    photo, face = dotted(7.3, 10)
    crop = np.asarray(cut(noise(*photo.size), face, ALIGNED)).astype(float)
    assert crop.std() < 20
    assert crop.mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("middle", [(900, 700), (40, 1300), (1790, -90), (5000, 5000)])
@pytest.mark.parametrize("scale", [2.2, 5.2, 9.7])
def test_the_crop_of_a_large_face_is_as_if_the_whole_photo_were_reduced(middle: tuple[int, int], scale: float) -> None:
    photo = noise(1801, 1403)
    _, face = dotted(scale, 17)
    points = np.array(face.landmarks) - np.mean(face.landmarks, axis=0) + middle
    crop = cut(photo, a_face(face.box, landmarks=cast(Landmarks, tuple(map(tuple, points.tolist())))), ALIGNED)
    factor = int(scale)
    back = similarity_transform(np.array(REFERENCE_LANDMARKS["reid"]) * 128, points / factor)
    whole = photo.reduce(factor).transform((128, 128), Image.Transform.AFFINE, tuple(back.ravel()), BILINEAR)
    assert np.array_equal(np.asarray(crop), np.asarray(whole))


def test_the_aligned_crop_is_black_beyond_the_photo() -> None:
    photo, face = dotted(1, 0)
    moved = cast(Landmarks, tuple((x - 128, y) for x, y in face.landmarks))
    crop = np.asarray(cut(Image.new("RGB", photo.size, "white"), a_face(face.box, landmarks=moved), ALIGNED))
    assert crop[:, :60].max() == 0
    assert crop[:, 70:].min() == 255


@pytest.mark.parametrize("name", ["resnet50", "mtcnn-facenet", "mtcnn-reid"])
def test_without_a_face_the_whole_photo_is_squeezed_into_the_crop(name: str) -> None:
    recipe, photo = recipe_named(name), noise(90, 41)
    crop = cut(photo, None, recipe)
    assert crop.size == (recipe.size, recipe.size)
    assert crop.tobytes() == photo.resize((recipe.size, recipe.size), Image.Resampling.BILINEAR).tobytes()


def test_a_network_trained_on_boxes_has_a_reference_of_its_own() -> None:
    """A face whose landmarks lie at the reference already is cut out as it is."""
    recipe, photo = recipe_named("mtcnn-facenet+aligned"), noise(160, 160)
    places = tuple((160 * x, 160 * y) for x, y in REFERENCE_LANDMARKS["facenet"])
    crop = cut(photo, a_face((0, 0, 160, 160), landmarks=cast(Landmarks, places)), recipe)
    np.testing.assert_allclose(np.asarray(crop).astype(float), np.asarray(photo), atol=1)
    moved = cut(photo, a_face((0, 0, 160, 160), landmarks=cast(Landmarks, places)), replace(recipe, network="reid"))
    assert np.abs(np.asarray(moved).astype(float) - np.asarray(photo)).mean() > 20


@pytest.mark.parametrize("box", [(20, 30, 90, 100), (20, 30, 200, 170)])
def test_bicubic_is_pillows(box: tuple[int, int, int, int]) -> None:
    photo, recipe = noise(240, 180), recipe_named("mtcnn-facenet+tight+bicubic")
    theirs = photo.crop(box).resize((160, 160), Image.Resampling.BICUBIC)
    assert cut(photo, a_face(box), recipe).tobytes() == theirs.tobytes()


# Choosing


def test_centred_is_facenet_pytorchs_centre_weighted_size() -> None:
    mtcnn, random = MTCNN(), np.random.default_rng(2)
    chosen_largest = 0
    for _ in range(100):
        photo = Image.new("RGB", tuple(random.integers(100, 400, 2).tolist()))
        boxes = random_boxes(200, *photo.size)[random.integers(0, 200, 5)]
        scores, points = random.uniform(0.7, 1, 5), np.zeros((5, 5, 2))
        expected, _, _ = mtcnn.select_boxes(boxes, scores, points, photo, method="center_weighted_size")
        candidates = [a_face(box, score) for box, score in zip(boxes, scores, strict=True)]
        chosen = centred(candidates, photo.size)
        assert chosen is not None
        assert chosen.box == tuple(expected[0])
        chosen_largest += chosen is max(candidates, key=lambda face: face.area)
    assert chosen_largest < 95, "the centre must have decided sometimes"


def test_central_takes_the_face_in_the_middle_whatever_its_size() -> None:
    large, small = a_face((30, 30, 100, 100)), a_face((45, 40, 60, 55))
    assert centred([large, small], (100, 100)) is large
    assert central([large, small], (100, 100)) is small
    assert central([small, large], (140, 140)) is large
    assert central((), (100, 100)) is None


def test_largest_prefers_the_faces_the_detector_is_sure_of() -> None:
    big_doubtful, small, middling = a_face((0, 0, 90, 90), 0.89), a_face((0, 0, 20, 20)), a_face((50, 50, 80, 80), 0.9)
    assert largest([big_doubtful, small, middling], (100, 100)) is middling
    assert largest([small, big_doubtful], (100, 100)) is small
    assert largest([a_face((0, 0, 9, 9), 0.8), big_doubtful], (100, 100)) is big_doubtful


def test_a_face_is_chosen_by_its_number() -> None:
    small, large = a_face((0, 0, 20, 20)), a_face((50, 50, 90, 90))
    assert numbered(1)([small, large], (100, 100)) is small
    assert numbered(2)([small, large], (100, 100)) is large
    assert numbered(0)([small, large], (100, 100)) is large, "0 is the largest"
    assert numbered(3)([], (100, 100)) is None
    for number in (-1, 3):
        with pytest.raises(SettingsError, match=f"shows 2 faces, so there is no face {number}; choose another"):
            numbered(number)([small, large], (100, 100))
    with pytest.raises(SettingsError, match="shows 1 face, so"):
        numbered(2)([small], (100, 100))


def test_a_face_is_chosen_by_a_point_in_or_beside_it() -> None:
    around, within, aside = a_face((0, 0, 60, 60)), a_face((20, 20, 40, 40)), a_face((70, 0, 90, 20))
    faces = [around, within, aside]
    assert at(30, 30)(faces, (100, 100)) is within, "the smaller of two that hold the point"
    assert at(5, 5)(faces, (100, 100)) is around
    assert at(68, 10)(faces, (100, 100)) is aside, "the nearest where none holds it"
    assert at(95, 95)(faces, (100, 100)) is around
    assert at(5, 5)((), (100, 100)) is None


def test_nothing_is_chosen_among_no_faces() -> None:
    assert centred((), (100, 100)) is None
    assert largest((), (100, 100)) is None


# Frames


def test_boxed_frames_every_face_and_numbers_several() -> None:
    photo = Image.new("RGB", (200, 120), "grey")
    chosen, other = a_face((110, 20, 180, 100)), a_face((10, 20, 80, 100))
    drawn = boxed(photo, [chosen, other], chosen)
    assert drawn.getpixel((110, 60)) == (255, 138, 0)
    assert drawn.getpixel((10, 60)) == (255, 255, 255)
    assert drawn.getpixel((145, 60)) == drawn.getpixel((45, 60)) == (128, 128, 128)
    assert photo.tobytes() == Image.new("RGB", (200, 120), "grey").tobytes(), "the photo itself stays as it was"

    def inner_colours(image: Image.Image, face: Face) -> int:
        left, top, right, bottom = map(int, face.box)
        return len(image.crop((left + 5, top + 5, right - 5, bottom - 5)).getcolors() or ())

    assert inner_colours(drawn, chosen) > 1, "a number in the face"
    assert inner_colours(drawn, other) > 1
    assert inner_colours(boxed(photo, [chosen], chosen), chosen) == 1, "a single face needs no number"


def test_boxed_takes_boxes_past_the_edges_and_no_face_at_all() -> None:
    photo = Image.new("RGB", (50, 40), "grey")
    assert boxed(photo, [a_face((-20, -20, 80, 90))], None).size == photo.size
    assert boxed(photo, [], None).tobytes() == photo.tobytes()


# Detecting


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector()


@pytest.mark.parametrize(
    "size", [(1, 1), (19, 19), (20, 20), (1, 2000), (2000, 1), (1, 5000), (5000, 1), (3000, 200), (250, 250)]
)
def test_photos_of_any_size_without_a_face_have_none(detector: MtcnnDetector, size: tuple[int, int]) -> None:
    assert detector.detect([Image.new("RGB", size, "grey")]) == [()]
    assert detector.detect([Image.linear_gradient("L").resize(size).convert("RGB")]) == [()]


@pytest.mark.parametrize("size", [(4000, 3000), (3024, 4032), (1601, 777), (1999, 2000), (4624, 3468), (1100, 800)])
def test_a_large_photo_is_scaled_as_pillow_does_it_on_one_core(size: tuple[int, int]) -> None:
    photo = noise(*size)
    pixels, scale = for_detection(photo, 1)
    small = photo.resize([round(side * 1024 / max(size)) for side in size], BILINEAR, reducing_gap=2)
    assert scale == 1024 / max(size)
    assert np.array_equal(pixels, np.asarray(small))


def test_no_photos_have_no_faces(detector: MtcnnDetector) -> None:
    assert detector.detect([]) == []


@pytest.fixture(scope="module")
def portraits(lfw: Photos) -> list[Image.Image]:
    return [open_image(lfw[row].source) for row in range(0, len(lfw), len(lfw) // 20)][:20]


def assert_alike(ours: Sequence[Face], theirs: Sequence[Face], tolerance: float) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=tolerance)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=tolerance)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_faces_are_those_of_mtcnn_as_its_readme_runs_it(detector: MtcnnDetector, portraits: list[Image.Image]) -> None:
    mtcnn = MTCNN(keep_all=True)
    for photo, found in zip(portraits, detector.detect(portraits), strict=True):
        boxes, scores, points = mtcnn.detect(photo, landmarks=True)
        assert len(found) == len(boxes) > 0
        np.testing.assert_allclose([face.box for face in found], boxes.astype(float), atol=0.01)
        np.testing.assert_allclose([face.landmarks for face in found], points.astype(float), atol=0.01)
        np.testing.assert_allclose([face.confidence for face in found], scores.astype(float), atol=1e-4)


def test_the_crop_of_a_photo_is_the_one_mtcnn_cuts(detector: MtcnnDetector, portraits: list[Image.Image]) -> None:
    mtcnn = MTCNN(image_size=160, margin=14, post_process=False, selection_method="center_weighted_size")
    equal = 0
    for photo, found in zip(portraits[:10], detector.detect(portraits[:10]), strict=True):
        crop = np.asarray(cut(photo, centred(found, photo.size), FACENET)).astype(float)
        difference = np.abs(crop - mtcnn(photo).permute(1, 2, 0).numpy()).max()
        equal += difference <= 1
    assert equal >= 9, "a box that lies within rounding of a whole pixel may fall to either side of it"


def test_single_and_batched_detection_agree(detector: MtcnnDetector, portraits: list[Image.Image]) -> None:
    """In a batch of several sizes, with photos without a face in its middle and at its start."""
    enlarged = [photo.resize((300, 260)) for photo in portraits[:2]]
    faceless = [Image.new("RGB", (250, 250), "grey"), Image.new("RGB", (31, 400), "white"), noise(250, 250)]
    photos = [faceless[0], *portraits[:6], faceless[2], enlarged[0], faceless[1], *portraits[6:10], enlarged[1]]
    alone = [detector.detect([photo])[0] for photo in photos]
    together = detector.detect(photos)
    assert [len(found) for found in together] == [len(found) for found in alone]
    assert together[0] == together[7] == together[9] == ()
    assert sum(map(bool, together)) == len(photos) - 3
    for ours, theirs in zip(together, alone, strict=True):
        assert_alike(ours, theirs, 0.05)


@pytest.mark.parametrize("factor", [4, 8])
def test_faces_of_an_enlarged_photo_are_as_much_larger(
    detector: MtcnnDetector, portraits: list[Image.Image], factor: int
) -> None:
    for photo in portraits[:2]:
        small = centred(detector.detect([photo])[0], photo.size)
        size = (factor * photo.width, factor * photo.height)
        large = centred(detector.detect([photo.resize(size, Image.Resampling.BICUBIC)])[0], size)
        assert small is not None
        assert large is not None
        tolerance = 0.12 * (small.box[2] - small.box[0])
        np.testing.assert_allclose(np.array(large.box) / factor, small.box, atol=tolerance)
        np.testing.assert_allclose(np.array(large.landmarks) / factor, small.landmarks, atol=tolerance / 2)


def test_for_one_the_face_that_is_chosen_is_the_same(detector: MtcnnDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [open_image(path) for path in sorted(SAMPLE.glob("*/1.jpg"))]
    looked_for: list[float] = []
    detect = detector._mtcnn.detect

    def noted(pixels: np.ndarray, smallest: float) -> object:
        looked_for.append(smallest)
        return detect(pixels, smallest)

    monkeypatch.setattr(detector._mtcnn, "detect", noted)
    every, one = detector.detect(photos), detector.detect(photos, for_one=True)
    assert [centred(found, photo.size) for found, photo in zip(every, photos, strict=True)] == [
        centred(found, photo.size) for found, photo in zip(one, photos, strict=True)
    ]
    assert looked_for.count(SMALL) == looked_for.count(MIN_FACE_SIZE), "or nothing was left out"


def test_for_one_faces_that_are_not_much_larger_than_small_have_the_same_box(detector: MtcnnDetector) -> None:
    """What is found of them at the first levels moves the boxes of some."""
    photos = []
    for path in sorted(SAMPLE.glob("*/1.jpg")):
        portrait, photo = open_image(path), Image.new("RGB", (250, 250), (120, 130, 140))
        face = centred(detector.detect([portrait])[0], portrait.size)
        assert face is not None
        side = round(portrait.width * 52 / (face.box[2] - face.box[0]))
        photo.paste(portrait.resize((side, side), Image.Resampling.LANCZOS), ((250 - side) // 2, (250 - side) // 2))
        photos.append(photo)
    every, one = detector.detect(photos), detector.detect(photos, for_one=True)
    for all_faces, some, photo in zip(every, one, photos, strict=True):
        assert centred(all_faces, photo.size) == centred(some, photo.size)


def test_for_one_small_faces_are_looked_for_where_one_may_be_chosen(detector: MtcnnDetector) -> None:
    """A small face in the middle, alone and beside a larger one in the corner."""
    portrait = open_image(next(SAMPLE.glob("*/1.jpg")))
    alone = Image.new("RGB", (500, 500), (120, 130, 140))
    alone.paste(portrait.resize((50, 50), Image.Resampling.LANCZOS), (225, 225))
    beside = alone.copy()
    beside.paste(portrait.resize((120, 120), Image.Resampling.LANCZOS), (0, 0))
    for photo in (alone, beside):
        (face,) = (centred(found, photo.size) for found in detector.detect([photo], for_one=True))
        assert face is not None
        assert face.box[2] - face.box[0] < 40
        assert face == centred(detector.detect([photo])[0], photo.size)


def test_small_photos_are_enlarged_for_the_detector(detector: MtcnnDetector, portraits: list[Image.Image]) -> None:
    """Photos of 20 px with a face of about 8: too small for MTCNN until they are enlarged."""
    mtcnn = MTCNN(keep_all=True)
    small = [photo.resize((20, 20), Image.Resampling.BOX) for photo in portraits[:10]]
    assert sum(mtcnn.detect(photo)[0] is not None for photo in small) <= 3, "else this proves nothing"
    right = 0
    for photo, found, true in zip(small, detector.detect(small), detector.detect(portraits[:10]), strict=True):
        face, known = centred(found, photo.size), centred(true, (250, 250))
        assert known is not None
        if face is not None:
            right += bool(np.abs(np.array(face.box) - np.array(known.box) * 20 / 250).max() < 3)
    assert right >= 7


def test_a_photo_looked_at_twice_as_large_shows_faces_half_as_large(
    detector: MtcnnDetector, portraits: list[Image.Image]
) -> None:
    """Photos whose face has about 10 px; most of them MTCNN finds only when they are enlarged."""
    zoomed, found = MtcnnDetector(2), 0
    for photo in portraits[:10]:
        small = Image.new("RGB", (100, 100), "grey")
        small.paste(photo.resize((24, 24), Image.Resampling.BOX), (32, 32))
        face, known = centred(zoomed.detect([small])[0], small.size), centred(detector.detect([photo])[0], photo.size)
        assert known is not None
        if face is not None and not detector.detect([small])[0]:
            np.testing.assert_allclose(face.box, 32 + np.array(known.box) * 24 / 250, atol=3)
            found += 1
    assert found >= 4


def test_a_drawing_on_top_of_a_face_hides_it(detector: MtcnnDetector, portraits: list[Image.Image]) -> None:
    covered = portraits[0].copy()
    ImageDraw.Draw(covered).rectangle((0, 0, 250, 250), fill="grey")
    assert detector.detect([portraits[1], covered, portraits[2]])[1] == ()
