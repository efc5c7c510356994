"""Networks in 8-bit integers: their vectors stay those of float32, or they are not used."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from pipeline.core.recipes import recipe_named
from pipeline.core.types import FloatArray
from pipeline.encoder import graphs, int8, networks
from pipeline.encoder.graphs import FLOAT32, INT8, LayerWeights
from pipeline.encoder.int8 import MAX_WEIGHT, is_quantised, quantised, sample_crops
from pipeline.encoder.networks import NETWORKS, open_network
from pipeline.encoder.weights import PACKAGED, Weights, WeightStore
from tests.conftest import REAL
from tests.encoder.test_networks import cosines

X86 = platform.machine() in ("x86_64", "AMD64")
CHANNELS, SIDE = 8, 6


def chain(weights: FloatArray, bias: float = 0.0) -> openvino.Model:
    """A convolution that copies its input, then one with these weights (out, in, 1, 1), then a depthwise one."""
    pixels = ops.parameter([-1, CHANNELS, SIDE, SIDE], np.float32)
    biases = np.full(len(weights), bias, np.float32)
    layers = LayerWeights(
        {
            "copy.weight": np.eye(CHANNELS, dtype=np.float32)[..., None, None], "copy.bias": np.zeros(CHANNELS),
            "mix.weight": weights[..., None, None], "mix.bias": biases,
            "each.weight": np.ones((len(weights), 1, 3, 3), np.float32) / 9, "each.bias": biases * 0,
        }
    )  # fmt: skip
    maps = ops.relu(layers.convolution("copy", pixels))
    return openvino.Model([layers.convolution("each", layers.convolution("mix", maps)).output(0)], [pixels], "chain")


def inputs(seed: int, count: int = 16) -> FloatArray:
    return np.random.default_rng(seed).uniform(0, 1, (count, CHANNELS, SIDE, SIDE)).astype(np.float32)


def result(graph: openvino.Model, pixels: FloatArray) -> FloatArray:
    return graphs.requests(graph, 1)([pixels])[0][0]


def integers(graph: openvino.Model) -> list[np.ndarray]:
    return [node.data for node in graph.get_ordered_ops() if node.get_element_type() == openvino.Type.i8]


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an x86-64 processor that has no bf16."""
    monkeypatch.setattr(networks, "native_precision", lambda: INT8)


