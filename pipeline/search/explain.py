"""Why this match? What the similarity of two crops rests on, found by covering one place after the other.

A square patch of the crop's mean colour is slid over each crop; every covered crop is embedded anew and compared with
the other crop as it is. Where that costs similarity, the similarity rests on what was covered (Zeiler and Fergus,
"Visualizing and Understanding Convolutional Networks", 2014). A patch has a quarter of the crop's side and there are
8 x 8 of them, half of each over the next, so an explanation embeds 2 x 65 crops: under a second with `mtcnn-reid` on
two cores. Similarity is the cosine of two vectors, 1 - distance^2 / 2.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipeline.core.errors import SettingsError
from pipeline.core.folders import make_folder
from pipeline.core.geometry import distances
from pipeline.core.types import Answer, FloatArray, IntArray, Photo
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.faces import cut
from pipeline.encoder.look import TURNS, degrees_off, turned_along
from pipeline.photos.images import open_image
from pipeline.search.searcher import Searcher

PLACES = 8  # of the patch along a side
PATCH_SHARE = 0.25  # of the crop's side
BATCH = 16  # crops at a time: their activations stay in the cache

SHOWN_SIDE, GAP, LINE, TITLE_SIZE = 300, 12, 26, 16  # pixels of the picture
FOR, AGAINST = (255, 120, 0), (0, 114, 178)
STRENGTH = 0.8  # how much of the photo the strongest colour hides
NEGLIGIBLE = 1e-3  # of similarity: a map that holds no more is rounding, and is not blown up to full colour


@dataclass(frozen=True)
class Heat:
    """A square RGB crop, and what covering places of it costs in similarity.

    `patches` (PLACES, PLACES) is what each patch costs, row by row, and `drop` (side, side) the same spread over the
    pixels. Below zero: the two are more alike without it.
    """

    crop: Image.Image
    patches: FloatArray
    drop: FloatArray

    def __post_init__(self) -> None:
        if self.drop.shape != self.crop.size[::-1]:
            raise ValueError(f"a map of {self.drop.shape} does not lie on a crop of {self.crop.size}")
        if self.patches.shape != (PLACES, PLACES):
            raise ValueError(f"there are {PLACES} x {PLACES} patches, not {self.patches.shape}")


@dataclass(frozen=True)
class Explanation:
    """The crop that was searched with and the hit's, with what their `similarity`, -1 to 1, rests on.

    `distance` says the same as every search does: Euclidean between unit vectors, 0 to 2.
    """

    similarity: float
    distance: float
    query: Heat
    hit: Heat

    @property
    def strongest(self) -> float:
        """The largest change of similarity in either map: the scale of both pictures."""
        return float(max(np.abs(self.query.drop).max(), np.abs(self.hit.drop).max()))

    def overlays(self) -> tuple[Image.Image, Image.Image]:
        """Both crops in grey with their maps in colour: orange where similarity rests, blue where it suffers."""
        scale = max(self.strongest, NEGLIGIBLE)
        return _overlay(self.query, scale), _overlay(self.hit, scale)


def explain(encoder: Encoder, query: Image.Image, hit: Image.Image) -> Explanation:
    """What the similarity of two crops of the encoder's recipe rests on."""
    size = encoder.recipe.size
    corners = patch_corners(size)
    covered = [_covered(crop, corners, patch_side(size)) for crop in (query, hit)]
    of_query, of_hit = (_embedded(encoder, [crop, *each]) for crop, each in zip((query, hit), covered, strict=True))
    similarity = float(of_query[0] @ of_hit[0])
    return Explanation(
        similarity,
        float(distances(of_hit[:1], of_query[0])[0]),
        _heat(query, similarity - of_query[1:] @ of_hit[0], corners),
        _heat(hit, similarity - of_hit[1:] @ of_query[0], corners),
    )


def gallery_crop(searcher: Searcher, photo: Photo) -> Image.Image:
    """What the network saw of a photo of the gallery; SettingsError if no face was found in it."""
    try:
        row = searcher.embeddings.photo_ids.index(photo.photo_id)
    except ValueError:
        raise SettingsError(f"{photo.photo_id} was skipped when the gallery was built; choose another photo.") from None
    image, face = open_image(photo.source), searcher.embeddings.face(row)
    if face and (degrees := degrees_off(face)):
        face, image = turned_along(face, image.size, degrees), image.transpose(TURNS[degrees])
    return cut(image, face, searcher.encoder.recipe)


def patch_corners(size: int) -> IntArray:
    """Where the patch's upper left corner goes, (PLACES^2, 2) as (left, top), row by row."""
    along = np.linspace(0, size - patch_side(size), PLACES).round().astype(np.int64)
    left, top = np.meshgrid(along, along)
    return np.stack([left.ravel(), top.ravel()], axis=1)


def patch_side(size: int) -> int:
    """The patch's side in pixels, for a crop of this size."""
    return max(1, round(size * PATCH_SHARE))


def _covered(crop: Image.Image, corners: IntArray, patch: int) -> list[Image.Image]:
    colour = tuple(np.asarray(crop).mean(axis=(0, 1)).round().astype(int).tolist())
    covered = []
    for left, top in corners.tolist():
        each = crop.copy()
        each.paste(colour, (left, top, left + patch, top + patch))
        covered.append(each)
    return covered


