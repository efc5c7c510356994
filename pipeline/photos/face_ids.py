"""What a face is called in a gallery that has every face of every photo."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def face_id(photo_id: str, number: int) -> str:
    """What the photo's face of this number is called, in a gallery that has every face of every photo.

    `holiday/IMG_1.jpg` is the first face of that photo, `holiday/IMG_1.jpg #2` the second.
    """
    return photo_id if number == 1 else f"{photo_id} #{number}"


def face_ids(photo_ids: Sequence[str]) -> list[str]:
    """The ids of faces, of which each is in the photo of that id; further faces of a photo have their number added."""
    counts: Counter[str] = Counter()
    names = []
    for photo_id in photo_ids:
        counts[photo_id] += 1
        names.append(face_id(photo_id, counts[photo_id]))
    return names


def photo_of(face_id: str) -> str:
    """The id of the photo that shows this face."""
    return re.sub(r" #\d+$", "", face_id)


def in_a_photo_of(person: str) -> str:
    """What a face is called that nobody named, in a photo whose folder names somebody else."""
    return f"in a photo of {person}"
