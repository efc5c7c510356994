"""The people in a visitor's own photos: the faces as they were grouped, and what the visitor said of them since.

What is said lies in the gallery's corrections file, a row for each face, so that it outlives photos that are added:
whoever joins a group is called what most of its faces were called. One look of the visitor is one `source`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count

import numpy as np

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.geometry import unit_rows
from pipeline.core.types import Box, Face, FloatArray
from pipeline.embeddings.corrections import NAME, Correction, Corrections
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_faces import OwnFaces
from pipeline.galleries.people import NOBODY, Person, groups_of, people_in, said_of
from pipeline.photos.face_ids import photo_of
from pipeline.photos.pictures import Picture
from pipeline.photos.sources import UNKNOWN
from pipeline.search.hints import turned

log = logging.getLogger(__name__)

SOMEBODY = "Somebody"
NAME_LENGTH = 60  # characters
SHOWN = 60  # people whose pictures are made at once
GONE = "Choose a person first; what was chosen is none, or is not here any more."


class OwnPeople:
    """The people of one gallery: `people`, whoever is in most photos first, and faces of `unknown` people.

    `found` is when they were, and no other gallery has it.
    """

    def __init__(self, gallery: OwnFaces, recipe: str) -> None:
        """Groups the faces; GalleryError where the recipe's distances were never calibrated with its weights."""
        self.gallery, self.recipe, self.found = gallery, recipe, time.time_ns()
        searcher = gallery.searcher(recipe)
        self._embeddings = searcher.embeddings
        self._groups = groups_of(searcher)
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

    def picture(self, face: str) -> Picture:
        """The face as a small picture."""
        box = self.box(face)
        pictures = self.gallery.pictures
        return pictures.face(face, box) if box else pictures.thumbnail(face)

    def vector(self, face: str) -> FloatArray:
        """What all faces of the person of this face are like: the mean of their vectors, of unit length."""
        chosen = np.isin(self._embeddings.photo_ids, self.of(face).faces)
        mean: FloatArray = unit_rows(self._embeddings.vectors[chosen].mean(axis=0))[0]
        return mean

    def box(self, face: str) -> Box | None:
        """Where the face is in its photo, in pixels."""
        return self._embeddings.box(face)

    def draw(self) -> None:
        """Makes the pictures of those whom a page shows first."""
        for person in self.people[:SHOWN]:
            self.picture(person.faces[0])

    # What the visitor says

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
        split = set(self._split)
        for group in self._groups:
            here = set(faces) & set(group)
            if apart:
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
        return bool(Corrections.load(self._file).rows)

    def undo(self) -> None:
        """Takes back what was said last."""
        with self._lock:
            rows = Corrections.load(self._file).rows
            self._save(row for row in rows if row.source != rows[-1].source)

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
        source = f"page {datetime.now(timezone.utc).isoformat()}"
        with self._lock:
            before = Corrections.load(self._file).rows
            # Not in the place of earlier rows, which are what undo goes back to.
            self._save((*before, *(replace(row, source=source) for row in rows)))

    def _save(self, rows: Iterable[Correction]) -> None:
        Corrections(tuple(rows)).save(self._file)
        self._show()

    def _show(self) -> None:
        corrections = Corrections.load(self._file)
        self._split = {face for face, row in said_of(corrections).items() if row.kind == "split"}
        found = people_in(self._groups, corrections)
        people = [
            replace(one, faces=tuple(sorted(one.faces, key=self._worth.__getitem__, reverse=True)))
            for one in found.people
        ]
        self.people = tuple(sorted(people, key=lambda person: -len(person.photos)))
        self.unknown = found.unknown
        self.gallery.name_faces({face: one.name for one in people for face in one.faces if one.name})


def found_people(gallery: Gallery, recipe: str) -> OwnPeople | None:
    """The people in a gallery of own photos, their pictures made; None where they cannot be told apart."""
    if not isinstance(gallery, OwnFaces):
        return None
    try:
        people = OwnPeople(gallery, recipe)
        people.draw()
    except PipelineError as error:
        log.warning("Nobody is told apart in a visitor's photos: %s", error)
        return None
    return people


def worth(face: Face | None) -> float:
    """How well a face shows who it is, 0 to 1: large, towards the camera, surely a face."""
    if face is None:
        return 0.0
    large = min(math.sqrt(face.area) / 200, 1.0)
    return large * face.confidence * max(1 - turned(face.landmarks), 0.05)
