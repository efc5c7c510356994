"""Whether the faces found here are those of facenet-pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from facenet_pytorch import MTCNN

from pipeline.core.errors import PhotoError
from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.core.types import Face, Landmarks
from pipeline.embeddings.embed import BATCH
from pipeline.encoder.faces import MtcnnDetector, centred
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos

CLOSE_BOXES, CLOSE_POINTS = 0.99, 1.0  # intersection over union; px


@dataclass(frozen=True)
class Parity:
    """How many photos were compared, and how many show no face to each.

    Attributes:
        alike: the share of photos with the same faces.
        chosen: the share of photos that are indexed by the very face as if small ones were looked for in all of them.
    """

    photos: int
    alike: float
    chosen: float
    faceless_theirs: int
    faceless_ours: int


def measure_parity(photos: Photos, report: Report = silent) -> Parity:
    """Detects the faces of all photos: here in batches, all of them and for one, and by facenet-pytorch one by one."""
    reference, detector = MTCNN(keep_all=True), MtcnnDetector()
    same = chosen = theirs_none = ours_none = done = 0
    for rows in tracked_slices(len(photos), BATCH, "Comparing faces", "photos", report):
        images = []
        for row in range(rows.start, rows.stop):
            with suppress(PhotoError):
                images.append(open_image(photos[row].source))
        every, for_one = detector.detect(images), detector.detect(images, for_one=True)
        for image, ours, one in zip(images, every, for_one, strict=True):
            theirs = as_faces(*reference.detect(image, landmarks=True))
            same += alike(theirs, ours)
            chosen += centred(ours, image.size) == centred(one, image.size)
            theirs_none += not theirs
            ours_none += not ours
        done += len(images)
    return Parity(done, same / max(done, 1), chosen / max(done, 1), theirs_none, ours_none)


def as_faces(boxes: Any, scores: Any, points: Any) -> list[Face]:  # noqa: ANN401 - arrays or None
    """The faces that facenet-pytorch's `detect` returned for one photo."""
    if boxes is None:
        return []
    return [
        Face(tuple(box), score, cast(Landmarks, tuple(map(tuple, five))))
        for box, score, five in zip(boxes.tolist(), scores.tolist(), points.tolist(), strict=True)
    ]


def alike(theirs: Sequence[Face], ours: Sequence[Face]) -> bool:
    """Whether both found the same faces: as many, and each with nearly the same box and landmarks."""
    return len(theirs) == len(ours) and all(
        overlap(one, other) >= CLOSE_BOXES
        and np.hypot(*(np.array(one.landmarks) - np.array(other.landmarks)).T).max() <= CLOSE_POINTS
        for one, other in zip(theirs, ours, strict=True)
    )


def overlap(one: Face, other: Face) -> float:
    """Intersection over union of two faces' boxes."""
    start, end = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
    shared = float(np.maximum(0, end - start).prod())
    return shared / (one.area + other.area - shared)
