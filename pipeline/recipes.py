"""The recipes: every way from photo to vector that can be chosen, as data. Nothing else lists them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from pipeline.errors import SettingsError

Crop = Literal["whole", "box", "aligned"]
NetworkName = Literal["resnet50", "facenet", "reid"]


@dataclass(frozen=True)
class Recipe:
    """One road from photo to vector.

    `crop`: the whole photo squeezed into a square; the face's box with `margin`; or the face turned and scaled so that
    its five landmarks come to lie where the network expects them. `size` is the side of the square crop in pixels,
    `margin` the part of it, in pixels, that lies outside the face's box (half on each side), `dim` the length of the
    vector. `version` goes up when the code behind a recipe changes its vectors.
    """

    name: str
    label: str
    summary: str
    network: NetworkName
    crop: Crop
    size: int
    margin: int
    dim: int
    version: int = 1

    @property
    def finds_faces(self) -> bool:
        """Whether a face is looked for at all."""
        return self.crop != "whole"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="resnet50",
            label="Baseline",
            summary="ResNet-50 (ImageNet) on the whole photo; no face is looked for.",
            network="resnet50",
            crop="whole",
            size=224,
            margin=0,
            dim=2048,
        ),
        Recipe(
            name="mtcnn-resnet50",
            label="MTCNN + ResNet-50",
            summary="The same ResNet-50, on the face that MTCNN found.",
            network="resnet50",
            crop="box",
            size=224,
            margin=20,  # FaceNet's 14 of 160 px, in proportion
            dim=2048,
        ),
        Recipe(
            name="mtcnn-facenet",
            label="Improved",
            summary="The face that MTCNN found, embedded by FaceNet (Inception-ResNet v1, VGGFace2).",
            network="facenet",
            crop="box",
            size=160,
            margin=14,  # facenet-pytorch's LFW recipe
            dim=512,
        ),
        Recipe(
            name="mtcnn-reid",
            label="Compact",
            summary="The face that MTCNN found, aligned by five landmarks, embedded by the small face-reidentification-"
            "retail-0095 (Open Model Zoo).",
            network="reid",
            crop="aligned",
            size=128,
            margin=0,
            dim=256,
        ),
    )
}
BASELINE = "resnet50"
DEFAULT = "mtcnn-facenet"
# The one whose weights are 2.5 MB: used where the default's cannot be had.
FALLBACK = "mtcnn-reid"

DEFAULT_INDEX = "annoy"
DEFAULT_K = 20
MAX_K = 100


def recipe_named(name: str) -> Recipe:
    """The recipe of that name; SettingsError names the choices."""
    if name not in RECIPES:
        raise SettingsError(f"There is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]


def fingerprint(recipe: Recipe, weights_sha256: str, photos_revision: str) -> str:
    """What a gallery's vectors depend on, as 16 hexadecimal digits: another value means other vectors.

    Label and summary are for people and do not count.
    """
    fields = {key: value for key, value in asdict(recipe).items() if key not in ("label", "summary")}
    facts = json.dumps([fields, weights_sha256, photos_revision], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
