"""MTCNN: areas are torch's, and boxes and landmarks facenet-pytorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from torch.nn.functional import interpolate

from pipeline.encoder.faces import MAX_SIDE
from pipeline.encoder.integral import MAX_AREA, IntegralImage
from pipeline.encoder.mtcnn import PNET_CELL, Detections, Mtcnn
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)


def area_mode(photos: np.ndarray, height: int, width: int) -> np.ndarray:
    return interpolate(torch.from_numpy(photos).permute(0, 3, 1, 2).float(), size=(height, width), mode="area").numpy()


# IntegralImage


@pytest.mark.parametrize("size", [(47, 60), (12, 13), (90, 31), (100, 200)])
def test_photos_are_scaled_as_torch_does(size: tuple[int, int]) -> None:
    photos = noise(3, 90, 120, 3)
    np.testing.assert_allclose(IntegralImage(photos).photos(*size), area_mode(photos, *size), atol=1e-4)


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_scaled_as_torch_does(side: int) -> None:
    photos, random = noise(3, 90, 120, 3), np.random.default_rng(1)
    start = random.integers(0, (110, 80), (40, 2))
    boxes = np.hstack((start, random.integers(start + 1, (121, 91))))
    numbers = random.integers(0, 3, 40)
    crops = IntegralImage(photos).crops(numbers, boxes, side)
    for crop, number, (left, top, right, bottom) in zip(crops, numbers, boxes, strict=True):
        expected = area_mode(photos[number : number + 1, top:bottom, left:right], side, side)[0]
        np.testing.assert_allclose(crop, expected, atol=1e-4)


def test_the_largest_area_of_white_is_white_although_the_sums_overflow() -> None:
    side = int(MAX_AREA**0.5)
    assert side >= MAX_SIDE / PNET_CELL + 2, "else it is too small for the smallest level of the largest photo"
    white = np.full((1, 12 * side, 12 * side, 3), 255, np.uint8)
    np.testing.assert_array_equal(IntegralImage(white).photos(12, 12), np.full((1, 3, 12, 12), 255, np.float32))


# Against facenet-pytorch


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    return Mtcnn(streams=2)


@pytest.fixture(scope="module")
def reference() -> MTCNN:
    return MTCNN(keep_all=True)


def assert_same(found: Detections, reference: MTCNN, photo: np.ndarray) -> int:
    boxes, scores, landmarks = reference.detect(photo, landmarks=True)
    assert len(found[0]) == (0 if boxes is None else len(boxes))
    if boxes is None:
        return 0
    np.testing.assert_allclose(found[0], boxes.astype(float), atol=0.01)
    np.testing.assert_allclose(found[1], scores.astype(float), atol=1e-4)
    np.testing.assert_allclose(found[2], landmarks.astype(float), atol=0.01)
    return len(boxes)


@pytest.fixture
def gullible() -> tuple[Mtcnn, MTCNN]:
    """Both with thresholds so low that faces are found in noise, many of which overlap and reach past the edges."""
    return Mtcnn(1, thresholds=(0.05, 0.02, 0.02)), MTCNN(keep_all=True, thresholds=[0.05, 0.02, 0.02])


@pytest.mark.parametrize("size", [(96, 128), (150, 70)])
def test_what_is_taken_for_faces_in_noise_is_the_references(
    gullible: tuple[Mtcnn, MTCNN], size: tuple[int, int]
) -> None:
    ours, theirs = gullible
    blots = np.stack([photo.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]] for photo in noise(6, 20, 20, 3)])
    found = sum(assert_same(one, theirs, photo) for one, photo in zip(ours.detect(blots), blots, strict=True))
    assert found >= 3, "else this proves nothing"


def test_the_crops_that_fill_up_a_batch_are_nobodys() -> None:
    """Where everything is taken for a face, so are they."""
    blots = np.stack([photo.repeat(8, 0).repeat(8, 1) for photo in noise(2, 12, 12, 3)])
    for boxes, scores, landmarks in Mtcnn(1, thresholds=(0.05, -1, -1)).detect(blots):
        assert 0 < len(boxes) == len(scores) == len(landmarks)
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_photos_with_no_level_and_no_photos_have_no_faces(mtcnn: Mtcnn) -> None:
    for size in ((1, 1), (19, 300)):
        ((boxes, scores, landmarks),) = mtcnn.detect(noise(1, *size, 3))
        assert (boxes.shape, scores.shape, landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def test_a_photos_faces_do_not_depend_on_the_others(mtcnn: Mtcnn, lfw: Photos) -> None:
    photos = np.stack([np.asarray(open_image(lfw[row].source)) for row in range(0, 800, 100)])
    photos[3] = 128
    together = mtcnn.detect(photos)
    for photo, found in zip(photos, together, strict=True):
        for ours, theirs in zip(mtcnn.detect(photo[None])[0], found, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_faces_of_lfw_are_the_references(mtcnn: Mtcnn, reference: MTCNN, lfw: Photos) -> None:
    """Of 200 photos all but one: at a threshold rounding decides."""
    same = 0
    for row in range(0, len(lfw), len(lfw) // 199)[:200]:
        photo = np.asarray(open_image(lfw[row].source))
        try:
            same += assert_same(mtcnn.detect(photo[None])[0], reference, photo) > 0
        except AssertionError:
            continue
    assert same >= 199
