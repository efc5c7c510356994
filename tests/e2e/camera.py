"""Films for Chromium's fake camera: photos of people that move about before it, one person after the other."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SIZE = (640, 480)
SIDE = 330  # px of a photo in the frame, on average
RATE = 30  # frames a second, as Chromium plays MJPEG


def film(photos: Sequence[Image.Image], path: Path, seconds: float = 2) -> Path:
    """An MJPEG file that is played over and over, with each of the photos for so many seconds; returns its path."""
    count = round(seconds * RATE)
    with path.open("wb") as file:
        for photo in photos:
            for number in range(count):
                encoded = io.BytesIO()
                _frame(photo, 2 * math.pi * number / count).save(encoded, "JPEG", quality=90)
                file.write(encoded.getvalue())
    return path


def _frame(photo: Image.Image, angle: float) -> Image.Image:
    """The photo on grey, on its way round a circle, and nearer on one side of it than on the other."""
    side = round(SIDE + 40 * math.sin(angle))
    left, top = (SIZE[0] - side) / 2 + 120 * math.cos(angle), (SIZE[1] - side) / 2 + 50 * math.sin(angle)
    frame = Image.new("RGB", SIZE, (128, 128, 128))
    frame.paste(photo.resize((side, side), Image.Resampling.BICUBIC), (round(left), round(top)))
    return frame
