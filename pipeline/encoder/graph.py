"""A network's numbers, by name, put together as an OpenVINO graph by whoever knows in which order they are used.

OpenVINO's own converter would need torch, and takes seconds at every start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino
from openvino import opset13 as ops
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.core.types import FloatArray

Node: TypeAlias = "openvino.Output | openvino.Node"


def constant(values: FloatArray | float, shape: tuple[int, ...] | None = None) -> openvino.Node:
    """A number or array in float32, of another shape if one is given."""
    array = np.asarray(values, np.float32)
    return ops.constant(array.reshape(shape or array.shape))


class Numbers:
    """The numbers of a network's layers, named as torch's `state_dict` names them, and the layers they make.

    What is called for a layer that is not there is a KeyError; what does not fit, OpenVINO's RuntimeError.
    """

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        self._arrays = arrays

    def convolution(self, name: str, to: Node, stride: int = 1, padding: int = 0) -> openvino.Node:
        """A convolution with its bias. One whose weights see a single channel has a group for each."""
        weight, bias = self._arrays[f"{name}.weight"], self._arrays[f"{name}.bias"]
        how = [stride] * 2, [padding] * 2, [padding] * 2, [1, 1]
        if weight.shape[1] == 1:
            convolved = ops.group_convolution(to, constant(weight[:, None]), *how)
        else:
            convolved = ops.convolution(to, constant(weight), *how)
        return ops.add(convolved, constant(bias, (1, -1, 1, 1)))

    def prelu(self, name: str, to: Node) -> openvino.Node:
        """PReLU, with one slope for all channels or one for each."""
        return ops.prelu(to, constant(self._arrays[f"{name}.weight"]))

    def product(self, name: str, to: Node) -> openvino.Node:
        """A dense layer with its bias."""
        product = ops.matmul(to, constant(self._arrays[f"{name}.weight"]), False, True)
        return ops.add(product, constant(self._arrays[f"{name}.bias"], (1, -1)))


def load_arrays(path: Path) -> dict[str, FloatArray]:
    """A safetensors file's arrays in float32; ValueError if it is none."""
    try:
        return {name: array.astype(np.float32) for name, array in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} does not hold a network") from error
