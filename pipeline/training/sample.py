"""The sample gallery: people who do not exist, each the average of six people of LFW.

After Francis Galton, "Composite Portraits" (Nature, 1878): the average of aligned faces is nobody's face. The j-th
photo of a composite person averages the j-th photos of the same six people, and adds a share of the average of all
their photos, so that the five photos are as similar as those of one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.core.errors import SettingsError
from pipeline.core.geometry import similarity_transform, unit_rows
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.types import FloatArray, IntArray
from pipeline.embeddings.store import Embeddings
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos

PEOPLE, PHOTOS_EACH, MADE_OF = 40, 5, 6
OWN_WEIGHT = 0.3  # of its own six photos in a composite; with 0.5 some were nearer to another composite person
SIDE = 200  # pixels
QUALITY = 80
SEED = 7
# Eyes, nose and corners of the mouth in a composite, as shares of its side.
LANDMARKS = ((0.39, 0.43), (0.61, 0.43), (0.5, 0.56), (0.41, 0.67), (0.59, 0.67))
# The mask of the faces: an ellipse with a soft edge, hair and chin included. Beyond it six backgrounds would show.
RADII, SOFTNESS = (0.33, 0.44), 0.22
TURN, SHIFT, SIZE, LIGHT = 7.0, 0.03, 0.08, 0.15  # how far photos vary: degrees, a share of the side, shares

Pixels = npt.NDArray[np.float64]


def compose_sample(embeddings: Embeddings, photos: Photos, folder: Path, report: Report = silent) -> None:
    """Writes a folder of five JPEGs for each of 40 composite people, from LFW's embeddings, which hold the faces.

    SettingsError if too few people have five photos.
    """
    for number, rows in enumerate(tracked(similar_people(embeddings), "Composing", "people", report)):
        place = folder / f"Composite {number + 1:02}"
        place.mkdir(parents=True, exist_ok=True)
        laid = np.array([[_warped(*_face(embeddings, photos, row)) for row in person] for person in rows.tolist()])
        for turn in range(PHOTOS_EACH):
            average = OWN_WEIGHT * laid[:, turn].mean(axis=0) + (1 - OWN_WEIGHT) * laid.mean(axis=(0, 1))
            portrait(average, (SEED, number, turn)).save(place / f"{turn + 1}.jpg", quality=QUALITY, optimize=True)


def similar_people(embeddings: Embeddings) -> list[IntArray]:
    """For each composite person the rows (6, 5) of the photos of six people.

    The six are similar, or their average would look like everybody's; each six are as far as possible from the people
    chosen before.
    """
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(embeddings.people):
        rows.setdefault(person, []).append(row)
    chosen = np.array([some[:PHOTOS_EACH] for some in rows.values() if len(some) >= PHOTOS_EACH], np.int64)
    if len(chosen) < PEOPLE * MADE_OF:
        raise SettingsError(
            f"Composites need {PEOPLE * MADE_OF} people with {PHOTOS_EACH} photos each, and this gallery has "
            f"{len(chosen)}; use LFW."
        )
    means: FloatArray = unit_rows(embeddings.vectors[chosen].mean(axis=1))
    similarity, free, used, groups = means @ means.T, np.arange(len(chosen)), np.empty(0, np.int64), []
    for _ in range(PEOPLE):
        first = free[similarity[np.ix_(free, used)].max(axis=1, initial=-1).argmin()]
        six = free[np.argsort(-similarity[first, free], kind="stable")[:MADE_OF]]
        free, used = np.setdiff1d(free, six), np.append(used, six)
        groups.append(chosen[six])
    return groups


def _face(embeddings: Embeddings, photos: Photos, row: int) -> tuple[Image.Image, Pixels]:
    photo = photos.found(embeddings.photo_ids[row])
    return open_image(photo.source), np.asarray(embeddings.faces[row, 5:], np.float64).reshape(5, 2)


def _warped(image: Image.Image, landmarks: Pixels) -> Pixels:
    """The photo warped so that its landmarks (5, 2) are those of a composite, (side, side, 3); edges are extended."""
    across, down = image.size
    padded = Image.fromarray(np.pad(np.asarray(image), ((down, down), (across, across), (0, 0)), mode="edge"))
    back = similarity_transform(np.array(LANDMARKS) * SIDE, landmarks + image.size)
    laid = padded.transform((SIDE, SIDE), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC)
    return np.asarray(laid, np.float64)


def portrait(average: Pixels, seed: Sequence[int]) -> Image.Image:
    """An average of faces (side, side, 3) as a photo, with pose, light and background drawn from the seed."""
    random = np.random.default_rng(seed)
    # Averaging blurs, because faces never match exactly; sharpening makes up for some of it.
    face = Image.fromarray(average.round().astype(np.uint8)).filter(ImageFilter.UnsharpMask(3, 110, 0))
    turn, shift = np.deg2rad(random.uniform(-TURN, TURN)), random.uniform(-SHIFT, SHIFT, 2) * SIDE
    spin = random.uniform(1 - SIZE, 1 + SIZE) * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    back = np.hstack([spin, (np.array([SIDE, SIDE]) / 2 - shift - spin @ np.array([SIDE, SIDE]) / 2)[:, None]])

    def posed(image: Image.Image) -> Pixels:
        turned = image.transform(image.size, Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC)
        return np.asarray(turned, np.float64)

    kept = posed(Image.fromarray((255 * _mask()).astype(np.uint8)))[..., None] / 255
    lit = posed(face) * random.uniform(1 - LIGHT, 1 + LIGHT)
    mixed = kept * lit + (1 - kept) * _background(random)
    return Image.fromarray(mixed.clip(0, 255).round().astype(np.uint8))


def _mask() -> Pixels:
    """The weight of the average at each pixel, (side, side): 1 in the ellipse, 0 well outside."""
    across, down = np.meshgrid(*((np.arange(SIDE) + 0.5) / SIDE - 0.5,) * 2)
    inside = ((1 + SOFTNESS - np.hypot(across / RADII[0], down / RADII[1])) / (2 * SOFTNESS)).clip(0, 1)
    smooth: Pixels = inside**2 * (3 - 2 * inside)
    return smooth


def _background(random: np.random.Generator) -> Pixels:
    """A plain wall, lighter on one side, (side, side, 3)."""
    colour = random.uniform(90, 190) + random.uniform(-18, 18, 3)
    slope = random.uniform(-35, 35) * np.linspace(-1, 1, SIDE)[None, :, None]
    return np.broadcast_to(colour + slope, (SIDE, SIDE, 3))
