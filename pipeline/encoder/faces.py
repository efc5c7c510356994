"""Finding faces, choosing one, and cutting it out as a network wants it."""

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
from pipeline.encoder.mtcnn import Mtcnn

# Picks among the faces of a photo of this size (width, height): the one a search, or a gallery's photo, is about.
Choose = Callable[[Sequence[Face], tuple[int, int]], Face | None]

BATCH = 5  # photos of one size that a worker looks at together; more take memory and no less time
MOST_STREAMS = 8  # networks at work at once; beyond, their workers wait for Python's lock
MAX_SIDE = 1024  # larger photos are scaled down to this for detection
MIN_SIDE = 48  # smaller ones are scaled up: MTCNN's smallest face has 20 px
SURE = 0.9  # facenet-pytorch's own threshold in `largest_over_threshold`

# Where the landmarks are to lie, in parts of the crop's side: as Open Model Zoo's README has it for its network, and
# for those that were trained on boxes, where the landmarks lie in such crops of LFW on average.
_IN_A_BOX = ((0.2956, 0.3957), (0.7044, 0.3957), (0.5, 0.5757), (0.3203, 0.7344), (0.6797, 0.7344))
_OPEN_MODEL_ZOO = (
    (0.31556875, 0.4615741071428571),
    (0.6826229166666667, 0.4615741071428571),
    (0.5002624999999999, 0.6405053571428571),
    (0.34947187500000004, 0.8246919642857142),
    (0.6534364583333333, 0.8246919642857142),
)
REFERENCE_LANDMARKS = {
    "reid": _OPEN_MODEL_ZOO,
    "mini": _OPEN_MODEL_ZOO,  # which learned from it
    "facenet": _IN_A_BOX,
    "resnet50": _IN_A_BOX,
}

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class MtcnnDetector:
    """MTCNN with the weights inside facenet-pytorch's wheel, on all cores. Safe to use from several threads."""

    def __init__(self, zoom: int = 1) -> None:
        """`zoom` is how many times larger than it is a photo is looked at."""
        self._zoom = zoom
        streams = min(usable_cores(), MOST_STREAMS)
        # Twice as many, for the networks wait while a worker makes their inputs ready or looks at what they say.
        self._workers = 2 * streams
        self._mtcnn = Mtcnn(streams)

    def detect(self, images: Sequence[Image.Image]) -> list[tuple[Face, ...]]:
        """All faces of each RGB image, largest first; an empty tuple where there is none."""
        prepared = [_for_detection(image, self._zoom) for image in images]
        same_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (pixels, _) in enumerate(prepared):
            same_size[pixels.shape].append(number)
        batches = [
            numbers[start : start + BATCH] for numbers in same_size.values() for start in range(0, len(numbers), BATCH)
        ]

        def detected(numbers: Sequence[int]) -> list[tuple[Face, ...]]:
            found = self._mtcnn.detect(np.stack([prepared[number][0] for number in numbers]))
            return [_faces(*one, prepared[number][1]) for number, one in zip(numbers, found, strict=True)]

        if len(batches) == 1:  # as in a search, which a thread of its own would cost half a millisecond
            return detected(batches[0])
        results: list[tuple[Face, ...]] = [()] * len(images)
        with ThreadPoolExecutor(self._workers) as pool:
            for numbers, found in zip(batches, pool.map(detected, batches), strict=True):
                for number, faces in zip(numbers, found, strict=True):
                    results[number] = faces
        return results


def _for_detection(image: Image.Image, zoom: int) -> tuple[np.ndarray, float]:
    """The pixels MTCNN gets, and by how much they were scaled."""
    long, short = max(image.size), min(image.size)
    scale = min(MAX_SIDE / long, max(float(zoom), MIN_SIDE / short))
    if scale != 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    return np.asarray(image, np.uint8), scale


def _faces(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray, scale: float) -> tuple[Face, ...]:
    return tuple(
        Face(cast(Box, tuple(box)), score, cast(Landmarks, tuple(map(tuple, five))))
        for box, score, five in zip((boxes / scale).tolist(), scores.tolist(), (points / scale).tolist(), strict=True)
        if box[2] > box[0] and box[3] > box[1]
    )


def centred(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """The face a gallery photo is about: area less twice the squared distance from the photo's centre.

    LFW's labelled face is the one over the centre; facenet-pytorch calls this `center_weighted_size`.
    """

    def weight(face: Face) -> float:
        left, top, right, bottom = face.box
        across, down = (left + right - size[0]) / 2, (top + bottom - size[1]) / 2
        return face.area - 2 * (across**2 + down**2)

    return max(faces, key=weight, default=None)


def central(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """The face whose middle is nearest to the photo's, whatever its size."""

    def offset(face: Face) -> float:
        left, top, right, bottom = face.box
        return (left + right - size[0]) ** 2 + (top + bottom - size[1]) ** 2

    return min(faces, key=offset, default=None)


CHOICES: dict[str, Choose] = {"large": centred, "central": central}  # by `Recipe.choice`


def largest(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """The face a query photo is about: the largest of those the detector is sure of, else the largest."""
    sure = [face for face in faces if face.confidence >= SURE]
    return max(sure or faces, key=lambda face: face.area, default=None)


def numbered(number: int) -> Choose:
    """Picks the face of this number, 0 standing for `largest`; SettingsError where a photo shows fewer faces."""

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
    """Picks the face nearest to a point, in pixels of the photo: the smallest whose box it is in, if there is one."""

    def choose(faces: Sequence[Face], size: tuple[int, int]) -> Face | None:
        def away(face: Face) -> tuple[float, float]:
            left, top, right, bottom = face.box
            return float(np.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom))), face.area

        return min(faces, key=away, default=None)

    return choose


def cut_all(images: Sequence[Image.Image], faces: Sequence[Face | None], recipe: Recipe) -> list[Image.Image]:
    """The crop of each image by `cut`, on all cores."""
    if len(images) == 1:
        return [cut(images[0], faces[0], recipe)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(cut, images, faces, repeat(recipe)))


def cut(image: Image.Image, face: Face | None, recipe: Recipe) -> Image.Image:
    """The square RGB crop of `recipe.size` pixels that the network sees; without a face, of the whole photo."""
    if face is None:
        return image.resize((recipe.size, recipe.size), _RESAMPLING[recipe.resample])
    return _aligned(image, face, recipe) if recipe.crop == "aligned" else _boxed(image, face, recipe)


def _boxed(image: Image.Image, face: Face, recipe: Recipe) -> Image.Image:
    """The same crop as facenet-pytorch's `extract_face`: box plus margin, cut at the photo's edges, squeezed square."""
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


def _aligned(image: Image.Image, face: Face, recipe: Recipe) -> Image.Image:
    """The face turned and scaled so that its landmarks come to lie on the reference; black beyond the photo."""
    landmarks, size = np.asarray(face.landmarks), (recipe.size, recipe.size)
    reference = np.asarray(REFERENCE_LANDMARKS[recipe.network]) * recipe.size
    scale = float(np.hypot(*similarity_transform(landmarks, reference)[:, 0]))
    if scale < 0.5:  # Pillow's transform looks at few pixels only: a large face is shrunk first
        factor = int(1 / scale)
        image, landmarks = image.reduce(factor), landmarks / factor
    back = similarity_transform(reference, landmarks)
    return image.transform(size, Image.Transform.AFFINE, tuple(back.ravel()), _RESAMPLING[recipe.resample])


def boxed(image: Image.Image, faces: Sequence[Face], chosen: Face | None) -> Image.Image:
    """A copy of the photo with every face framed and numbered, the chosen one in strong colour."""
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
