"""What is wrong with a photo as a query: sentences for the visitor, before the results.

Hardly any face of LFW is beyond these limits (1,680 photos measured): how well such photos are found, LFW cannot tell.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.types import Face, FloatArray, Landmarks

SIDE = 96  # pixels; faces are compared in sharpness at one size, about that of a face in LFW
LEAST_SIDE = 50  # pixels; half of LFW's median of 107, where the smallest has 73
LEAST_CONFIDENCE = 0.97  # LFW's lowest is 0.987
LEAST_SHARPNESS = 5.0  # 0.5 % of LFW's are below
LEAST_BRIGHTNESS, MOST_BRIGHTNESS = 60.0, 195.0  # LFW's are between 58 and 192
MOST_TURNED = 0.85  # 1.5 % of LFW's are above; 0 looks at the camera, 1 has the nose before one eye
MOST_TILTED = 20.0  # degrees; 99.5 % of LFW's are below 13


def hints(image: Image.Image, face: Face) -> tuple[str, ...]:
    """One sentence for each thing about the face in this RGB image that makes answers worse; most photos have none."""
    side = math.sqrt(face.area)
    sharpness, brightness = look(image, np.asarray(face.box, np.float32))
    found = (
        (side < LEAST_SIDE, f"The face is small, {side:.0f} pixels; a photo from nearer finds more."),
        # A small face is scaled up to be measured, which blurs it.
        (sharpness < LEAST_SHARPNESS and side >= LEAST_SIDE, "The face is blurred; a sharper photo finds more."),
        (brightness < LEAST_BRIGHTNESS, "The face is dark; more light finds more."),
        (brightness > MOST_BRIGHTNESS, "The face is very bright; less light finds more."),
        (turned(face.landmarks) > MOST_TURNED, "The face is turned away; one that looks at the camera finds more."),
        (tilted(face.landmarks) > MOST_TILTED, "The head is tilted; an upright one finds more."),
        (
            face.confidence < LEAST_CONFIDENCE,
            f"It is not certain that this is a face: the detector gives it {100 * face.confidence:.0f} %.",
        ),
    )
    return tuple(sentence for holds, sentence in found if holds)


def quality(image: Image.Image, face: Face) -> dict[str, Any]:
    """What `hints` go by, as plain JSON values; `turned` is None where both eyes are in one place."""
    sharpness, brightness = look(image, np.asarray(face.box, np.float32))
    aside = turned(face.landmarks)
    return {
        "side": round(math.sqrt(face.area), 1),
        "sharpness": round(sharpness, 2),
        "brightness": round(brightness, 1),
        "turned": round(aside, 3) if math.isfinite(aside) else None,
        "tilted": round(tilted(face.landmarks), 1),
    }


def look(image: Image.Image, box: FloatArray) -> tuple[float, float]:
    """Sharpness (standard deviation of the Laplacian) and brightness (mean, 0 to 255) of the face in grey."""
    if np.isfinite(box).all():
        left, top, right, bottom = np.clip(box, 0, [image.width, image.height] * 2).round().astype(int).tolist()
        if right > left and bottom > top:
            image = image.crop((left, top, right, bottom))  # first: a whole photo of 12 megapixels takes 16 ms
    pixels = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    inner = pixels[1:-1, 1:-1]
    laplacian = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * inner
    return float(laplacian.std()), float(pixels.mean())


def turned(landmarks: Landmarks) -> float:
    """How far the nose is from the middle between the eyes, along their line, in halves of their distance; 0 or more.

    1 has the nose before one eye, more has it beyond; infinite where both eyes are in one place.
    """
    left, right, nose = (np.asarray(point, np.float64) for point in landmarks[:3])
    line = right - left
    length = float(line @ line)
    return abs(2 * float((nose - left) @ line) / length - 1) if length else math.inf


def tilted(landmarks: Landmarks) -> float:
    """The angle of the line through the eyes to the horizontal, in degrees, 0 to 180."""
    (x, y), (other_x, other_y) = landmarks[:2]
    return abs(math.degrees(math.atan2(other_y - y, other_x - x)))
