"""MTCNN's three networks, with the weights inside facenet-pytorch's wheel, as OpenVINO runs them.

OpenVINO takes 7 ms a photo of 250 px on one core where torch takes 13 (channels last), for it joins convolution, bias
and PReLU into one pass over the pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import openvino
from openvino import opset13 as ops
from torch import nn

from pipeline.graph import constant, convolution, prelu
from pipeline.inference import Requests
from pipeline.types import FloatArray

MEAN, SCALE = 127.5, 1 / 128
PRECISION = "f32"  # of all three, so that every processor finds the same boxes


class CascadeNetwork:
    """One of the three: pixels (n, 3, height, width) of 0 to 255 in, what its heads say about each of them out."""

    def __init__(self, module: nn.Module, streams: int) -> None:
        """`module` is facenet-pytorch's; as many inputs as there are `streams` are worked on at once."""
        config = {
            "INFERENCE_PRECISION_HINT": PRECISION,
            "INFERENCE_NUM_THREADS": str(streams),
            "NUM_STREAMS": str(streams),
        }
        compiled = openvino.Core().compile_model(_graph(module.eval()), "CPU", config)
        self._requests = Requests(compiled, streams)

    def __call__(self, inputs: Iterable[FloatArray]) -> list[list[FloatArray]]:
        """The heads' outputs for each of the inputs, which run side by side."""
        return self._requests(inputs)


def _graph(module: nn.Module) -> openvino.Model:
    """The module as an OpenVINO graph: a chain of layers, then the heads, whose names have an underscore."""
    pixels = ops.parameter([-1, 3, -1, -1], np.float32, "pixels")
    chain = ops.multiply(ops.subtract(pixels, constant(MEAN)), constant(SCALE)).output(0)
    heads: list[openvino.Output] = []
    for name, layer in module.named_children():
        if "_" not in name:
            chain = _applied(layer, chain).output(0)
        elif isinstance(layer, nn.Softmax):
            heads[-1] = _applied(layer, heads[-1]).output(0)
        else:
            heads.append(_applied(layer, chain).output(0))
    return openvino.Model(heads, [pixels], type(module).__name__)


def _applied(layer: nn.Module, to: openvino.Output) -> openvino.Node:
    if isinstance(layer, nn.Conv2d):
        return convolution(layer, to)
    if isinstance(layer, nn.PReLU):
        return prelu(layer, to)
    if isinstance(layer, nn.MaxPool2d):
        return ops.max_pool(to, [2, 2], [1, 1], [0, 0], [0, 0], [layer.kernel_size] * 2, "ceil")
    if isinstance(layer, nn.Softmax):
        return ops.softmax(to, 1)
    assert isinstance(layer, nn.Linear)
    if to.get_partial_shape().rank.get_length() == 4:  # the wheel's weights expect width, height, channel
        to = ops.reshape(ops.transpose(to, [0, 3, 2, 1]), [0, -1], True)
    return ops.add(ops.matmul(to, constant(layer.weight), False, True), constant(layer.bias, (1, -1)))
