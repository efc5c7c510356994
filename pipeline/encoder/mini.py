"""This project's own compact network: inverted residual blocks with squeeze and excitation, 112 px to 256 numbers.

It is of the family of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), with the global depthwise convolution of
MobileFaceNet (Chen et al. 2018, arXiv:1804.07573) at its end. It has no batch normalisation, because training starts
from a teacher in which that is folded into the weights. `mini_net.py` is the same network in torch, `distil.py` trains
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from pipeline.encoder.graphs import LayerWeights, Node, constant, load_arrays


@dataclass(frozen=True)
class Block:
    """An inverted residual block: `expanded` inner and `out` output channels; `stride` 2 halves the feature map."""

    expanded: int
    out: int
    stride: int = 1


@dataclass(frozen=True)
class Shape:
    """A network of the family: the input's `side` in pixels, channels of `stem` and `last`, `dim` of the embedding."""

    side: int
    stem: int
    blocks: tuple[Block, ...]
    last: int
    dim: int


# The network in this package: half of its teacher's channels where feature maps are large, three quarters where they
# are of medium size, and all where they are small.
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
    """The graph with the weights in a file, for RGB pixels (n, 3, side, side) of 0 to 255.

    ValueError if the file does not hold them.
    """
    try:
        graph = _graph(LayerWeights(load_arrays(path)))
        fits = graph.output(0).partial_shape[1].get_length() == MINI.dim
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} does not hold the network") from error
    if not fits:
        raise ValueError(f"{path} does not hold the network")
    return graph


def _graph(weights: LayerWeights) -> openvino.Model:
    pixels = ops.parameter([-1, 3, MINI.side, MINI.side], np.float32, "pixels")
    maps = ops.subtract(ops.multiply(pixels, constant(1 / 127.5)), constant(1.0))
    maps = weights.prelu("stem_act", weights.convolution("stem", maps, 2, 1))
    maps = weights.prelu("around_act", weights.convolution("around", maps, 1, 1))
    channels = MINI.stem
    for number, block in enumerate(MINI.blocks):
        new = _block(weights, f"blocks.{number}", block.stride, maps)
        maps = ops.add(maps, new) if block.stride == 1 and channels == block.out else new
        channels = block.out
    maps = weights.prelu("widen_act", weights.convolution("widen", maps))
    vectors = weights.convolution("embed", weights.convolution("everywhere", maps))
    return openvino.Model([ops.squeeze(vectors, ops.constant(np.array([2, 3]))).output(0)], [pixels], "mini")


def _block(weights: LayerWeights, name: str, stride: int, maps: Node) -> openvino.Node:
    inner = weights.prelu(f"{name}.act1", weights.convolution(f"{name}.widen", maps))
    inner = weights.prelu(f"{name}.act2", weights.convolution(f"{name}.around", inner, stride, 1))
    new, weigh = weights.convolution(f"{name}.narrow", inner), f"{name}.weigh"
    mean = ops.reduce_mean(new, ops.constant(np.array([2, 3])), True)
    squeezed = weights.prelu(f"{weigh}.act", weights.convolution(f"{weigh}.down", mean))
    return ops.multiply(new, ops.sigmoid(weights.convolution(f"{weigh}.up", squeezed)))
