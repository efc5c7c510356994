"""What a photo is like: how large, sharp and bright its face is, and how sure the detector was of it."""

from __future__ import annotations

import time

import numpy as np
from PIL import Image

from pipeline.errors import PhotoError
from pipeline.images import open_image
from pipeline.metrics import Floats
from pipeline.photos import Photos
from pipeline.types import FloatArray, Progress, Report, silent

SIDE = 96  # pixels; faces are compared in sharpness at one size, about that of a face in LFW
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


def look(image: Image.Image, box: FloatArray) -> tuple[float, float]:
    """Sharpness (standard deviation of the Laplacian) and brightness (mean, 0 to 255) of the face in grey."""
    grey = image.convert("L")
    if np.isfinite(box).all():
        left, top, right, bottom = np.clip(box, 0, [image.width, image.height] * 2).round().astype(int).tolist()
        if right > left and bottom > top:
            grey = grey.crop((left, top, right, bottom))
    pixels = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    inner = pixels[1:-1, 1:-1]
    laplacian = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * inner
    return float(laplacian.std()), float(pixels.mean())
