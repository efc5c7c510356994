"""The photos of one gallery, in a fixed order, each read when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pipeline.core.errors import Unknown
from pipeline.core.types import Photo
from pipeline.photos.face_ids import in_a_photo_of, photo_of

Faces = Literal["one", "every", "nameless"]


class Photos:
    """The photos of one gallery, in a fixed order. `revision` changes when they do."""

    def __init__(
        self,
        names: tuple[str, str],
        labels: Sequence[tuple[str, str]],
        revision: tuple[str, Sequence[str]],
        read: Callable[[int], bytes | Path],
        *,
        faces: Faces = "one",
    ) -> None:
        """`names` are (folder name, title), `labels` (photo id, person) by row; `read(row)` gives bytes or a path.

        `revision` is one value for all photos and one for each, its stamp, which changes when that photo does.
        One face of each photo becomes a row of the gallery, or every one, called as `face_id` has it; of "nameless"
        photos too, whose people only say in which folder they lie.
        """
        self.every_face, self.named = faces != "one", faces != "nameless"
        self.former: Photos | None = None  # the same photos as versions up to 0.9 called them, or told them apart
        self.left_out: tuple[tuple[str, str], ...] = ()  # (file, reason) of what lies beside them in their folder
        self.name, self.title = names
        self.revision, self.stamps = revision[0], tuple(revision[1])
        self.photo_ids = tuple(photo_id for photo_id, _ in labels)
        self.people = tuple(person for _, person in labels)
        self._read = read
        self._rows = {photo_id: row for row, photo_id in enumerate(self.photo_ids)}
        if len(self._rows) != len(self.photo_ids):
            raise ValueError("photo ids must be unique")

    @property
    def published_name(self) -> str:
        """The folder's name in a repository: without what tells folders of this computer apart."""
        return (self.former or self).name

    def __len__(self) -> int:
        return len(self.photo_ids)

    def __getitem__(self, row: int) -> Photo:
        return Photo(self.photo_ids[row], self.people[row], self._read(row))

    def row_of(self, photo_id: str) -> int | None:
        """The photo's row, also by the id of one of its faces; None if there is no such photo."""
        row = self._rows.get(photo_id)
        return self._rows.get(photo_of(photo_id)) if row is None and self.every_face else row

    def row(self, photo_id: str) -> int:
        """The same; Unknown if there is no such photo."""
        if (row := self.row_of(photo_id)) is None:
            raise Unknown(f"There is no photo {photo_id!r} in this gallery.")
        return row

    def names_one(self, face_id: str) -> bool:
        """Whether the photo's name is this face's: only one of its faces is whom it names, the first."""
        return not (self.every_face and self.named) or photo_of(face_id) == face_id

    def person(self, face_id: str) -> str:
        """Whom a photo or a face of this id shows; Unknown if there is none."""
        person = self.people[self.row(face_id)]
        return person if self.names_one(face_id) else in_a_photo_of(person)

    def found(self, face_id: str) -> Photo:
        """The photo of this id, or that shows the face of this id, called so; Unknown if there is none."""
        return Photo(face_id, self.person(face_id), self._read(self.row(face_id)))


def revision(labels: Sequence[tuple[str, str]], stamps: Sequence[str]) -> str:
    return hashlib.sha256(repr((labels, stamps)).encode()).hexdigest()
