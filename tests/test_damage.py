"""Every file that is written here, damaged: what is read is what was written, or one sentence says what to do.

The threat is a disk that rots, a copy that was cut short, a power cut, a folder in which versions were mixed, and a
curious hand; and of what is fetched from the Hub, whoever may write there. What is defended: nobody is shown an answer
made of other numbers than were computed, nobody sees a traceback, nothing in a file is ever run, and the next build
mends a gallery to the very same vectors. So every file has a digest: arrays, indexes and photos' names in the gallery's
manifest, and the manifest, calibrations, reports, parts of a build and trained layers each in themselves.

Not defended: who writes a gallery and its digests decides what is found (README, "Hosting"). Photos of one's own
gallery are the visitor's files, judged when they are opened (`test_images.py`); weights have pinned hashes
(`test_weights.py`).

Found and mended on the way: a manifest was believed whatever stood in it (an index's effort, a box, who was skipped); a
damaged part of a build ended every build after it in a traceback, and a part of another build was taken in; numbers
without end in calibrations, and nesting without end in any JSON, ended in a traceback; a trained head and the network
that comes along were used whatever had become of them, and the galleries were quietly built anew with that.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import gallery as galleries
from pipeline import indexes, weights
from pipeline.calibration import SHIPPED, read_calibrations
from pipeline.encoders import StoredEncoders
from pipeline.errors import GalleryDamaged, GalleryError, HubError, WeightsError
from pipeline.evaluate import FORMAT
from pipeline.files import sealed, write_json
from pipeline.gallery import Draft, Gallery, Part, load_gallery
from pipeline.indexes import open_index
from pipeline.layer import Layer, load_layer, save_layer
from pipeline.library import Library
from pipeline.reports import load_report, report_path
from pipeline.thumbnails import pack, unpack
from pipeline.types import silent
from pipeline.weights import PACKAGED, WeightStore
from tests.damage import BYTES, FEW, MANY, Harm, harms, is_a_sentence
from tests.tiny import PEOPLE, TinyEncoders, portrait

RECIPE, REDUCED = "mtcnn-facenet", "mtcnn-facenet-128"
FILES = ["manifest.json", "photos.json", "vectors.npy", "faces.npy", "annoy.ann", "kmeans.npz", "layer.safetensors"]


class Kept:
    """A file that was written, put back before every example."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.read_bytes()

    def harmed(self, harm: Harm) -> None:
        """The file as it is after that; a new one, since the old may still be mapped into memory."""
        self.put(harm(self.content))

    def put(self, content: bytes) -> None:
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(content)


