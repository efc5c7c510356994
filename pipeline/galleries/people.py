"""Who is in a folder of photos: every face of every photo, grouped into people without a query and without names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import GalleryError, SettingsError, StorageError
from pipeline.core.progress import Report, silent
from pipeline.encoder.encoder import Encoders
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_faces import face_recipes
from pipeline.photos.face_ids import photo_of
from pipeline.photos.folders import own_photos, told_apart
from pipeline.photos.photos import Photos
from pipeline.search.grouping import group_faces, limit_of
from pipeline.search.searcher import Searcher

UNKNOWN = "unknown"  # the folder of those with one face, or with none


class FolderFaces(Gallery):
    """A gallery of every face in the photos below any folder; its vectors lie in the index like others'."""

    def __init__(self, folder: Path, encoders: Encoders, index_root: Path) -> None:
        super().__init__(folder.resolve().name, encoders, index_root)
        self._folder = folder.resolve()

    @property
    def offered(self) -> list[str]:
        """As `face_recipes` has it."""
        return face_recipes()

    def _opened(self, report: Report) -> Photos:
        if not self._folder.is_dir():
            raise SettingsError(f"There is no folder {self._folder}; correct the path.")
        name = told_apart(f"{self._folder.name} faces", str(self._folder))
        return own_photos(self._folder, (name, self._folder.name))


@dataclass(frozen=True)
class People:
    """The people of a folder, each by the ids of their faces, whoever has most first; and faces seen only once."""

    people: tuple[tuple[str, ...], ...]
    unknown: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: of each person the faces and the photos."""
        each = [{"person": n, "faces": list(ids), "photos": _photos(ids)} for n, ids in enumerate(self.people, start=1)]
        return {"people": each, "unknown": list(self.unknown)}


def find_people(gallery: Gallery, recipe: str, report: Report = silent) -> People:
    """Embeds every face of the gallery, as far as that is not done, and groups them.

    GalleryError where the recipe's distances were never calibrated with its weights.
    """
    gallery.build([recipe], report)
    members = groups_of(gallery.searcher(recipe))
    several = tuple(tuple(each) for each in members if len(each) > 1)
    return People(several, tuple(each[0] for each in members if len(each) == 1))


def groups_of(searcher: Searcher) -> list[list[str]]:
    """The ids of the searcher's faces by person, whoever has most first.

    GalleryError where the recipe's distances were never calibrated with its weights.
    """
    embeddings, calibration = searcher.embeddings, searcher.calibration
    if calibration is None:
        recipe = searcher.encoder.recipe.name
        raise GalleryError(f"What distances of {recipe} mean with these weights is not known; choose another recipe.")
    ids = embeddings.photo_ids
    groups = group_faces(embeddings.vectors, limit_of(calibration, len(ids)), [photo_of(face) for face in ids])
    members: list[list[str]] = [[] for _ in range(int(groups.max(initial=-1)) + 1)]
    for face, group in zip(ids, groups.tolist(), strict=True):
        members[group].append(face)
    return members


def link_people(found: People, photos: Path, out: Path) -> None:
    """Makes a folder a person in `out`, with links to that person's photos below `photos`.

    SettingsError if `out` holds anything, StorageError if links cannot be made there.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingsError(f"{out} is not empty; name a new folder for the links.")
    width = len(str(len(found.people)))
    folders = {f"person {n:0{width}}": _photos(ids) for n, ids in enumerate(found.people, start=1)}
    folders[UNKNOWN] = _photos(found.unknown)
    try:
        for folder, names in folders.items():
            for name in names:
                link = out / folder / name.replace("/", " - ")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(os.path.relpath((photos / name).resolve(), link.parent.resolve()))
    except OSError as error:
        raise StorageError(f"Links cannot be made in {out} ({error.strerror}); name another folder.") from error


def _photos(faces: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(photo_of(face) for face in faces))
