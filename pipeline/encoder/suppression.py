"""Non-maximum suppression: of boxes that overlap, the best. What `torchvision.ops.nms` keeps, without torch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import openvino
from openvino import opset13 as ops

from pipeline.core.types import FloatArray, IntArray
from pipeline.encoder.graphs import requests

ALL = np.int64(2**31 - 1)  # boxes that may be kept


class Suppression:
    """Keeps the boxes that no better one overlaps by more than so much. Safe to use from several threads."""

    def __init__(self, overlap: float, streams: int) -> None:
        """`overlap` is intersection over union; as many sets of boxes as `streams` are worked on at once."""
        self._requests = requests(_graph(overlap), streams)

    def __call__(self, sets: Iterable[FloatArray]) -> list[IntArray]:
        """For each set (n, 5) of corners and score the rows that are kept, best first; n is at least 1.

        A box whose right is left of its left, of which torchvision makes an area below zero, is turned round.
        """
        return [rows[: int(count[0])].astype(np.int64) for rows, count in self._requests(sets)]


def _graph(overlap: float) -> openvino.Model:
    boxes = ops.parameter([-1, 5], np.float32, "boxes")
    corners, scores = ops.variadic_split(boxes, ops.constant(1), ops.constant([4, 1])).outputs()
    kept = ops.non_max_suppression(
        ops.unsqueeze(corners, ops.constant(0)),
        ops.unsqueeze(ops.transpose(scores, ops.constant([1, 0])), ops.constant(0)),
        ops.constant(ALL),
        # OpenVINO drops a box that overlaps by as much, torchvision one that does by more.
        ops.constant(np.nextafter(np.float32(overlap), np.float32(1))),
        ops.constant(np.float32(-np.inf)),
        box_encoding="corner",
        sort_result_descending=True,
    )
    rows = ops.gather(kept.output(0), ops.constant(2), ops.constant(1))
    return openvino.Model([rows.output(0), kept.output(2)], [boxes], "suppression")
