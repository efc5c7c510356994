"""MTCNN's three networks and non-maximum suppression in OpenVINO, with the weights of facenet-pytorch's wheel.

OpenVINO takes 7 ms for a photo of 250 pixels on one core and torch 13 (channels last), because it fuses convolution,
bias and PReLU. A copy of the weights is beside this module (`python -m pipeline copy-mtcnn` makes the file), because
those in the wheel cannot be read without torch, whose import takes seconds and half a gigabyte.
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
from pipeline.encoder.graphs import LayerWeights, Node, constant, load_arrays, requests

WEIGHTS = Path(__file__).parent / "mtcnn.safetensors"
SHA256 = "45209c89a01a216d7ae9baf3fa8e506dfb0e8ff1269007ce26e28338a9148cd3"
MEAN, SCALE = 127.5, 1 / 128
PRECISION = "f32"  # of all three, so that every processor finds the same boxes
# The layers of each network in order, and its output heads; the number after "pool" is the side of its window.
CASCADE = {
    "pnet": ("conv1 prelu1 pool2 conv2 prelu2 conv3 prelu3", "conv4_1 conv4_2"),
    "rnet": ("conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 dense4 prelu4", "dense5_1 dense5_2"),
    "onet": (
        "conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 pool2 conv4 prelu4 dense5 prelu5",
        "dense6_1 dense6_2 dense6_3",
    ),
}


class CascadeNetwork:
    """P-Net, R-Net or O-Net: pixels (n, 3, height, width), 0 to 255, in; the outputs of its heads out."""

    def __init__(self, name: str, streams: int) -> None:
        """`name` is a key of `CASCADE`; `streams` is the number of inference requests that run concurrently."""
        self._requests = requests(_graph(name), streams, PRECISION)

    def __call__(self, inputs: Iterable[FloatArray]) -> list[list[FloatArray]]:
        """The heads' outputs for each of the inputs."""
        return self._requests(inputs)


@cache
def _weights() -> dict[str, FloatArray]:
    check_packaged(WEIGHTS, SHA256)
    return load_arrays(WEIGHTS)


def _graph(name: str) -> openvino.Model:
    """The network's graph; the first of its heads is the score."""
    layers, heads = CASCADE[name]
    own = {key.removeprefix(f"{name}."): array for key, array in _weights().items() if key.startswith(f"{name}.")}
    weights = LayerWeights(own)
    pixels = ops.parameter([-1, 3, -1, -1], np.float32, "pixels")
    chain: Node = ops.multiply(ops.subtract(pixels, constant(MEAN)), constant(SCALE))
    for layer in layers.split():
        chain = _apply(weights, layer, chain)
    said = [_apply(weights, head, chain) for head in heads.split()]
    said[0] = ops.softmax(said[0], 1)
    return openvino.Model(said, [pixels], name)


def _apply(weights: LayerWeights, layer: str, to: Node) -> Node:
    if layer.startswith("conv"):
        return weights.convolution(layer, to)
    if layer.startswith("prelu"):
        return weights.prelu(layer, to)
    if layer.startswith("pool"):
        side = int(layer.removeprefix("pool"))
        return ops.max_pool(to, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], "ceil").output(0)
    if layer in ("dense4", "dense5"):  # on feature maps; the weights expect the order width, height, channel
        to = ops.reshape(ops.transpose(to, [0, 3, 2, 1]), [0, -1], True)
    return weights.product(layer, to)


UNLIMITED = np.int64(2**31 - 1)  # number of boxes to keep


class NonMaximumSuppression:
    """Non-maximum suppression, as `torchvision.ops.nms` but without torch. Safe to use from several threads."""

    def __init__(self, iou: float, streams: int) -> None:
        """`iou` is the threshold on intersection over union; `streams` as for `CascadeNetwork`."""
        self._requests = requests(_suppression_graph(iou), streams)

    def __call__(self, sets: Iterable[FloatArray]) -> list[IntArray]:
        """For each set (n, 5) of corners and score, n at least 1, the rows that are kept, best first.

        A box whose right edge is left of its left edge is mirrored; torchvision gives it a negative area.
        """
        return [rows[: int(count[0])].astype(np.int64) for rows, count in self._requests(sets)]


def _suppression_graph(iou: float) -> openvino.Model:
    boxes = ops.parameter([-1, 5], np.float32, "boxes")
    corners, scores = ops.variadic_split(boxes, ops.constant(1), ops.constant([4, 1])).outputs()
    kept = ops.non_max_suppression(
        ops.unsqueeze(corners, ops.constant(0)),
        ops.unsqueeze(ops.transpose(scores, ops.constant([1, 0])), ops.constant(0)),
        ops.constant(UNLIMITED),
        # OpenVINO drops a box at the threshold, torchvision only above it.
        ops.constant(np.nextafter(np.float32(iou), np.float32(1))),
        ops.constant(np.float32(-np.inf)),
        box_encoding="corner",
        sort_result_descending=True,
    )
    rows = ops.gather(kept.output(0), ops.constant(2), ops.constant(1))
    return openvino.Model([rows.output(0), kept.output(2)], [boxes], "suppression")
