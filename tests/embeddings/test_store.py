"""Galleries on disk: what was saved comes back; anything else is missing, stale or damaged, and never loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import GalleryDamaged, GalleryError, GalleryMissing, GalleryStale
from pipeline.core.files import sealed, write_json
from pipeline.core.geometry import unit_rows
from pipeline.core.types import Face
from pipeline.embeddings import store
from pipeline.embeddings.store import (
    FACE_COLUMNS,
    Draft,
    Embeddings,
    Part,
    face_row,
    former_collection,
    load_embeddings,
    seal,
)
from pipeline.encoder.layer import Layer, save_layer
from pipeline.galleries.gallery import Gallery
from tests.fakes import portrait

FILES = ["vectors.npy", "faces.npy", "photos.json", "extra.bin"]
INDEXES = {"one": {"files": ["extra.bin"]}, "other": {"files": []}}
IDS, PEOPLE, STAMPS = ["a/1", "a/2", "b/1", "é/1"], ["a", "a", "b", "é"], ["1", "2", "3", "4"]
COLUMNS = {"photo_ids": IDS, "people": PEOPLE, "stamps": STAMPS}


def save(folder: Path, fingerprint: str = "f1", photos: dict[str, Any] | None = None) -> Draft:
    """A sealed gallery of four photos, with one file of an index."""
    draft = Draft(folder, fingerprint, 4)
    vectors = unit_rows(np.random.default_rng(0).normal(size=(4, 8)))
    faces = np.arange(4 * FACE_COLUMNS, dtype=np.float32).reshape(4, -1)
    draft.finish({"vectors": vectors, "faces": faces}, photos or COLUMNS)
    (folder / "extra.bin").write_bytes(b"trees")
    seal(folder, {"fingerprint": fingerprint, "counts": {"indexed": 4}, "indexes": INDEXES})
    return draft


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "gallery")
    return tmp_path / "gallery"


def reseal(folder: Path) -> None:
    """Makes the manifest's hashes those of the files as they are now."""
    seal(folder, {"fingerprint": "f1", "indexes": INDEXES})


def test_what_was_saved_comes_back(folder: Path) -> None:
    loaded = load_embeddings(folder, "f1")
    np.testing.assert_array_equal(loaded.vectors, unit_rows(np.random.default_rng(0).normal(size=(4, 8))))
    np.testing.assert_array_equal(loaded.faces, np.arange(4.0 * FACE_COLUMNS).reshape(4, -1))
    assert (loaded.photo_ids, loaded.people, loaded.stamps) == (tuple(IDS), tuple(PEOPLE), tuple(STAMPS))
    assert loaded.layer is None
    assert loaded.manifest["counts"] == {"indexed": 4}
    assert len(loaded) == 4
    assert loaded.vectors.dtype == loaded.faces.dtype == np.float32
    assert not list(folder.glob(".*")), "nothing temporary is left"


def test_a_gallery_checks_its_lengths() -> None:
    with pytest.raises(ValueError, match="same length"):
        Embeddings(
            Path(), np.zeros((2, 3), np.float32), np.zeros((2, 15), np.float32), ("a", "b"), ("a",), ("", ""), {}
        )


def test_a_layer_that_was_fitted_on_the_gallery_comes_back(folder: Path) -> None:
    layer = Layer(np.ones((2, 8), np.float32), np.zeros(2, np.float32))
    save_layer(layer, folder / "layer.safetensors")
    seal(folder, {"fingerprint": "f1", "indexes": INDEXES, "layer": {}})
    np.testing.assert_array_equal(load_embeddings(folder, "f1").layer.weight, layer.weight)
    (folder / "layer.safetensors").write_bytes(b"no layer")
    with pytest.raises(GalleryDamaged, match=r"layer\.safetensors"):
        load_embeddings(folder, "f1")
    seal(folder, {"fingerprint": "f1", "indexes": INDEXES, "layer": {}})
    with pytest.raises(GalleryDamaged, match="arrays"):
        load_embeddings(folder, "f1")


def test_a_gallery_of_any_fingerprint_can_be_asked_for(folder: Path) -> None:
    assert load_embeddings(folder, None).photo_ids == tuple(IDS)


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ({"indexes": {"milvus": {"collection": "a"}}, "former_collection": "b"}, "a"),
        ({"indexes": {"exact": {}}, "former_collection": "b"}, "b"),
        ({"indexes": {}, "former_collection": ""}, ""),
        ({"indexes": []}, ""),
        ([], ""),
        ({"indexes": {"milvus": 3}}, ""),
    ],
)
def test_the_collection_of_a_gallery_as_it_was(tmp_path: Path, manifest: object, name: str) -> None:
    assert former_collection(tmp_path) == ""
    write_json(tmp_path / "manifest.json", sealed(manifest) if isinstance(manifest, dict) else manifest)
    assert former_collection(tmp_path) == name


