"""A gallery on disk: `vectors.npy`, `faces.npy`, `photos.json`, the files of its indexes, and last `manifest.json`.

A gallery is in use only once its manifest is there, and only if every file is the one the manifest describes. While it
is being built it is a `Draft`: numbered parts of a fixed size, each written whole or not at all, so that a build that
was killed goes on where it stopped and comes to the same vectors: on the same processor to the byte, since its
batches are the same.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import GalleryDamaged, GalleryMissing, GalleryStale, StorageError
from pipeline.core.files import apart, array_digest, digest, is_unsealed, read_sealed, replacing, sealed, write_json
from pipeline.core.settings import Milvus
from pipeline.core.types import Box, Collection, Face, FloatArray, IntArray, Landmarks
from pipeline.encoder.layer import Layer, load_layer
from pipeline.photos.face_ids import photo_of

log = logging.getLogger(__name__)

FORMAT = 1
PART_SIZE = 240  # photos; a few seconds' work is what a kill can lose
FACE_COLUMNS = 15  # box (4), confidence, landmarks (10)
MANIFEST = "manifest.json"
OWN_FILES = frozenset(("vectors.npy", "faces.npy", "photos.json"))  # those of the indexes come on top
LAYER = "layer.safetensors"  # only where it was fitted on this gallery


@dataclass(frozen=True)
class Embeddings:
    """Vectors (n, d) of unit length with the photo each came from, or the face of a photo: see `face_ids`.

    `faces` (n, 15) holds the chosen face's box, confidence and landmarks in pixels of the photo, NaN for whole photos.
    `stamps` tell which photos have changed since. `layer` is the last layer where it was fitted on this gallery.
    `manifest` is everything else there is to say: see `build.py`.
    """

    folder: Path
    vectors: FloatArray
    faces: FloatArray
    photo_ids: tuple[str, ...]
    people: tuple[str, ...]
    stamps: tuple[str, ...]
    manifest: Mapping[str, Any] = field(repr=False)
    layer: Layer | None = None

    def __post_init__(self) -> None:
        if len({len(rows) for rows in (self.vectors, self.faces, self.photo_ids, self.people, self.stamps)}) != 1:
            raise ValueError("vectors, faces, photo ids, people and stamps must be of the same length")

    def __len__(self) -> int:
        return len(self.photo_ids)

    def box(self, photo_id: str) -> Box | None:
        """The face by which a photo was indexed, in its pixels; None for a whole photo, or one that is not here."""
        face = self.face_of(photo_id)
        return face.box if face else None

    def face_of(self, photo_id: str) -> Face | None:
        """The same face, as `face` gives it."""
        row = self._rows.get(photo_id)
        return None if row is None else self.face(row)

    @cached_property
    def named(self) -> npt.NDArray[np.bool_]:
        """Whether each row's person (n,) is its own: of the faces of one photo, only the first has the photo's name."""
        if not self.manifest.get("every_face"):
            return np.ones(len(self), bool)
        return np.array([photo_of(face) == face for face in self.photo_ids], bool)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {photo_id: row for row, photo_id in enumerate(self.photo_ids)}

    def face(self, row: int) -> Face | None:
        """The face that was embedded, in pixels of its photo; None where it was the whole photo."""
        values = self.faces[row].tolist()
        if math.isnan(values[0]):
            return None
        points = cast(Landmarks, tuple(zip(values[5::2], values[6::2], strict=True)))
        return Face(cast(Box, tuple(values[:4])), values[4], points)

    def collection(self, milvus: Milvus) -> Collection:
        """What a vector database is told; the fingerprint in the name keeps galleries on one server apart."""
        built = self.manifest
        name = f"{built['gallery']}_{built['recipe']['name']}_{built['fingerprint']}"
        former = str(built.get("former_collection", ""))
        return Collection(milvus.uri, milvus.token, name, self.photo_ids, self.people, milvus.kind, former)


def load_embeddings(folder: Path, fingerprint: str | None, *, mapped: bool = True) -> Embeddings:
    """The finished gallery in `folder`; GalleryMissing, GalleryStale or GalleryDamaged says why there is none.

    `fingerprint` is the one it must have; with None, it may have any. Vectors that are not `mapped` are read into
    memory, and nothing is written.
    """
    if not (folder / MANIFEST).is_file():
        raise GalleryMissing(f"No gallery is built in {folder}; run `python -m pipeline build --recipe {folder.name}`.")
    manifest, files = _manifest(folder, fingerprint)
    for name, expected in files.items():
        try:
            whole = (folder / name).is_file() and digest(folder / name) == expected
        except PermissionError as error:
            raise StorageError(
                f"{folder / name} cannot be read by this account; make it readable, or set FACESEARCH_INDEX to a "
                "folder of your own."
            ) from error
        if not whole:
            raise _damaged(folder, name)
    try:
        photos = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
        with apart(folder / "vectors.npy") if mapped else nullcontext(folder / "vectors.npy") as own:
            vectors = np.load(own, mmap_mode="r" if mapped else None, allow_pickle=False)
        return Embeddings(
            folder=folder,
            vectors=vectors,
            faces=np.load(folder / "faces.npy", allow_pickle=False),
            photo_ids=tuple(photos["photo_ids"]),
            people=tuple(photos["people"]),
            stamps=tuple(photos["stamps"]),
            manifest=manifest,
            layer=load_layer(folder / LAYER) if LAYER in files else None,
        )
    except Exception as error:  # NumPy raises anything on a foreign file: EOFError, SyntaxError, ...
        raise _damaged(folder, "its arrays") from error


def _manifest(folder: Path, fingerprint: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The folder's manifest, and the hashes of its files; GalleryStale or GalleryDamaged if it is not believed."""
    try:
        if is_unsealed(folder / MANIFEST):
            raise GalleryStale(f"The gallery in {folder} was built by an earlier version; build it again.")
        manifest = read_sealed(folder / MANIFEST)
        built_as = (manifest["format"], fingerprint and manifest["fingerprint"])
        files = dict(manifest["files"].items())
    except GalleryStale:
        raise
    except Exception as error:  # any value may stand anywhere in a foreign manifest
        raise _damaged(folder, MANIFEST) from error
    if built_as != (FORMAT, fingerprint):
        raise GalleryStale(f"The gallery in {folder} was built from other photos, weights or code; build it again.")
    if not files.keys() >= OWN_FILES:
        raise _damaged(folder, MANIFEST)
    return manifest, files


