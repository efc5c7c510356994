"""Every file that is written here, damaged: what is read is what was written, or one sentence says what to do.

The threat is a disk that rots, a copy that was cut short, a power cut, a folder in which versions were mixed, and a
curious hand; and of what is fetched from the Hub, whoever may write there. What is defended: nobody is shown an answer
made of other numbers than were computed, nobody sees a traceback, nothing in a file is ever run, and the next build
mends a gallery to the very same vectors. So every file has a digest: arrays, indexes and photos' names in the gallery's
manifest, and the manifest, calibrations, reports, parts of a build and trained layers each in themselves. What stands
alone: `test_damage_alone.py`; what a training keeps: `test_damage_training.py`.

Not defended: who writes a gallery and its digests decides what is found (pipeline/galleries/README.md). Photos of one's
own gallery are the visitor's files, judged when they are opened (`test_images.py`); weights have pinned hashes
(`test_weights.py`), and so have LFW's pairs (`test_pairs.py`). Small pictures and the report as a web page are made of
what is defended and read by browsers only: a damaged one is shown damaged, until it is removed.

Found and mended on the way: a manifest was believed whatever stood in it (an index's effort, a box, who was skipped); a
damaged part of a build ended every build after it in a traceback, and a part of another build was taken in; numbers
without end in calibrations, and nesting without end in any JSON, ended in a traceback; a trained head and the network
that comes along were used whatever had become of them, and the galleries were quietly built anew with that; a map's
share was believed, and so were a training's views and state.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import GalleryDamaged, GalleryError
from pipeline.embeddings import store
from pipeline.embeddings.store import Draft, Embeddings, Part, load_embeddings
from pipeline.galleries.gallery import Gallery
from pipeline.indexes.registry import open_index
from tests.corruption import FEW, MANY, Harm, Kept, harms, is_a_sentence
from tests.fakes import TinyEncoders

RECIPE, REDUCED = "mtcnn-facenet", "mtcnn-facenet-128"
FILES = [
    "manifest.json",
    "photos.json",
    "vectors.npy",
    "faces.npy",
    "annoy.ann",
    "faiss.index",
    "kmeans.npz",
    "layer.safetensors",
]


# Galleries


def said_by(embeddings: Embeddings) -> dict[str, Any]:
    """All that a gallery says: whom it holds and where, and what its indexes answer."""
    facts = embeddings.manifest["indexes"]
    indexes = {
        name: open_index(name, embeddings.vectors, embeddings.folder, facts[name])
        for name in ("annoy", "faiss", "kmeans")
    }
    found = {name: index.search(embeddings.vectors[:5], 7) for name, index in indexes.items()}
    return {
        "columns": (embeddings.photo_ids, embeddings.people, embeddings.stamps),
        "manifest": dict(embeddings.manifest),
        "arrays": [
            embeddings.vectors.tobytes(),
            embeddings.faces.tobytes(),
            embeddings.layer and embeddings.layer.weight.tobytes(),
        ],
        "found": {name: (one.rows.tolist(), one.distances.tolist()) for name, one in found.items()},
    }


def fingerprint(gallery: Gallery, recipe: str) -> str:
    return str(gallery.searcher(recipe).embeddings.manifest["fingerprint"])


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, world: Gallery) -> Iterator[Kept]:
    """Each file of a gallery in turn."""
    kept = Kept(world.folder(REDUCED) / request.param)
    yield kept
    kept.put(kept.content)


def test_a_gallery_is_what_was_built_or_says_that_it_is_damaged(file: Kept, world: Gallery) -> None:
    folder, wanted = file.path.parent, said_by(load_embeddings(file.path.parent, None))
    built_as, other = fingerprint(world, REDUCED), world.folder(RECIPE) / file.path.name
    swapped = [other.read_bytes()] if other.exists() else []

    @MANY
    @given(harm=harms(*swapped), expected=st.sampled_from([built_as, None]))
    def damaged(harm: Harm, expected: str | None) -> None:
        file.harmed(harm)
        try:
            loaded = load_embeddings(folder, expected)
        except GalleryError as error:
            assert is_a_sentence(str(error))
        else:
            assert said_by(loaded) == wanted

    damaged()


def test_the_next_build_mends_it(file: Kept, world: Gallery) -> None:
    folder = file.path.parent
    wanted = said_by(load_embeddings(folder, None))
    wanted["manifest"].pop("build_seconds")

    @FEW
    @given(harm=harms())
    def damaged(harm: Harm) -> None:
        file.harmed(harm)
        again = Gallery(world._dataset, TinyEncoders(), world.index_root)
        again.build([REDUCED])
        mended = said_by(again.searcher(REDUCED).embeddings)
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
    monkeypatch.setattr(store, "PART_SIZE", 24)
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
    harm: Harm, world: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_SIZE", 5)
    gallery = Gallery(world._dataset, TinyEncoders(), tmp_path / "damaged")
    assert gallery.build_shard([RECIPE], (0, 2)) > 0
    (first, *_) = sorted(gallery.folder(RECIPE).glob("parts-*/*.npz"))
    Kept(first).harmed(harm)
    gallery.build([RECIPE])
    undisturbed = Gallery(world._dataset, TinyEncoders(), tmp_path / "undisturbed")  # of parts, and so batches, alike
    undisturbed.build([RECIPE])
    wanted = (undisturbed.folder(RECIPE) / "vectors.npy").read_bytes()
    assert (gallery.folder(RECIPE) / "vectors.npy").read_bytes() == wanted
