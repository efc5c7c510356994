"""Looking for faces in any photo: in a large one tile by tile, in one that lies after turning it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from typing import cast

import numpy as np
from PIL import Image

from pipeline.core.processors import usable_cores
from pipeline.core.types import Box, Detector, Face, Landmarks
from pipeline.encoder.faces import MAX_SIDE, MIN_CONFIDENCE, Choose

# Of 120 photos of LFW, turned, the detector is this sure of a face in none that is upright and in 3 or fewer that are
# not; the turn it is surest of is the right one for 117 or more, whichever way a photo lies.
UPRIGHT = 0.99
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
STEP = 4  # from one scale to the next
LARGEST_SCALE = 0.5  # of a large photo's pixels: faces of 40 are found, and looking takes a quarter of the time
OVERLAP = 128  # pixels of two tiles; a face that is larger is found at the scale before
TILES_AT_ONCE = 2  # looking at one takes a hundred times its memory
MOST_FOR_THAT = 16_000_000  # pixels; a photo of more takes much memory itself
SAME_FACE = 0.5  # intersection over the smaller box


@dataclass(frozen=True)
class Look:
    """A photo as it was looked at, turned by so many degrees counter-clockwise; its faces, the largest first.

    `first` are those of the first look, without the small ones that only tiles of a large photo show.
    """

    image: Image.Image
    faces: tuple[Face, ...]
    turned: int = 0
    milliseconds: float = field(default=0.0, compare=False)
    first: tuple[Face, ...] = field(default=(), compare=False)

    def indexed_by(self, choose: Choose) -> Face | None:
        """The face that a gallery has the photo by, where it has one by each photo's name."""
        return choose(self.first or self.faces, self.image.size)

    def as_it_lay(self, face: Face) -> Face:
        """One of the faces, in pixels of the photo as it was before it was turned."""
        return turned_along(face, self.image.size, -self.turned % 360)


def again(image: Image.Image, before: Look) -> Look:
    """The same photo, decoded anew, as it was looked at before."""
    return replace(before, image=image.transpose(TURNS[before.turned]) if before.turned else image, milliseconds=0.0)


def look(image: Image.Image, detector: Detector) -> Look:
    """All faces of an RGB photo of any size and any turn."""
    started = time.perf_counter()
    (seen,) = look_at_all([image], detector)
    return replace(seen, milliseconds=(time.perf_counter() - started) * 1000)


def look_at_all(images: Sequence[Image.Image], detector: Detector) -> list[Look]:
    """The same of several photos, without the time that it took."""
    looks = []
    for image, found in zip(images, detector.detect(images), strict=True):
        photo, faces, turned = image, found, 0
        if _surest(faces) < UPRIGHT:
            turned = _turn(photo, _surest(faces), detector)
        if turned:
            photo = photo.transpose(TURNS[turned])
            faces = detector.detect([photo])[0]
        looks.append(Look(photo, _with_small_faces(photo, faces, detector), turned, first=faces))
    return looks


def turned_along(face: Face, size: tuple[int, int], degrees: int) -> Face:
    """The face where a photo of this size is turned by so many degrees counter-clockwise."""
    width, height = size

    def there(x: float, y: float) -> tuple[float, float]:
        return {0: (x, y), 90: (y, width - x), 180: (width - x, height - y), 270: (height - y, x)}[degrees]

    across, down = zip(there(*face.box[:2]), there(*face.box[2:]), strict=True)
    landmarks = cast(Landmarks, tuple(there(*point) for point in face.landmarks))
    return replace(face, box=(min(across), min(down), max(across), max(down)), landmarks=landmarks)


def degrees_off(face: Face) -> int:
    """By how many degrees, a multiple of 90, a photo is to be turned counter-clockwise for the face to be upright."""
    (left, right), (over, under) = np.mean([face.landmarks[:2], face.landmarks[3:]], axis=1).T.tolist()
    return round(math.degrees(math.atan2(left - right, under - over)) / 90) * 90 % 360


