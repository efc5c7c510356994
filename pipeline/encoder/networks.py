"""The networks: square RGB crops in, vectors out that are not yet scaled to unit length.

A PyTorch network is converted to an OpenVINO graph once and cached, because importing torch takes seconds. A cached
graph is used only if its manifest, written last, has the current versions and each file's digest.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from PIL import Image

from pipeline.core.files import digest, read_sealed, sealed, write_json
from pipeline.core.recipes import Recipe, recipe_named
from pipeline.core.types import FloatArray, Network
from pipeline.encoder.graphs import BF16, FLOAT32, INT8, Batched, native_precision
from pipeline.encoder.int8 import MIN_COSINE, cosine_between, is_quantised, quantised, sample_crops
from pipeline.encoder.mini import mini_graph
from pipeline.encoder.weights import Weights, misfit

log = logging.getLogger(__name__)

VERSION = 1  # incremented when the conversion of weights to graphs changes
GRAPH, GRAPH_WEIGHTS, MANIFEST = "graph.xml", "graph.bin", "manifest.json"


def graph_in(folder: Path | None, convert: Callable[[], openvino.Model]) -> openvino.Model:
    """The cached graph; converted and cached if missing, damaged or of another version. No folder: only converted."""
    if folder is None:
        return convert()
    try:
        return _read(folder)
    except (OSError, ValueError, RuntimeError):
        graph = convert()
    try:
        _keep(graph, folder)
    except OSError as error:
        log.warning("The graph cannot be kept in %s (%s): every start makes it anew.", folder, error.strerror)
    return graph


def _versions() -> dict[str, object]:
    return {"version": VERSION, "openvino": openvino.__version__}


def _read(folder: Path) -> openvino.Model:
    manifest = read_sealed(folder / MANIFEST)
    digests = {name: digest(folder / name) for name in (GRAPH, GRAPH_WEIGHTS)}
    if manifest != {**_versions(), "files": digests}:
        raise ValueError(f"{folder}: the graph is damaged or of another version")
    # By its path, so that its weights are mapped: OpenVINO keeps them beside those it runs with, 94 MB of FaceNet's. A
    # later version takes the files' place and does not write into them.
    return openvino.Core().read_model(folder / GRAPH, folder / GRAPH_WEIGHTS)


def _keep(graph: openvino.Model, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        openvino.serialize(graph, Path(temporary) / GRAPH, Path(temporary) / GRAPH_WEIGHTS)
        for name in (GRAPH, GRAPH_WEIGHTS):
            (Path(temporary) / name).replace(folder / name)
    digests = {name: digest(folder / name) for name in (GRAPH, GRAPH_WEIGHTS)}
    write_json(folder / MANIFEST, sealed({**_versions(), "files": digests}))


NVIDIA = Path("/dev/nvidiactl")  # exists where the driver of an NVIDIA GPU is installed
IMAGENET_MEAN = tuple(255 * value for value in (0.485, 0.456, 0.406))
IMAGENET_SCALE = tuple(255 * value for value in (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class NetworkKind:
    """How one network is loaded and run, and how its crops are scaled.

    Attributes:
        graph: makes the graph from the weights; may cache it in the folder.
        mean: per channel, subtracted from pixels of 0 to 255.
        scale: per channel, by which the difference is divided.
        bgr: whether the channels are blue, green, red.
        bf16: whether it runs in bf16 where the processor has it.
        int8: the recipe whose crops of the sample it is quantised by where the processor has no bf16; empty for none.
        exact: positions of the convolutions that would cost accuracy in int8.
        on_gpu: whether it can run in torch on an NVIDIA GPU, if `open_network` is asked for that.
    """

    graph: Callable[[Weights, Path | None], openvino.Model]
    mean: Sequence[float] = (0.0,) * 3
    scale: Sequence[float] = (1.0,) * 3
    bgr: bool = False
    bf16: bool = True
    int8: str = ""
    exact: tuple[int, ...] = ()
    on_gpu: bool = False

    @property
    def precision(self) -> str:
        """The precision in which the network runs on this processor, if it is as accurate in it."""
        native = native_precision()
        return native if (self.bf16 if native == BF16 else self.int8) else FLOAT32


class OpenvinoNetwork:
    """A network in OpenVINO: square RGB crops to vectors that are not yet scaled. Safe to use from several threads."""

    def __init__(self, graph: openvino.Model, kind: NetworkKind) -> None:
        hint = BF16 if kind.precision == BF16 else FLOAT32
        self.precision = INT8 if is_quantised(graph) else hint
        self._network = Batched(graph, hint)
        self._kind = kind

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Vectors (n, d), not yet scaled to unit length, of n crops of the network's size."""
        return self._network(_batch(crops, self._kind)).reshape(len(crops), -1)


