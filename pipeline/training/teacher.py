"""The teacher of `mini.py`'s network, and a smaller copy of it for a start.

The teacher is Open Model Zoo's face-reidentification-retail-0095 (Apache-2.0), itself such a network with twice the
channels. The copy keeps of each block's inner channels those that say most, and fits what narrows them to what the
teacher's block gives (He, Zhang, Sun 2017, "Channel pruning", arXiv:1707.06168): a start from which training takes
minutes where one from nothing takes days.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import openvino
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.encoder.mini import Block, Shape
from pipeline.training.mini_net import Bottleneck, MiniNet

TEACHER = Shape(
    side=128,
    stem=64,
    blocks=(
        Block(128, 64, 2),
        *[Block(128, 64)] * 4,
        Block(256, 128, 2),
        *[Block(256, 128)] * 6,
        Block(512, 128, 2),
        *[Block(256, 128)] * 2,
    ),
    last=512,
    dim=256,
)
RIDGE = 1e-4  # of the mean square, so that channels that are nearly the same do not cancel each other out


def read_teacher(xml: Path) -> MiniNet:
    """The teacher as a torch module, for RGB pixels from -1 to 1 instead of BGR ones from 0 to 255.

    At the very edge of a picture it differs a little: what lies outside is another grey there.
    """
    model = openvino.Core().read_model(xml)
    kinds = ("Convolution", "GroupConvolution", "PRelu", "Add", "Multiply")
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]
    constants = (found for node in nodes if (found := _constant(node)) is not None)
    scale, shift = (next(constants).reshape(3) for _ in range(2))
    network = MiniNet(TEACHER)
    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.PReLU)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.from_numpy(next(constants)).view_as(layer.weight))
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                last = layer is network.embed
                layer.bias.copy_(torch.zeros(TEACHER.dim) if last else torch.from_numpy(next(constants)).view(-1))
        stem = network.stem
        assert stem.bias is not None
        stem.bias += (stem.weight.sum((2, 3)) * torch.from_numpy(127.5 * scale + shift)).sum(1)
        stem.weight.copy_((stem.weight * torch.from_numpy(127.5 * scale).view(1, 3, 1, 1)).flip(1))
    return network.eval()


def _constant(node: openvino.Node) -> np.ndarray | None:
    """The constant that a node works with, however it is stored; None where it joins two pictures."""
    origin = node.input_value(1).get_node()
    while origin.get_type_name() == "Convert":
        origin = origin.input_value(0).get_node()
    return np.array(origin.data, np.float32) if origin.get_type_name() == "Constant" else None


@torch.no_grad()
def smaller(teacher: MiniNet, shape: Shape, pixels: Tensor) -> MiniNet:
    """A network of that shape which is as like the teacher as can be without training.

    `pixels` (n, 3, side, side) are crops of the shape's own size to judge channels by; a few hundred will do. The
    shape must have as many blocks as the teacher, of the same `out` and `stride`, and none of its numbers larger.
    """
    student = MiniNet(shape).eval()
    # The teacher at the student's size: only what looks at the whole picture depends on it.
    square = functional.interpolate(teacher.everywhere.weight, (shape.side // 16,) * 2, mode="bilinear")
    everywhere = square * (teacher.everywhere.weight[0, 0].numel() / square[0, 0].numel())

    taught = teacher.around_act(teacher.around(teacher.stem_act(teacher.stem(pixels))))
    first = cast(Bottleneck, teacher.blocks[0])
    kept = _strongest(taught, first.widen.weight, shape.stem)
    _copy(student.stem, teacher.stem.weight[kept], teacher.stem.bias, kept)
    _copy(student.around, teacher.around.weight[kept], teacher.around.bias, kept)
    student.stem_act.weight.copy_(teacher.stem_act.weight)
    student.around_act.weight.copy_(teacher.around_act.weight)
    maps = taught[:, kept]
    _level(student.stem, student.around, student.stem_act(student.stem(pixels)))
    for mine, its in zip(student.blocks, teacher.blocks, strict=True):
        maps, taught = _shrink(cast(Bottleneck, mine), cast(Bottleneck, its), maps, taught)
    inner = teacher.widen_act(teacher.widen(taught))
    gathered = functional.conv2d(inner, everywhere, teacher.everywhere.bias, groups=len(everywhere))
    kept = _strongest(gathered, teacher.embed.weight, shape.last)
    _copy(student.widen, teacher.widen.weight[kept], teacher.widen.bias, kept)
    _copy(student.everywhere, everywhere[kept], teacher.everywhere.bias, kept)
    student.widen_act.weight.copy_(teacher.widen_act.weight)
    _level(student.widen, student.everywhere, student.widen_act(student.widen(maps)))
    _fit(student.embed, student.everywhere(student.widen_act(student.widen(maps))), teacher.embed(gathered))
    return student


def _shrink(mine: Bottleneck, its: Bottleneck, maps: Tensor, taught: Tensor) -> tuple[Tensor, Tensor]:
    """Makes `mine` of the teacher's block; returns what comes out of both."""
    inner = its.act2(its.around(its.act1(its.widen(taught))))
    target = its.narrow(inner)
    kept = _strongest(inner, its.narrow.weight, mine.narrow.in_channels)
    # The stem is narrower than the teacher's: what widens its maps is fitted too, and is a copy elsewhere.
    if mine.widen.in_channels == its.widen.in_channels:
        _copy(mine.widen, its.widen.weight[kept], its.widen.bias, kept)
    else:
        _fit(mine.widen, maps, its.widen(taught)[:, kept])
    _copy(mine.around, its.around.weight[kept], its.around.bias, kept)
    mine.act1.weight.copy_(its.act1.weight)
    mine.act2.weight.copy_(its.act2.weight)
    mine.weigh.load_state_dict(its.weigh.state_dict())
    _level(mine.widen, mine.around, mine.act1(mine.widen(maps)))
    found = mine.act2(mine.around(mine.act1(mine.widen(maps))))
    _level(mine.around, None, found)
    _fit(mine.narrow, mine.act2(mine.around(mine.act1(mine.widen(maps)))), target)
    return mine(maps), its(taught)


