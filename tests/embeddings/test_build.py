"""Building: what is indexed and what is skipped, and that neither interruption, kill nor change harms a gallery."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import GalleryMissing, GalleryStale, SettingsError
from pipeline.core.progress import Progress
from pipeline.core.recipes import RECIPES
from pipeline.core.types import Face, FloatArray
from pipeline.embeddings import store
from pipeline.embeddings.build import build_embeddings, build_shard, embeddings_folder, open_embeddings
from pipeline.embeddings.store import Embeddings, seal
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.faces import centred
from pipeline.galleries.gallery import Gallery
from pipeline.indexes.registry import available, open_index
from pipeline.photos.photos import Photos
from pipeline.photos.sources import open_photos
from pipeline.search.searcher import open_searcher
from tests.fakes import (
    BROKEN,
    FACELESS,
    PEOPLE,
    PHOTOS_EACH,
    TinyDetector,
    TinyEncoders,
    TinyNetwork,
    draw,
    make_folder,
    portrait,
)

ROOT = Path(__file__).parents[2]
RECIPE = "mtcnn-facenet"
PHOTOS = len(PEOPLE) * PHOTOS_EACH + 2
DECODED = PHOTOS - 1  # all but the broken one


@pytest.fixture
def photos(tiny_folder: Path) -> Photos:
    return open_photos(f"imagefolder:{tiny_folder}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART_SIZE", 4)


def build(photos: Photos, root: Path, encoders: TinyEncoders | None = None) -> Embeddings:
    return build_embeddings(photos, [(encoders or TinyEncoders()).get(RECIPE)], root)[RECIPE]


def vector_bytes(photos: Photos, root: Path, recipe: str = RECIPE) -> bytes:
    return (embeddings_folder(root, photos, recipe) / "vectors.npy").read_bytes()


def test_the_tiny_gallery(photos: Photos, root: Path) -> None:
    built = build(photos, root)
    assert built.manifest["counts"] == {
        "photos": PHOTOS, "indexed": PHOTOS - 2, "people": len(PEOPLE), "no_face": 1, "unreadable": 1,
    }  # fmt: skip
    skipped = {entry["photo_id"]: entry["reason"] for entry in built.manifest["skipped"]}
    assert list(skipped) == [FACELESS, BROKEN]
    assert skipped[FACELESS] == "no face found"
    assert "cannot be read as a photo" in skipped[BROKEN]
    expected = [(f"{name}/{number}.png", name) for name in PEOPLE for number in range(PHOTOS_EACH)]
    assert list(zip(built.photo_ids, built.people, strict=True)) == expected
    assert built.vectors.shape == (24, RECIPES[RECIPE].dim)
    assert set(built.manifest["indexes"]) == set(available())
    assert built.manifest["recipe"]["name"] == RECIPE
    assert built.manifest["weights"] == {"sha256": "tiny-facenet", "custom": False}
    assert built.manifest["precisions"] == {"mtcnn": "f32", "facenet": "f32"}
    assert not list(built.folder.glob("parts-*")), "the parts are gone"


@pytest.mark.parametrize(("names", "for_one"), [((RECIPE,), True), ((RECIPE, f"{RECIPE}+central"), False)])
def test_small_faces_are_left_out_only_where_nobody_chooses_the_face_in_the_middle(
    names: tuple[str, ...], for_one: bool, photos: Photos, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders, asked = TinyEncoders(), set[bool]()
    detect = TinyDetector.detect

    def noted(self: TinyDetector, images: Sequence[Image.Image], *, for_one: bool = False) -> list[tuple[Face, ...]]:
        asked.add(for_one)
        return detect(self, images)

    monkeypatch.setattr(TinyDetector, "detect", noted)
    monkeypatch.setattr(photos, "every_face", False)
    build_embeddings(photos, [encoders.get(name) for name in names], root)
    assert asked == {for_one}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_vector_and_face_is_that_of_its_photo(photos: Photos, root: Path, recipe: str) -> None:
    """The skipped photos in the middle must not shift anything."""
    encoders = TinyEncoders()
    built = build_embeddings(photos, [encoders.get(recipe)], root)[recipe]
    assert len(built) == (24 if RECIPES[recipe].finds_faces else 25)
    encoder = open_searcher(built, encoders.get(recipe)).encoder
    for photo_id, person, vector, face in zip(built.photo_ids, built.people, built.vectors, built.faces, strict=True):
        image = portrait(PEOPLE.index(person), int(photo_id[-5])) if photo_id != FACELESS else draw()
        (encoded,) = encoder.encode([image], choose=centred)
        np.testing.assert_allclose(vector, encoded.vector, atol=1e-5)
        if RECIPES[recipe].finds_faces:
            np.testing.assert_allclose(face[:5], [*encoded.face.box, 0.99])
            np.testing.assert_allclose(face[5:], np.ravel(encoded.face.landmarks), rtol=1e-6)
        else:
            assert np.isnan(face).all()


def test_the_indexes_on_disk_are_those_of_the_vectors(photos: Photos, root: Path) -> None:
    built = build(photos, root)
    for name in available():
        index = open_index(name, built.vectors, built.folder, built.manifest["indexes"][name])
        assert index.search(built.vectors, 1).rows[:, 0].tolist() == list(range(24))


def test_an_index_that_came_later_is_added_without_embedding_again(photos: Photos, root: Path) -> None:
    built = build(photos, root)
    seal(built.folder, {**built.manifest, "indexes": {"exact": built.manifest["indexes"]["exact"]}})
    encoders = TinyEncoders()
    again = build(photos, root, encoders)
    assert encoders.detector.photos_seen == 0
    assert again.manifest == built.manifest


def test_a_finished_gallery_is_not_built_again(photos: Photos, root: Path) -> None:
    first, encoders = build(photos, root), TinyEncoders()
    again = build(photos, root, encoders)
    assert encoders.detector.photos_seen == 0
    assert again.manifest == first.manifest


def test_progress_goes_from_nothing_to_everything(photos: Photos, root: Path, small_parts: None) -> None:
    seen: list[Progress] = []
    build_embeddings(photos, [TinyEncoders().get(RECIPE)], root, seen.append)
    assert [progress.done for progress in seen] == [0, 4, 8, 12, 16, 20, 24, 26, *range(len(available()) + 1)]
    photos_seen, indexes_seen = seen[:8], seen[8:]
    assert {(progress.task, progress.total, progress.unit) for progress in photos_seen} == {("Indexing", 26, "photos")}
    assert {(progress.task, progress.total, progress.unit) for progress in indexes_seen} == {
        (f"Building the indexes of {RECIPE}", len(available()), "indexes")
    }
    assert all(progress.worked == progress.done for progress in seen)


# Shards


def test_shards_in_any_order_merge_to_the_bytes_of_a_single_build(
    photos: Photos, root: Path, tmp_path: Path, small_parts: None
) -> None:
    build(photos, tmp_path / "single")
    workers = [TinyEncoders() for _ in range(3)]
    left = [build_shard(photos, [workers[i].get(RECIPE)], root, (i, 3)) for i in (2, 0, 1)]
    assert left == [5, 2, 0]
    # Seven parts of four photos, the last of two; the broken file is never seen by a detector.
    assert sorted(worker.detector.photos_seen for worker in workers) == [7, 8, 10]
    with pytest.raises(GalleryMissing):
        open_embeddings(photos, TinyEncoders().get(RECIPE), root)
    merging = TinyEncoders()
    build(photos, root, merging)
    assert merging.detector.photos_seen == 0
    assert vector_bytes(photos, root) == vector_bytes(photos, tmp_path / "single")


@pytest.mark.slow
def test_two_shards_at_once_in_two_processes(photos: Photos, root: Path, tmp_path: Path, small_parts: None) -> None:
    build(photos, tmp_path / "single")
    script = """