@pytest.mark.parametrize(
    "network", ["reid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("facenet", "resnet50"))]
)
def test_the_sample_has_the_vectors_of_float32(network: str, without_bf16: None, tmp_path: Path) -> None:
    weights = WeightStore(REAL.models, REAL.cache, REAL.custom_weights).find(network)
    if weights is None:
        pytest.skip(f"needs the weights of {network}: set FACESEARCH_MODELS to their folder")
    recipe = recipe_named(NETWORKS[network].int8)
    crops = sample_crops(recipe, 3)
    exact = networks.OpenvinoNetwork(NETWORKS[network].graph(weights, tmp_path / "float32"), NETWORKS[network])
    first, again = (open_network(recipe, weights, tmp_path / "graphs") for _ in range(2))
    assert (exact.precision, first.precision, again.precision) == (FLOAT32, INT8, INT8)
    ours, theirs = again.embed(crops), exact.embed(crops)
    np.testing.assert_allclose(ours, first.embed(crops), atol=1e-4 * np.abs(theirs).max())
    assert cosines(ours, theirs).mean() >= 0.999
    assert cosines(ours, theirs).min() >= 0.995


def test_a_network_that_int8_would_change_stays_in_float32(
    reid_weights: Weights, without_bf16: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "MIN_COSINE", 0.99999)
    recipe = recipe_named("mtcnn-reid")
    crops = sample_crops(recipe, 3)[:4]
    kept = open_network(recipe, reid_weights, tmp_path)
    assert kept.precision == FLOAT32
    np.testing.assert_allclose(kept.embed(crops), open_network(recipe, reid_weights).embed(crops), rtol=1e-4, atol=1e-3)


def test_without_the_sample_networks_stay_in_float32(
    reid_weights: Weights, without_bf16: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "SAMPLE", tmp_path / "none")
    assert open_network(recipe_named("mtcnn-reid"), reid_weights, tmp_path / "graphs").precision == FLOAT32


def test_the_mini_network_stays_in_float32(without_bf16: None, tmp_path: Path) -> None:
    weights = Weights("mini", (PACKAGED["mini"],), "", custom=False)
    assert open_network(recipe_named("mtcnn-mini"), weights, tmp_path).precision == FLOAT32
    assert not list(tmp_path.iterdir())


def test_int8_is_for_x86_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, device: str, name: str) -> openvino.Type:
            return openvino.Type.f32

    assert graphs.native_precision() == ("bf16" if has_bf16() else INT8 if X86 else FLOAT32)
    monkeypatch.setattr(graphs.openvino, "Core", Core)
    for machine, expected in (("x86_64", INT8), ("AMD64", INT8), ("arm64", FLOAT32), ("aarch64", FLOAT32)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert graphs.native_precision() == expected


def has_bf16() -> bool:
    return bool(openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16)


def test_only_the_convolution_that_gains_is_quantised() -> None:
    """The first, the depthwise one and those named stay as they are; the graph that was given does too."""
    graph = chain(np.random.default_rng(0).normal(size=(5, CHANNELS)).astype(np.float32))
    smaller = quantised(graph, inputs(1))
    assert [values.shape for values in integers(smaller)] == [(5, CHANNELS, 1, 1)]
    assert is_quantised(smaller)
    assert not is_quantised(graph)
    assert not is_quantised(quantised(graph, inputs(1), exact=(1,)))
    exact, ours = (result(one, inputs(2)) for one in (graph, smaller))
    assert np.abs(ours - exact).max() < 0.02 * np.abs(exact).max()


def test_no_sum_of_two_neighbouring_channels_overflows_16_bits() -> None:
    graph = chain(np.random.default_rng(0).normal(size=(50, CHANNELS)).astype(np.float32))
    (values,) = (each.astype(int) for each in integers(quantised(graph, inputs(1))))
    pairs = np.abs(values[:, ::2] + values[:, 1::2]).max(axis=(1, 2, 3))
    assert pairs.max() <= MAX_WEIGHT + 1  # where both are rounded up
    reach = np.maximum(pairs, np.abs(values).max(axis=(1, 2, 3)))
    assert reach.min() >= MAX_WEIGHT - 1, "no filter has coarser steps than it needs"


def test_the_mean_of_the_rounding_error_is_taken_from_the_bias() -> None:
    """Weights that are all rounded in the same direction shift the output, by 4 % here."""
    weights = np.full((3, CHANNELS), 1.45, np.float32)
    weights[:, 0] = MAX_WEIGHT  # so that a step is 1
    weights[:, 1] = 0
    graph = chain(weights, bias=2.0)
    exact, ours = (result(one, inputs(2)).mean(axis=(0, 2, 3)) for one in (graph, quantised(graph, inputs(1))))
    np.testing.assert_allclose(ours, exact, rtol=2e-3)


@pytest.mark.skipif(not X86, reason="AVX2 is an instruction set of x86-64")
def test_a_processor_that_has_avx2_only_adds_up_right() -> None:
    """All inputs and weights are large: where the steps heed single weights only, the sums come to half of this."""
    statement = (
        "import numpy as np; from tests.encoder.test_int8 import *; "
        "graph = chain(np.ones((8, CHANNELS), np.float32)); ones = np.ones((2, CHANNELS, SIDE, SIDE), np.float32); "
        "centre = result(quantised(graph, ones), ones)[:, :, 2, 2]; print(centre.min(), centre.max())"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    output = subprocess.run(
        [sys.executable, "-c", statement], env=environment, capture_output=True, text=True, check=True
    )
    assert [float(word) for word in output.stdout.split()] == pytest.approx([CHANNELS] * 2, rel=0.02)
