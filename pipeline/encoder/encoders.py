"""Where encoders come from: opened from the weight store, each once, sharing what they can."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import WeightsError
from pipeline.core.files import digest
from pipeline.core.recipes import Recipe, recipe_named
from pipeline.core.types import Detector, Report, silent
from pipeline.encoder.encoder import Encoder, open_encoder
from pipeline.encoder.layer import Layer, load_layer, save_layer
from pipeline.encoder.weights import Weights, WeightStore

HEAD_MISSING = "its head is not trained yet; run `python -m pipeline train-head` once, then start again."
HEAD_UNREADABLE = "{} holds no head that this version reads; run `python -m pipeline train-head` again."
HEAD_OF_OTHERS = "The head in {} was trained on other ResNet-50 weights; run `python -m pipeline train-head` again."


class Encoders(Protocol):
    """Where encoders come from."""

    def get(self, recipe: str, report: Report = silent) -> Encoder:
        """The recipe's encoder, its weights downloaded if need be."""
        ...

    def on_disk(self, recipe: str) -> bool:
        """Whether the recipe can be had without a download."""
        ...

    def why_unavailable(self, recipe: str) -> str | None:
        """One sentence if the recipe cannot be had here, else None."""
        ...

    def keep_head(self, recipe: str, layer: Layer) -> Path:
        """Keeps a head that was trained; the recipe uses it from now on."""
        ...


class StoredEncoders:
    """Encoders from the weight store, each opened once; those that look at photos alike share one face detector."""

    def __init__(self, store: WeightStore, *, gpu: bool = False) -> None:
        """With `gpu`, networks that can do so run on a GPU where there is one."""
        self._store = store
        self._gpu = gpu
        self._opened: dict[str, Encoder] = {}
        self._detectors: dict[int, Detector | None] = {}  # by zoom
        self._lock = threading.RLock()

    def get(self, recipe: str, report: Report = silent) -> Encoder:
        """The recipe's encoder, its weights downloaded if need be."""
        chosen = recipe_named(recipe)
        with self._lock:
            if recipe not in self._opened:
                shared = self._detectors.get(chosen.zoom)
                if chosen.base:
                    encoder = self._on_top_of(self.get(chosen.base, report), chosen)
                else:
                    weights = self._store.get(chosen.network, report)
                    graphs = self._store.graph_folder(weights)
                    encoder = open_encoder(chosen, weights, shared, graphs, gpu=self._gpu)
                self._detectors[chosen.zoom] = encoder.detector or shared
                self._opened[recipe] = encoder
            return self._opened[recipe]

    def why_unavailable(self, recipe: str) -> str | None:
        """One sentence if the recipe's weights are neither here nor to be had, else None."""
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
            return None  # whether it is this backbone's shows once that is here
        try:
            self._head(recipe, backbone.sha256 if backbone else "")
        except WeightsError as error:
            return str(error)
        return None

    def _head(self, recipe: str, backbone: str) -> tuple[Path, Layer]:
        """The first head that is whole and of this backbone (its digest); WeightsError saying why there is none.

        One that is damaged, of an older version or of other weights counts as absent, as damaged weights do.
        """
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
