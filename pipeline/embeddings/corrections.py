"""Corrections of a gallery's names: a CSV file beside its embeddings, and the errata of LFW, which come along.

Vectors do not depend on names, so correcting one rebuilds nothing: the file is no part of the embeddings' fingerprint
and has a hash of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.core.files import replacing
from pipeline.core.tables import CSV_ENCODING
from pipeline.photos.photos import Photos
from pipeline.photos.sources import UNKNOWN

NOBODY = "not a person"  # the name of what the detector takes for faces: statues, posters, patterns
NAME = "corrections.csv"  # in the gallery's folder, beside its embeddings
LFW_ERRATA = Path(__file__).parent / "lfw_errata.csv"
# What each kind needs beside `photo`.
NEEDS = {"merge": "other", "rename": "name", "split": "name", "drop": "photo", "apart": "other"}
STATUSES = ("accepted", "rejected", "")  # the last: nobody has looked at it yet


@dataclass(frozen=True)
class Correction:
    """One row: what is wrong with a photo's name, why, and who says so (`source`).

    `merge`: the people of `photo` and `other` are one, who takes the latter's name. `rename`: the photo shows `name`.
    `split`: the photo shows another person of the same name, called `name` from now on. `drop`: the photo does not show
    whom it names, and whom it shows is not known. `apart`: the people of `photo` and `other` look alike, but are two.
    """

    kind: str
    photo: str
    other: str = ""
    name: str = ""
    status: str = "accepted"
    reason: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in NEEDS or self.status not in STATUSES:
            raise ValueError(f"no such kind or status: {self.kind!r}, {self.status!r}")
        if not (self.photo and getattr(self, NEEDS[self.kind])):
            raise ValueError(f"{self.kind} needs a photo and its {NEEDS[self.kind]}")

    @property
    def photos(self) -> tuple[str, ...]:
        """The ids of the photos it names."""
        return (self.photo, self.other) if self.other else (self.photo,)


COLUMNS = tuple(field.name for field in fields(Correction))


def _correction(row: Mapping[str, str | None]) -> Correction:
    return Correction(**{name: (row.get(name) or "").strip() for name in COLUMNS})


@dataclass(frozen=True)
class Corrections:
    """All rows that were looked at; only accepted ones change anything. A later one overrides an earlier one."""

    rows: tuple[Correction, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Corrections:
        """The rows of a file, none if there is no file; SettingsError names the line that is wrong."""
        if not path.is_file():
            return cls()
        with path.open(encoding=CSV_ENCODING, newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames and "kind" not in reader.fieldnames:
                raise SettingsError(f"{path} is no table of corrections; its first line is {','.join(COLUMNS)}.")
            try:
                return cls(tuple(_correction(row) for row in reader))
            except (ValueError, csv.Error) as error:
                raise SettingsError(
                    f"Line {reader.line_num} of {path} is no correction ({error}); correct or remove that line."
                ) from error

    @classmethod
    def of(cls, photos: Photos, folder: Path) -> Corrections:
        """What is known of these photos: LFW's errata as far as they are LFW's, then those in the gallery's folder."""
        rows = (*cls.load(LFW_ERRATA).rows, *cls.load(folder / NAME).rows)
        return cls(tuple(row for row in rows if all(photos.row_of(each) is not None for each in row.photos)))

    def save(self, path: Path) -> None:
        """Writes all rows, atomically."""
        with replacing(path) as beside, beside.open("w", encoding=CSV_ENCODING, newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([COLUMNS, *(astuple(row) for row in self.rows)])

    def adding(self, rows: Iterable[Correction]) -> Corrections:
        """These rows with others, which replace those of the same kind about the same photos."""
        new = {(row.kind, row.photo, row.other): row for row in rows}
        kept = [row for row in self.rows if (row.kind, row.photo, row.other) not in new]
        return Corrections((*kept, *new.values()))

    @cached_property
    def accepted(self) -> tuple[Correction, ...]:
        """The rows that count."""
        return tuple(row for row in self.rows if row.status == "accepted")

    @property
    def sha256(self) -> str:
        """A hash of what the accepted rows say: other names, other hash."""
        said = [(row.kind, row.photo, row.other, row.name) for row in self.accepted]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def dropped(self) -> frozenset[str]:
        """The ids of photos that show nobody whose name is known, by what was said last of each."""
        last = {row.photo: row for row in self.accepted if row.kind in ("rename", "split", "drop")}
        return frozenset(photo for photo, row in last.items() if row.kind == "drop" or row.name == NOBODY)

    @property
    def apart(self) -> tuple[tuple[str, str], ...]:
        """Pairs of photo ids whose people look alike, but are two: twins, sisters."""
        return tuple((row.photo, row.other) for row in self.accepted if row.kind == "apart")

    def people(self, photo_ids: Sequence[str], people: Sequence[str]) -> tuple[str, ...]:
        """Who each photo shows, corrected; `unknown` for those that are dropped."""
        names = dict(zip(photo_ids, people, strict=True))
        names |= {row.photo: row.name for row in self.accepted if row.kind in ("rename", "split")}
        merged: dict[str, str] = {}

        def name_of(person: str) -> str:
            while person in merged:
                person = merged[person]
            return person

        for row in self.accepted:
            if row.kind == "merge" and {row.photo, row.other} <= names.keys():
                first, second = name_of(names[row.photo]), name_of(names[row.other])
                if first != second:
                    merged[first] = second
        return tuple(UNKNOWN if each in self.dropped else name_of(names[each]) for each in photo_ids)