import sys
from pathlib import Path
from pipeline.embeddings import store
store.PART_SIZE = 4
from pipeline.embeddings.build import build_shard
from pipeline.photos.sources import open_photos
from tests.fakes import TinyEncoders
photos = open_photos(sys.argv[1])
build_shard(photos, [TinyEncoders().get(sys.argv[4])], Path(sys.argv[2]), (int(sys.argv[3]), 2))
"""
    dataset = f"imagefolder:{tmp_path / 'photos'}"
    command = [sys.executable, "-c", script, dataset, str(root)]
    workers = [subprocess.Popen([*command, str(i), RECIPE], cwd=ROOT) for i in (0, 1)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    merging = TinyEncoders()
    build(photos, root, merging)
    assert merging.detector.photos_seen == 0
    assert vector_bytes(photos, root) == vector_bytes(photos, tmp_path / "single")


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_cannot_be_is_refused(photos: Photos, root: Path, shard: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match="such as 0/2 and 1/2"):
        build_shard(photos, [TinyEncoders().get(RECIPE)], root, shard)


# Cut short


def interrupted(photos: Photos, root: Path, after: int, recipes: tuple[str, ...] = (RECIPE,)) -> int:
    """Builds until so many photos are done, then is interrupted; how many the detector saw."""
    encoders = TinyEncoders()

    def report(progress: Progress) -> None:
        if progress.done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_embeddings(photos, [encoders.get(recipe) for recipe in recipes], root, report)
    return encoders.detector.photos_seen


@pytest.mark.parametrize(("after", "parts_kept"), [(0, 0), (3, 0), (9, 2), (13, 3), (26, 6)])
def test_an_interrupted_build_goes_on_where_it_stopped(
    photos: Photos, root: Path, tmp_path: Path, small_parts: None, after: int, parts_kept: int
) -> None:
    build(photos, tmp_path / "undisturbed")
    interrupted(photos, root, after)
    with pytest.raises(GalleryMissing):
        open_embeddings(photos, TinyEncoders().get(RECIPE), root)
    kept = list(embeddings_folder(root, photos, RECIPE).glob("parts-*/*.npz"))
    assert len(kept) == parts_kept
    encoders, seen = TinyEncoders(), list[Progress]()
    build_embeddings(photos, [encoders.get(RECIPE)], root, seen.append)
    broken_in_kept = 4 * parts_kept > photos.photo_ids.index(BROKEN)
    assert encoders.detector.photos_seen == PHOTOS - 4 * parts_kept - (not broken_in_kept)
    assert (seen[0].done, seen[0].worked) == (4 * parts_kept, 0)
    last = [progress for progress in seen if progress.unit == "photos"][-1]
    assert (last.done, last.worked) == (PHOTOS, PHOTOS - 4 * parts_kept)
    assert vector_bytes(photos, root) == vector_bytes(photos, tmp_path / "undisturbed")


class Counting(TinyNetwork):
    """A tiny network that counts its crops."""

    crops_seen = 0

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        self.crops_seen += len(crops)
        return super().embed(crops)


def test_a_second_recipe_joins_a_build_that_was_interrupted(
    photos: Photos, root: Path, tmp_path: Path, small_parts: None
) -> None:
    both = (RECIPE, "mtcnn-reid")
    interrupted(photos, root, 9)
    encoders = TinyEncoders()
    network = Counting(RECIPES[RECIPE].dim)
    encoders.get(RECIPE)._network = network
    all_embeddings = build_embeddings(photos, [encoders.get(recipe) for recipe in both], root)
    assert encoders.detector.photos_seen == DECODED
    assert network.crops_seen == 24 - 8, "two parts of four were finished"
    for recipe in both:
        build_embeddings(photos, [TinyEncoders().get(recipe)], tmp_path / "alone")
        assert vector_bytes(photos, root, recipe) == vector_bytes(photos, tmp_path / "alone", recipe)
        assert all_embeddings[recipe].manifest["counts"]["indexed"] == 24


BUILDER = """
import sys, time
from pathlib import Path
from pipeline.embeddings import store
from pipeline.embeddings.build import build_embeddings
from pipeline.photos.sources import open_photos
from tests import fakes as tiny

