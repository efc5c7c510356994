"""The people in a gallery of somebody's photos: the faces as they were grouped, and what was said of them since.

What is said lies in the gallery's corrections file, a row for each face, so that it outlives photos that are added:
whoever joins a group is called what most of its faces were called. Before anything is said, whoever has more than half
of a folder's faces is called like the folder. What is said at once has one `source`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count

import numpy as np

from pipeline.core.errors import PhotosError, PipelineError, SettingsError, Stopped, StorageError
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Report, silent
from pipeline.core.types import Box, Face, FloatArray
from pipeline.embeddings.corrections import NAME, NOBODY, Correction, Corrections
from pipeline.embeddings.store import Embeddings
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.people import Person, groups_of, people_in, said_of
from pipeline.photos.face_ids import photo_of
from pipeline.photos.images import open_image
from pipeline.photos.pictures import Picture
from pipeline.photos.sources import UNKNOWN
from pipeline.search.hints import LEAST_SHARPNESS, look, turned

log = logging.getLogger(__name__)

SOMEBODY = "Somebody"
NAME_LENGTH = 60  # characters
PAGE = "page "  # how the sources of what was said here begin; others are an audit's, or somebody's by hand
AT_ONCE, BEST = 12, 3  # people, and faces of each that are looked at: a photo of 12 megapixels takes 0.15 s
SHOWN = 60  # people whose pictures are made at once
GONE = "Choose a person first; what was chosen is none, or is not here any more."


class KnownPeople:
    """The people of one gallery: `people`, whoever is in most photos first, and faces of `unknown` people.

    `found` is when they were, and no other gallery has it.
    """

    def __init__(self, gallery: Gallery, recipe: str, report: Report = silent) -> None:
        """Groups the faces; GalleryError where the recipe's distances were never calibrated with its weights."""
        self.gallery, self.recipe, self.found = gallery, recipe, time.time_ns()
        searcher = gallery.searcher(recipe)
        self._embeddings = searcher.embeddings
        self._groups = groups_of(searcher, report)
        self._worth = {face: worth(self._embeddings.face(row)) for row, face in enumerate(self._embeddings.photo_ids)}
        self._file = gallery.index_root / gallery.photos.name / NAME
        self._lock = threading.Lock()
        self.people: tuple[Person, ...] = ()
        self.unknown: tuple[str, ...] = ()
        self._show()

    def of(self, face: str) -> Person:
        """Whose face it is; SettingsError if it is nobody's, or not here."""
        found = next((person for person in self.people if face in person.faces), None)
        if found is None:
            raise SettingsError(GONE)
        return found

    def picture(self, face: str) -> Picture | None:
        """The face as a small picture; None where its photo cannot be read any more."""
        box = self.box(face)
        pictures = self.gallery.pictures
        with suppress(PhotosError):
            return pictures.face(face, box) if box else pictures.thumbnail(face)
        return None

    def vector(self, face: str) -> FloatArray:
        """What all faces of the person of this face are like: the mean of their vectors, of unit length."""
        chosen = np.isin(self._embeddings.photo_ids, self.of(face).faces)
        mean: FloatArray = unit_rows(self._embeddings.vectors[chosen].mean(axis=0))[0]
        return mean

    def box(self, face: str) -> Box | None:
        """Where the face is in its photo, in pixels."""
        return self._embeddings.box(face)

    def draw(self) -> None:
        """Makes the pictures of those whom a page shows first; who is seen at once has the sharpest of the best."""
        for person in self.people[:AT_ONCE]:
            for face in person.faces[:BEST]:
                picture = self.picture(face)
                self._worth[face] *= sharp(picture) if picture else 0.0
        self._show()
        for person in self.people[:SHOWN]:
            self.picture(person.faces[0])

    # What is said of them

    def name(self, face: str, name: str) -> None:
        """Calls the person of this face so; whoever is called so already is the same person."""
        name = " ".join(name.split())[:NAME_LENGTH]
        if not name.isprintable() or name in ("", UNKNOWN):
            raise SettingsError("Type the person's name first.")
        self._call(self.of(face).faces, name)

    def merge(self, face: str, other: str) -> None:
        """Makes the people of two faces one, who keeps the name of the latter, or of the former if that has none."""
        one, two = self.of(face), self.of(other)
        if one == two:
            raise SettingsError("These are one person already; choose somebody else.")
        names = sorted(filter(None, (two.name, one.name)), key=lambda name: name.startswith(SOMEBODY))
        name = names[0] if names else self._free_name()
        self._call((*one.faces, *two.faces), name)

    def split(self, faces: Sequence[str]) -> None:
        """Makes these faces another person, who has a number for a name until there is a better one."""
        self._call(self._known(faces), self._free_name(), apart=True)

    def _call(self, faces: Sequence[str], name: str, *, apart: bool = False) -> None:
        """Names faces; whoever joins their groups is called so too, unless they were split `apart` from them."""
        split, chosen = set(self._split), set(faces)
        for group in self._groups if apart else ():
            here = chosen.intersection(group)
            split = split - here if len(here) == len(group) else split | here
        self._say(Correction("split" if face in split else "rename", face, name=name) for face in faces)

    def _free_name(self) -> str:
        taken = {person.name for person in self.people}
        return next(free for number in count(1) if (free := f"{SOMEBODY} {number}") not in taken)

    def drop(self, faces: Sequence[str]) -> None:
        """Says that these faces are not of whom they are grouped with; of whom else, is not known."""
        self._say(Correction("drop", each) for each in self._known(faces))

    def remove(self, face: str) -> None:
        """Says that the person of this face is none."""
        self._call(self.of(face).faces, NOBODY)

    @property
    def said(self) -> bool:
        """Whether there is anything to undo."""
        return bool(_said_here(Corrections.load(self._file).rows))

    def undo(self) -> None:
        """Takes back what was said last."""
        with self._lock:
            rows = Corrections.load(self._file).rows
            last = _said_here(rows)[-1:]
            self._save(row for row in rows if row.source not in last)

    def forget(self, photo_ids: Iterable[str]) -> None:
        """Forgets what was said of photos that are removed: others may be called like them later."""
        gone = set(photo_ids)
        with self._lock:
            rows = Corrections.load(self._file).rows
            self._save(row for row in rows if not gone & {photo_of(face) for face in row.photos})

    def _known(self, faces: Sequence[str]) -> Sequence[str]:
        if not faces or not set(faces) <= set(self._embeddings.photo_ids):
            raise SettingsError("Choose the faces first: click on them.")
        return faces

    def _say(self, rows: Iterable[Correction]) -> None:
        source = f"{PAGE}{datetime.now(timezone.utc).isoformat()}"
        with self._lock:
            before = Corrections.load(self._file).rows
            # Not in the place of earlier rows, which are what undo goes back to.
            self._save((*before, *(replace(row, source=source) for row in rows)))

    def _save(self, rows: Iterable[Correction]) -> None:
        try:
            Corrections(tuple(rows)).save(self._file)
        except OSError as error:
            raise StorageError(f"Names cannot be kept on this server ({error.strerror}); see to its disk.") from error
        self._show()

    def _show(self) -> None:
        corrections = self.gallery.corrections
        self._split = {face for face, row in said_of(corrections).items() if row.kind == "split"}
        called = _by_their_folders(self._embeddings, corrections) if self.gallery.photos.named else {}
        found = people_in(self._groups, corrections, called)
        people = [
            replace(one, faces=tuple(sorted(one.faces, key=self._worth.__getitem__, reverse=True)))
            for one in found.people
        ]
        self.people = tuple(sorted(people, key=lambda person: -len(person.photos)))
        self.unknown = found.unknown
        self.gallery.name_faces({face: one.name for one in people for face in one.faces if one.name})


