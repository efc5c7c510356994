"""MTCNN: the same three networks, steps and thresholds as facenet-pytorch's `detect_face`, several times as fast.

Boxes and landmarks are those of facenet-pytorch up to rounding. What differs is the implementation: photos are scaled
and cropped by integral images (`integral.py`), the networks run in OpenVINO (`cascade.py`), and every step is
vectorised over all boxes of all photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.core.types import FloatArray, IntArray
from pipeline.encoder.cascade import CASCADE, CascadeNetwork, NonMaximumSuppression
from pipeline.encoder.graphs import REQUESTS_PER_STREAM
from pipeline.encoder.integral import IntegralImage, Pixels

# facenet-pytorch's defaults
MIN_FACE_SIZE = 20  # pixels
PYRAMID_FACTOR = 0.709  # from one level of the pyramid to the next
SCORE_THRESHOLDS = (0.6, 0.7, 0.7)  # of P-Net, R-Net and O-Net
LEVEL_NMS_IOU, NMS_IOU = 0.5, 0.7  # within one level of the pyramid, and across all
# the sizes that the networks were trained with
PNET_CELL, PNET_STRIDE = 12, 2  # pixels of a level
CROP_SIZES = (24, 48)  # pixels; of R-Net and O-Net
# Bounds on the candidates of one photo, of which the best are kept. facenet-pytorch has none: a photo of 1,600 faces
# took a minute and 5 GB. A photo of 60 faces in 0.6 megapixels has 2,875 cells, 1,016 and 390 candidates; a photo of
# one face has some dozens.
MAX_CELLS = 6000  # of P-Net, before non-maximum suppression
MAX_CANDIDATES = (1200, 500)  # of R-Net and O-Net
MAX_BATCH = 32  # crops
BATCH_STEP = 8  # batch sizes are multiples of it: a compiled network keeps memory for every input shape it has seen

Detections = tuple[FloatArray, FloatArray, FloatArray]  # boxes (m, 4), scores (m,), landmarks (m, 5, 2)


@dataclass(frozen=True)
class _Boxes:
    """Candidate boxes: the `photos` (m,) they are in, ascending; `corners` (m, 4) in pixels; `scores` (m,)."""

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

    def __init__(self, streams: int, thresholds: tuple[float, float, float] = SCORE_THRESHOLDS) -> None:
        """Open the three networks.

        Args:
            streams: number of inference requests that run concurrently.
            thresholds: score that a box must reach in P-Net, R-Net and O-Net.
        """
        self._thresholds = thresholds
        self._streams = streams
        self._pnet, self._rnet, self._onet = (CascadeNetwork(name, streams) for name in CASCADE)
        self._nms_in_level, self._nms_overall = (
            NonMaximumSuppression(each, streams) for each in (LEVEL_NMS_IOU, NMS_IOU)
        )

    def detect(self, photos: Pixels, smallest: float = MIN_FACE_SIZE) -> list[Detections]:
        """Find the faces in RGB photos (n, height, width, 3), but for some of those below `smallest` pixels.

        Returns:
            For each photo boxes (m, 4), scores (m,) and landmarks (m, 5, 2), the largest box first, in pixels of the
            photo; they may reach past its edges.
        """
        size = (photos.shape[1], photos.shape[2])
        integral = IntegralImage(photos)
        boxes = _within(self._propose(integral, size, smallest), size)
        boxes = _within(self._refine(integral, boxes, size), size)
        boxes, landmarks = self._locate(integral, boxes, size)
        return [_of_photo(number, boxes, landmarks) for number in range(len(photos))]

    def _propose(self, integral: IntegralImage, size: tuple[int, int], smallest: float) -> _Boxes:
        """Candidates of P-Net, over all positions and the scales that show such faces, as squares."""
        scales = [scale for scale in pyramid(size) if PNET_CELL / scale >= smallest]
        if not scales:
            return _NONE
        levels = (integral.photos(int(size[0] * scale + 1), int(size[1] * scale + 1)) for scale in scales)
        heads = self._pnet(levels)
        seen = [
            _candidates(two[0], two[1], scale, self._thresholds[0]) for two, scale in zip(heads, scales, strict=True)
        ]
        photos, corners, scores, box_offsets = (np.concatenate(part) for part in zip(*seen, strict=True))
        level = np.repeat(np.arange(len(seen)), [len(part[0]) for part in seen])
        order = np.lexsort((level, photos))
        order = order[top_k_per_photo(photos[order], scores[order], MAX_CELLS)]
        boxes, box_offsets, level = _Boxes(photos, corners, scores)[order], box_offsets[order], level[order]
        # Shifted apart, boxes of different levels do not suppress each other.
        apart = (level * (boxes.corners.max(initial=0) + 1)).astype(np.float32)
        kept = _nms(_Boxes(boxes.photos, boxes.corners + apart[:, None], boxes.scores), self._nms_in_level)
        boxes, box_offsets = boxes[kept], box_offsets[kept]
        kept = _nms(boxes, self._nms_overall, MAX_CANDIDATES[0])
        return _squared(_regressed(boxes[kept], box_offsets[kept], 0))

    def _refine(self, integral: IntegralImage, boxes: _Boxes, size: tuple[int, int]) -> _Boxes:
        """Candidates that R-Net confirms, regressed by its offsets, as squares."""
        if len(boxes.photos) == 0:
            return _NONE
        scores, box_offsets = self._run(self._rnet, integral, boxes, CROP_SIZES[0], size)
        passed = np.flatnonzero(scores[:, 1] > self._thresholds[1])
        boxes, box_offsets = _Boxes(boxes.photos, boxes.corners, scores[:, 1])[passed], box_offsets[passed]
        kept = _nms(boxes, self._nms_overall, MAX_CANDIDATES[1])
        return _squared(_regressed(boxes[kept], box_offsets[kept], 1))

    def _locate(self, integral: IntegralImage, boxes: _Boxes, size: tuple[int, int]) -> tuple[_Boxes, FloatArray]:
        """Boxes that O-Net confirms, regressed by its offsets, and their landmarks (m, 5, 2)."""
        if len(boxes.photos) == 0:
            return _NONE, np.zeros((0, 5, 2), np.float32)
        scores, box_offsets, points = self._run(self._onet, integral, boxes, CROP_SIZES[1], size)
        passed = np.flatnonzero(scores[:, 1] > self._thresholds[2])
        boxes, box_offsets, points = (
            _Boxes(boxes.photos, boxes.corners, scores[:, 1])[passed],
            box_offsets[passed],
            points[passed],
        )
        start, end = boxes.corners[:, None, :2], boxes.corners[:, None, 2:]
        landmarks = points.reshape(-1, 2, 5).swapaxes(1, 2) * (end - start + 1) + start - 1
        boxes = _regressed(boxes, box_offsets, 1)
        kept = nms_min(boxes)
        return boxes[kept], landmarks[kept]

    def _run(
        self, network: CascadeNetwork, integral: IntegralImage, boxes: _Boxes, side: int, size: tuple[int, int]
    ) -> list[FloatArray]:
        """The output of each of the network's heads for the boxes."""
        pixels = _pixels(boxes, size)
        batch = self._batch_size(len(pixels))
        crops = (
            integral.crops(boxes.photos[start : start + batch], pixels[start : start + batch], side)
            for start in range(0, len(pixels), batch)
        )
        seen = network(_padded(some) for some in crops)
        return [np.concatenate(head)[: len(pixels)] for head in zip(*seen, strict=True)]

    def _batch_size(self, crops: int) -> int:
        """The batch size with which this number of crops keeps every stream busy."""
        part = -(-crops // (REQUESTS_PER_STREAM * self._streams))
        return min(MAX_BATCH, part - part % -BATCH_STEP)


_NONE = _Boxes(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def pyramid(size: tuple[int, int]) -> list[float]:
    """The scales of the image pyramid for a photo of this (height, width)."""
    scales, scale = [], PNET_CELL / MIN_FACE_SIZE
    side = min(size) * scale
    while side >= PNET_CELL:
        scales.append(scale)
        scale, side = scale * PYRAMID_FACTOR, side * PYRAMID_FACTOR
    return scales


def _candidates(
    scores: FloatArray, box_offsets: FloatArray, scale: float, threshold: float
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """P-Net's candidates at one level: photos (m,), corners (m, 4) in their pixels, scores (m,), box offsets (m, 4)."""
    photos, rows, columns = np.nonzero(scores[:, 1] >= threshold)
    start = np.stack((columns, rows), axis=1).astype(np.float32) * PNET_STRIDE
    corners = np.floor(np.hstack((start + 1, start + PNET_CELL)) / np.float32(scale))
    return photos, corners, scores[photos, 1, rows, columns], box_offsets[photos, :, rows, columns]


def _regressed(boxes: _Boxes, box_offsets: FloatArray, last: int) -> _Boxes:
    """Bounding-box regression: each corner moved by a share of the sides, which count the last pixel (1) or not (0)."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2] + last
    return _Boxes(boxes.photos, boxes.corners + box_offsets * np.tile(sides, 2), boxes.scores)


def _squared(boxes: _Boxes) -> _Boxes:
    """The boxes as squares about their centres."""
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


def top_k_per_photo(photos: IntArray, scores: FloatArray, k: int) -> IntArray:
    """The rows, in their order, of the `k` highest scores of each photo; `photos` is ascending."""
    if len(photos) == 0 or np.bincount(photos).max() <= k:
        return np.arange(len(photos))
    best = np.lexsort((-scores, photos))
    place = np.arange(len(photos)) - np.searchsorted(photos, photos)  # of each row of `best` within its photo
    return np.sort(best[place < k])


def _padded(crops: FloatArray) -> FloatArray:
    """The crops, padded with black ones to the next multiple of `BATCH_STEP`."""
    missing = -len(crops) % BATCH_STEP
    return np.concatenate((crops, np.zeros((missing, *crops.shape[1:]), np.float32))) if missing else crops


def _nms(boxes: _Boxes, suppress: NonMaximumSuppression, most: int | None = None) -> IntArray:
    """Non-maximum suppression within each photo: the rows that are kept, best first, at most `most` of each photo."""
    photos = boxes.by_photo()
    scored = np.hstack((boxes.corners, boxes.scores[:, None]))
    kept = suppress(scored[rows] for rows in photos)
    each = [rows.start + some[:most] for rows, some in zip(photos, kept, strict=True)]
    return np.concatenate(each) if each else np.zeros(0, np.int64)


def nms_min(boxes: _Boxes) -> IntArray:
    """Non-maximum suppression by the intersection's share of the smaller box (facenet-pytorch's method "Min")."""
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
            waiting = waiting[shared <= NMS_IOU * smaller]
    return np.array(kept, np.int64)


def _area(corners: FloatArray) -> FloatArray:
    area: FloatArray = (corners[..., 2:] - corners[..., :2] + 1).prod(axis=-1)
    return area


def _of_photo(number: int, boxes: _Boxes, landmarks: FloatArray) -> Detections:
    rows = np.flatnonzero(boxes.photos == number)
    sides = boxes.corners[rows, 2:] - boxes.corners[rows, :2]
    rows = rows[np.argsort(sides.prod(axis=1))[::-1]]
    return boxes.corners[rows], boxes.scores[rows], landmarks[rows]
