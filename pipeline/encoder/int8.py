"""Networks in 8-bit integers, for processors without bf16: half the time of float32.

A convolution's inputs are rounded to 256 steps of one range for the whole tensor, its weights to 255 steps, whose size
each filter has for itself. The ranges are those that the network reaches on the packaged sample, so that any weights
can be quantised where they are used. OpenVINO recognises such a graph and multiplies integers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import openvino
from openvino import opset13 as ops
from PIL import Image

from pipeline.core.geometry import unit_rows
from pipeline.core.processors import usable_cores
from pipeline.core.recipes import Recipe
from pipeline.core.settings import SAMPLE
from pipeline.core.types import FloatArray
from pipeline.encoder.faces import MtcnnDetector, centred, cut_all
from pipeline.encoder.graphs import CONSTANTS, CONVOLUTIONS, CROPS_PER_PART, Node, constant, requests

MIN_COSINE = 0.999  # to the vectors in float32, on average
MARGIN = 1.1  # by which ranges are wider than the sample's
INPUT_STEPS, MAX_WEIGHT = 256, 127


@dataclass(frozen=True)
class _Inputs:
    """What a convolution is given: the lowest and highest number, and the mean of each channel (c,)."""

    low: float
    high: float
    means: FloatArray


def sample_crops(recipe: Recipe, number: int) -> list[Image.Image]:
    """A photo (`number` from 1 to 5) of every other person of the packaged sample, as the recipe crops it and whole."""
    images = [Image.open(path).convert("RGB") for path in sorted(SAMPLE.glob(f"*/{number}.jpg"))[::2]]
    found = MtcnnDetector().detect(images)
    faces = [centred(seen, image.size) for seen, image in zip(found, images, strict=True)]
    return cut_all([*images, *images], [*faces, *[None] * len(images)], recipe)


def cosine_between(one: openvino.Model, other: openvino.Model, pixels: FloatArray) -> float:
    """The mean cosine between two networks' vectors."""
    ours, theirs = (
        unit_rows(np.concatenate([heads[0].reshape(len(heads[0]), -1) for heads in _run(graph, pixels)]))
        for graph in (one, other)
    )
    return float((ours * theirs).sum(axis=1).mean())


def quantised(graph: openvino.Model, pixels: FloatArray, exact: Collection[int] = ()) -> openvino.Model:
    """A copy of the graph with convolutions of 8-bit integers.

    In float32 remain the first convolution, whose error all others would carry on, and those which gain nothing:
    depthwise ones and those on maps of one pixel.

    Args:
        graph: in float32.
        pixels: inputs (n, 3, side, side) that tell the ranges.
        exact: further convolutions that remain in float32, by their positions among all.
    """
    inputs, copy = _inputs(graph, pixels), graph.clone()
    rounded: dict[tuple[str, int], openvino.Node] = {}
    for position, (layer, given) in enumerate(zip(_convolutions(copy), inputs, strict=True)):
        one_pixel = layer.get_input_partial_shape(0)[2] == 1
        if position == 0 or position in exact or one_pixel or layer.get_type_name() == "GroupConvolution":
            continue
        source = layer.input_value(0)
        key = (source.get_node().get_friendly_name(), source.get_index())
        if key not in rounded:
            rounded[key] = _rounded(source, given)
        layer.input(0).replace_source_output(rounded[key].output(0))
        _round_weights(layer, given.means)
    copy.validate_nodes_and_infer_types()
    return copy


def is_quantised(graph: openvino.Model) -> bool:
    """Whether the graph is one that `quantised` made."""
    return any(node.get_type_name() == "FakeQuantize" for node in graph.get_ops())


def _convolutions(graph: openvino.Model) -> list[openvino.Node]:
    return [node for node in graph.get_ordered_ops() if node.get_type_name() in CONVOLUTIONS]


def _run(graph: openvino.Model, pixels: FloatArray) -> list[list[FloatArray]]:
    parts = [pixels[start : start + CROPS_PER_PART] for start in range(0, len(pixels), CROPS_PER_PART)]
    return requests(graph, usable_cores())(parts)


def _inputs(graph: openvino.Model, pixels: FloatArray) -> list[_Inputs]:
    """What each convolution is given when the network runs on these pixels."""
    copy = graph.clone()
    heads = []
    for layer in _convolutions(copy):
        source = layer.input_value(0)
        everything, of_channel = ops.constant(np.arange(4)), ops.constant(np.array([0, 2, 3]))
        heads += [ops.reduce_min(source, everything), ops.reduce_max(source, everything)]
        heads.append(ops.reduce_mean(source, of_channel))
    parts = _run(openvino.Model([head.output(0) for head in heads], copy.get_parameters()), pixels)
    columns = list(zip(*parts, strict=True))
    return [
        _Inputs(float(np.min(low)), float(np.max(high)), np.mean(means, axis=0))
        for low, high, means in zip(columns[::3], columns[1::3], columns[2::3], strict=True)
    ]


def _rounded(source: Node, given: _Inputs) -> openvino.Node:
    high = max(-given.low, given.high, 1e-6) * MARGIN
    low = -high * 128 / 127 if given.low < 0 else 0.0
    ends = constant(low), constant(high)
    return ops.fake_quantize(source, *ends, *ends, INPUT_STEPS)


def _round_weights(layer: openvino.Node, means: FloatArray) -> None:
    """Rounds the weights (out, in, height, width) to integers, and takes the error's mean from the bias."""
    weights = _values(layer.input_value(1).get_node())
    steps: FloatArray = _reach(weights) / np.float32(MAX_WEIGHT)
    integers = np.rint(weights / steps).astype(np.int8)
    new = ops.multiply(ops.convert(ops.constant(integers), "f32"), constant(steps))
    layer.input(1).replace_source_output(new.output(0))
    error: FloatArray = (integers * steps - weights).sum(axis=(2, 3)) @ means
    for follower in layer.output(0).get_target_inputs():
        add, place = follower.get_node(), 1 - follower.get_index()
        if add.get_type_name() == "Add" and add.input_value(place).get_node().get_type_name() in CONSTANTS:
            bias = _values(add.input_value(place).get_node()).reshape(-1) - error
            add.input(place).replace_source_output(constant(bias, (1, -1, 1, 1)).output(0))


def _reach(weights: FloatArray) -> FloatArray:
    """The largest number of each filter (out, 1, 1, 1), a sum of two neighbouring input channels included.

    AVX2 adds the products of such two in 16 bits, which 255 times a larger sum would overflow.
    """
    even = np.pad(weights, ((0, 0), (0, weights.shape[1] % 2), (0, 0), (0, 0)))
    sums = np.abs(even[:, ::2] + even[:, 1::2])
    reach: FloatArray = np.maximum(np.abs(weights).max(axis=(1, 2, 3)), sums.max(axis=(1, 2, 3)))
    return np.maximum(reach, 1e-12).reshape(-1, 1, 1, 1)


def _values(node: openvino.Node) -> FloatArray:
    """The numbers of a constant, which may be kept in half precision."""
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return np.asarray(node.data, np.float32)
