"""What a list of results says of the person it names first, in a few numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.core.recipes import DEFAULT_K

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LISTED = DEFAULT_K  # results that are looked at, however many are asked for
# Distance of the nearest photo, and of the nearest that shows another person; share of the person's photos that are
# listed, of those that could be; logarithms of how many there are, and of the gallery's faces.
FEATURES = ("nearest", "other", "share", "photos", "faces")
NAMELESS = ("nearest", "faces")  # where it is not known who is another person


def evidence(people: Ints, distances: Floats, photos: Ints, faces: Ints, strangers: float) -> Floats:
    """The FEATURES (q, 5) of lists of LISTED results, nearest first.

    Args:
        people: (q, LISTED), a number for whom each result shows; -1 where the list is shorter.
        distances: (q, LISTED), in the same places.
        photos: (q,), how many photos the gallery has of the person who comes first.
        faces: (q,), how many faces the gallery has.
        strangers: The median distance of two people: where the gallery shows nobody else, another is thought so far.
    """
    listed = people >= 0
    first = (people == people[:, :1]) & listed
    others = listed & ~first
    farthest = distances.max(axis=1, where=listed, initial=0)
    unseen = np.where(listed.all(axis=1), farthest, np.maximum(farthest, strangers))
    other = np.where(others.any(axis=1), distances.min(axis=1, where=others, initial=np.inf), unseen)
    share = first.sum(axis=1) / np.clip(photos, 1, LISTED)
    return np.stack(
        [distances[:, 0], other, share, np.log(np.maximum(photos, 1)), np.log(np.maximum(faces, 1))], axis=1
    )
