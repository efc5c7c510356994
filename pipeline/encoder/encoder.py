"""THE road from photo to vector: find faces, choose one, cut it out, embed it, scale to unit length, a last layer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from pipeline.core.geometry import unit_rows
from pipeline.core.recipes import Recipe
from pipeline.core.types import Detector, Encoded, Face, FloatArray, Network
from pipeline.encoder.faces import CHOICES, Choose, MtcnnDetector, centred, cut_all
from pipeline.encoder.layer import Layer
from pipeline.encoder.networks import open_network
from pipeline.encoder.weights import Weights


class Encoder:
    """One recipe, ready to run. Safe to use from several threads."""

    def __init__(self, recipe: Recipe, network: Network, detector: Detector | None, weights: Weights) -> None:
        """`detector` is None for a recipe that looks for no face; it may be shared between encoders."""
        self.recipe = recipe
        self.detector = detector
        self.weights = weights
        self.layer: Layer | None = None
        self.below: Encoder | None = None
        self._network = network

    def under(self, recipe: Recipe, weights: Weights | None = None, layer: Layer | None = None) -> Encoder:
        """This encoder with a last layer on top, for another recipe; `weights` where the layer has some of its own.

        The layer of a PCA comes with its gallery. Until it is given, vectors are those of the encoder below.
        """
        encoder = Encoder(recipe, self._network, self.detector, weights or self.weights)
        encoder.layer, encoder.below = layer, self
        return encoder

    @property
    def of_gallery(self) -> Choose:
        """How the recipe chooses among the faces of a gallery's photo."""
        return CHOICES[self.recipe.choice]

    def encode(
        self,
        images: Sequence[Image.Image],
        choose: Choose | None = centred,
        found: Sequence[tuple[Face, ...]] | None = None,
    ) -> list[Encoded]:
        """Embeds RGB images, one result each, in order.

        `choose` picks among the faces of a photo; None embeds the whole photo whatever the recipe says. `found` spares
        the detection where another encoder with the same detector has done it for these images.
        """
        started = time.perf_counter()
        if self.detector is None or choose is None:
            found = [()] * len(images)
        elif found is None:
            found = self.detector.detect(images)
        detected = time.perf_counter()
        faces: list[Face | None] = [None] * len(images)
        if self.detector is not None and choose is not None:
            faces = [choose(seen, image.size) for seen, image in zip(found, images, strict=True)]
        searchable = [i for i, face in enumerate(faces) if face or self.detector is None or choose is None]
        cut_out = cut_all([images[i] for i in searchable], [faces[i] for i in searchable], self.recipe)
        crops = dict(zip(searchable, cut_out, strict=True))
        vectors = dict(zip(crops, self.embed(list(crops.values())), strict=True)) if crops else {}
        share = 1000 / max(len(images), 1)
        detect_ms, embed_ms = (detected - started) * share, (time.perf_counter() - detected) * share
        return [
            Encoded(found[i], faces[i], crops.get(i), vectors.get(i), detect_ms, embed_ms) for i in range(len(images))
        ]

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Unit vectors (n, d) of n crops that are cut out already."""
        if self.recipe.flip:
            both = unit_rows(self._network.embed([*crops, *map(ImageOps.mirror, crops)]))
            vectors = unit_rows(both[: len(crops)] + both[len(crops) :])
        else:
            vectors = unit_rows(self._network.embed(crops))
        return vectors if self.layer is None else self.layer.apply(vectors)


def open_encoder(
    recipe: Recipe,
    weights: Weights,
    detector: Detector | None = None,
    graphs: Path | None = None,
    *,
    gpu: bool = False,
) -> Encoder:
    """The recipe's encoder; `detector` shares one of the same zoom that is loaded.

    `graphs` and `gpu` are for `open_network`.
    """
    if recipe.finds_faces and detector is None:
        detector = MtcnnDetector(recipe.zoom)
    network = open_network(recipe, weights, graphs, gpu=gpu)
    return Encoder(recipe, network, detector if recipe.finds_faces else None, weights)
