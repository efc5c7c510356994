"""Layers of torch as OpenVINO's: a module's own numbers, joined by whoever knows in which order it uses them.

OpenVINO's converter does the same by tracing the module, which takes seconds at every start.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import openvino
from openvino import opset13 as ops
from torch import Tensor, nn


def constant(values: Tensor | float, shape: tuple[int, ...] | None = None) -> openvino.Node:
    """A number or tensor in float32, of another shape if one is given."""
    array = values.detach().numpy() if isinstance(values, Tensor) else np.array(values)
    return ops.constant(array.astype(np.float32).reshape(shape or array.shape))


def convolution(layer: nn.Conv2d, to: openvino.Output | openvino.Node) -> openvino.Node:
    """A convolution with its bias; in groups, each channel must be a group of its own."""
    assert layer.bias is not None
    how = list(layer.stride), list(cast("tuple[int, int]", layer.padding)), list(cast("tuple[int, int]", layer.padding))
    if layer.groups == 1:
        convolved = ops.convolution(to, constant(layer.weight), *how, [1, 1])
    else:
        each = constant(layer.weight, (layer.groups, 1, 1, *layer.weight.shape[2:]))
        convolved = ops.group_convolution(to, each, *how, [1, 1])
    return ops.add(convolved, constant(layer.bias, (1, -1, 1, 1)))


def prelu(layer: nn.PReLU, to: openvino.Output | openvino.Node) -> openvino.Node:
    """PReLU, with one slope for all channels or one for each."""
    return ops.prelu(to, constant(layer.weight))
