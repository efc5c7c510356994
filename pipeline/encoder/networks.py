"""The networks: square RGB crops in, raw vectors out. Each knows how its crops are to be scaled and in which order.

Graphs made of torch's weights are kept in the cache, so that only a first start waits for torch. Only this module reads
what it wrote, and only whole: the manifest, written last, holds the digest of each file, and the folder's name that of
the weights.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino
from PIL import Image

from pipeline.core.files import digest, read_sealed, sealed, write_json
from pipeline.core.recipes import Recipe
from pipeline.core.types import FloatArray, Network
from pipeline.encoder.graphs import Batched, native_precision
from pipeline.encoder.mini import mini_graph
from pipeline.encoder.weights import Weights, misfit

log = logging.getLogger(__name__)

VERSION = 1  # goes up when the way from weights to graphs changes
GRAPH, NUMBERS, MANIFEST = "graph.xml", "graph.bin", "manifest.json"


def graph_in(folder: Path | None, convert: Callable[[], openvino.Model]) -> openvino.Model:
    """The graph that is kept in the folder; where there is none of this version, or a damaged one, it is made anew."""
    if folder is None:
        return convert()
    try:
        return _read(folder)
    except (OSError, ValueError, RuntimeError):
        graph = convert()
    try:
        _keep(graph, folder)
    except OSError as error:
        log.warning("The graph cannot be kept in %s (%s): every start waits for torch.", folder, error.strerror)
    return graph


def _versions() -> dict[str, object]:
    return {"version": VERSION, "openvino": openvino.__version__}


def _read(folder: Path) -> openvino.Model:
    told = read_sealed(folder / MANIFEST)
    files = {name: (folder / name).read_bytes() for name in (GRAPH, NUMBERS)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if told != {**_versions(), "files": digests}:
        raise ValueError(f"{folder} holds something else than was kept")
    return openvino.Core().read_model(files[GRAPH], files[NUMBERS])


def _keep(graph: openvino.Model, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        openvino.serialize(graph, Path(aside) / GRAPH, Path(aside) / NUMBERS)
        for name in (GRAPH, NUMBERS):
            (Path(aside) / name).replace(folder / name)
    digests = {name: digest(folder / name) for name in (GRAPH, NUMBERS)}
    write_json(folder / MANIFEST, sealed({**_versions(), "files": digests}))


NVIDIA = Path("/dev/nvidiactl")  # there where the driver of an NVIDIA GPU is
# Of pixels of 0 to 255, by channel.
FACENET_MEAN, FACENET_SCALE = (127.5,) * 3, (128.0,) * 3
IMAGENET_MEAN, IMAGENET_SCALE = (
    tuple(255 * value for value in values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


class Reid:
    """Open Model Zoo's face-reidentification-retail-0095: aligned BGR crops of 128 px, 0 to 255, to 256 numbers."""

    def __init__(self, xml: Path) -> None:
        """In bf16 where the processor has it."""
        model = openvino.Core().read_model(xml)
        model.reshape([-1, 3, 128, 128])
        self._network = Batched(model, native_precision())

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, 256) of n crops."""
        pixels = np.stack([np.asarray(crop) for crop in crops])[..., ::-1]
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        return self._network(batch).reshape(len(crops), -1)


class Scaled:
    """A network on (pixels - mean) / scale of RGB crops, in bf16 where the processor has it."""

    def __init__(self, graph: openvino.Model, mean: Sequence[float], scale: Sequence[float]) -> None:
        """`mean` and `scale` are per channel, for pixels of 0 to 255."""
        self._network = Batched(graph, native_precision())
        self._mean, self._scale = (np.array(values, np.float32).reshape(3, 1, 1) for values in (mean, scale))

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, d) of n crops."""
        pixels = np.stack([np.asarray(crop) for crop in crops]).transpose(0, 3, 1, 2)
        batch = (pixels.astype(np.float32) - self._mean) / self._scale
        return self._network(np.ascontiguousarray(batch))


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


def open_network(recipe: Recipe, weights: Weights, graphs: Path | None = None, *, gpu: bool = False) -> Network:
    """The recipe's network with these weights; WeightsError if they do not fit it.

    `graphs` is the folder in which the graph made of them is kept; without it, torch's weights are converted anew.
    With `gpu`, FaceNet and ResNet-50 run on an NVIDIA GPU where there is one.
    """
    if gpu and recipe.network in ON_GPU and NVIDIA.exists():  # torch, which knows for sure, takes seconds to import
        from pipeline.encoder.torch_networks import OnDevice, has_gpu

        if has_gpu():
            return OnDevice(recipe.network, weights, *ON_GPU[recipe.network])
    return _OPENERS[recipe.network](weights, graphs)


def _open_facenet(weights: Weights, graphs: Path | None) -> Network:
    def convert() -> openvino.Model:
        from pipeline.encoder.torch_networks import facenet_graph

        return facenet_graph(weights)

    return Scaled(graph_in(graphs, convert), FACENET_MEAN, FACENET_SCALE)


def _open_resnet50(weights: Weights, graphs: Path | None) -> Network:
    def convert() -> openvino.Model:
        from pipeline.encoder.torch_networks import resnet50_graph

        return resnet50_graph(weights)

    return Scaled(graph_in(graphs, convert), IMAGENET_MEAN, IMAGENET_SCALE)


def _open_reid(weights: Weights, _: Path | None) -> Network:
    try:
        return Reid(weights.paths[0])
    except RuntimeError as error:
        raise misfit(weights) from error


def _open_mini(weights: Weights, _: Path | None) -> Network:
    try:
        return Mini(weights.paths[0])
    except ValueError as error:
        raise misfit(weights) from error


ON_GPU = {"facenet": (FACENET_MEAN, FACENET_SCALE), "resnet50": (IMAGENET_MEAN, IMAGENET_SCALE)}
_OPENERS: dict[str, Callable[[Weights, Path | None], Network]] = {
    "facenet": _open_facenet,
    "resnet50": _open_resnet50,
    "reid": _open_reid,
    "mini": _open_mini,
}
