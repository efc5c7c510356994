"""The files that stand alone, damaged (see `test_damage.py`): layers, calibrations, reports, pictures, maps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from pipeline.core.errors import HubError, WeightsError
from pipeline.core.files import sealed, write_json
from pipeline.core.progress import silent
from pipeline.embeddings.map import FACTS, POINTS, load_map, open_map
from pipeline.encoder import weights
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.layer import Layer, load_layer, save_layer
from pipeline.encoder.weights import PACKAGED, WeightStore
from pipeline.evaluation.evaluate import FORMAT
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.reports import load_report, report_path
from pipeline.photos.pictures import pack, unpack
from pipeline.search.calibration import SHIPPED, read_calibrations
from tests.corruption import BYTES, FEW, MANY, Harm, Kept, harms, is_a_sentence
from tests.fakes import TinyEncoders

RECIPE, REDUCED = "mtcnn-facenet", "mtcnn-facenet-128"


def test_a_layer_is_what_was_written_or_none(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    weight, bias = chance.normal(size=(6, 4)).astype(np.float32), chance.normal(size=6).astype(np.float32)
    layer = Layer(weight, bias, True, {"backbone": "b"})
    save_layer(replace(layer, weight=-weight, facts={}), tmp_path / "other")
    save_layer(layer, tmp_path / "layer")
    file = Kept(tmp_path / "layer")

    @MANY
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        try:
            read = load_layer(file.path)
        except ValueError:
            return
        assert (read.rectified, dict(read.facts)) == (True, {"backbone": "b"})
        np.testing.assert_array_equal(read.weight, weight)
        np.testing.assert_array_equal(read.bias, bias)

    damaged()


def test_a_damaged_head_says_how_to_come_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = TinyEncoders().get("resnet50")
    encoders = StoredEncoders(WeightStore(None, tmp_path, {}))
    monkeypatch.setattr(encoders, "_opened", {"resnet50": below})
    eye = np.eye(8192, 2048, dtype=np.float32)
    path = encoders.keep_head("resnet50-8192", Layer(eye, eye[:, 0], True, {"backbone": below.weights.sha256}))
    encoders.get("resnet50-8192")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # a number that is a little larger
    encoders._opened.pop("resnet50-8192")
    Kept(path).put(bytes(content))
    with pytest.raises(WeightsError, match="train-head") as error:
        encoders.get("resnet50-8192")
    assert is_a_sentence(str(error.value))


def test_the_network_that_comes_along_is_not_used_if_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Kept(Path(shutil.copy(PACKAGED["mini"], tmp_path / "mini.safetensors")))
    monkeypatch.setitem(weights.PACKAGED, "mini", file.path)
    store = WeightStore(None, tmp_path, {})
    assert store.find("mini")

    @FEW
    @given(harm=BYTES)
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        with pytest.raises(WeightsError) as error:
            store.find("mini")
        assert is_a_sentence(str(error.value))

    damaged()


def test_calibrations_are_those_that_were_measured_or_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = read_calibrations(SHIPPED)
    file = Kept(Path(shutil.copy(SHIPPED, tmp_path / "calibrations.json")))
    assert len(wanted) > 1

    @MANY
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        caplog.clear()
        file.harmed(harm)
        read = read_calibrations(file.path)
        assert read in (wanted, ())
        assert [is_a_sentence(said) for said in caplog.messages] == [True] * (not read)

    damaged()


def test_a_report_is_what_was_measured_or_none(world: Gallery) -> None:
    wanted = {"format": FORMAT, "made": "2026-01-01", "photos": 24, "recipes": [{"name": RECIPE, "map": 0.25}]}
    path = report_path(world)
    write_json(path, sealed(wanted))
    file = Kept(path)

    @MANY
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        assert load_report(world) in (wanted, None)

    damaged()


def test_an_archive_of_thumbnails_is_what_was_packed_or_refused(tmp_path: Path, world: Gallery) -> None:
    pack(world.photos, world.pictures.thumbnail, tmp_path / "thumbnails.zip", silent)
    file = Kept(tmp_path / "thumbnails.zip")
    wanted = {path.name: path.read_bytes() for path in (world.thumbnails_root / world.photos.name).glob("*.jpg")}
    assert len(wanted) == len(world.photos)

    @MANY
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        folder = tmp_path / "unpacked"
        shutil.rmtree(folder, ignore_errors=True)
        file.harmed(harm)
        try:
            unpack(file.path, folder, len(wanted))
        except HubError as error:
            assert is_a_sentence(str(error))
        written = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert written.items() <= wanted.items()

    damaged()


@pytest.mark.parametrize("name", [POINTS, FACTS])
def test_a_map_is_what_was_drawn_or_none(name: str, world: Gallery) -> None:
    embeddings, other = (world.searcher(recipe).embeddings for recipe in (REDUCED, RECIPE))
    wanted = open_map(embeddings)
    open_map(other)
    file = Kept(embeddings.folder / name)

    @MANY
    @given(harm=harms((other.folder / name).read_bytes()))
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        read = load_map(embeddings)
        if read is not None:
            assert (read.points.tobytes(), read.kept) == (wanted.points.tobytes(), wanted.kept)

    damaged()
    file.put(b"")
    assert open_map(embeddings).points.tobytes() == wanted.points.tobytes(), "drawn anew"