def _heat(crop: Image.Image, drops: FloatArray, corners: IntArray) -> Heat:
    return Heat(crop, drops.reshape(PLACES, PLACES), _spread(drops, corners, crop.width))


def _embedded(encoder: Encoder, crops: Sequence[Image.Image]) -> FloatArray:
    batches = [encoder.embed(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
    return np.concatenate(batches)


def _spread(drops: FloatArray, corners: IntArray, size: int) -> FloatArray:
    """Each pixel's mean of the drops (n,) of the patches that cover it, (size, size).

    A patch counts more where its middle is, so that no edges of patches are seen in the map.
    """
    patch = patch_side(size)
    tent = 1 - np.abs(np.linspace(-1, 1, patch + 2, dtype=np.float32)[1:-1])
    weight = np.outer(tent, tent)
    summed, weights = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    for drop, (left, top) in zip(drops, corners.tolist(), strict=True):
        place = slice(top, top + patch), slice(left, left + patch)
        summed[place] += drop * weight
        weights[place] += weight
    mean: FloatArray = summed / weights
    return mean


def _overlay(heat: Heat, scale: float) -> Image.Image:
    grey = np.asarray(heat.crop.convert("L").convert("RGB"), np.float32)
    strength = (np.clip(heat.drop / scale, -1, 1) * STRENGTH)[..., None]
    colour = np.where(strength > 0, FOR, AGAINST)
    mixed = grey * (1 - np.abs(strength)) + colour * np.abs(strength)
    return Image.fromarray(mixed.round().astype(np.uint8))


def picture(explanation: Explanation, titles: tuple[str, str], recipe: str) -> Image.Image:
    """One picture: the two crops side by side under their titles, below them the same with their maps, and a legend."""
    note = (
        f"{recipe}: similarity {explanation.similarity:.2f}. Orange: covering this place costs similarity.\n"
        f"Blue: without it the two are more alike. The strongest colour stands for {explanation.strongest:.2f}."
    )
    sheet = Image.new("RGB", (2 * SHOWN_SIDE + 3 * GAP, 2 * (SHOWN_SIDE + GAP) + 3 * LINE), "white")
    pen = ImageDraw.Draw(sheet)
    rows = ((explanation.query.crop, explanation.hit.crop), explanation.overlays())
    for column, title in enumerate(titles):
        left = GAP + column * (SHOWN_SIDE + GAP)
        pen.text((left, 6), _fitting(pen, title), fill="black", font_size=TITLE_SIZE)
        for number, pair in enumerate(rows):
            shown = pair[column].resize((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BICUBIC)
            sheet.paste(shown, (left, LINE + number * (SHOWN_SIDE + GAP)))
    pen.multiline_text((GAP, LINE + 2 * (SHOWN_SIDE + GAP)), note, fill="black", font_size=14)
    return sheet


def _fitting(pen: ImageDraw.ImageDraw, title: str) -> str:
    """As much of a title as fits above its picture."""
    while pen.textlength(title, font_size=TITLE_SIZE) > SHOWN_SIDE:
        title = f"{title[:-2]}…"
    return title


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes the picture; SettingsError if it cannot be written there or as its ending says."""
    try:
        make_folder(path.parent)
        picture.save(path)
    except ValueError as error:
        raise SettingsError(f"{path} is no name of a picture; name a file ending in .png.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror or error}); name another place.") from error


EMBEDDINGS = 2 * (PLACES**2 + 1)


@dataclass(frozen=True)
class Why:
    """What the similarity with a photo of the gallery rests on by one recipe; `ms` is how long finding it out took."""

    recipe: str
    photo: Photo
    explanation: Explanation
    ms: float

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values. `drops` holds rows of patches, whose left or upper edges lie at `patch.at` of the crop."""
        explanation, size = self.explanation, self.explanation.query.crop.width
        drops = {"query": _rows(explanation.query.patches), "hit": _rows(explanation.hit.patches)}
        return {
            "recipe": self.recipe,
            "photo_id": self.photo.photo_id,
            "person": self.photo.person,
            "similarity": round(explanation.similarity, 4),
            "distance": round(explanation.distance, 4),
            "strongest_drop": max(max(map(max, rows)) for rows in drops.values()),
            "drops": drops,
            "patch": {"crop": size, "side": patch_side(size), "at": patch_corners(size)[:PLACES, 0].tolist()},
            "embeddings": EMBEDDINGS,
            "ms": round(self.ms, 1),
        }


def _rows(patches: FloatArray) -> list[list[float]]:
    rows: list[list[float]] = patches.astype(np.float64).round(4).tolist()
    return rows


def why(searcher: Searcher, crop: Image.Image, photo: Photo) -> Why:
    """What the similarity of a crop that was searched with and a photo of the gallery rests on.

    SettingsError if the photo was skipped when the gallery was built.
    """
    started = time.perf_counter()
    explanation = explain(searcher.encoder, crop, gallery_crop(searcher, photo))
    return Why(searcher.encoder.recipe.name, photo, explanation, (time.perf_counter() - started) * 1000)


def nearest(answer: Answer) -> str:
    """The id of the nearest photo that is not the very one that was searched with; SettingsError if there is none."""
    found = next((hit for hit in answer.hits if not hit.is_query), None)
    if found is None:
        raise SettingsError("There is no other photo to explain in this gallery; name one.")
    return found.photo_id