def _said_here(rows: Sequence[Correction]) -> list[str]:
    """The sources of what was said on the page."""
    return [row.source for row in rows if row.source.startswith(PAGE)]


def _by_their_folders(embeddings: Embeddings, corrections: Corrections) -> dict[str, str]:
    """What faces are called by the folders of their photos; a photo that lies in none has only its own name."""
    people = corrections.people(embeddings.photo_ids, embeddings.people)
    rows = zip(embeddings.photo_ids, people, embeddings.named.tolist(), strict=True)
    return {face: name for face, name, named in rows if named and "/" in face and name not in (UNKNOWN, NOBODY)}


def found_people(gallery: Gallery, recipes: Iterable[str], report: Report) -> KnownPeople | None:
    """The people in a gallery of people, by the first recipe that tells them apart, their pictures made; else None.

    `Stopped`, where `report` raises it, goes on to the caller.
    """
    for recipe in recipes if gallery.of_people else ():
        try:
            people = KnownPeople(gallery, recipe, report)
            people.draw()
        except Stopped:
            raise
        except PipelineError as error:
            log.warning("Nobody is told apart in %s by %s: %s", gallery.title, recipe, error)
        else:
            return people
    return None


def worth(face: Face | None) -> float:
    """How well a face shows who it is, 0 to 1: large, towards the camera, surely a face."""
    if face is None:
        return 0.0
    large = min(math.sqrt(face.area) / 200, 1.0)
    return large * face.confidence * max(1 - turned(face.landmarks), 0.05)


def sharp(picture: Picture) -> float:
    """How sharp a picture of a face is, 0 to 1."""
    sharpness, _ = look(open_image(picture), np.full(4, np.nan, np.float32))
    return min(sharpness / (2 * LEAST_SHARPNESS), 1.0)