# Parts


def part(rows: list[int], skipped: tuple[tuple[int, str], ...] = ()) -> Part:
    random = np.random.default_rng(len(rows))
    vectors = random.normal(size=(len(rows), 8)).astype(np.float32)
    return Part(np.array(rows, np.int64), vectors, random.normal(size=(len(rows), 15)).astype(np.float32), skipped)


@pytest.mark.parametrize(
    "kept", [part([0, 2, 3], ((1, "no face found"),)), part([4, 5]), part([], ((6, "Überbelichtet."), (7, "")))]
)
def test_parts_come_back(tmp_path: Path, kept: Part) -> None:
    draft = Draft(tmp_path, "f1", 1000)
    draft.write(1, kept)
    back = Draft(tmp_path, "f1", 1000).read(1)
    np.testing.assert_array_equal(back.rows, kept.rows)
    np.testing.assert_array_equal(back.vectors, kept.vectors)
    np.testing.assert_array_equal(back.faces, kept.faces)
    assert back.vectors.shape == (len(kept.rows), 8)
    assert back.skipped == kept.skipped


def test_parts_cover_the_photos_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "PART_SIZE", 4)
    for photos in range(14):
        draft = Draft(tmp_path, "f1", photos)
        assert [row for number in range(len(draft)) for row in draft.rows(number)] == list(range(photos))
        assert draft.missing() == list(range(len(draft)))
    draft.write(2, part([8]))
    assert Draft(tmp_path, "f1", 13).missing() == [0, 1, 3]


def test_parts_of_another_fingerprint_are_cleared_and_none_else(folder: Path) -> None:
    Draft(folder, "old", 1000).write(0, part([0]))
    ours = Draft(folder, "new", 1000)
    assert not list(folder.glob("parts-old*"))
    assert ours.missing() == [0, 1, 2, 3, 4]
    ours.write(3, part([720]))
    assert Draft(folder, "new", 1000).missing() == [0, 1, 2, 4]
    load_embeddings(folder, "f1")  # the finished gallery beside them is not touched
    ours.clear()
    assert not list(folder.glob("parts-*"))
    ours.clear()


def test_a_part_that_failed_halfway_does_not_count(tmp_path: Path) -> None:
    draft = Draft(tmp_path, "f1", 1000)
    with pytest.raises(ValueError, match="allow_pickle"):
        draft.write(0, Part(np.zeros(1, np.int64), np.array([object()]), np.zeros((1, 15), np.float32), ()))
    assert draft.missing() == [0, 1, 2, 3, 4]


def test_a_gallery_being_replaced_is_not_in_use_until_it_is_sealed(folder: Path) -> None:
    draft = Draft(folder, "f1", 4)
    draft.finish({"vectors": np.zeros((4, 8), np.float32)}, COLUMNS)
    with pytest.raises(GalleryMissing):
        load_embeddings(folder, "f1")


# What does not load


def test_without_a_manifest_it_is_missing(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").unlink()
    for place in (folder, tmp_path / "nowhere"):
        with pytest.raises(GalleryMissing, match="pipeline build"):
            load_embeddings(place, "f1")


def test_of_another_fingerprint_or_format_it_is_stale(folder: Path) -> None:
    with pytest.raises(GalleryStale):
        load_embeddings(folder, "f2")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_json(folder / "manifest.json", sealed(manifest | {"format": 0}))
    with pytest.raises(GalleryStale):
        load_embeddings(folder, "f1")


def test_of_an_earlier_version_it_is_not_called_damaged(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["sha256"]
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(GalleryStale, match="was built by an earlier version; build it again"):
        load_embeddings(folder, "f1")


def vouched(manifest: dict[str, Any]) -> bytes:
    """A manifest with its own right hash."""
    return json.dumps(sealed(manifest)).encode()


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"format"',
        b"\xff\xfe",
        b"[" * 100_000,
        vouched({"format": 1}),
        vouched({"format": 1, "fingerprint": "f1", "files": 3}),
        vouched({"format": 1, "fingerprint": "f1", "files": [[1, 2]]}),
        vouched({"format": 1, "fingerprint": "f1", "files": {}}),
        vouched({"format": 1, "fingerprint": "f1", "files": {"vectors.npy": None}}),
        vouched({"format": 1, "fingerprint": "f1", "files": {"\0": ""}}),
        vouched({"format": 1, "fingerprint": "f1", "files": {"": ""}}),
    ],
)
def test_with_a_broken_manifest_it_is_damaged(folder: Path, manifest: bytes) -> None:
    (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(GalleryDamaged, match="damaged"):
        load_embeddings(folder, "f1")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [truncate, empty, flip, lengthen, Path.unlink, into_folder])