class Slow(tiny.TinyNetwork):
    def embed(self, crops):
        time.sleep(float(sys.argv[3]))
        return super().embed(crops)

store.PART_SIZE, tiny.TinyNetwork = 4, Slow
encoders = tiny.TinyEncoders()
built = build_embeddings(open_photos("imagefolder:" + sys.argv[1]), [encoders.get(sys.argv[4])], Path(sys.argv[2]))
print(encoders.detector.photos_seen, len(built[sys.argv[4]]))
"""


def builder(folder: Path, root: Path, seconds_a_batch: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(folder), str(root), str(seconds_a_batch), RECIPE]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_build_that_was_killed_goes_on(
    photos: Photos, tiny_folder: Path, root: Path, tmp_path: Path, small_parts: None
) -> None:
    build(photos, tmp_path / "undisturbed")
    folder = embeddings_folder(root, photos, RECIPE)
    with builder(tiny_folder, root, 0.4) as process:
        deadline = time.monotonic() + 300
        while len(list(folder.glob("parts-*/*.npz"))) < 2:
            assert process.poll() is None, "the build ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = len(list(folder.glob("parts-*/*.npz")))
    assert 2 <= kept < 7, "killed in the middle"
    assert not (folder / "manifest.json").exists()
    encoders = TinyEncoders()
    build(photos, root, encoders)
    assert encoders.detector.photos_seen <= DECODED - 4 * kept + 1
    assert vector_bytes(photos, root) == vector_bytes(photos, tmp_path / "undisturbed")


@pytest.mark.slow
def test_two_processes_that_build_at_once_both_succeed(
    photos: Photos, tiny_folder: Path, root: Path, tmp_path: Path, small_parts: None
) -> None:
    with builder(tiny_folder, root, 0.1) as one, builder(tiny_folder, root, 0.1) as other:
        said = [process.communicate(timeout=300)[0].split() for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0)
    assert sorted(said) == [["0", "24"], [str(DECODED), "24"]], "one of them waited and found everything done"
    build(photos, tmp_path / "undisturbed")
    assert vector_bytes(photos, root) == vector_bytes(photos, tmp_path / "undisturbed")


# Several recipes


def test_several_recipes_decode_and_detect_once(photos: Photos, root: Path, tmp_path: Path) -> None:
    encoders = TinyEncoders()
    all_embeddings = build_embeddings(photos, [encoders.get(recipe) for recipe in RECIPES], root)
    assert list(all_embeddings) == list(RECIPES)
    assert encoders.detector.photos_seen == DECODED
    for recipe, built in all_embeddings.items():
        assert built.manifest["recipe"]["name"] == recipe
        alone = build_embeddings(photos, [TinyEncoders().get(recipe)], tmp_path / "alone")[recipe]
        np.testing.assert_array_equal(built.vectors, alone.vectors)
        assert built.manifest["skipped"] == alone.manifest["skipped"]


def test_only_what_is_missing_is_built(photos: Photos, root: Path) -> None:
    first, encoders = build(photos, root), TinyEncoders()
    all_embeddings = build_embeddings(photos, [encoders.get(recipe) for recipe in ("resnet50", RECIPE)], root)
    assert encoders.detector.photos_seen == 0, "the one recipe that was missing looks for no face"
    assert all_embeddings[RECIPE].manifest == first.manifest
    assert len(all_embeddings["resnet50"]) == 25


def test_a_base_that_is_built_is_left_as_it_is(photos: Photos, root: Path) -> None:
    build(photos, root)
    folder = embeddings_folder(root, photos, RECIPE)
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    reduced_name = f"{RECIPE}-5"
    encoders = TinyEncoders()
    assert list(build_embeddings(photos, [encoders.get(reduced_name)], root)) == [reduced_name]
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before
    assert encoders.detector.photos_seen == 0


# Stale and damaged


def test_a_gallery_of_other_photos_is_built_again(
    tiny_folder: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), root)
    gallery.build([RECIPE])
    assert not caplog.records
    portrait(0, 2).save(tiny_folder / "Ada" / "new.png")
    photos = open_photos(f"imagefolder:{tiny_folder}")
    with pytest.raises(GalleryStale):
        open_embeddings(photos, TinyEncoders().get(RECIPE), root)
    built = build(photos, root)
    assert len(built) == 25
    assert built.photo_ids[4] == "Ada/new.png"
    assert not caplog.records, "photos come and go"


def test_a_damaged_gallery_is_built_again(photos: Photos, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(photos, root)
    before = vector_bytes(photos, root)
    (embeddings_folder(root, photos, RECIPE) / "vectors.npy").write_bytes(before[:-5])
    encoders = TinyEncoders()
    build(photos, root, encoders)
    assert encoders.detector.photos_seen == DECODED
    assert vector_bytes(photos, root) == before
    assert ["damaged (vectors.npy)" in record.message for record in caplog.records] == [True]


def test_a_gallery_of_other_weights_is_stale(photos: Photos, root: Path) -> None:
    build(photos, root)
    encoder = TinyEncoders().get("mtcnn-reid")
    other = Encoder(RECIPES[RECIPE], encoder._network, encoder.detector, encoder.weights)
    with pytest.raises(GalleryStale):
        open_embeddings(photos, other, root)


# Odd galleries


def folder_of(tmp_path: Path, **photos: object) -> Photos:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name, photo in photos.items():
        if isinstance(photo, bytes):
            (folder / f"{name}.png").write_bytes(photo)
        else:
            photo.save(folder / f"{name}.png")
    return open_photos(f"imagefolder:{folder}")


def test_a_gallery_in_which_no_photo_has_a_face(tmp_path: Path, root: Path) -> None:
    photos = folder_of(tmp_path, one=draw(), two=draw())
    built = build(photos, root)
    assert len(built) == 0
    assert built.vectors.shape == (0, RECIPES[RECIPE].dim)
    assert built.manifest["counts"]["no_face"] == 2
    encoders = TinyEncoders()
    assert len(build(photos, root, encoders)) == 0
    assert encoders.detector.photos_seen == 0, "it is a finished gallery"


def test_a_gallery_of_files_none_of_which_is_a_photo(tmp_path: Path, root: Path) -> None:
    photos = folder_of(tmp_path, one=b"", two=b"not a photo")
    encoders = TinyEncoders()
    built = build(photos, root, encoders)
    assert len(built) == 0
    assert encoders.detector.photos_seen == 0
    assert built.manifest["counts"]["unreadable"] == 2


def test_a_whole_part_without_a_face_is_no_hole(tmp_path: Path, root: Path, small_parts: None) -> None:
    odd = {f"n{i}": draw() if 4 <= i < 8 else portrait(i % 6) for i in range(10)}
    built = build(folder_of(tmp_path, **odd), root)
    assert built.photo_ids == ("n0.png", "n1.png", "n2.png", "n3.png", "n8.png", "n9.png")


def test_a_gallery_of_one_photo(tmp_path: Path, root: Path) -> None:
    assert build(folder_of(tmp_path, one=portrait(0)), root).people == ("one",)


def test_galleries_of_two_folders_of_one_name_are_kept_apart(tmp_path: Path, root: Path) -> None:
    one = open_photos(f"imagefolder:{make_folder(tmp_path / 'a' / 'photos')}")
    other = open_photos(f"imagefolder:{make_folder(tmp_path / 'b' / 'photos')}")
    build(one, root)
    build(other, root)
    assert len(open_embeddings(one, TinyEncoders().get(RECIPE), root)) == 24


def test_a_build_removes_what_killed_processes_left_and_no_copy_that_is_being_made(tiny: Gallery) -> None:
    folder = tiny.folder(RECIPE)
    folder.mkdir(parents=True)
    written, left, new = (folder / f".vectors.npy.1-1.{name}" for name in ("tmp", "apart", "new.apart"))
    for path in (written, left, new):
        path.touch()
    os.utime(left, (0, 0))
    tiny.build([RECIPE])
    assert [path.exists() for path in (written, left, new)] == [False, False, True]
