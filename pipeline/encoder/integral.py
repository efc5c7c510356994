"""Integral images: means over rectangles of photos, as `torch.nn.functional.interpolate(mode="area")` computes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.core.types import FloatArray, IntArray

Pixels = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.uint64]

# Red, green and blue share one 64-bit sum, 21 bits each. An overflow into the next channel cancels in the sum over a
# rectangle, which is exact up to MAX_AREA pixels.
_BITS = 21
_SHIFTS = tuple(np.uint64(_BITS * colour) for colour in range(3))
_PACKING = np.array([2.0 ** (_BITS * colour) for colour in range(3)])
_MASK = np.uint64(2**_BITS - 1)
MAX_AREA = (2**_BITS - 1) // 255


class IntegralImage:
    """The integral images of photos (n, height, width, 3): four of their values give the sum over any rectangle."""

    def __init__(self, photos: Pixels) -> None:
        count, height, width = photos.shape[:3]
        packed = (photos @ _PACKING).astype(np.uint64)
        self._sums = np.zeros((count, height + 1, width + 1), np.uint64)
        sums = self._sums[:, 1:, 1:]
        np.cumsum(packed, axis=2, out=sums)
        np.cumsum(sums, axis=1, out=sums)  # in place: rows of 1024 sums, 8 KiB apart, are the slowest to add up

    def photos(self, height: int, width: int) -> FloatArray:
        """All photos scaled to this size: (n, 3, height, width), values 0 to 255."""
        top, bottom = _cells(np.zeros(1, np.int64), np.array([self._sums.shape[1] - 1]), height)
        left, right = _cells(np.zeros(1, np.int64), np.array([self._sums.shape[2] - 1]), width)
        rows = self._sums.take(bottom[0], axis=1) - self._sums.take(top[0], axis=1)
        sums = rows.take(right[0], axis=2) - rows.take(left[0], axis=2)
        return _averages(sums, bottom - top, right - left)

    def crops(self, numbers: IntArray, boxes: IntArray, side: int) -> FloatArray:
        """Crops of the photos, scaled to a square.

        Args:
            numbers: which photo each box is in, (m,).
            boxes: left, top, right, bottom in pixels, (m, 4); within the photo and not empty.
            side: of the square, in pixels.

        Returns:
            (m, 3, side, side), values 0 to 255.
        """
        height, width = self._sums.shape[1:]
        left, right = _cells(boxes[:, 0], boxes[:, 2], side)
        top, bottom = _cells(boxes[:, 1], boxes[:, 3], side)
        offset = (numbers * (height * width))[:, None]
        above, below = (offset + top * width)[:, :, None], (offset + bottom * width)[:, :, None]
        left_, right_ = left[:, None, :], right[:, None, :]
        flat = self._sums.ravel()
        sums = flat.take(below + right_)
        sums -= flat.take(above + right_)
        sums -= flat.take(below + left_)
        sums += flat.take(above + left_)
        return _averages(sums, bottom - top, right - left)


def _cells(start: IntArray, end: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Start and end of the `count` cells of each range, (m, count); as in torch, cells may share a pixel."""
    steps, length = np.arange(count), (end - start)[:, None]
    return start[:, None] + steps * length // count, start[:, None] - (-(steps + 1) * length // count)


def _averages(sums: Sums, heights: IntArray, widths: IntArray) -> FloatArray:
    averages = np.empty((len(sums), 3, *sums.shape[1:]), np.float32)
    for colour, shift in enumerate(_SHIFTS):
        averages[:, colour] = (sums >> shift) & _MASK
    averages /= (heights[:, :, None] * widths[:, None, :]).astype(np.float32)[:, None]
    return averages
