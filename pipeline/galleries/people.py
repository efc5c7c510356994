"""Who is in a folder of photos: every face of every photo, grouped into people without a query and without names."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import GalleryError, SettingsError, StorageError
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import OF_FACES
from pipeline.embeddings.corrections import NOBODY, Correction, Corrections
from pipeline.encoder.encoder import Encoders
from pipeline.galleries.gallery import Gallery
from pipeline.photos.face_ids import photo_of
from pipeline.photos.folders import own_photos, told_apart
from pipeline.photos.photos import Photos
from pipeline.photos.sources import UNKNOWN
from pipeline.search.grouping import group_faces, limits_of
from pipeline.search.searcher import Searcher


class FolderFaces(Gallery):
    """A gallery of every face in the photos below any folder; its vectors lie in the index like others'."""

    offered = OF_FACES

    def __init__(self, folder: Path, encoders: Encoders, index_root: Path) -> None:
        super().__init__(folder.resolve().name, encoders, index_root)
        self._folder = folder.resolve()

    def _opened(self, report: Report) -> Photos:
        if not self._folder.is_dir():
            raise SettingsError(f"There is no folder {self._folder}; correct the path.")
        name = told_apart(f"{self._folder.name} faces", str(self._folder))
        return own_photos(self._folder, (name, self._folder.name))


@dataclass(frozen=True)
class Person:
    """One person: the name, empty where nobody gave one, and the ids of the faces."""

    name: str
    faces: tuple[str, ...]

    @property
    def photos(self) -> list[str]:
        """The ids of the photos."""
        return list(dict.fromkeys(photo_of(face) for face in self.faces))


@dataclass(frozen=True)
class People:
    """The people of a gallery, whoever has most faces first; and the faces that are seen once, or are nobody's."""

    people: tuple[Person, ...]
    unknown: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: of each person the name, or else a number, the faces and the photos."""
        each = [
            {"person": person.name or number, "faces": list(person.faces), "photos": person.photos}
            for number, person in enumerate(self.people, start=1)
        ]
        return {"people": each, "unknown": list(self.unknown)}


def find_people(gallery: Gallery, recipe: str, report: Report = silent) -> People:
    """Embeds every face of the gallery, as far as that is not done, and groups them, as they were corrected since.

    GalleryError where the recipe's distances were never calibrated with its weights.
    """
    gallery.build([recipe], report)
    return people_in(groups_of(gallery.searcher(recipe), report), gallery.corrections, {})


def people_in(groups: Sequence[Sequence[str]], corrections: Corrections, called: Mapping[str, str]) -> People:
    """The people of these groups of faces; whoever has one face and no name is unknown.

    `called` is what faces are called by their folders.
    """
    faces: dict[str | int, list[str]] = defaultdict(list)
    for face, key in corrected(groups, corrections, called).items():
        faces[key].append(face)
    faces.pop(NOBODY, None)
    unknown = faces.pop(UNKNOWN, [])
    unknown += [each[0] for key, each in faces.items() if isinstance(key, int) and len(each) == 1]
    known = [(key, each) for key, each in faces.items() if isinstance(key, str) or len(each) > 1]
    people = [Person(key if isinstance(key, str) else "", tuple(each)) for key, each in known]
    return People(tuple(sorted(people, key=lambda person: -len(person.faces))), tuple(unknown))


def said_of(corrections: Corrections) -> dict[str, Correction]:
    """What was said last of each face."""
    return {row.photo: row for row in corrections.accepted if row.kind in ("rename", "split", "drop")}


def corrected(
    groups: Sequence[Sequence[str]], corrections: Corrections, called: Mapping[str, str]
) -> dict[str, str | int]:
    """Whose each face is: a name where there is one, else the number of its group; by face.

    Who joins a group is called what most of its faces were called, but for those that were split off. Of whom nothing
    was said is called as a folder of which the group has more than half: a folder may be of one person, or of a year.
    """
    said = said_of(corrections)
    in_folder = Counter(name for face, name in called.items() if face not in said)
    who: dict[str, str | int] = {}
    for number, faces in enumerate(groups):
        names = Counter(said[face].name for face in faces if face in said and said[face].kind == "rename")
        if not names:
            here = Counter(called[face] for face in faces if face in called and face not in said)
            names = Counter({name: count for name, count in here.items() if 2 * count > in_folder[name]})
        of_group = names.most_common(1)[0][0] if names else number
        who |= dict.fromkeys(faces, of_group)
    return who | {face: UNKNOWN if row.kind == "drop" else row.name for face, row in said.items() if face in who}


def groups_of(searcher: Searcher, report: Report) -> list[list[str]]:
    """The ids of the searcher's faces by person, whoever has most first.

    GalleryError where the recipe's distances were never calibrated with its weights.
    """
    embeddings, calibration = searcher.embeddings, searcher.calibration
    if calibration is None:
        recipe = searcher.encoder.recipe.name
        raise GalleryError(f"What distances of {recipe} mean with these weights is not known; choose another recipe.")
    ids = embeddings.photo_ids
    limits = limits_of(calibration, len(ids))
    groups = group_faces(embeddings.vectors, limits, [photo_of(face) for face in ids], report)
    members: list[list[str]] = [[] for _ in range(int(groups.max(initial=-1)) + 1)]
    for face, group in zip(ids, groups.tolist(), strict=True):
        members[group].append(face)
    return members


def require_new(out: Path) -> None:
    """SettingsError if there is anything at `out` but an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is there already, and no empty folder; name a new one for the links.")


def link_people(found: People, photos: Path, out: Path) -> None:
    """Makes a folder a person in `out`, with links to that person's photos below `photos`.

    SettingsError as `require_new` has it, StorageError if links cannot be made there.
    """
    require_new(out)
    width = len(str(len(found.people)))
    named = [(person.name or f"person {n:0{width}}", person.photos) for n, person in enumerate(found.people, start=1)]
    folders = {name.replace("/", " - "): photos for name, photos in named} | {UNKNOWN: Person("", found.unknown).photos}
    try:
        for folder, names in folders.items():
            for name in names:
                link = out / folder / name.replace("/", " - ")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(os.path.relpath((photos / name).resolve(), link.parent.resolve()))
    except OSError as error:
        raise StorageError(f"Links cannot be made in {out} ({error.strerror}); name another folder.") from error
