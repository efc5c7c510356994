"""The teacher of `mini.py`'s network, and a pruned copy of it, from which training starts.

The teacher is Open Model Zoo's face-reidentification-retail-0095 (Apache-2.0), a network of the same family with twice
the channels. Channel pruning (He, Zhang, Sun 2017, arXiv:1707.06168) keeps the strongest inner channels of each block,
and fits the layer that narrows them to the output of the teacher's block by least squares. From there training takes
minutes; from random weights it takes days.
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
RIDGE = 1e-4  # of the mean square: ridge regression, for channels that are nearly the same


def read_teacher(xml: Path) -> MiniNet:
    """The teacher as a torch module, for RGB pixels from -1 to 1 instead of BGR pixels from 0 to 255.

    Near the edges it differs a little, because the zero padding is another grey.
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
    """A node's constant operand in float32; None where both operands are feature maps."""
    origin = node.input_value(1).get_node()
    while origin.get_type_name() == "Convert":
        origin = origin.input_value(0).get_node()
    return np.array(origin.data, np.float32) if origin.get_type_name() == "Constant" else None


@torch.no_grad()
def pruned(teacher: MiniNet, shape: Shape, pixels: Tensor) -> MiniNet:
    """A pruned copy of the teacher.

    Args:
        teacher: as `read_teacher` gives it.
        shape: of the copy: as many blocks as the teacher, of the same `out` and `stride`, and no larger number.
        pixels: crops (n, 3, side, side) of the copy's size, by which channels are ranked; a few hundred are enough.
    """
    student = MiniNet(shape).eval()
    # The teacher at the student's input size: only the convolution over the whole map depends on it.
    square = functional.interpolate(teacher.everywhere.weight, (shape.side // 16,) * 2, mode="bilinear")
    everywhere = square * (teacher.everywhere.weight[0, 0].numel() / square[0, 0].numel())

    teacher_maps = teacher.around_act(teacher.around(teacher.stem_act(teacher.stem(pixels))))
    first = cast(Bottleneck, teacher.blocks[0])
    kept = _strongest_channels(teacher_maps, first.widen.weight, shape.stem)
    _copy(student.stem, teacher.stem.weight[kept], teacher.stem.bias, kept)
    _copy(student.around, teacher.around.weight[kept], teacher.around.bias, kept)
    student.stem_act.weight.copy_(teacher.stem_act.weight)
    student.around_act.weight.copy_(teacher.around_act.weight)
    maps = teacher_maps[:, kept]
    _normalise(student.stem, student.around, student.stem_act(student.stem(pixels)))
    for pair in zip(student.blocks, teacher.blocks, strict=True):
        student_block, teacher_block = (cast(Bottleneck, block) for block in pair)
        maps, teacher_maps = _prune_block(student_block, teacher_block, maps, teacher_maps)
    inner = teacher.widen_act(teacher.widen(teacher_maps))
    gathered = functional.conv2d(inner, everywhere, teacher.everywhere.bias, groups=len(everywhere))
    kept = _strongest_channels(gathered, teacher.embed.weight, shape.last)
    _copy(student.widen, teacher.widen.weight[kept], teacher.widen.bias, kept)
    _copy(student.everywhere, everywhere[kept], teacher.everywhere.bias, kept)
    student.widen_act.weight.copy_(teacher.widen_act.weight)
    _normalise(student.widen, student.everywhere, student.widen_act(student.widen(maps)))
    _fit(student.embed, student.everywhere(student.widen_act(student.widen(maps))), teacher.embed(gathered))
    return student


def _prune_block(student: Bottleneck, teacher: Bottleneck, maps: Tensor, teacher_maps: Tensor) -> tuple[Tensor, Tensor]:
    """Fills the student's block from the teacher's, and returns the outputs of both for `maps` and `teacher_maps`."""
    inner = teacher.act2(teacher.around(teacher.act1(teacher.widen(teacher_maps))))
    target = teacher.narrow(inner)
    kept = _strongest_channels(inner, teacher.narrow.weight, student.narrow.in_channels)
    # The stem is narrower than the teacher's, so the layer that widens its maps is fitted; elsewhere it is a copy.
    if student.widen.in_channels == teacher.widen.in_channels:
        _copy(student.widen, teacher.widen.weight[kept], teacher.widen.bias, kept)
    else:
        _fit(student.widen, maps, teacher.widen(teacher_maps)[:, kept])
    _copy(student.around, teacher.around.weight[kept], teacher.around.bias, kept)
    student.act1.weight.copy_(teacher.act1.weight)
    student.act2.weight.copy_(teacher.act2.weight)
    student.weigh.load_state_dict(teacher.weigh.state_dict())
    _normalise(student.widen, student.around, student.act1(student.widen(maps)))
    _normalise(student.around, None, student.act2(student.around(student.act1(student.widen(maps)))))
    _fit(student.narrow, student.act2(student.around(student.act1(student.widen(maps)))), target)
    return student(maps), teacher(teacher_maps)


def _strongest_channels(maps: Tensor, onwards: Tensor, count: int) -> Tensor:
    """The `count` channels of maps (n, c, h, w) that contribute most to the convolution `onwards` (m, c, 1, 1)."""
    strength = maps.square().mean((0, 2, 3)).sqrt() * onwards.flatten(1).norm(dim=0)
    strongest: Tensor = strength.argsort(descending=True)[:count]
    return strongest.sort().values


def _copy(layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, kept: Tensor) -> None:
    assert layer.bias is not None and bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias[kept])


def _normalise(layer: nn.Conv2d, after: nn.Conv2d | None, maps: Tensor) -> None:
    """Scales each of a layer's output channels to a mean square of 1, and reverts that in the depthwise layer after it.

    PReLU commutes with a positive factor. The teacher's channels differ a thousandfold, which no optimizer copes with.
    """
    assert layer.bias is not None
    scale = maps.square().mean((0, 2, 3)).sqrt().clamp(min=1e-6)
    layer.weight /= scale.view(-1, 1, 1, 1)
    layer.bias /= scale
    if after is not None:
        after.weight *= scale.view(-1, 1, 1, 1)


def _fit(layer: nn.Conv2d, maps: Tensor, target: Tensor) -> None:
    """Fits a 1 x 1 convolution of maps (n, c, h, w) to the target (n, m, h, w) by least squares."""
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