def is_built_of(folder: Path, photos_revision: str) -> bool:
    """Whether the folder holds a gallery of these photos, by whichever recipe."""
    for path in folder.glob(f"*/{MANIFEST}"):
        with suppress(OSError, ValueError):  # one that is damaged tells nothing
            if read_sealed(path).get("photos_revision") == photos_revision:
                return True
    return False


def former_collection(folder: Path) -> str:
    """The name of the vector database's collection that holds the gallery as it was; empty if there is none."""
    try:
        manifest = read_sealed(folder / MANIFEST)
        of_milvus = manifest["indexes"].get("milvus", {}).get("collection", "")
        return str(of_milvus or manifest["former_collection"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none, or a foreign one
        return ""


def _damaged(folder: Path, what: str) -> GalleryDamaged:
    return GalleryDamaged(f"The gallery in {folder} is damaged ({what}); build it again.")


@dataclass(frozen=True)
class Part:
    """A finished stretch of a build: photo rows (m,) with vectors (m, d) and faces (m, 15), and what was skipped.

    A photo's row stands there once for each of its faces that was embedded.
    """

    rows: IntArray
    vectors: FloatArray
    faces: FloatArray
    skipped: tuple[tuple[int, str], ...]


class Draft:
    """A gallery being built. Only parts of the same fingerprint count; others are cleared away."""

    def __init__(self, folder: Path, fingerprint: str, photos: int) -> None:
        """`photos` is how many photos there are to go through."""
        self.folder = folder
        self.fingerprint = fingerprint
        self.photos = photos
        self._parts = folder / f"parts-{fingerprint}"
        if folder.is_dir():
            for other in folder.glob("parts-*"):
                if other != self._parts:
                    shutil.rmtree(other)

    def __len__(self) -> int:
        """How many parts the whole build has."""
        return -(-self.photos // PART_SIZE)

    def rows(self, number: int) -> range:
        """The photo rows of a part."""
        return range(number * PART_SIZE, min((number + 1) * PART_SIZE, self.photos))

    def missing(self) -> list[int]:
        """The parts still to do: those that are not there, and those that are damaged."""
        return [number for number in range(len(self)) if not self._is_whole(number)]

    def write(self, number: int, part: Part) -> None:
        """Keeps a part, whole or not at all."""
        with replacing(self._path(number)) as beside, beside.open("wb") as stream:
            np.savez(
                stream,
                allow_pickle=False,
                of=np.array([self.fingerprint, str(number), _sum(part)]),
                rows=part.rows,
                vectors=part.vectors,
                faces=part.faces,
                skipped_rows=np.array([row for row, _ in part.skipped], np.int64),
                skipped_reasons=np.array([reason for _, reason in part.skipped], np.str_),
            )

    def read(self, number: int) -> Part:
        """A part that was kept; GalleryDamaged if that is not what stands there."""
        path = self._path(number)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                skipped = zip(kept["skipped_rows"].tolist(), kept["skipped_reasons"].tolist(), strict=True)
                part = Part(kept["rows"], kept["vectors"], kept["faces"], tuple(skipped))
                whole = kept["of"].tolist() == [self.fingerprint, str(number), _sum(part)]
        except Exception as error:  # a file that is no archive of arrays makes NumPy and zipfile raise anything
            raise _damaged(self.folder, path.name) from error
        if not whole:
            raise _damaged(self.folder, path.name)
        return part

    def finish(self, arrays: Mapping[str, npt.NDArray[Any]], photos: Mapping[str, Any]) -> None:
        """Writes the gallery's own files. The manifest, which makes it one, comes last: `seal`."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for name, array in arrays.items():
            with replacing(self.folder / f"{name}.npy") as beside, beside.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
        write_json(self.folder / "photos.json", photos)

    def clear(self) -> None:
        """Removes the parts; to be called once the gallery is sealed."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def _is_whole(self, number: int) -> bool:
        if not self._path(number).is_file():
            return False
        try:
            self.read(number)
        except GalleryDamaged as error:
            log.warning("%s This is done now.", error)
            return False
        return True

    def _path(self, number: int) -> Path:
        return self._parts / f"{number:05d}.npz"


def _sum(part: Part) -> str:
    """A digest of all that is in a part: an archive's own checks do not cover an array that is read short."""
    return array_digest(part.skipped, part.rows, part.vectors, part.faces)


def seal(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes and returns the manifest: the facts, the hash of every file of the gallery and its indexes, and its own.

    Where the facts are those of a manifest, its `files` are not read again.
    """
    files = OWN_FILES.union(*(index["files"] for index in facts["indexes"].values()))
    if "layer" in facts:
        files |= {LAYER}
    known = facts.get("files", {})
    hashes = {name: known.get(name) or digest(folder / name) for name in sorted(files)}
    manifest = {**facts, "format": FORMAT, "files": hashes}
    write_json(folder / MANIFEST, sealed(manifest))
    return manifest


def face_row(face: Face | None) -> FloatArray:
    """A face as a row of `Embeddings.faces`, shape (15,)."""
    if face is None:
        return np.full(FACE_COLUMNS, np.nan, np.float32)
    return np.array([*face.box, face.confidence, *np.ravel(face.landmarks)], np.float32)