def _turn(image: Image.Image, sure: float, detector: Detector) -> int:
    """By how many degrees a turn makes some face surer than `sure`, or 0; looks at small copies."""
    small = image.copy() if max(image.size) <= MAX_SIDE else _resized(image, MAX_SIDE / max(image.size))
    found = {degrees: _surest(detector.detect([small.transpose(turn)])[0]) for degrees, turn in TURNS.items()}
    best = max(found, key=lambda degrees: found[degrees])
    return best if found[best] >= max(MIN_CONFIDENCE, sure) else 0


def _with_small_faces(image: Image.Image, faces: Sequence[Face], detector: Detector) -> tuple[Face, ...]:
    """The faces that were found in a photo, and those that only tiles of it show, the largest first."""
    found = list(faces)
    for scale in _scales(max(image.size)):
        for face in _in_tiles(image, scale, detector):
            if not _known(face, found):
                found.append(face)
    if len(found) > len(faces):
        found.sort(key=lambda face: -face.area)
    return tuple(found)


def _surest(faces: Sequence[Face]) -> float:
    return max((face.confidence for face in faces), default=0.0)


def _resized(image: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Averaged by the whole factor first, which takes a fifth of the time of interpolating alone: 12 ms, not 60.
    # Pillow's `reducing_gap` divides by nought where a side becomes one pixel.
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1 if min(image.size) > 2 / scale else None)


def _scales(long: int) -> Iterator[float]:
    """At which scales a photo is looked at again, in tiles: those between that of the first look and the largest."""
    scale = MAX_SIDE / long
    while scale < LARGEST_SCALE:
        scale = min(STEP * scale, LARGEST_SCALE)
        yield scale


def _in_tiles(image: Image.Image, scale: float, detector: Detector) -> Iterator[Face]:
    """The faces that the detector is sure of, tile by tile, in pixels of the photo; none that a tile's edge cuts."""
    small = _resized(image, scale)
    size = small.size
    boxes = [
        (left, top, min(left + MAX_SIDE, size[0]), min(top + MAX_SIDE, size[1]))
        for left, top in product(*(range(0, max(side - OVERLAP, 1), MAX_SIDE - OVERLAP) for side in size))
    ]
    threads = min(usable_cores(), TILES_AT_ONCE) if image.width * image.height <= MOST_FOR_THAT else 1
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map if threads > 1 else map  # other threads' memory comes on top of this one's
        for box, faces in zip(boxes, each(lambda box: detector.detect([small.crop(box)])[0], boxes), strict=True):
            for face in faces:
                if face.confidence >= MIN_CONFIDENCE and not _cut(face.box, box, size):
                    yield _moved(face, box[:2], scale)


def _cut(face: Box, tile: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether a face reaches the tile's edge where the photo goes on beyond it."""
    width, height = tile[2] - tile[0], tile[3] - tile[1]
    return (
        (face[0] <= 0 < tile[0])
        or (face[1] <= 0 < tile[1])
        or (face[2] >= width and tile[2] < size[0])
        or (face[3] >= height and tile[3] < size[1])
    )


def _moved(face: Face, start: Sequence[int], scale: float) -> Face:
    """The face in pixels of the photo."""

    def there(x: float, y: float) -> tuple[float, float]:
        return (x + start[0]) / scale, (y + start[1]) / scale

    left, top, right, bottom = face.box
    landmarks = cast(Landmarks, tuple(there(*point) for point in face.landmarks))
    return replace(face, box=(*there(left, top), *there(right, bottom)), landmarks=landmarks)


def _known(face: Face, faces: Sequence[Face]) -> bool:
    """Whether one of the faces is this one."""
    return any(_shared(face.box, other.box) > SAME_FACE * min(face.area, other.area) for other in faces)


def _shared(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0) * max(down, 0)
