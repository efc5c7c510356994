"""Embedding what is new only: photos that came, went or changed since an earlier gallery, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import PhotoError
from pipeline.core.recipes import recipe_named
from pipeline.core.types import FloatArray
from pipeline.embeddings import embed
from pipeline.embeddings.build import build_embeddings, embeddings_folder
from pipeline.embeddings.store import Embeddings
from pipeline.photos.images import open_image
from pipeline.photos.sources import open_photos
from tests.fakes import FACELESS, TinyEncoders, portrait

RECIPE = "mtcnn-facenet"
APART = 1e-5  # in distance; rounding makes 2e-7


def build(folder: Path, root: Path, *recipes: str) -> tuple[dict[str, Embeddings], int]:
    """The galleries, and how many photos a detector saw for them."""
    encoders = TinyEncoders()
    photos = open_photos(f"imagefolder:{folder}")
    built = build_embeddings(photos, [encoders.get(recipe) for recipe in recipes or (RECIPE,)], root)
    return built, encoders.detector.photos_seen


def assert_alike(some: FloatArray, others: FloatArray, *, turned: bool) -> None:
    """The same vectors but for rounding, in distance: of other batches a processor makes other bytes.

    `turned` are those behind a PCA of the gallery. Rounding may turn its axes where the photos hardly vary along them,
    and with them every vector; what is promised then is that all are as far from each other as they were.
    """
    assert some.shape == others.shape
    if turned:
        some, others = (np.linalg.norm(rows[:, None] - rows[None], axis=2) for rows in (some, others))
        assert np.abs(some - others).max() <= APART
    else:
        assert np.linalg.norm(some - others, axis=1).max() <= APART


def assert_as_if_built_afresh(built: dict[str, Embeddings], folder: Path, root: Path) -> None:
    afresh, _ = build(folder, root, *built)
    for name, embeddings in afresh.items():
        assert (built[name].photo_ids, built[name].people) == (embeddings.photo_ids, embeddings.people)
        assert built[name].manifest["counts"] == embeddings.manifest["counts"]
        assert built[name].manifest["skipped"] == embeddings.manifest["skipped"]
        assert_alike(built[name].vectors, embeddings.vectors, turned=recipe_named(name).layer == "pca")
        np.testing.assert_array_equal(built[name].faces, embeddings.faces)


def test_a_photo_that_came_is_the_only_one_embedded(tiny_folder: Path, tmp_path: Path) -> None:
    build(tiny_folder, tmp_path / "index")
    portrait(0, 2).save(tiny_folder / "Ada" / "0a.png")
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 1
    assert len(built[RECIPE]) == 25
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


def test_photos_that_went_cost_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    build(tiny_folder, tmp_path / "index")
    (tiny_folder / "Bruno" / "1.png").unlink()
    (tiny_folder / FACELESS).unlink()
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 0
    assert len(built[RECIPE]) == 23
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


def test_a_photo_that_changed_is_embedded_again(tiny_folder: Path, tmp_path: Path) -> None:
    before, _ = build(tiny_folder, tmp_path / "index")
    portrait(5, 3).save(tiny_folder / "Ada" / "0.png")
    os.utime(tiny_folder / "Ada" / "0.png", ns=(1, 1))
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 1
    assert np.linalg.norm(built[RECIPE].vectors[0] - before[RECIPE].vectors[0]) > 0.1
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


def test_a_photo_that_was_moved_has_another_id_and_person(tiny_folder: Path, tmp_path: Path) -> None:
    build(tiny_folder, tmp_path / "index")
    (tiny_folder / "Ada" / "0.png").rename(tiny_folder / "Farid" / "from Ada.png")
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 1
    assert built[RECIPE].people.count("Farid") == 5
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


def test_a_photo_that_could_not_be_read_is_tried_again(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was wrong with it may have been the disk's fault."""

    def fails(source: Path) -> Image.Image:
        if source.parent.name == "Ada":
            raise PhotoError("The disk said no.")
        return open_image(source)

    with monkeypatch.context() as patch:
        patch.setattr(embed, "open_image", fails)
        before, _ = build(tiny_folder, tmp_path / "index")
    assert len(before[RECIPE]) == 20
    (tiny_folder / "Bruno" / "0.png").unlink()
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 4
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


def test_several_recipes_know_their_own(tiny_folder: Path, tmp_path: Path) -> None:
    build(tiny_folder, tmp_path / "index", RECIPE, "resnet50", "mtcnn-facenet-128")
    portrait(0, 2).save(tiny_folder / "Ada" / "0a.png")
    built, seen = build(tiny_folder, tmp_path / "index", RECIPE, "mtcnn-reid", "resnet50", "mtcnn-facenet-128")
    assert seen == 26, "the recipe that is new needs every photo"
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


@pytest.mark.parametrize("harm", ["vectors.npy", "manifest.json"])
def test_a_damaged_gallery_is_not_believed(tiny_folder: Path, tmp_path: Path, harm: str) -> None:
    build(tiny_folder, tmp_path / "index")
    photos = open_photos(f"imagefolder:{tiny_folder}")
    (embeddings_folder(tmp_path / "index", photos, RECIPE) / harm).write_bytes(b"{}")
    portrait(0, 2).save(tiny_folder / "Ada" / "0a.png")
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 26
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")


def test_a_gallery_by_other_weights_is_not_believed(tiny_folder: Path, tmp_path: Path) -> None:
    photos = open_photos(f"imagefolder:{tiny_folder}")
    there = embeddings_folder(tmp_path / "index", photos, RECIPE)
    build(tiny_folder, tmp_path / "index", "mtcnn-reid")
    embeddings_folder(tmp_path / "index", photos, "mtcnn-reid").rename(there)
    built, seen = build(tiny_folder, tmp_path / "index")
    assert seen == 25
    assert_as_if_built_afresh(built, tiny_folder, tmp_path / "afresh")
