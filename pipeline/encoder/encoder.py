"""The pipeline from photo to vector: detect faces, choose one, crop it, embed it, normalise, apply the last layer."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, get_args

from PIL import Image, ImageOps

from pipeline.core.errors import WeightsError
from pipeline.core.files import digest
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Progress, Report, silent
from pipeline.core.recipes import NetworkName, Recipe, recipe_named
from pipeline.core.types import Detector, Encoded, Face, FloatArray, Network
from pipeline.encoder.cascade import PRECISION
from pipeline.encoder.faces import CHOICES, Choose, MtcnnDetector, centred, cut_all
from pipeline.encoder.layer import Layer, load_layer, save_layer
from pipeline.encoder.networks import open_network
from pipeline.encoder.weights import Weights, WeightStore

POLL_SECONDS = 0.1  # between two checks whether another thread's download is done


class Encoder:
    """One recipe, ready to run. Safe to use from several threads."""

    def __init__(self, recipe: Recipe, network: Network, detector: Detector | None, weights: Weights) -> None:
        """`detector` is None for a recipe on whole photos; encoders may share one."""
        self.recipe = recipe
        self.detector = detector
        self.weights = weights
        self.layer: Layer | None = None
        self.below: Encoder | None = None
        self._network = network

    def under(self, recipe: Recipe, weights: Weights | None = None, layer: Layer | None = None) -> Encoder:
        """This encoder with a last layer on top.

        Args:
            recipe: the one that ends with the layer.
            weights: the backbone's and the layer's together, where the layer has weights of its own.
            layer: None for a PCA, which is stored with its gallery; until it is set, vectors are those of this encoder.
        """
        encoder = Encoder(recipe, self._network, self.detector, weights or self.weights)
        encoder.layer, encoder.below = layer, self
        return encoder

    @property
    def precisions(self) -> dict[str, str]:
        """The precision of each network that it runs, by the network's name."""
        detecting = {"mtcnn": PRECISION} if self.detector else {}
        return {**detecting, self.recipe.network: self._network.precision}

    @property
    def of_gallery(self) -> Choose:
        """The recipe's choice among the faces of a gallery's photo."""
        return CHOICES[self.recipe.choice]

    @property
    def for_one(self) -> bool:
        """Whether a gallery's photo with one row may be looked at as `Detector.detect` does for one face."""
        return self.of_gallery is centred

    def encode(
        self,
        images: Sequence[Image.Image],
        choose: Choose | None = centred,
        found: Sequence[tuple[Face, ...]] | None = None,
    ) -> list[Encoded]:
        """Embeds RGB images.

        Args:
            images: of any sizes.
            choose: picks among the faces of a photo; None embeds whole photos whatever the recipe says.
            found: the faces of each image, where another encoder with the same detector has found them already.

        Returns:
            One result for each image, in order.
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
        """Unit vectors (n, d) of n crops of the recipe's size."""
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
    """Opens a recipe's encoder.

    Args:
        recipe: one without a last layer.
        weights: of its network.
        detector: one of the recipe's zoom to share; without it a new one is opened.
        graphs: as for `open_network`.
        gpu: as for `open_network`.
    """
    if recipe.finds_faces and detector is None:
        detector = MtcnnDetector(recipe.zoom)
    network = open_network(recipe, weights, graphs, gpu=gpu)
    return Encoder(recipe, network, detector if recipe.finds_faces else None, weights)


HEAD_MISSING = "The head is not trained yet; run `python -m pipeline train-head` once, then start again."
HEAD_UNREADABLE = "{} holds no head that this version reads; run `python -m pipeline train-head` again."
HEAD_OF_OTHERS = "The head in {} was trained on other ResNet-50 weights; run `python -m pipeline train-head` again."


class Encoders(Protocol):
    """Opens encoders by the names of their recipes."""

    def get(self, recipe: str, report: Report = silent) -> Encoder:
        """The recipe's encoder, its weights downloaded if need be."""
        ...

    def on_disk(self, recipe: str) -> bool:
        """Whether the recipe is available without a download."""
        ...

    def why_unavailable(self, recipe: str) -> str | None:
        """One sentence if the recipe is unavailable, else None."""
        ...

    def keep_head(self, recipe: str, layer: Layer) -> Path:
        """Stores a trained head, which the recipe uses from now on; returns its file."""
        ...


