"""The networks: square RGB crops in, raw vectors out. Each knows how its crops are to be scaled and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import openvino
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50

from pipeline.errors import WeightsError
from pipeline.inference import Batched
from pipeline.mini import load_mini, mini_graph
from pipeline.recipes import Recipe
from pipeline.types import FloatArray, Network
from pipeline.weights import Weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TorchNetwork:
    """A torch module on RGB crops: (pixels - mean) / scale, channels last, bf16 where the processor has it."""

    def __init__(self, module: nn.Module, mean: Sequence[float], scale: Sequence[float]) -> None:
        """`mean` and `scale` are per channel, for pixels of 0 to 255."""
        self._module = module.eval().to(memory_format=torch.channels_last)
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._scale = torch.tensor(scale).view(3, 1, 1)
        self._bf16 = native_bf16()

    @torch.inference_mode()
    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, d) of n crops."""
        pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])).permute(0, 3, 1, 2)
        batch = (pixels.float() - self._mean) / self._scale
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            vectors: Tensor = self._module(batch.contiguous(memory_format=torch.channels_last))
        return cast(FloatArray, vectors.float().numpy())


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
        self._network = Batched(mini_graph(load_mini(weights)), "f32")

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, 256) of n crops."""
        pixels = np.stack([np.asarray(crop) for crop in crops]).transpose(0, 3, 1, 2)
        batch = np.ascontiguousarray(pixels, np.float32)
        return self._network(batch)


def native_bf16() -> bool:
    """Whether this processor multiplies bf16 itself; emulated, bf16 is slower than fp32."""
    check: Callable[[], bool] = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(check())


def open_network(recipe: Recipe, weights: Weights) -> Network:
    """The recipe's network with these weights; WeightsError if they do not fit it."""
    return _OPENERS[recipe.network](weights)


def _open_facenet(weights: Weights) -> Network:
    module = InceptionResnetV1(pretrained=None, classify=False)
    state = {name: tensor for name, tensor in _state(weights).items() if not name.startswith("logits.")}
    return TorchNetwork(_filled(module, state, weights), mean=(127.5,) * 3, scale=(128.0,) * 3)


def _open_resnet50(weights: Weights) -> Network:
    module = _filled(resnet50(weights=None), _state(weights), weights)
    module.fc = nn.Identity()  # the 2048 pooled features, not the 1000 ImageNet classes
    return TorchNetwork(
        module, mean=[255 * value for value in IMAGENET_MEAN], scale=[255 * value for value in IMAGENET_STD]
    )


def _open_reid(weights: Weights) -> Network:
    try:
        return Reid(weights.paths[0])
    except RuntimeError as error:
        raise _misfit(weights) from error


def _open_mini(weights: Weights) -> Network:
    try:
        return Mini(weights.paths[0])
    except ValueError as error:
        raise _misfit(weights) from error


_OPENERS: dict[str, Callable[[Weights], Network]] = {
    "facenet": _open_facenet,
    "resnet50": _open_resnet50,
    "reid": _open_reid,
    "mini": _open_mini,
}


def _state(weights: Weights) -> dict[str, Tensor]:
    try:
        state = torch.load(weights.paths[0], map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no checkpoint makes it raise anything
        raise _misfit(weights) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _misfit(weights)
    return state


def _filled(module: nn.Module, state: dict[str, Tensor], weights: Weights) -> nn.Module:
    try:
        module.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    except RuntimeError as error:
        raise _misfit(weights) from error
    return module


def _misfit(weights: Weights) -> WeightsError:
    return WeightsError(
        f"{weights.paths[0]} does not hold weights of the network {weights.network}; give a PyTorch state dict of it."
    )
