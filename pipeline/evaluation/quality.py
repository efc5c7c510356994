"""What a photo is like: how large, sharp and bright its face is, and how sure the detector was of it."""

from __future__ import annotations

import time

import numpy as np

from pipeline.core.errors import PhotoError
from pipeline.core.types import FloatArray, Progress, Report, silent
from pipeline.evaluation.metrics import Floats
from pipeline.photos.images import open_image
from pipeline.photos.sources import Photos
from pipeline.search.hints import look

STEP = 200  # photos between two reports


def measure_photos(photos: Photos, faces: FloatArray, report: Report = silent) -> dict[str, Floats]:
    """Qualities by name, each (N,) and NaN where unknown, of all photos; `faces` (N, 15) as in `Gallery.faces`.

    Where no face is known, sharpness and brightness are the whole photo's.
    """
    width, height = faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1]
    looks = np.full((len(photos), 2), np.nan)
    started = time.perf_counter()
    for row in range(len(photos)):
        if row % STEP == 0:
            report(Progress("Looking at the photos", "photos", row, len(photos), row, time.perf_counter() - started))
        try:
            looks[row] = look(open_image(photos[row].source), faces[row, :4])
        except PhotoError:
            continue  # nothing is known of a photo that cannot be read
    count = len(photos)
    report(Progress("Looking at the photos", "photos", count, count, count, time.perf_counter() - started))
    return {
        "face size": np.sqrt(np.maximum(width * height, 0)).astype(np.float64),
        "detection confidence": faces[:, 4].astype(np.float64),
        "sharpness": looks[:, 0],
        "brightness": looks[:, 1],
    }