class StoredEncoders:
    """Encoders from the weight store, each opened once; those of the same zoom share one face detector."""

    def __init__(self, store: WeightStore, *, gpu: bool = False) -> None:
        """`gpu`: whether FaceNet and ResNet-50 run on an NVIDIA GPU where there is one."""
        self._store = store
        self._gpu = gpu
        self._opened: dict[str, Encoder] = {}
        self._detectors: dict[int, Detector | None] = {}  # by zoom
        self._lock = threading.RLock()
        self._fetching = {network: threading.Lock() for network in get_args(NetworkName)}
        self._downloading: dict[str, Progress] = {}  # by network

    def get(self, recipe: str, report: Report = silent) -> Encoder:
        """The recipe's encoder, its weights downloaded if need be."""
        chosen = recipe_named(recipe)
        if recipe in self._opened:
            return self._opened[recipe]
        # Outside the lock, so that nobody who needs another network waits for this download.
        below = self.get(chosen.base, report) if chosen.base else None
        weights = below.weights if below else self._weights(chosen.network, report)
        with self._lock:
            if recipe not in self._opened:
                shared = self._detectors.get(chosen.zoom)
                if below:
                    encoder = self._on_top_of(below, chosen)
                else:
                    graphs = self._store.graph_folder(weights)
                    encoder = open_encoder(chosen, weights, shared, graphs, gpu=self._gpu)
                self._detectors[chosen.zoom] = encoder.detector or shared
                self._opened[recipe] = encoder
            return self._opened[recipe]

    def _weights(self, network: str, report: Report) -> Weights:
        """The network's weights. A thread that waits for another's download reports its progress."""

        def downloading(progress: Progress) -> None:
            self._downloading[network] = progress
            report(progress)

        while not self._fetching[network].acquire(timeout=POLL_SECONDS):
            if (progress := self._downloading.get(network)) is not None:
                report(progress)
        try:
            return self._store.get(network, downloading)
        finally:
            self._downloading.pop(network, None)
            self._fetching[network].release()

    def why_unavailable(self, recipe: str) -> str | None:
        """One sentence if the recipe's weights are neither on this disk nor downloadable, else None."""
        chosen = recipe_named(recipe)
        reason = self._store.why_unavailable(chosen.network)
        if reason is None and chosen.layer == "head":
            return self._why_no_head(recipe, self._store.find(chosen.network))
        return reason

    def on_disk(self, recipe: str) -> bool:
        """Whether the recipe's weights are on this disk."""
        chosen = recipe_named(recipe)
        here = self._store.find(chosen.network)
        return here is not None and (chosen.layer != "head" or self._why_no_head(recipe, here) is None)

    def keep_head(self, recipe: str, layer: Layer) -> Path:
        """Keeps a head that was trained; the recipe uses it from now on."""
        path = self._store.head_path(recipe)
        save_layer(layer, path)
        with self._lock:
            self._opened.pop(recipe, None)
        return path

    def _on_top_of(self, below: Encoder, recipe: Recipe) -> Encoder:
        if recipe.layer != "head":
            return below.under(recipe)
        path, layer = self._head(recipe.name, below.weights.sha256)
        both = hashlib.sha256((below.weights.sha256 + digest(path)).encode()).hexdigest()
        return below.under(recipe, replace(below.weights, paths=(*below.weights.paths, path), sha256=both), layer)

    def _why_no_head(self, recipe: str, backbone: Weights | None) -> str | None:
        if backbone is None and self._store.heads(recipe):
            return None  # which backbone it was trained on can be checked once that is here
        try:
            self._head(recipe, backbone.sha256 if backbone else "")
        except WeightsError as error:
            return str(error)
        return None

    def _head(self, recipe: str, backbone: str) -> tuple[Path, Layer]:
        """The file and the head trained on this backbone (a digest), undamaged; WeightsError where there is none."""
        problem = HEAD_MISSING
        for path in self._store.heads(recipe):
            try:
                layer = load_layer(path)
            except ValueError:
                problem = HEAD_UNREADABLE.format(path)
                continue
            if layer.facts.get("backbone") == backbone:
                return path, layer
            problem = HEAD_OF_OTHERS.format(path)
        raise WeightsError(problem)