def _batch(crops: Sequence[Image.Image], kind: NetworkKind) -> FloatArray:
    """The network's inputs (n, 3, side, side)."""
    mean, scale = (np.array(part, np.float32).reshape(3, 1, 1) for part in (kind.mean, kind.scale))
    channels = slice(None, None, -1 if kind.bgr else 1)
    pixels = np.stack([np.asarray(crop) for crop in crops])[..., channels].transpose(0, 3, 1, 2)
    batch: FloatArray = np.ascontiguousarray((pixels.astype(np.float32) - mean) / scale)
    return batch


def in_int8(graph: openvino.Model, kind: NetworkKind) -> openvino.Model:
    """The graph in int8; as it is where that would change its vectors of the sample too much."""
    recipe = recipe_named(kind.int8)
    try:
        known, new = (_batch(sample_crops(recipe, number), kind) for number in (1, 2))
    except (OSError, ValueError) as error:  # none, or damaged
        log.warning("%s stays in float32, because the packaged sample cannot be read: %s", recipe.network, error)
        return graph
    smaller = quantised(graph, known, kind.exact)
    cosine = cosine_between(graph, smaller, new)
    log.info("%s in int8: mean cosine %.5f to float32.", recipe.network, cosine)
    return smaller if cosine >= MIN_COSINE else graph


def open_network(recipe: Recipe, weights: Weights, graphs: Path | None = None, *, gpu: bool = False) -> Network:
    """Opens the network of a recipe.

    Args:
        recipe: names the network.
        weights: the files of that network.
        graphs: caches the converted graph of a PyTorch network; without it every start converts again.
        gpu: whether FaceNet and ResNet-50 run on an NVIDIA GPU where there is one.

    Raises:
        WeightsError: the weights do not fit the network.
    """
    kind = NETWORKS[recipe.network]
    if gpu and kind.on_gpu and NVIDIA.exists():  # cheap test first: asking torch itself means importing it
        from pipeline.encoder.torch_networks import OnDevice, has_gpu

        if has_gpu():
            return OnDevice(weights, kind.mean, kind.scale)
    if kind.precision == INT8 and graphs is not None:
        graph = graph_in(graphs / INT8, lambda: in_int8(kind.graph(weights, graphs), kind))
    else:
        graph = kind.graph(weights, graphs)
    return OpenvinoNetwork(graph, kind)


def _converted(weights: Weights, graphs: Path | None) -> openvino.Model:
    """Converts PyTorch weights (FaceNet, ResNet-50) to a graph, or takes the cached one."""

    def convert() -> openvino.Model:
        from pipeline.encoder.torch_networks import torch_graph

        return torch_graph(weights)

    return graph_in(graphs, convert)


def _reid(weights: Weights, _: Path | None) -> openvino.Model:
    """The compact network, already in OpenVINO's format; any number of crops of 128 px."""
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
    "facenet": NetworkKind(_converted, (127.5,) * 3, (128.0,) * 3, int8="mtcnn-facenet", on_gpu=True),
    "resnet50": NetworkKind(
        _converted, IMAGENET_MEAN, IMAGENET_SCALE, int8="mtcnn-resnet50", exact=(1, 4, 5), on_gpu=True
    ),
    "reid": NetworkKind(_reid, bgr=True, int8="mtcnn-reid", exact=(2, 4, 29, 62, 64, 69, 72, 77)),
    "mini": NetworkKind(_mini, bf16=False),
}
