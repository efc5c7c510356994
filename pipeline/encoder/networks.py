"""The networks: square RGB crops in, raw vectors out.

Graphs made of torch's weights are kept in the cache, so that only a first start waits for torch. A kept graph is used
only if it is complete: the manifest, written last, holds the digest of each file, and the folder's name that of the
weights.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

VERSION = 1  # incremented when the conversion of weights to graphs changes
GRAPH, NUMBERS, MANIFEST = "graph.xml", "graph.bin", "manifest.json"


def graph_in(folder: Path | None, convert: Callable[[], openvino.Model]) -> openvino.Model:
    """The graph kept in the folder; converted, and kept, where there is none of this version or it is damaged."""
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


NVIDIA = Path("/dev/nvidiactl")  # exists where the driver of an NVIDIA GPU is installed
IMAGENET_MEAN, IMAGENET_SCALE = (
    tuple(255 * value for value in values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


@dataclass(frozen=True)
class NetworkKind:
    """One network: how its weights become a graph, and how its crops are scaled.

    Attributes:
        graph: makes the graph of the weights, with a folder to keep it in.
        mean: per channel, subtracted from pixels of 0 to 255.
        scale: per channel, by which the difference is divided.
        bgr: whether the channels are blue, green, red.
        bf16: whether it runs in bf16 where the processor has it.
        on_gpu: whether it runs in torch where there is an NVIDIA GPU.
    """

    graph: Callable[[Weights, Path | None], openvino.Model]
    mean: Sequence[float] = (0.0,) * 3
    scale: Sequence[float] = (1.0,) * 3
    bgr: bool = False
    bf16: bool = True
    on_gpu: bool = False


class OpenvinoNetwork:
    """A network in OpenVINO: square RGB crops to raw vectors. Safe to use from several threads."""

    def __init__(self, graph: openvino.Model, kind: NetworkKind) -> None:
        self._network = Batched(graph, native_precision() if kind.bf16 else "f32")
        self._mean, self._scale = (np.array(part, np.float32).reshape(3, 1, 1) for part in (kind.mean, kind.scale))
        self._channels = slice(None, None, -1 if kind.bgr else 1)

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, d) of n crops of the network's size."""
        pixels = np.stack([np.asarray(crop) for crop in crops])[..., self._channels].transpose(0, 3, 1, 2)
        batch = (pixels.astype(np.float32) - self._mean) / self._scale
        return self._network(np.ascontiguousarray(batch)).reshape(len(crops), -1)


def open_network(recipe: Recipe, weights: Weights, graphs: Path | None = None, *, gpu: bool = False) -> Network:
    """Opens the network of a recipe.

    Args:
        recipe: names the network.
        weights: the network's.
        graphs: the folder that keeps the graph made of torch's weights; without it they are converted every time.
        gpu: whether FaceNet and ResNet-50 run on an NVIDIA GPU where there is one.

    Raises:
        WeightsError: the weights do not fit the network.
    """
    kind = NETWORKS[recipe.network]
    if gpu and kind.on_gpu and NVIDIA.exists():  # torch, which knows for sure, takes seconds to import
        from pipeline.encoder.torch_networks import OnDevice, has_gpu

        if has_gpu():
            return OnDevice(weights, kind.mean, kind.scale)
    return OpenvinoNetwork(kind.graph(weights, graphs), kind)


def _converted(weights: Weights, graphs: Path | None) -> openvino.Model:
    """The graph of torch's weights."""

    def convert() -> openvino.Model:
        from pipeline.encoder.torch_networks import torch_graph

        return torch_graph(weights)

    return graph_in(graphs, convert)


def _reid(weights: Weights, _: Path | None) -> openvino.Model:
    try:
        graph = openvino.Core().read_model(weights.paths[0])
        graph.reshape([-1, 3, 128, 128])
    except RuntimeError as error:
        raise misfit(weights) from error
    return graph


def _mini(weights: Weights, _: Path | None) -> openvino.Model:
    try:
        return mini_graph(weights.paths[0])
    except ValueError as error:
        raise misfit(weights) from error


NETWORKS = {
    "facenet": NetworkKind(_converted, (127.5,) * 3, (128.0,) * 3, on_gpu=True),
    "resnet50": NetworkKind(_converted, IMAGENET_MEAN, IMAGENET_SCALE, on_gpu=True),
    "reid": NetworkKind(_reid, bgr=True),
    "mini": NetworkKind(_mini, bf16=False),
}
