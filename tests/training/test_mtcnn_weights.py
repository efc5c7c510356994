"""MTCNN's weights: the file in the package is what facenet-pytorch's wheel holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline.__main__ import main
from pipeline.core.errors import WeightsError
from pipeline.core.files import digest
from pipeline.encoder import cascade
from pipeline.encoder.cascade import CASCADE, SHA256, WEIGHTS, CascadeNetwork
from pipeline.training.mtcnn_weights import wheel_weights


def test_the_weights_in_the_package_are_the_wheels() -> None:
    kept, wheels = load_file(WEIGHTS), wheel_weights()
    assert kept.keys() == wheels.keys()
    assert {name.split(".")[0] for name in kept} == set(CASCADE)
    for name, array in wheels.items():
        assert kept[name].dtype == np.float32
        np.testing.assert_array_equal(kept[name], array)


def test_the_command_makes_the_file_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy-mtcnn", "--out", str(tmp_path / "again.safetensors")]) == 0
    assert digest(tmp_path / "again.safetensors") == SHA256
    assert SHA256 in capsys.readouterr().out


@pytest.mark.parametrize("there", [True, False], ids=["changed", "gone"])
def test_a_file_that_is_not_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool) -> None:
    changed = bytearray(WEIGHTS.read_bytes())
    changed[-5] ^= 1
    path = tmp_path / "mtcnn.safetensors"
    if there:
        path.write_bytes(changed)
    monkeypatch.setattr(cascade, "WEIGHTS", path)
    cascade._weights.cache_clear()
    with pytest.raises(WeightsError, match="put that one back in its place"):
        CascadeNetwork("pnet", 1)
    monkeypatch.undo()
    CascadeNetwork("pnet", 1)