@pytest.mark.parametrize("name", FILES)
def test_with_any_file_changed_or_gone_it_is_damaged(folder: Path, name: str, harm: Callable[[Path], None]) -> None:
    harm(folder / name)
    with pytest.raises(GalleryDamaged, match=name):
        load_embeddings(folder, "f1")


@pytest.mark.parametrize(
    "photos",
    [
        COLUMNS | {"photo_ids": IDS[:3]},
        COLUMNS | {"people": [*PEOPLE, "c"]},
        COLUMNS | {"stamps": STAMPS[1:]},
        {"photo_ids": [], "people": [], "stamps": []},
        {"photo_ids": IDS},
        COLUMNS | {"photo_ids": 4},
    ],
)
def test_with_other_numbers_of_photos_it_is_damaged(tmp_path: Path, photos: dict[str, Any]) -> None:
    save(tmp_path, photos=photos)
    with pytest.raises(GalleryDamaged, match="damaged"):
        load_embeddings(tmp_path, "f1")


FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def never_loads(folder: Path) -> None:
    with pytest.raises(GalleryError):
        load_embeddings(folder, "f1")


@FEW
@given(content=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_other_bytes_are_a_manifest(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    never_loads(folder)


@FEW
@given(files=JSON)
def test_no_other_list_of_files_is_taken(folder: Path, files: object) -> None:
    write_json(folder / "manifest.json", sealed({"format": 1, "fingerprint": "f1", "files": files}))
    never_loads(folder)


@FEW
@given(name=st.sampled_from(FILES), content=st.binary(max_size=300))
def test_no_other_bytes_are_a_file(folder: Path, name: str, content: bytes) -> None:
    shutil.copy(folder / name, folder / "kept")
    (folder / name).write_bytes(content)
    never_loads(folder)
    shutil.copy(folder / "kept", folder / name)
    load_embeddings(folder, "f1")


@FEW
@given(name=st.sampled_from(FILES[:3]), content=st.binary(max_size=300))
@example("vectors.npy", b"")
@example("faces.npy", b"")
@example("vectors.npy", b"\x93NUMPY\x01\x00\x04\x00((((")
@example("photos.json", b"[" * 100_000)
def test_even_under_a_manifest_that_vouches_for_them_other_bytes_do_not_load(
    folder: Path, name: str, content: bytes
) -> None:
    shutil.copy(folder / name, folder / "kept")
    (folder / name).write_bytes(content)
    reseal(folder)
    never_loads(folder)
    shutil.copy(folder / "kept", folder / name)
    reseal(folder)


# Faces as rows


def test_a_face_is_kept_as_a_row_and_a_whole_photo_as_nan() -> None:
    face = Face((1, 2, 3, 4), 0.5, ((5, 6), (7, 8), (9, 10), (11, 12), (13, 14)))
    np.testing.assert_array_equal(face_row(face), [1, 2, 3, 4, 0.5, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    nothing = face_row(None)
    assert nothing.shape == (FACE_COLUMNS,)
    assert np.isnan(nothing).all()


def test_a_photos_face_is_known_by_the_photos_id(folder: Path) -> None:
    loaded = load_embeddings(folder, "f1")
    assert loaded.box("a/2") == (15.0, 16.0, 17.0, 18.0)
    assert loaded.box("nobody/1") is None
    faces = loaded.faces.copy()
    faces[1] = np.nan
    assert replace(loaded, faces=faces).box("a/2") is None, "a whole photo"


def test_the_face_of_a_row_is_the_face_that_was_embedded(tiny: Gallery) -> None:
    tiny.build(["mtcnn-reid", "resnet50"])
    built = tiny.searcher("mtcnn-reid").embeddings
    face = tiny.encoders.detector.detect([portrait(3, 1)])[0][0]
    found = built.face(built.photo_ids.index("Dimitri/1.png"))
    assert found is not None
    assert found.box == face.box
    assert found.confidence == pytest.approx(face.confidence)
    assert np.allclose(found.landmarks, face.landmarks)
    assert tiny.searcher("resnet50").embeddings.face(0) is None
