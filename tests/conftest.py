"""Fixtures: the tiny world, and the real photos and weights where the environment names them."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline import indexes
from pipeline.library import Library
from pipeline.photos import Photos, open_photos
from pipeline.settings import VARIABLES, Settings
from pipeline.weights import Weights, WeightStore
from tests.tiny import TinyEncoders, make_folder

REAL = Settings.from_env()
MILVUS_TESTS = {
    "tests.test_lfw",
    "tests.test_search",
    "tests.test_indexes",
    "tests.test_milvus",
    "tests.test_bench",
    "tests.test_scale",
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caller's settings by accident; those that want real data ask for `real`."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def without_milvus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most machines have no Milvus, and filling its file costs a second a gallery: only tests about it see it."""
    if request.module.__name__ not in MILVUS_TESTS:
        monkeypatch.setattr(indexes, "find_spec", lambda name: None if name == "pymilvus" else find_spec(name))


@pytest.fixture(scope="session")
def real() -> Settings:
    """Settings with real photos of LFW."""
    if not os.environ.get("FACESEARCH_DATASET") and REAL.dataset == Settings().dataset:
        pytest.skip("needs LFW: set FACESEARCH_DATASET to a copy of it")
    return REAL


@pytest.fixture(scope="session")
def lfw(real: Settings) -> Photos:
    """The real photos."""
    return open_photos(real.dataset)


@pytest.fixture(scope="session")
def reid_weights() -> Weights:
    """The published weights of the smallest network, if they are on this disk; nothing is downloaded for a test."""
    weights = WeightStore(REAL.models, REAL.cache, {}).find("reid")
    if weights is None:
        pytest.skip("needs the weights of face-reidentification-retail-0095: set FACESEARCH_MODELS to their folder")
    return weights


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """The tiny world's photos, freshly drawn."""
    return make_folder(tmp_path / "photos")


@pytest.fixture
def tiny(tiny_folder: Path, tmp_path: Path) -> Library:
    """A library of the tiny world, nothing built yet."""
    return Library(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index")
