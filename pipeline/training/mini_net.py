"""This project's own compact network in torch, for training; `mini.py` describes it and runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.core.files import replacing
from pipeline.encoder.mini import Block, Shape

SQUEEZED = 8  # the factor by which squeezing reduces the channels


class Excitation(nn.Module):
    """Squeeze and excitation: weights for the channels, computed from the means of all (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.PReLU()
        self.up = nn.Conv2d(squeezed, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        weights: Tensor = self.up(self.act(self.down(maps.mean((2, 3), keepdim=True))))
        return maps * weights.sigmoid()


class Bottleneck(nn.Module):
    """An inverted residual block: expand, depthwise convolution, project, excite; add the input where shapes match."""

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
    """The network: RGB pixels (n, 3, side, side) from -1 to 1 to raw embeddings (n, dim)."""

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
    """Writes the weights in half precision, with `facts` as the file's metadata."""
    state = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as beside:
        save_file(state, beside, dict(facts))