# Galleries


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Two galleries, one with a layer of its own, of small portraits."""
    folder = tmp_path_factory.mktemp("world")
    for person, name in enumerate(PEOPLE):
        (folder / "photos" / name).mkdir(parents=True)
        for variation in range(4):
            portrait(person, variation).save(folder / "photos" / name / f"{variation}.png")
    library = Library(f"imagefolder:{folder / 'photos'}", TinyEncoders(), folder / "index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "find_spec", lambda name: None if name == "pymilvus" else find_spec(name))
        library.build([RECIPE, REDUCED])
    return library


def said_by(gallery: Gallery) -> dict[str, Any]:
    """All that a gallery says: whom it holds and where, and what its indexes answer."""
    facts = gallery.manifest["indexes"]
    indexes = {name: open_index(name, gallery.vectors, gallery.folder, facts[name]) for name in ("annoy", "kmeans")}
    found = {name: index.search(gallery.vectors[:5], 7) for name, index in indexes.items()}
    return {
        "columns": (gallery.photo_ids, gallery.people, gallery.stamps),
        "manifest": dict(gallery.manifest),
        "arrays": [
            gallery.vectors.tobytes(),
            gallery.faces.tobytes(),
            gallery.layer and gallery.layer.weight.tobytes(),
        ],
        "found": {name: (one.rows.tolist(), one.distances.tolist()) for name, one in found.items()},
    }


def fingerprint(library: Library, recipe: str) -> str:
    return str(library.searcher(recipe).gallery.manifest["fingerprint"])


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, world: Library) -> Iterator[Kept]:
    """Each file of a gallery in turn."""
    kept = Kept(world.folder(REDUCED) / request.param)
    yield kept
    kept.put(kept.content)


def test_a_gallery_is_what_was_built_or_says_that_it_is_damaged(file: Kept, world: Library) -> None:
    folder, wanted = file.path.parent, said_by(load_gallery(file.path.parent, None))
    built_as, other = fingerprint(world, REDUCED), world.folder(RECIPE) / file.path.name
    swapped = [other.read_bytes()] if other.exists() else []

    @MANY
    @given(harm=harms(*swapped), expected=st.sampled_from([built_as, None]))
    def damaged(harm: Harm, expected: str | None) -> None:
        file.harmed(harm)
        try:
            loaded = load_gallery(folder, expected)
        except GalleryError as error:
            assert is_a_sentence(str(error))
        else:
            assert said_by(loaded) == wanted

    damaged()


def test_the_next_build_mends_it(file: Kept, world: Library) -> None:
    folder = file.path.parent
    wanted = said_by(load_gallery(folder, None))
    wanted["manifest"].pop("build_seconds")

    @FEW
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        again = Library(world._dataset, TinyEncoders(), world.index_root)
        again.build([REDUCED])
        mended = said_by(again.searcher(REDUCED).gallery)
        mended["manifest"].pop("build_seconds")
        assert mended == wanted

    damaged()


# Parts of a build


def part_of(number: int, rows: range) -> Part:
    chance = np.random.default_rng(number)
    vectors, faces = chance.normal(size=(len(rows), 8)), chance.normal(size=(len(rows), 15))
    kept = np.array(rows[:-1], np.int64)
    skipped = ((rows[-1], "no face found"),)
    return Part(kept, vectors[:-1].astype(np.float32), faces[:-1].astype(np.float32), skipped)


def test_a_part_is_what_was_written_or_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleries, "PART_SIZE", 24)
    other, draft = Draft(tmp_path / "other", "f2", 72), Draft(tmp_path / "draft", "f1", 72)
    for number in range(3):
        draft.write(number, part_of(number, draft.rows(number)))
        other.write(number, part_of(9, other.rows(number)))
    file = Kept(draft._path(1))
    swapped = [draft._path(0).read_bytes(), draft._path(2).read_bytes(), other._path(1).read_bytes()]

    @MANY
    @given(harm=harms(*swapped))
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        if draft.missing() == [1]:
            with pytest.raises(GalleryDamaged) as error:
                draft.read(1)
            assert is_a_sentence(str(error.value))
            return
        assert draft.missing() == []
        read, wanted = draft.read(1), part_of(1, draft.rows(1))
        for name in ("rows", "vectors", "faces"):
            np.testing.assert_array_equal(getattr(read, name), getattr(wanted, name))
        assert read.skipped == wanted.skipped

    damaged()


@pytest.mark.parametrize("harm", [lambda _: b"", lambda content: content[:-40], lambda content: content + b"x"])
def test_a_build_goes_on_over_a_damaged_part(
    harm: Harm, world: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(galleries, "PART_SIZE", 5)
    library = Library(world._dataset, TinyEncoders(), tmp_path)
    assert library.build_shard([RECIPE], (0, 2)) > 0
    (first, *_) = sorted(library.folder(RECIPE).glob("parts-*/*.npz"))
    Kept(first).harmed(harm)
    library.build([RECIPE])
    wanted = (world.folder(RECIPE) / "vectors.npy").read_bytes()
    assert (library.folder(RECIPE) / "vectors.npy").read_bytes() == wanted


# What stands alone


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


def test_a_report_is_what_was_measured_or_none(world: Library) -> None:
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


def test_an_archive_of_thumbnails_is_what_was_packed_or_refused(tmp_path: Path, world: Library) -> None:
    pack(world.photos, world.thumbnail, tmp_path / "thumbnails.zip", silent)
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
            unpack(file.path, folder)
        except HubError as error:
            assert is_a_sentence(str(error))
        written = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert written.items() <= wanted.items()

    damaged()
