"""The networks: square RGB crops in, raw vectors out. Each knows how its crops are to be scaled and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino
from PIL import Image

from pipeline.inference import Batched
from pipeline.mini import mini_graph
from pipeline.recipes import Recipe
from pipeline.types import FloatArray, Network
from pipeline.weights import Weights, misfit


class Reid:
    """Open Model Zoo's face-reidentification-retail-0095: aligned BGR crops of 128 px, 0 to 255, to 256 numbers."""

    def __init__(self, xml: Path, precision: str = "f32") -> None:
        """In f32, although bf16 takes less than half the time, vectors are the same on every processor."""
        model = openvino.Core().read_model(xml)
        model.reshape([-1, 3, 128, 128])
        self._network = Batched(model, precision)

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, 256) of n crops."""
        pixels = np.stack([np.asarray(crop) for crop in crops])[..., ::-1]
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        return self._network(batch).reshape(len(crops), -1)


class Mini:
    """This project's own network (`mini.py`), as OpenVINO runs it: aligned crops of 112 px to 256 numbers."""

    def __init__(self, weights: Path) -> None:
        """ValueError if the file holds something else."""
        self._network = Batched(mini_graph(weights), "f32")

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, 256) of n crops."""
        pixels = np.stack([np.asarray(crop) for crop in crops]).transpose(0, 3, 1, 2)
        batch = np.ascontiguousarray(pixels, np.float32)
        return self._network(batch)


def open_network(recipe: Recipe, weights: Weights) -> Network:
    """The recipe's network with these weights; WeightsError if they do not fit it."""
    return _OPENERS[recipe.network](weights)


def _open_facenet(weights: Weights) -> Network:
    from pipeline.torch_networks import open_facenet

    return open_facenet(weights)


def _open_resnet50(weights: Weights) -> Network:
    from pipeline.torch_networks import open_resnet50

    return open_resnet50(weights)


def _open_reid(weights: Weights) -> Network:
    try:
        return Reid(weights.paths[0])
    except RuntimeError as error:
        raise misfit(weights) from error


def _open_mini(weights: Weights) -> Network:
    try:
        return Mini(weights.paths[0])
    except ValueError as error:
        raise misfit(weights) from error


_OPENERS: dict[str, Callable[[Weights], Network]] = {
    "facenet": _open_facenet,
    "resnet50": _open_resnet50,
    "reid": _open_reid,
    "mini": _open_mini,
}
