"""How long a photo takes here and in face_recognition, the library that most people start with.

`python -m tests.lfw.library_time`, after `pip install 'setuptools<81' face_recognition`, which compiles dlib. From
whole photos to the vectors of their faces, in turns: by the detector and `mtcnn-reid` here, by its defaults there.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import face_recognition
import numpy as np
from PIL import Image

from pipeline.cli.common import configured_gallery
from pipeline.core.processors import processor
from pipeline.core.recipes import COMPACT
from pipeline.encoder.look import look
from pipeline.photos.images import open_image

PHOTOS, ROUNDS = 100, 5


def main() -> None:
    """Prints the medians of the rounds, milliseconds a photo, and their ratio."""
    gallery = configured_gallery()
    encoder = gallery.encoders.get(COMPACT)
    assert encoder.detector is not None
    rows = np.linspace(0, len(gallery.photos) - 1, PHOTOS).astype(int).tolist()
    images = [open_image(gallery.photos[row].source) for row in rows]

    def here(image: Image.Image) -> None:
        seen = look(image, encoder.detector)
        encoder.encode([seen.image] * len(seen.faces), found=[(face,) for face in seen.faces])

    def there(image: Image.Image) -> None:
        pixels = np.asarray(image)
        face_recognition.face_encodings(pixels, face_recognition.face_locations(pixels))

    taken: dict[Callable[[Image.Image], None], list[float]] = {here: [], there: []}
    for way in taken:
        way(images[0])
    for _ in range(ROUNDS):
        for way, times in taken.items():
            began = time.perf_counter()
            for image in images:
                way(image)
            times.append((time.perf_counter() - began) * 1000 / len(images))
    ours, theirs = (statistics.median(times) for times in taken.values())
    sys.stdout.write(
        f"{len(images)} photos, one after the other, {processor()}: {COMPACT} {ours:.1f} ms, "
        f"face_recognition {theirs:.1f} ms, {theirs / ours:.1f} x\n"
    )


if __name__ == "__main__":
    main()
