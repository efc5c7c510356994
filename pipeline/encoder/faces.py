"""Detecting faces, choosing one, and cutting out the crop that a network needs."""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import cast

import numpy as np
from PIL import Image, ImageDraw

from pipeline.core.errors import SettingsError
from pipeline.core.geometry import similarity_transform
from pipeline.core.processors import usable_cores
from pipeline.core.recipes import Recipe
from pipeline.core.types import Box, Face, Landmarks
from pipeline.encoder.mtcnn import MIN_FACE_SIZE, Mtcnn

# Picks the face that is searched with or indexed, of a photo of this size (width, height).
Choose = Callable[[Sequence[Face], tuple[int, int]], Face | None]

BATCH = 5  # photos of one size in a batch; more take memory and save no time
MAX_STREAMS = 8  # inference requests that run concurrently; with more, their workers wait for Python's lock
MAX_SIDE = 1024  # larger photos are scaled down to this for detection
REDUCING_GAP = 2  # a photo twice as large as this many times `MAX_SIDE` is averaged first, as Pillow does it
SLOW_TO_SCALE = 1.5  # times `MAX_SIDE`: from here on threads take less time than they cost
BANDS = 4  # a power of two: their edges are exact
BESIDE = 2  # pixels that interpolating takes from beside a crop
MIN_SIDE = 48  # smaller ones are scaled up: MTCNN's smallest face has 20 px
SMALL = 39  # pixels: the third level of MTCNN's pyramid shows faces from there on, and the first two are most of it
MIN_CONFIDENCE = 0.9  # facenet-pytorch's own threshold in `largest_over_threshold`

# The landmarks of an aligned crop, as shares of its side: those of Open Model Zoo's README for its network, and for
# networks trained on boxes the mean landmarks of such crops of LFW.
_BOX_LANDMARKS = ((0.2956, 0.3957), (0.7044, 0.3957), (0.5, 0.5757), (0.3203, 0.7344), (0.6797, 0.7344))
_OPEN_MODEL_ZOO_LANDMARKS = (
    (0.31556875, 0.4615741071428571),
    (0.6826229166666667, 0.4615741071428571),
    (0.5002624999999999, 0.6405053571428571),
    (0.34947187500000004, 0.8246919642857142),
    (0.6534364583333333, 0.8246919642857142),
)
REFERENCE_LANDMARKS = {
    "reid": _OPEN_MODEL_ZOO_LANDMARKS,
    "mini": _OPEN_MODEL_ZOO_LANDMARKS,  # its student
    "facenet": _BOX_LANDMARKS,
    "resnet50": _BOX_LANDMARKS,
}

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class MtcnnDetector:
    """MTCNN with facenet-pytorch's weights, on all cores. Safe to use from several threads."""

    def __init__(self, zoom: int = 1) -> None:
        """`zoom` is the factor by which photos are enlarged before detection."""
        self._zoom = zoom
        streams = min(usable_cores(), MAX_STREAMS)
        # Twice as many, because a network waits while its worker prepares inputs or reads outputs.
        self._workers = 2 * streams
        self._mtcnn = Mtcnn(streams)

    def detect(self, images: Sequence[Image.Image], *, for_one: bool = False) -> list[tuple[Face, ...]]:
        """All faces of each RGB image, largest first; an empty tuple where there is none.

        `for_one` wants only the face that `centred` chooses: small ones are looked for only where it may choose one,
        which takes two thirds of the time on LFW.
        """
        if not for_one:
            return self._detect(images, MIN_FACE_SIZE)
        found = self._detect(images, SMALL)
        unsure = [
            number
            for number, (faces, image) in enumerate(zip(found, images, strict=True))
            if not _is_chosen(faces, image.size, self._zoom)
        ]
        again = self._detect([images[number] for number in unsure], MIN_FACE_SIZE)
        for number, faces in zip(unsure, again, strict=True):
            found[number] = faces
        return found

    def _detect(self, images: Sequence[Image.Image], smallest: float) -> list[tuple[Face, ...]]:
        prepared = [for_detection(image, self._zoom) for image in images]
        same_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (pixels, _) in enumerate(prepared):
            same_size[pixels.shape].append(number)
        batches = [
            numbers[start : start + BATCH] for numbers in same_size.values() for start in range(0, len(numbers), BATCH)
        ]

        def detected(numbers: Sequence[int]) -> list[tuple[Face, ...]]:
            found = self._mtcnn.detect(np.stack([prepared[number][0] for number in numbers]), smallest)
            return [_faces(*one, prepared[number][1]) for number, one in zip(numbers, found, strict=True)]

        if len(batches) == 1:  # as in a search: a thread would cost half a millisecond
            return detected(batches[0])
        results: list[tuple[Face, ...]] = [()] * len(images)
        with ThreadPoolExecutor(self._workers) as pool:
            for numbers, found in zip(batches, pool.map(detected, batches), strict=True):
                for number, faces in zip(numbers, found, strict=True):
                    results[number] = faces
        return results


