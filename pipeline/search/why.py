"""One hit of a search explained, as the page, the command line and programs get it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.errors import SettingsError
from pipeline.core.types import Answer, FloatArray, Photo
from pipeline.search.explain import PLACES, Explanation, explain, gallery_crop, patch_corners, patch_side
from pipeline.search.searcher import Searcher

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
