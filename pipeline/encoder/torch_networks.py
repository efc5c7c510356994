"""The networks whose weights are torch's, FaceNet and ResNet-50, as OpenVINO's graphs, or on a GPU as they are.

Torch's import takes seconds and half a gigabyte, and its convolutions twice OpenVINO's time: it only reads the weights
and says what the network is. Who has the graphs already (`converted.py`) does without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import openvino
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50

from pipeline.core.types import FloatArray
from pipeline.encoder.weights import Weights, misfit

SIDES = {"facenet": 160, "resnet50": 224}  # of the crops, in pixels


def native_bf16() -> bool:
    """Whether this processor has bf16 instructions; emulated, bf16 is slower than fp32."""
    check: Callable[[], bool] = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(check())


def has_gpu() -> bool:
    """Whether torch finds an NVIDIA GPU."""
    return torch.cuda.is_available()


class OnDevice:
    """FaceNet or ResNet-50 in torch on a GPU, in float32. Safe to use from several threads."""

    def __init__(self, weights: Weights, mean: Sequence[float], scale: Sequence[float], device: str = "cuda") -> None:
        """`mean` and `scale` are per channel, for pixels of 0 to 255; WeightsError if the weights do not fit."""
        self.precision = f"f32 on {device}"
        self._device = device
        self._module = _MODULES[weights.network](weights).eval().to(device)
        self._mean, self._scale = (torch.tensor(values, device=device).reshape(3, 1, 1) for values in (mean, scale))

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, d) of n crops."""
        pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])).to(self._device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            vectors: FloatArray = self._module((pixels - self._mean) / self._scale).cpu().numpy()
        return vectors


def torch_graph(weights: Weights) -> openvino.Model:
    """The network with these weights, for OpenVINO; WeightsError if they do not fit it.

    FaceNet takes batches (n, 3, 160, 160) to (n, 512), ResNet-50 without its last layer (n, 3, 224, 224) to (n, 2048).
    """
    return as_graph(_MODULES[weights.network](weights), SIDES[weights.network])


def _facenet(weights: Weights) -> nn.Module:
    state = {name: tensor for name, tensor in _state(weights).items() if not name.startswith("logits.")}
    return _filled(InceptionResnetV1(pretrained=None, classify=False), state, weights)


def _resnet50(weights: Weights) -> nn.Module:
    module = _filled(resnet50(weights=None), _state(weights), weights)
    module.fc = nn.Identity()  # the 2048 pooled features, not the 1000 ImageNet classes
    return module


_MODULES: dict[str, Callable[[Weights], nn.Module]] = {"facenet": _facenet, "resnet50": _resnet50}


def as_graph(module: nn.Module, side: int) -> openvino.Model:
    """The module on batches (n, 3, side, side) as a graph for OpenVINO."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its tracer, which OpenVINO uses
        graph = openvino.convert_model(module.eval(), example_input=torch.zeros(1, 3, side, side))
    graph.reshape([-1, 3, side, side])
    return graph


def _state(weights: Weights) -> dict[str, Tensor]:
    try:
        state = torch.load(weights.paths[0], map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no checkpoint makes it raise anything
        raise misfit(weights) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise misfit(weights)
    return state


def _filled(module: nn.Module, state: dict[str, Tensor], weights: Weights) -> nn.Module:
    try:
        module.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    except RuntimeError as error:
        raise misfit(weights) from error
    return module
