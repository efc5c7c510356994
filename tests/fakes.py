"""The tiny world: photos drawn by code, and the two networks faked. Everything else in the tests is the real thing.

A tiny photo is grey; a face in it is a square of colour, whose hue is the person and whose shade differs by photo.
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.progress import Report, silent
from pipeline.core.recipes import RECIPES, Recipe, recipe_named
from pipeline.core.types import Face, FloatArray
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.layer import Layer
from pipeline.encoder.weights import Weights
from pipeline.galleries.gallery import Gallery
from pipeline.search.calibration import Calibration, Limits, PersonModel

SIDE = 96
PEOPLE = ("Ada", "Bruno", "Clara", "Dimitri", "Elif", "Farid")
PHOTOS_EACH = 4
FACELESS = "Clara/faceless.png"
BROKEN = "Dimitri/broken.jpg"


def face_colour(person: int, variation: int) -> tuple[int, int, int]:
    """The person's hue in the photo's shade."""
    red, green, blue = colorsys.hsv_to_rgb(person / len(PEOPLE), 0.9, 0.95 - 0.05 * variation)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw(*faces: tuple[int, int, tuple[int, int, int]], size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A grey photo with faces, each (person, variation, (left, top, side))."""
    photo = Image.new("RGB", size, (128, 128, 128))
    for person, variation, (left, top, side) in faces:
        photo.paste(face_colour(person, variation), (left, top, left + side, top + side))
    return photo


def portrait(person: int, variation: int = 0) -> Image.Image:
    """A photo of one person, the face a little elsewhere in every photo."""
    return draw((person, variation, (24 + 2 * variation, 20 + variation, 40)))


def make_people(folder: Path) -> Path:
    """Six people with four photos each."""
    for person, name in enumerate(PEOPLE):
        (folder / name).mkdir(parents=True)
        for variation in range(PHOTOS_EACH):
            portrait(person, variation).save(folder / name / f"{variation}.png")
    return folder


def make_folder(folder: Path) -> Path:
    """Six people with four photos each; between them a photo without a face and a file that is no photo."""
    make_people(folder)
    draw().save(folder / FACELESS)
    (folder / BROKEN).write_bytes(b"not a photo")
    return folder


class TinyDetector:
    """Finds squares of colour; faces side by side are told apart by the grey columns between them."""

    def __init__(self) -> None:
        self.photos_seen = 0
        self._faceless = set[bytes]()  # which are turned and looked at again, alone; that makes them no other photos

    def detect(self, images: Sequence[Image.Image], *, for_one: bool = False) -> list[tuple[Face, ...]]:
        found = [self._detect(np.asarray(image).astype(int)) for image in images]
        if len(images) != 1 or images[0].tobytes() not in self._faceless:
            self.photos_seen += len(images)
            self._faceless = {image.tobytes() for image, faces in zip(images, found, strict=True) if not faces}
        return found

    def _detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
        coloured = pixels.max(axis=2) - pixels.min(axis=2) > 40
        columns = np.flatnonzero(np.diff(coloured.any(axis=0).astype(int), prepend=0, append=0))
        faces = []
        for left, right in columns.reshape(-1, 2).tolist():
            rows = np.flatnonzero(coloured[:, left:right].any(axis=1))
            faces.append(_face(left, int(rows[0]), right, int(rows[-1]) + 1))
        return tuple(faces)


def _face(left: int, top: int, right: int, bottom: int) -> Face:
    width, height = right - left, bottom - top
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    landmarks = tuple((left + x * width, top + y * height) for x, y in places)
    return Face((left, top, right, bottom), 0.99, landmarks)


class TinyNetwork:
    """Sixteen patches of the crop, mixed into as many numbers as the recipe's vectors have."""

    precision = "f32"

    def __init__(self, dim: int) -> None:
        self._mix = np.random.default_rng(0).normal(size=(48, dim)).astype(np.float32)

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        patches = [
            np.asarray(crop.resize((4, 4), Image.Resampling.BOX), np.float32).ravel() / 255 - 0.5 for crop in crops
        ]
        return np.stack(patches) @ self._mix


class TinyEncoders:
    """`Encoders` with the two networks faked. `unavailable` maps a recipe to the reason."""

    def __init__(self, unavailable: dict[str, str] | None = None, *, custom: bool = False) -> None:
        self.detector = TinyDetector()
        self.unavailable = unavailable or {}
        self._custom = custom
        self._opened: dict[str, Encoder] = {}
        self.heads: dict[str, Layer] = {}

    def get(self, recipe: str, report: Report = silent) -> Encoder:
        if recipe not in self._opened:
            chosen = recipe_named(recipe)
            if chosen.base:
                self._opened[recipe] = self._on_top_of(self.get(chosen.base), chosen)
                return self._opened[recipe]
            weights = Weights(chosen.network, (), f"tiny-{chosen.network}", self._custom)
            detector = self.detector if chosen.finds_faces else None
            self._opened[recipe] = Encoder(chosen, TinyNetwork(chosen.dim), detector, weights)
        return self._opened[recipe]

    def _on_top_of(self, below: Encoder, recipe: Recipe) -> Encoder:
        if recipe.layer != "head":
            return below.under(recipe)
        layer = self.heads.get(recipe.name)
        if layer is None:  # not trained: a number above zero goes to one unit, below zero to another
            half = np.eye(recipe.dim // 2, below.recipe.dim, dtype=np.float32)
            layer = Layer(np.concatenate([half, -half]), np.zeros(recipe.dim, np.float32), rectified=True)
        trained = hashlib.sha256(layer.weight.data).hexdigest() if recipe.name in self.heads else "untrained"
        return below.under(recipe, replace(below.weights, sha256=f"{below.weights.sha256} {trained}"), layer)

    def keep_head(self, recipe: str, layer: Layer) -> Path:
        self.heads[recipe] = layer
        self._opened.pop(recipe, None)
        return Path(f"{recipe}.safetensors")

    def on_disk(self, recipe: str) -> bool:
        return self.why_unavailable(recipe) is None

    def why_unavailable(self, recipe: str) -> str | None:
        return self.unavailable.get(recipe) or self.unavailable.get(recipe_named(recipe).base)


def tiny_gallery(folder: Path, unavailable: dict[str, str] | None = None) -> Gallery:
    """A gallery of the tiny world in `folder`."""
    photos = folder / "photos"
    if not photos.exists():
        make_folder(photos)
    return Gallery(f"imagefolder:{photos}", TinyEncoders(unavailable), folder / "index")


ROUGH = (0.01, 0.1, 0.9)  # rates of false alarms, by hand


def known(
    recipe: str, weights: str, distances: tuple[float, float, float], faces: int = 24, middle: float = 1.0
) -> Calibration:
    """A calibration by hand: hits within `distances` are ROUGH false alarms.

    So are people at these distances; and a person at the `middle` is as likely to be right as not.
    """
    slope = 20.0
    doubts = tuple(slope * (distance - middle) for distance in distances)
    person = PersonModel(
        (-slope, 0, 0, 0, 0, slope * middle), (-slope, 0, slope * middle), 1.4, Limits(ROUGH, (faces,), (doubts,))
    )
    hits = Limits(ROUGH, (faces,), (distances,))
    return Calibration(recipe, RECIPES[recipe].version, (weights,), "", middle, 1 / slope, hits, person)
