"""What a training keeps, damaged (see `test_damage.py`): its views are made anew, and it begins anew without its state.

Found and mended on the way: views of another gallery or teacher were taken for its own, and so was a wrong pixel; of a
state torch read whatever numbers stood there, and ended in a traceback where it could not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from pipeline.core.recipes import MINI, recipe_named
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.mini import Block, Shape
from pipeline.encoder.weights import Weights
from pipeline.galleries.gallery import Gallery
from pipeline.training import augmentation, distil
from pipeline.training.augmentation import Source, Views
from pipeline.training.mini_net import MiniNet
from tests.corruption import BYTES, FEW, MANY, Harm, Kept, harms
from tests.fakes import TinyNetwork

DIM = 256
SHAPE = Shape(112, 8, (Block(8, 16, 2), Block(16, 16, 2), Block(16, 16, 2)), 32, DIM)
STEPS = 4


@pytest.fixture
def source(world: Gallery) -> Source:
    """Views whose teacher is a projection of colours."""
    teacher = Encoder(recipe_named("mtcnn-reid"), TinyNetwork(DIM), None, Weights("reid", (), "1", custom=False))
    return Source(world.searcher("mtcnn-facenet").embeddings, world.photos, teacher, recipe_named(MINI))


@pytest.fixture
def made(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Views:
    """Views of six photos, in two parts."""
    monkeypatch.setattr(augmentation, "VIEWS_PER_PART", 9)
    found = Views(tmp_path / "views", "some", np.arange(6))
    found.make(source)
    return found


def all_of(views_: Views) -> list[bytes]:
    return [array.tobytes() for array in views_[np.arange(len(views_))]]


@pytest.mark.parametrize("name", ["some-001-crops.npy", "some-001-vectors.npy", "some-001.json"])
def test_views_are_what_was_made_or_made_anew(name: str, made: Views, source: Source, tmp_path: Path) -> None:
    wanted, file = all_of(made), Kept(tmp_path / "views" / name)

    @FEW
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        again = Views(tmp_path / "views", "some", np.arange(6))
        again.make(source)
        assert all_of(again) == wanted

    damaged()


def test_views_of_another_source_are_made_anew(made: Views, source: Source, tmp_path: Path) -> None:
    before = all_of(made)
    teacher = Encoder(source.teacher.recipe, TinyNetwork(DIM), None, Weights("reid", (), "2", custom=False))
    for other, rows in ((replace(source, teacher=teacher), np.arange(6)), (source, np.arange(6, 12))):
        shutil.copytree(tmp_path / "views", tmp_path / "other", dirs_exist_ok=True)
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "other").glob("*.npy")}
        found = Views(tmp_path / "other", "some", rows)
        found.make(other)
        assert all(path.stat().st_mtime_ns > times[path] for path in times)
    assert all_of(found) != before


class Begun:
    """A training that was cut short."""

    def __init__(self, parts: tuple[Views, ...], state: Path) -> None:
        self.parts, self.state = parts, state
        self.teacher = MiniNet(replace(SHAPE, side=128))
        self.whole = self.trained()
        self.file = Kept(state)

    def trained(self, steps: int = STEPS) -> distil.Trained:
        return distil.distil(self.teacher, self.parts, self.state, steps)

    def is_whole(self, trained: distil.Trained) -> bool:
        wanted = self.whole.network.state_dict()
        return all(torch.allclose(wanted[name], part, atol=1e-4) for name, part in trained.network.state_dict().items())


@pytest.fixture
def begun(made: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begun:
    for name, value in {"BATCH": 8, "CHECKPOINT_STEPS": 2, "PRUNING_VIEWS": 16, "MINI": SHAPE}.items():
        monkeypatch.setattr(distil, name, value)
    return Begun((made,), tmp_path / "state.pt")


def test_a_state_is_what_was_kept_or_none(begun: Begun, caplog: pytest.LogCaptureFixture) -> None:
    of = [str(SHAPE), STEPS, [len(part) for part in begun.parts]]
    kept = distil._load_state(begun.state, of, "cpu")
    assert kept is not None and kept["steps"] == STEPS

    @MANY
    @given(harm=BYTES)
    def damaged(harm: Harm) -> None:
        caplog.clear()
        begun.file.harmed(harm)
        if begun.state.read_bytes() != begun.file.content:
            assert distil._load_state(begun.state, of, "cpu") is None
            assert caplog.messages == ["state.pt is damaged, or of another training; this one starts again."]

    damaged()


@pytest.mark.parametrize("spoil", [lambda content: content[:-9], lambda _: b"", lambda content: content[32:]])
def test_a_training_begins_anew_over_a_damaged_state(spoil: Harm, begun: Begun) -> None:
    begun.file.harmed(spoil)
    assert begun.is_whole(begun.trained())
    assert distil._load_state(begun.state, [str(SHAPE), STEPS, [18]], "cpu"), "kept anew"


def test_the_state_of_another_training_is_not_gone_on_from(begun: Begun) -> None:
    assert len(begun.trained(STEPS + 4).curve) == 4
    begun.file.put(begun.file.content)
    assert len(begun.trained(2).curve) == 1, "not what four steps made"


class Run:
    """What runs a command where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._trace),)


def test_nothing_in_a_state_is_run(begun: Begun, tmp_path: Path) -> None:
    torch.save({"of": Run(tmp_path / "trace")}, begun.state)
    content = begun.state.read_bytes()
    begun.file.put(hashlib.sha256(content).digest() + content)
    assert begun.is_whole(begun.trained())
    assert not (tmp_path / "trace").exists()
