"""This project's own compact network: inverted residual blocks with squeeze and excitation, 112 px to 256 numbers.

Of the family of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) and MobileFaceNet (Chen et al. 2018,
arXiv:1804.07573), whose way of ending, a depthwise convolution as large as the picture, it has. There is no batch
norm: the network starts from a teacher in which that is folded into the weights. `distil.py` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.files import replacing
from pipeline.graph import constant, convolution, prelu

SQUEEZED = 8  # of how many channels one remains between squeeze and excitation


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


class Excitation(nn.Module):
    """Squeeze and excitation: every channel weighed by what all of them say on average (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.PReLU()
        self.up = nn.Conv2d(squeezed, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        weights: Tensor = self.up(self.act(self.down(maps.mean((2, 3), keepdim=True))))
        return maps * weights.sigmoid()


class Bottleneck(nn.Module):
    """An inverted residual block: widen, look around in each channel, narrow, weigh; add the input where it fits."""

    def __init__(self, channels: int, block: Block) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, block.expanded, 1)
        self.act1 = nn.PReLU()
        self.around = nn.Conv2d(block.expanded, block.expanded, 3, block.stride, 1, groups=block.expanded)
        self.act2 = nn.PReLU()
        self.narrow = nn.Conv2d(block.expanded, block.out, 1)
        self.weigh = Excitation(block.out, block.out // SQUEEZED)
        self.residual = block.stride == 1 and channels == block.out

    def forward(self, maps: Tensor) -> Tensor:
        new: Tensor = self.weigh(self.narrow(self.act2(self.around(self.act1(self.widen(maps))))))
        return maps + new if self.residual else new


class MiniNet(nn.Module):
    """The network. Pixels (n, 3, side, side), RGB from -1 to 1, to raw embeddings (n, dim)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = nn.Conv2d(3, shape.stem, 3, 2, 1)
        self.stem_act = nn.PReLU()
        self.around = nn.Conv2d(shape.stem, shape.stem, 3, 1, 1, groups=shape.stem)
        self.around_act = nn.PReLU()
        channels = [shape.stem, *(block.out for block in shape.blocks)]
        self.blocks = nn.Sequential(*map(Bottleneck, channels, shape.blocks))
        self.widen = nn.Conv2d(channels[-1], shape.last, 1)
        self.widen_act = nn.PReLU()
        self.everywhere = nn.Conv2d(shape.last, shape.last, shape.side // 16, groups=shape.last)
        self.embed = nn.Conv2d(shape.last, shape.dim, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.around_act(self.around(self.stem_act(self.stem(pixels))))
        maps = self.widen_act(self.widen(self.blocks(maps)))
        return torch.flatten(self.embed(self.everywhere(maps)), 1)


def save_mini(network: MiniNet, path: Path, facts: Mapping[str, str]) -> None:
    """Writes the network in half precision; `facts` go into the file."""
    state = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as beside:
        save_file(state, beside, dict(facts))


def load_mini(path: Path) -> MiniNet:
    """The network that comes with this package; ValueError if the file holds something else."""
    network = MiniNet(MINI).eval()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} does not hold the network") from error
    return network


def mini_graph(network: MiniNet) -> openvino.Model:
    """The network as OpenVINO runs it, for RGB pixels (n, 3, side, side) of 0 to 255."""
    side = network.shape.side
    pixels = ops.parameter([-1, 3, side, side], np.float32, "pixels")
    maps = ops.subtract(ops.multiply(pixels, constant(1 / 127.5)), constant(1.0))
    maps = prelu(network.stem_act, convolution(network.stem, maps))
    maps = prelu(network.around_act, convolution(network.around, maps))
    for block in network.blocks:
        assert isinstance(block, Bottleneck)
        maps = _block_graph(block, maps)
    maps = prelu(network.widen_act, convolution(network.widen, maps))
    vectors = convolution(network.embed, convolution(network.everywhere, maps))
    return openvino.Model([ops.squeeze(vectors, ops.constant(np.array([2, 3])))], [pixels], "mini")


def _block_graph(block: Bottleneck, maps: openvino.Node) -> openvino.Node:
    inner = prelu(block.act1, convolution(block.widen, maps))
    inner = prelu(block.act2, convolution(block.around, inner))
    new, weigh = convolution(block.narrow, inner), block.weigh
    mean = ops.reduce_mean(new, ops.constant(np.array([2, 3])), True)
    weights = ops.sigmoid(convolution(weigh.up, prelu(weigh.act, convolution(weigh.down, mean))))
    new = ops.multiply(new, weights)
    return ops.add(maps, new) if block.residual else new
