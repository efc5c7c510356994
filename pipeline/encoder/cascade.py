"""MTCNN's three networks as OpenVINO runs them, with the weights inside facenet-pytorch's wheel.

OpenVINO takes 7 ms a photo of 250 px on one core where torch takes 13 (channels last), for it joins convolution, bias
and PReLU into one pass over the pixels. The weights are kept once more beside this module (`python -m pipeline
copy-mtcnn` makes the file), because the wheel's files cannot be read without torch, whose import takes seconds and
half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from pipeline.core.files import check_packaged
from pipeline.core.types import FloatArray, IntArray
from pipeline.encoder.graphs import Node, Numbers, constant, load_arrays, requests

WEIGHTS = Path(__file__).parent / "mtcnn.safetensors"
SHA256 = "45209c89a01a216d7ae9baf3fa8e506dfb0e8ff1269007ce26e28338a9148cd3"
MEAN, SCALE = 127.5, 1 / 128
PRECISION = "f32"  # of all three, so that every processor finds the same boxes
# Their layers in order, and the heads at the end; a number behind "pool" is its side.
CASCADE = {
    "pnet": ("conv1 prelu1 pool2 conv2 prelu2 conv3 prelu3", "conv4_1 conv4_2"),
    "rnet": ("conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 dense4 prelu4", "dense5_1 dense5_2"),
    "onet": (
        "conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 pool2 conv4 prelu4 dense5 prelu5",
        "dense6_1 dense6_2 dense6_3",
    ),
}


class CascadeNetwork:
    """One of the three: pixels (n, 3, height, width) of 0 to 255 in, what its heads say about each of them out."""

    def __init__(self, name: str, streams: int) -> None:
        """`name` is one of `CASCADE`; as many inputs as there are `streams` are worked on at once."""
        self._requests = requests(_graph(name), streams, PRECISION)

    def __call__(self, inputs: Iterable[FloatArray]) -> list[list[FloatArray]]:
        """The heads' outputs for each of the inputs, which run side by side."""
        return self._requests(inputs)


@cache
def _weights() -> dict[str, FloatArray]:
    check_packaged(WEIGHTS, SHA256)
    return load_arrays(WEIGHTS)


def _graph(name: str) -> openvino.Model:
    """The network as a graph: a chain of layers, then the heads, the first of which is how sure it is of a face."""
    layers, heads = CASCADE[name]
    own = {key.removeprefix(f"{name}."): array for key, array in _weights().items() if key.startswith(f"{name}.")}
    numbers = Numbers(own)
    pixels = ops.parameter([-1, 3, -1, -1], np.float32, "pixels")
    chain: Node = ops.multiply(ops.subtract(pixels, constant(MEAN)), constant(SCALE))
    for layer in layers.split():
        chain = _applied(numbers, layer, chain)
    said = [_applied(numbers, head, chain) for head in heads.split()]
    said[0] = ops.softmax(said[0], 1)
    return openvino.Model(said, [pixels], name)


def _applied(numbers: Numbers, layer: str, to: Node) -> Node:
    if layer.startswith("conv"):
        return numbers.convolution(layer, to)
    if layer.startswith("prelu"):
        return numbers.prelu(layer, to)
    if layer.startswith("pool"):
        side = int(layer.removeprefix("pool"))
        return ops.max_pool(to, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], "ceil").output(0)
    if layer in ("dense4", "dense5"):  # of maps; the wheel's weights expect width, height, channel
        to = ops.reshape(ops.transpose(to, [0, 3, 2, 1]), [0, -1], True)
    return numbers.product(layer, to)


ALL = np.int64(2**31 - 1)  # boxes that may be kept


class Suppression:
    """Keeps the boxes that no better one overlaps by more than so much. Safe to use from several threads."""

    def __init__(self, overlap: float, streams: int) -> None:
        """`overlap` is intersection over union; as many sets of boxes as `streams` are worked on at once."""
        self._requests = requests(_suppression_graph(overlap), streams)

    def __call__(self, sets: Iterable[FloatArray]) -> list[IntArray]:
        """For each set (n, 5) of corners and score the rows that are kept, best first; n is at least 1.

        A box whose right is left of its left, of which torchvision makes an area below zero, is turned round.
        """
        return [rows[: int(count[0])].astype(np.int64) for rows, count in self._requests(sets)]


def _suppression_graph(overlap: float) -> openvino.Model:
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
