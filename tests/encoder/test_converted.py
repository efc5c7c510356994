"""Graphs that are kept: made once, read only whole, and made anew where that is not what is there."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from pipeline.core.files import sealed, write_json
from pipeline.encoder import networks
from pipeline.encoder.networks import GRAPH, GRAPH_WEIGHTS, MANIFEST, graph_in

PIXELS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Converter:
    """Makes a graph that multiplies by numbers of its own, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> openvino.Model:
        self.times += 1
        pixels = ops.parameter([-1, 3], np.float32)
        product = ops.matmul(pixels, ops.constant(np.full((3, 50), 0.1, np.float32)), False, False)
        return openvino.Model([product], [pixels], "made")


def result(graph: openvino.Model) -> np.ndarray:
    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}  # on every processor
    return np.array(openvino.Core().compile_model(graph, "CPU", in_float32)(PIXELS)[0])


def test_a_graph_is_made_once_and_the_same_afterwards(tmp_path: Path) -> None:
    convert = Converter()
    made, kept = (result(graph_in(tmp_path / "graphs" / "one", convert)) for _ in range(2))
    assert convert.times == 1
    np.testing.assert_array_equal(made, kept)
    assert {path.name for path in (tmp_path / "graphs" / "one").iterdir()} == {GRAPH, GRAPH_WEIGHTS, MANIFEST}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process which files it has mapped")
def test_a_kept_graphs_weights_are_mapped_and_stay_when_others_take_their_place(tmp_path: Path) -> None:
    made = result(graph_in(tmp_path, Converter()))
    kept = graph_in(tmp_path, Converter())
    assert str(tmp_path / GRAPH_WEIGHTS) in Path("/proc/self/maps").read_text()
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "other").replace(tmp_path / GRAPH_WEIGHTS)
    np.testing.assert_array_equal(result(kept), made)


def test_without_a_folder_nothing_is_kept() -> None:
    convert = Converter()
    for _ in range(2):
        assert result(graph_in(None, convert)).shape == (2, 50)
    assert convert.times == 2


@pytest.mark.parametrize("name", [GRAPH, GRAPH_WEIGHTS, MANIFEST])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "a folder"])
def test_a_graph_that_is_damaged_is_made_anew(name: str, damage: str, tmp_path: Path) -> None:
    convert = Converter()
    graph_in(tmp_path, convert)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "a folder":
        path.mkdir()
    wanted = result(convert())
    np.testing.assert_array_equal(result(graph_in(tmp_path, convert)), wanted)
    assert convert.times == 3
    if damage != "a folder":  # which nothing can be moved onto
        graph_in(tmp_path, convert)
        assert convert.times == 3


def test_a_graph_of_another_version_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = Converter()
    graph_in(tmp_path, convert)
    monkeypatch.setattr(networks, "VERSION", networks.VERSION + 1)
    graph_in(tmp_path, convert)
    monkeypatch.setattr(openvino, "__version__", "2030.1")
    graph_in(tmp_path, convert)
    assert convert.times == 3


def test_a_manifest_of_something_else_is_not_trusted(tmp_path: Path) -> None:
    convert = Converter()
    graph_in(tmp_path, convert)
    write_json(tmp_path / MANIFEST, sealed({"version": networks.VERSION, "files": [1]}))
    graph_in(tmp_path, convert)
    assert convert.times == 2


def test_where_nothing_can_be_kept_it_works_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "graphs").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert result(graph_in(tmp_path / "graphs" / "one", Converter())).shape == (2, 50)
    (record,) = caplog.records
    assert "cannot be kept" in record.getMessage()
