"""Encoders from the weight store: each opened once; a trained head belongs to the backbone it was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torchvision.models import resnet50

from pipeline.core.errors import SettingsError, WeightsError
from pipeline.core.recipes import HEADED
from pipeline.encoder.encoder import HEAD_MISSING, StoredEncoders
from pipeline.encoder.layer import Layer, save_layer
from pipeline.encoder.weights import Weights, WeightStore
from tests.fakes import portrait


def test_stored_encoders_are_opened_once_and_share_a_detector(reid_weights: Weights, tmp_path: Path) -> None:
    folder = reid_weights.paths[0].parent
    encoders = StoredEncoders(WeightStore(folder, tmp_path, {}))
    one = encoders.get("mtcnn-reid")
    assert encoders.get("mtcnn-reid") is one
    assert one.weights.sha256 == reid_weights.sha256
    assert encoders.on_disk("mtcnn-reid")
    assert not encoders.on_disk("mtcnn-facenet")
    assert encoders.why_unavailable("mtcnn-reid") is None
    with pytest.raises(SettingsError):
        encoders.get("vgg")


def test_a_reduced_recipe_shares_its_network_with_the_one_below(reid_weights: Weights, tmp_path: Path) -> None:
    encoders = StoredEncoders(WeightStore(reid_weights.paths[0].parent, tmp_path, {}))
    reduced = encoders.get("mtcnn-reid-64")
    assert reduced.below is encoders.get("mtcnn-reid")
    assert (reduced.recipe.dim, reduced.detector) == (64, reduced.below.detector)
    assert encoders.on_disk("mtcnn-reid-64")
    assert encoders.why_unavailable("mtcnn-reid-64") is None


# The trained head


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-50 with weights drawn by chance."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "own.pth"
    torch.save(resnet50(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def converted(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the graph of that ResNet-50: converting it takes seconds."""
    folder = tmp_path_factory.mktemp("converted")
    StoredEncoders(WeightStore(None, folder, {"resnet50": backbone})).get("resnet50")
    return folder


@pytest.fixture
def cache(converted: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(converted, tmp_path / "cache"))


def head(backbone_sha256: str) -> Layer:
    weight = np.random.default_rng(0).normal(size=(30, 2048)).astype(np.float32)
    return Layer(weight, np.ones(30, np.float32), rectified=True, facts={"backbone": backbone_sha256})


def test_without_its_head_the_recipe_is_unavailable_and_says_what_to_run(backbone: Path, cache: Path) -> None:
    encoders = StoredEncoders(WeightStore(None, cache, {"resnet50": backbone}))
    assert encoders.why_unavailable(HEADED) == HEAD_MISSING
    assert "python -m pipeline train-head" in HEAD_MISSING
    assert not encoders.on_disk(HEADED)
    assert encoders.on_disk("resnet50")
    with pytest.raises(WeightsError, match="train-head"):
        encoders.get(HEADED)


def test_a_head_that_was_trained_is_used_and_counts_as_weights(backbone: Path, cache: Path) -> None:
    encoders = StoredEncoders(WeightStore(None, cache, {"resnet50": backbone}))
    below = encoders.get("resnet50")
    trained = head(below.weights.sha256)
    assert encoders.keep_head(HEADED, trained) == cache / f"{HEADED}.safetensors"
    assert encoders.on_disk(HEADED)
    assert encoders.why_unavailable(HEADED) is None
    encoder = encoders.get(HEADED)
    assert encoder.below is below
    assert encoder.weights.sha256 != below.weights.sha256
    (plain,), (above,) = below.encode([portrait(0)]), encoder.encode([portrait(0)])
    np.testing.assert_allclose(above.vector, trained.apply(plain.vector[None])[0], atol=1e-6)
    encoders.keep_head(HEADED, replace(trained, bias=trained.bias + 1))
    assert encoders.get(HEADED).weights.sha256 != encoder.weights.sha256, "another head, other galleries"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(b"no head"), "holds no head that this version reads"),
        (lambda path: save_file({"weight": np.eye(30, 2048)}, path, {"backbone": "b"}), "no head that this version"),
        (lambda path: save_layer(head("another"), path), "trained on other ResNet-50 weights"),
    ],
    ids=["damaged", "of another version", "of another backbone"],
)
def test_a_head_that_is_of_no_use_counts_as_absent(
    backbone: Path, cache: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    encoders = StoredEncoders(WeightStore(None, cache, {"resnet50": backbone}))
    trained = head(encoders.get("resnet50").weights.sha256)
    damage(encoders.keep_head(HEADED, trained))
    assert not encoders.on_disk(HEADED)
    reason = encoders.why_unavailable(HEADED)
    assert reason is not None
    assert sentence in reason
    assert reason.endswith("run `python -m pipeline train-head` again.")
    with pytest.raises(WeightsError, match=sentence):
        encoders.get(HEADED)
    encoders.keep_head(HEADED, trained)
    assert encoders.why_unavailable(HEADED) is None


def test_the_first_head_that_is_of_use_is_taken(backbone: Path, cache: Path, tmp_path: Path) -> None:
    beside = tmp_path / "models"
    beside.mkdir()
    encoders = StoredEncoders(WeightStore(beside, cache, {"resnet50": backbone}))
    trained = head(encoders.get("resnet50").weights.sha256)
    for folder in (beside, cache):
        save_layer(trained, folder / f"{HEADED}.safetensors")
    assert encoders.get(HEADED).weights.paths[-1].parent == beside
    (beside / f"{HEADED}.safetensors").write_bytes(b"no head")
    encoders = StoredEncoders(WeightStore(beside, cache, {"resnet50": backbone}))
    assert encoders.get(HEADED).weights.paths[-1].parent == cache


def test_only_recipes_that_look_at_photos_alike_share_a_detector(reid_weights: Weights, tmp_path: Path) -> None:
    encoders = StoredEncoders(WeightStore(reid_weights.paths[0].parents[2], tmp_path, {}))
    plain, flipped, zoomed = (encoders.get(f"mtcnn-reid{option}").detector for option in ("", "+flip", "+zoom"))
    assert plain is flipped
    assert plain is not zoomed
