"""Two photos: do they show one person?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipeline.core.geometry import distances
from pipeline.core.types import Face
from pipeline.core.verdicts import Verdict
from pipeline.encoder.faces import Choose
from pipeline.search.searcher import Searcher


@dataclass(frozen=True)
class Pair:
    """The `distance` of two photos' faces by a recipe; `verdict` is None where that was never calibrated.

    `faces` are those that were compared, None by a recipe for whole photos; `distance` is None where one is missing.
    """

    recipe: str
    distance: float | None
    verdict: Verdict | None
    faces: tuple[Face | None, Face | None] | None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "recipe": self.recipe,
            "distance": None if self.distance is None else round(self.distance, 4),
            "verdict": self.verdict.as_json() if self.verdict else None,
            "faces": [face.as_json() if face else None for face in self.faces] if self.faces else None,
        }


def compare_pair(searcher: Searcher, images: tuple[Image.Image, Image.Image], chosen: Sequence[Choose]) -> Pair:
    """Compares two RGB photos by the recipe of a searcher; `chosen` picks the face of each.

    The verdict is that of a gallery of one face: nobody was searched for among many.
    """
    looks = [searcher.look(image) for image in images]
    one, other = (
        searcher.encoder.encode([look.image], choose, [look.faces])[0]
        for look, choose in zip(looks, chosen, strict=True)
    )
    recipe = searcher.encoder.recipe
    faces = (one.face, other.face) if recipe.finds_faces else None
    if one.vector is None or other.vector is None:
        return Pair(recipe.name, None, None, faces)
    distance = float(distances(one.vector[None], other.vector)[0])
    verdict = searcher.calibration.verdict(distance, 1) if searcher.calibration else None
    return Pair(recipe.name, distance, verdict, faces)
