"""MTCNN: the same three networks, steps and thresholds as facenet-pytorch's `detect_face`, several times as fast.

Boxes and landmarks are those of facenet-pytorch up to rounding. What differs is how they come about: photos are scaled
and cropped by look-ups in summed areas (`areas.py`), the networks run in OpenVINO (`cascade.py`), and no step of them
goes through the boxes one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.core.types import FloatArray, IntArray
from pipeline.encoder.cascade import CASCADE, CascadeNetwork, Suppression
from pipeline.encoder.graphs import EACH_STREAM
from pipeline.encoder.integral import Areas, Pixels

# facenet-pytorch's defaults
LEAST_FACE = 20  # px
FACTOR = 0.709  # from one level of the pyramid to the next
SURE = (0.6, 0.7, 0.7)
OVERLAP_IN_LEVEL, OVERLAP = 0.5, 0.7
# what the networks were made for
CELL, STRIDE = 12, 2  # of the first, in pixels of a level
CROPS = (24, 48)  # px; what the second and third see
# Where facenet-pytorch has no bound: a wall of 1,600 faces took a minute and 5 GB. 60 faces in 0.6 megapixels have
# 1,016 and 390; a photo with one face, some dozens.
MOST = (1200, 500)  # boxes of a photo that the second and third network see, the best
MOST_CELLS = 6000  # places of a photo that the first network may take for a face, the best; those 60 faces have 2,875
AT_ONCE = 32  # crops in one go, at most
STEP = 8  # what the number of crops in one go is a multiple of: the networks keep memory for every number they saw

Found = tuple[FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True)
class _Boxes:
    """Candidates: the number of the photo each is in, ascending; `corners` (m, 4) in its pixels; `scores` (m,)."""

    photos: IntArray
    corners: FloatArray
    scores: FloatArray

    def __getitem__(self, rows: IntArray) -> _Boxes:
        return _Boxes(self.photos[rows], self.corners[rows], self.scores[rows])

    def by_photo(self) -> list[slice]:
        """The rows of each photo that has any."""
        edges = np.flatnonzero(np.diff(self.photos, prepend=-1, append=-1)).tolist()
        return [slice(start, end) for start, end in pairwise(edges)]


class Mtcnn:
    """Finds faces in photos of one size. Safe to use from several threads."""

    def __init__(self, streams: int, sure: tuple[float, float, float] = SURE) -> None:
        """So many `streams` of a network run at once; `sure` is how sure each must be that it sees a face."""
        self._sure = sure
        self._streams = streams
        self._proposing, self._refining, self._placing = (CascadeNetwork(name, streams) for name in CASCADE)
        self._suppress_in_level, self._suppress = (Suppression(each, streams) for each in (OVERLAP_IN_LEVEL, OVERLAP))

    def detect(self, photos: Pixels) -> list[Found]:
        """For each of the RGB photos (n, height, width, 3): boxes (m, 4), scores (m,), landmarks (m, 5, 2).

        Largest first; in pixels of the photo, past whose edges they may reach.
        """
        size = (photos.shape[1], photos.shape[2])
        areas = Areas(photos)
        boxes = _within(self._proposed(areas, size), size)
        boxes = _within(self._refined(areas, boxes, size), size)
        boxes, landmarks = self._placed(areas, boxes, size)
        return [_of_photo(number, boxes, landmarks) for number in range(len(photos))]

    def _proposed(self, areas: Areas, size: tuple[int, int]) -> _Boxes:
        """What the first network takes for a face anywhere, at any size, as squares."""
        scales = pyramid(size)
        if not scales:
            return _NONE
        levels = (areas.photos(int(size[0] * scale + 1), int(size[1] * scale + 1)) for scale in scales)
        heads = self._proposing(levels)
        seen = [_cells(two[0], two[1], scale, self._sure[0]) for two, scale in zip(heads, scales, strict=True)]
        photos, corners, scores, shifts = (np.concatenate(part) for part in zip(*seen, strict=True))
        level = np.repeat(np.arange(len(seen)), [len(part[0]) for part in seen])
        order = np.lexsort((level, photos))
        order = order[_leading(photos[order], scores[order], MOST_CELLS)]
        boxes, shifts, level = _Boxes(photos, corners, scores)[order], shifts[order], level[order]
        # Moved apart, boxes of different levels do not compete yet.
        apart = (level * (boxes.corners.max(initial=0) + 1)).astype(np.float32)
        kept = _best(_Boxes(boxes.photos, boxes.corners + apart[:, None], boxes.scores), self._suppress_in_level)
        boxes, shifts = boxes[kept], shifts[kept]
        kept = _best(boxes, self._suppress, MOST[0])
        return _squared(_shifted(boxes[kept], shifts[kept], 0))

    def _refined(self, areas: Areas, boxes: _Boxes, size: tuple[int, int]) -> _Boxes:
        """Those that the second network takes for a face, moved as it says, as squares."""
        if len(boxes.photos) == 0:
            return _NONE
        sure, shifts = self._seen(self._refining, areas, boxes, CROPS[0], size)
        passed = np.flatnonzero(sure[:, 1] > self._sure[1])
        boxes, shifts = _Boxes(boxes.photos, boxes.corners, sure[:, 1])[passed], shifts[passed]
        kept = _best(boxes, self._suppress, MOST[1])
        return _squared(_shifted(boxes[kept], shifts[kept], 1))

    def _placed(self, areas: Areas, boxes: _Boxes, size: tuple[int, int]) -> tuple[_Boxes, FloatArray]:
        """Those that the third network takes for a face, moved as it says, and its landmarks."""
        if len(boxes.photos) == 0:
            return _NONE, np.zeros((0, 5, 2), np.float32)
        sure, shifts, points = self._seen(self._placing, areas, boxes, CROPS[1], size)
        passed = np.flatnonzero(sure[:, 1] > self._sure[2])
        boxes, shifts, points = _Boxes(boxes.photos, boxes.corners, sure[:, 1])[passed], shifts[passed], points[passed]
        start, end = boxes.corners[:, None, :2], boxes.corners[:, None, 2:]
        landmarks = points.reshape(-1, 2, 5).swapaxes(1, 2) * (end - start + 1) + start - 1
        boxes = _shifted(boxes, shifts, 1)
        kept = _outermost(boxes)
        return boxes[kept], landmarks[kept]

    def _seen(
        self, network: CascadeNetwork, areas: Areas, boxes: _Boxes, side: int, size: tuple[int, int]
    ) -> list[FloatArray]:
        """What each head of a network says of the boxes."""
        pixels = _pixels(boxes, size)
        many = self._at_once(len(pixels))
        crops = (
            areas.crops(boxes.photos[start : start + many], pixels[start : start + many], side)
            for start in range(0, len(pixels), many)
        )
        seen = network(_filled_up(some) for some in crops)
        return [np.concatenate(head)[: len(pixels)] for head in zip(*seen, strict=True)]

    def _at_once(self, crops: int) -> int:
        """How many of so many crops go into a network together: one photo's keep every stream busy."""
        part = -(-crops // (EACH_STREAM * self._streams))
        return min(AT_ONCE, part - part % -STEP)


_NONE = _Boxes(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def pyramid(size: tuple[int, int]) -> list[float]:
    """The scales at which the first network looks at a photo of this height and width."""
    scales, scale = [], CELL / LEAST_FACE
    side = min(size) * scale
    while side >= CELL:
        scales.append(scale)
        scale, side = scale * FACTOR, side * FACTOR
    return scales


def _cells(
    sure: FloatArray, shifts: FloatArray, scale: float, least: float
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """The first network's outputs at one level: photos, corners in their pixels, scores, and how corners move."""
    photos, rows, columns = np.nonzero(sure[:, 1] >= least)
    start = np.stack((columns, rows), axis=1).astype(np.float32) * STRIDE
    corners = np.floor(np.hstack((start + 1, start + CELL)) / np.float32(scale))
    return photos, corners, sure[photos, 1, rows, columns], shifts[photos, :, rows, columns]


def _shifted(boxes: _Boxes, shifts: FloatArray, last: int) -> _Boxes:
    """The boxes with each corner moved by parts of their sides, counted with (1) or without (0) the last pixel."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2] + last
    return _Boxes(boxes.photos, boxes.corners + shifts * np.tile(sides, 2), boxes.scores)


def _squared(boxes: _Boxes) -> _Boxes:
    """The boxes made as wide as high about their centres."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    side = sides.max(axis=1, initial=0, keepdims=True)
    start = boxes.corners[:, :2] + sides * np.float32(0.5) - side * np.float32(0.5)
    return _Boxes(boxes.photos, np.hstack((start, start + side)), boxes.scores)


def _pixels(boxes: _Boxes, size: tuple[int, int]) -> IntArray:
    """The whole pixels of the photo that the boxes cover: left, top, right, bottom."""
    corners = boxes.corners.astype(np.int64)
    start = np.maximum(corners[:, :2], 1) - 1
    return np.hstack((start, np.minimum(corners[:, 2:], size[::-1])))


def _within(boxes: _Boxes, size: tuple[int, int]) -> _Boxes:
    """The boxes that cover any pixel of the photo; facenet-pytorch fails where one does not."""
    pixels = _pixels(boxes, size)
    return boxes[np.flatnonzero((pixels[:, 2:] > pixels[:, :2]).all(axis=1))]


def _leading(photos: IntArray, scores: FloatArray, most: int) -> IntArray:
    """The rows, in their order, that are among the `most` best of their photo; `photos` is ascending."""
    if len(photos) == 0 or np.bincount(photos).max() <= most:
        return np.arange(len(photos))
    best = np.lexsort((-scores, photos))
    place = np.arange(len(photos)) - np.searchsorted(photos, photos)  # of each row of `best` within its photo
    return np.sort(best[place < most])


def _filled_up(crops: FloatArray) -> FloatArray:
    """The crops and as many black ones as make the next multiple of `STEP`."""
    missing = -len(crops) % STEP
    return np.concatenate((crops, np.zeros((missing, *crops.shape[1:]), np.float32))) if missing else crops


def _best(boxes: _Boxes, suppress: Suppression, most: int | None = None) -> IntArray:
    """The rows, photo by photo and best first, of the boxes that no better one overlaps by too much.

    `most` is how many of each photo, at most.
    """
    photos = boxes.by_photo()
    scored = np.hstack((boxes.corners, boxes.scores[:, None]))
    kept = suppress(scored[rows] for rows in photos)
    each = [rows.start + some[:most] for rows, some in zip(photos, kept, strict=True)]
    return np.concatenate(each) if each else np.zeros(0, np.int64)


def _outermost(boxes: _Boxes) -> IntArray:
    """The rows of the boxes of which no better one of the photo shares more than `OVERLAP` of the smaller of both."""
    kept = []
    for rows in boxes.by_photo():
        # Sorted as facenet-pytorch does: of several boxes that all score 1, the same one must win.
        waiting = rows.start + np.argsort(boxes.scores[rows])[::-1]
        while len(waiting):
            first, waiting = waiting[0], waiting[1:]
            kept.append(first)
            start = np.maximum(boxes.corners[first, :2], boxes.corners[waiting, :2])
            end = np.minimum(boxes.corners[first, 2:], boxes.corners[waiting, 2:])
            shared = np.maximum(0, end - start + 1).prod(axis=1)
            smaller = np.minimum(_area(boxes.corners[first]), _area(boxes.corners[waiting]))
            waiting = waiting[shared <= OVERLAP * smaller]
    return np.array(kept, np.int64)


def _area(corners: FloatArray) -> FloatArray:
    area: FloatArray = (corners[..., 2:] - corners[..., :2] + 1).prod(axis=-1)
    return area


def _of_photo(number: int, boxes: _Boxes, landmarks: FloatArray) -> Found:
    rows = np.flatnonzero(boxes.photos == number)
    sides = boxes.corners[rows, 2:] - boxes.corners[rows, :2]
    rows = rows[np.argsort(sides.prod(axis=1))[::-1]]
    return boxes.corners[rows], boxes.scores[rows], landmarks[rows]
