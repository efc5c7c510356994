"""Parity of the detector with facenet-pytorch: the same faces, photo by photo."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from facenet_pytorch import MTCNN

from pipeline.bench.speed import alike, as_faces
from pipeline.core.errors import PhotoError
from pipeline.core.progress import Report, silent, tracked_slices
from pipeline.embeddings.embed import BATCH
from pipeline.encoder.faces import MtcnnDetector
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos


@dataclass(frozen=True)
class Parity:
    """How many photos were compared, the share with the same faces (`speed.alike`), and how many show none to each."""

    photos: int
    alike: float
    faceless_theirs: int
    faceless_ours: int


def measure_parity(photos: Photos, report: Report = silent) -> Parity:
    """Detects the faces of all photos twice: here in batches, and by facenet-pytorch one by one."""
    reference, detector = MTCNN(keep_all=True), MtcnnDetector()
    same = theirs_none = ours_none = done = 0
    for rows in tracked_slices(len(photos), BATCH, "Comparing faces", "photos", report):
        images = []
        for row in range(rows.start, rows.stop):
            with suppress(PhotoError):
                images.append(open_image(photos[row].source))
        for image, ours in zip(images, detector.detect(images), strict=True):
            theirs = as_faces(*reference.detect(image, landmarks=True))
            same += alike(theirs, ours)
            theirs_none += not theirs
            ours_none += not ours
        done += len(images)
    return Parity(done, same / max(done, 1), theirs_none, ours_none)
