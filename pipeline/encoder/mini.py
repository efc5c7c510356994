"""This project's own compact network: inverted residual blocks with squeeze and excitation, 112 px to 256 numbers.

Of the family of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) and MobileFaceNet (Chen et al. 2018,
arXiv:1804.07573), whose way of ending, a depthwise convolution as large as the picture, it has. There is no batch
norm: the network starts from a teacher in which that is folded into the weights. `mini_net.py` describes it to torch,
and `distil.py` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from pipeline.encoder.graphs import Node, Numbers, constant, load_arrays


@dataclass(frozen=True)
class Block:
    """An inverted residual block: `expanded` channels inside, `out` behind it; `stride` 2 halves the picture."""

    expanded: int
    out: int
    stride: int = 1


@dataclass(frozen=True)
class Shape:
    """A network of the family: the channels of its stem, its blocks, the channels behind them, and its ends."""

    side: int
    stem: int
    blocks: tuple[Block, ...]
    last: int
    dim: int


# The one that comes with this package: half its teacher's channels where pictures are large, three quarters where they
# are of middling size, and all of them where they are small.
MINI = Shape(
    side=112,
    stem=32,
    blocks=(
        Block(64, 64, 2),
        *[Block(64, 64)] * 4,
        Block(192, 128, 2),
        *[Block(192, 128)] * 6,
        Block(512, 128, 2),
        *[Block(256, 128)] * 2,
    ),
    last=512,
    dim=256,
)


def mini_graph(path: Path) -> openvino.Model:
    """The network in this file as OpenVINO runs it, for RGB pixels (n, 3, side, side) of 0 to 255.

    ValueError if the file holds something else.
    """
    try:
        graph = _graph(Numbers(load_arrays(path)))
        fits = graph.output(0).partial_shape[1].get_length() == MINI.dim
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} does not hold the network") from error
    if not fits:
        raise ValueError(f"{path} does not hold the network")
    return graph


def _graph(numbers: Numbers) -> openvino.Model:
    pixels = ops.parameter([-1, 3, MINI.side, MINI.side], np.float32, "pixels")
    maps = ops.subtract(ops.multiply(pixels, constant(1 / 127.5)), constant(1.0))
    maps = numbers.prelu("stem_act", numbers.convolution("stem", maps, 2, 1))
    maps = numbers.prelu("around_act", numbers.convolution("around", maps, 1, 1))
    channels = MINI.stem
    for number, block in enumerate(MINI.blocks):
        new = _block(numbers, f"blocks.{number}", block.stride, maps)
        maps = ops.add(maps, new) if block.stride == 1 and channels == block.out else new
        channels = block.out
    maps = numbers.prelu("widen_act", numbers.convolution("widen", maps))
    vectors = numbers.convolution("embed", numbers.convolution("everywhere", maps))
    return openvino.Model([ops.squeeze(vectors, ops.constant(np.array([2, 3]))).output(0)], [pixels], "mini")


def _block(numbers: Numbers, name: str, stride: int, maps: Node) -> openvino.Node:
    inner = numbers.prelu(f"{name}.act1", numbers.convolution(f"{name}.widen", maps))
    inner = numbers.prelu(f"{name}.act2", numbers.convolution(f"{name}.around", inner, stride, 1))
    new, weigh = numbers.convolution(f"{name}.narrow", inner), f"{name}.weigh"
    mean = ops.reduce_mean(new, ops.constant(np.array([2, 3])), True)
    squeezed = numbers.prelu(f"{weigh}.act", numbers.convolution(f"{weigh}.down", mean))
    return ops.multiply(new, ops.sigmoid(numbers.convolution(f"{weigh}.up", squeezed)))
