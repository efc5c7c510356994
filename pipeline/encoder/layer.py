"""A last layer on another recipe's vectors: one matrix product, perhaps rectified, and unit length again.

It is either PCA fitted on the gallery, which reduces the dimension, or a dense layer of ReLU units trained on its
people (`heads.py`). No photo is embedded again for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from pipeline.core.files import SEAL, array_digest, replacing
from pipeline.core.geometry import unit_rows
from pipeline.core.recipes import Recipe
from pipeline.core.types import FloatArray

METADATA_FIELD = "layer"  # the file's one field of text
# With fewer faces PCA overfits; with two, all strangers are at distance 0.
FACES_PER_DIMENSION = 10
ROWS = 1024  # at a time, so that memory does not grow with the gallery


@dataclass(frozen=True)
class Layer:
    """x -> unit(weight x + bias), or unit(ReLU(weight x + bias)) where `rectified`.

    `weight` is (m, d) and `bias` (m,), both float32; `facts` are metadata such as the epoch or the backbone's digest.
    """

    weight: FloatArray
    bias: FloatArray
    rectified: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(f"a layer's weight (m, d) and bias (m,) cannot be {self.weight.shape}, {self.bias.shape}")

    def apply(self, vectors: FloatArray) -> FloatArray:
        """Unit vectors (n, m) of vectors (n, d)."""
        result = np.empty((len(vectors), len(self.bias)), np.float32)
        for start in range(0, len(vectors), ROWS):
            rows = vectors[start : start + ROWS] @ self.weight.T + self.bias
            result[start : start + ROWS] = unit_rows(np.maximum(rows, 0) if self.rectified else rows)
        return result


def why_too_few(faces: int, recipe: Recipe) -> str | None:
    """One sentence if so many faces are too few to fit the recipe's PCA on, else None."""
    needed = FACES_PER_DIMENSION * recipe.dim
    if recipe.layer != "pca" or faces >= needed:
        return None
    fits = faces // FACES_PER_DIMENSION
    instead = f"{recipe.base}, or {fits} dimensions at most" if fits >= 2 else recipe.base
    return (
        f"{recipe.name} needs {needed:,} faces or more, {FACES_PER_DIMENSION} for each of its {recipe.dim} dimensions, "
        f"and there are {faces:,}: its distances would call strangers the same; use {instead}."
    )


def fit_pca(vectors: FloatArray, dim: int) -> Layer:
    """The projection of unit vectors (n, d) on their `dim` first principal components, after Pearson (1901).

    At most n - 1 components; fewer than two vectors stay unchanged.
    """
    from sklearn.decomposition import PCA

    if len(vectors) < 2:
        return Layer(np.eye(vectors.shape[1], dtype=np.float32), np.zeros(vectors.shape[1], np.float32))
    components = min(dim, len(vectors) - 1)
    fitted = PCA(components, svd_solver="covariance_eigh").fit(vectors)
    weight = np.ascontiguousarray(fitted.components_, np.float32)
    kept = f"{float(np.sum(fitted.explained_variance_ratio_)):.4f}"
    return Layer(weight, -(weight @ fitted.mean_.astype(np.float32)), facts={"variance_kept": kept})


def save_layer(layer: Layer, path: Path) -> None:
    """Writes the layer as safetensors, atomically."""
    metadata = {"facts": dict(sorted(layer.facts.items())), "rectified": layer.rectified, SEAL: _layer_digest(layer)}
    arrays = {"weight": np.ascontiguousarray(layer.weight), "bias": np.ascontiguousarray(layer.bias)}
    # safetensors writes wrong numbers of arrays that are not contiguous, and several metadata fields in any order.
    with replacing(path) as beside:
        save_file(arrays, beside, {METADATA_FIELD: json.dumps(metadata)})


def load_layer(path: Path) -> Layer:
    """The layer that `save_layer` wrote; ValueError if the file holds anything else."""
    try:
        with safe_open(path, "numpy") as kept:
            metadata = json.loads(kept.metadata()[METADATA_FIELD])
            layer = Layer(kept.get_tensor("weight"), kept.get_tensor("bias"), metadata["rectified"], metadata["facts"])
            whole = metadata[SEAL] == _layer_digest(layer)
    except Exception as error:  # by dtype and shape a foreign file makes safetensors and NumPy raise anything
        raise ValueError(f"{path} holds no layer") from error
    if not whole:
        raise ValueError(f"{path} holds another layer than was written")
    return layer


def _layer_digest(layer: Layer) -> str:
    """A digest of the layer: a wrong number would change every vector unnoticed."""
    return array_digest([sorted(layer.facts.items()), layer.rectified], layer.weight, layer.bias)
