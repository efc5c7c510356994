"""What a face is called in a gallery that has every face of every photo."""

from __future__ import annotations

import re


def face_id(photo_id: str, number: int) -> str:
    """What the photo's face of this number is called, in a gallery that has every face of every photo.

    `holiday/IMG_1.jpg` is the first face of that photo, `holiday/IMG_1.jpg #2` the second.
    """
    return photo_id if number == 1 else f"{photo_id} #{number}"


def photo_of(face_id: str) -> str:
    """The id of the photo that shows this face."""
    return re.sub(r" #\d+$", "", face_id)


def in_a_photo_of(person: str) -> str:
    """What a face is called that nobody named, in a photo whose folder names somebody else."""
    return f"in a photo of {person}"