def for_detection(image: Image.Image, zoom: int) -> tuple[np.ndarray, float]:
    """The pixels for MTCNN, and the factor by which they were scaled."""
    scale = _scale(image.size, zoom)
    if scale == 1:
        return np.asarray(image, np.uint8), scale
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if SLOW_TO_SCALE < max(image.size) / MAX_SIDE < 2 * REDUCING_GAP:
        return _in_bands(image, size), scale
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP), np.uint8), scale


def _scale(size: tuple[int, int], zoom: int) -> float:
    return min(MAX_SIDE / max(size), max(float(zoom), MIN_SIDE / min(size)))


def _is_chosen(faces: Sequence[Face], size: tuple[int, int], zoom: int) -> bool:
    """Whether `centred` chooses one of these faces, in the same box, whatever faces below `SMALL` there are too.

    Such a face weighs up to its area. But what is found of it may also suppress or move the box of one that is a little
    larger: of 100 photos with faces 52 pixels wide, 11 had another box with half of this limit, and none with this.
    """
    face = centred(faces, size)
    return face is not None and _centred_weight(face, size) * _scale(size, zoom) ** 2 > 4 * SMALL**2


def _in_bands(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The image scaled as without bands, pixel by pixel, on all cores: bands across a long side of `MAX_SIDE`."""
    across = size[0] == MAX_SIDE
    band, share = MAX_SIDE // BANDS, max(image.size) / BANDS

    def scaled(number: int) -> np.ndarray:
        start, end = number * share, (number + 1) * share
        box = (start, 0, end, image.height) if across else (0, start, image.width, end)
        return np.asarray(
            image.resize((band, size[1]) if across else (size[0], band), Image.Resampling.BILINEAR, box=box), np.uint8
        )

    with ThreadPoolExecutor(min(usable_cores(), BANDS)) as pool:
        return np.concatenate(list(pool.map(scaled, range(BANDS))), axis=1 if across else 0)


def _faces(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray, scale: float) -> tuple[Face, ...]:
    return tuple(
        Face(cast(Box, tuple(box)), score, cast(Landmarks, tuple(map(tuple, five))))
        for box, score, five in zip((boxes / scale).tolist(), scores.tolist(), (points / scale).tolist(), strict=True)
        if box[2] > box[0] and box[3] > box[1]
    )


def centred(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """The face that a gallery photo is indexed by: the largest area less twice the squared distance from the centre.

    LFW's labelled face is the one over the centre; facenet-pytorch calls this `center_weighted_size`.
    """

    return max(faces, key=lambda face: _centred_weight(face, size), default=None)


def _centred_weight(face: Face, size: tuple[int, int]) -> float:
    left, top, right, bottom = face.box
    across, down = (left + right - size[0]) / 2, (top + bottom - size[1]) / 2
    return face.area - 2 * (across**2 + down**2)


def central(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """The face whose centre is nearest to the photo's, whatever its size."""

    def offset(face: Face) -> float:
        left, top, right, bottom = face.box
        return (left + right - size[0]) ** 2 + (top + bottom - size[1]) ** 2

    return min(faces, key=offset, default=None)


CHOICES: dict[str, Choose] = {"large": centred, "central": central}  # by `Recipe.choice`


def largest(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """The face that a query photo is searched by: the largest with a high confidence, else the largest."""
    sure = [face for face in faces if face.confidence >= MIN_CONFIDENCE]
    return max(sure or faces, key=lambda face: face.area, default=None)


def numbered(number: int) -> Choose:
    """Picks the face of this number, from 1; 0 is for `largest`. SettingsError where a photo shows fewer faces."""

    def choose(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
        if number == 0 or not faces:
            return largest(faces, size)
        if not 1 <= number <= len(faces):
            count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
            raise SettingsError(
                f"This photo shows {count}, so there is no face {reprlib.repr(number)}; choose another."
            )
        return faces[number - 1]

    return choose


def at(x: float, y: float) -> Choose:
    """Picks the face nearest to a point, in pixels of the photo; of boxes that contain it, the smallest."""

    def choose(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
        def away(face: Face) -> tuple[float, float]:
            left, top, right, bottom = face.box
            return float(np.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom))), face.area

        return min(faces, key=away, default=None)

    return choose


def cut_all(images: Sequence[Image.Image], faces: Sequence[Face | None], recipe: Recipe) -> list[Image.Image]:
    """The crop of each image, as by `cut`, on all cores."""
    if len(images) == 1:
        return [cut(images[0], faces[0], recipe)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(cut, images, faces, repeat(recipe)))


def cut(image: Image.Image, face: Face | None, recipe: Recipe) -> Image.Image:
    """The square RGB crop of `recipe.size` pixels for the network; of the whole photo where `face` is None."""
    if face is None:
        return image.resize((recipe.size, recipe.size), _RESAMPLING[recipe.resample])
    return _crop_aligned(image, face, recipe) if recipe.crop == "aligned" else _crop_box(image, face, recipe)


def _crop_box(image: Image.Image, face: Face, recipe: Recipe) -> Image.Image:
    """The crop of facenet-pytorch's `extract_face`: the box with margin, clipped to the photo, resized to a square."""
    left, top, right, bottom = face.box
    share = recipe.margin / (recipe.size - recipe.margin) / 2
    across, down = (right - left) * share, (bottom - top) * share
    box = (
        min(int(max(left - across, 0)), image.width - 1),
        min(int(max(top - down, 0)), image.height - 1),
        max(int(min(right + across, image.width)), 1),
        max(int(min(bottom + down, image.height)), 1),
    )
    box = (box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1))
    return image.crop(box).resize((recipe.size, recipe.size), _RESAMPLING[recipe.resample])


def _crop_aligned(image: Image.Image, face: Face, recipe: Recipe) -> Image.Image:
    """The face aligned by a similarity transform of its landmarks to the reference; black beyond the photo."""
    landmarks, size = np.asarray(face.landmarks), (recipe.size, recipe.size)
    reference = np.asarray(REFERENCE_LANDMARKS[recipe.network]) * recipe.size
    scale = float(np.hypot(*similarity_transform(landmarks, reference)[:, 0]))
    if scale < 0.5:  # Pillow's transform samples few pixels, so a large face is reduced first
        factor = int(1 / scale)
        around = _around(similarity_transform(reference, landmarks), recipe.size, factor, image.size)
        image, landmarks = image.reduce(factor, around), (landmarks - around[:2]) / factor
    back = similarity_transform(reference, landmarks)
    return image.transform(size, Image.Transform.AFFINE, tuple(back.ravel()), _RESAMPLING[recipe.resample])


def _around(back: np.ndarray, side: int, factor: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box of a photo of this size, in whole cells of the factor, that a crop and its interpolation need.

    `back` (2, 3) leads from the crop's pixels to the photo's.
    """
    cells = back @ ((0, side, 0, side), (0, 0, side, side), (1, 1, 1, 1)) / factor
    left, top = np.maximum(np.floor(cells.min(axis=1)).astype(int) - BESIDE, 0) * factor
    right, bottom = np.minimum((np.ceil(cells.max(axis=1)).astype(int) + BESIDE) * factor, size)
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, *size)


def boxed(image: Image.Image, faces: Sequence[Face], chosen: Face | None) -> Image.Image:
    """A copy of the photo with a numbered box around every face, the chosen one in orange."""
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(max(image.size) / 150))
    for number, face in enumerate(faces, start=1):
        colour = "#ff8a00" if face == chosen else "#ffffff"
        pen.rectangle(face.box, outline=colour, width=width)
        if len(faces) > 1:
            place = (face.box[0] + 2 * width, face.box[1] + width)
            pen.text(place, str(number), fill=colour, font_size=8 * width, stroke_width=1, stroke_fill="#000000")
    return drawn
