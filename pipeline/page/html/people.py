"""The people in a gallery as HTML: a row of round faces, and the faces of one of them."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.galleries.known_people import KnownPeople
from pipeline.galleries.people import Person
from pipeline.page.html.grid import served
from pipeline.page.html.sources import TEMPLATES
from pipeline.page.html.wording import counted


def label(person: Person, number: int) -> str:
    """What a person is called, the one of this number in the row."""
    return f"{person.name or f'Person {number}'} ({counted(len(person.photos), 'photo')})"


def people_html(people: KnownPeople, most: int, *, editing: bool = True) -> str:
    """The row, whoever is in most photos first, and, where they can be named, the unknown faces at its end."""
    row = [
        (
            person.faces[0],
            _picture(people, person.faces[0]),
            person.name or f"Person {number}",
            len(person.photos),
        )
        for number, person in enumerate(people.people[:most], start=1)
    ]
    return TEMPLATES(
        "people", people=row, more=max(len(people.people) - most, 0), unknown=len(people.unknown) if editing else 0
    )


def _picture(people: KnownPeople, face: str) -> str:
    """The address of a face's picture; empty where there is none any more."""
    picture = people.picture(face)
    return served(picture) if picture else ""


def faces_html(people: KnownPeople, faces: Sequence[str], most: int) -> str:
    """One person's faces, to choose some of them."""
    if not faces:
        return ""
    here = [(face, picture) for face in faces[:most] if (picture := _picture(people, face))]
    return TEMPLATES("people_faces", faces=here, more=max(len(faces) - most, 0))