def _strongest(maps: Tensor, onwards: Tensor, count: int) -> Tensor:
    """The `count` channels of maps (n, c, h, w) that add most to what is made of them by `onwards` (m, c, 1, 1)."""
    strength = maps.square().mean((0, 2, 3)).sqrt() * onwards.flatten(1).norm(dim=0)
    strongest: Tensor = strength.argsort(descending=True)[:count]
    return strongest.sort().values


def _copy(layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, kept: Tensor) -> None:
    assert layer.bias is not None and bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias[kept])


def _level(layer: nn.Conv2d, after: nn.Conv2d | None, maps: Tensor) -> None:
    """Scales each channel behind a layer to a mean square of 1, and takes that back in the depthwise one after it.

    PReLU lets a positive factor through. The teacher's channels differ a thousandfold, on which no optimizer works.
    """
    assert layer.bias is not None
    scale = maps.square().mean((0, 2, 3)).sqrt().clamp(min=1e-6)
    layer.weight /= scale.view(-1, 1, 1, 1)
    layer.bias /= scale
    if after is not None:
        after.weight *= scale.view(-1, 1, 1, 1)


def _fit(layer: nn.Conv2d, maps: Tensor, target: Tensor) -> None:
    """The 1 x 1 convolution that makes of maps (n, c, h, w) what is nearest to the target (n, m, h, w)."""
    assert layer.bias is not None
    known = maps.permute(0, 2, 3, 1).flatten(0, 2).double()
    wanted = target.permute(0, 2, 3, 1).flatten(0, 2).double()
    known_mean, wanted_mean = known.mean(0), wanted.mean(0)
    known, wanted = known - known_mean, wanted - wanted_mean
    square = known.T @ known
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    weight = torch.linalg.solve(square + ridge, known.T @ wanted).T
    layer.weight.copy_(weight[..., None, None])
    layer.bias.copy_(wanted_mean - weight @ known_mean)
