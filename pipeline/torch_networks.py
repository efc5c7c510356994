"""The networks that torch runs, with weights that were trained in it: FaceNet and ResNet-50.

Only who opens one of them waits for torch: its import takes seconds and half a gigabyte of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50

from pipeline.types import FloatArray, Network
from pipeline.weights import Weights, misfit

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


def native_bf16() -> bool:
    """Whether this processor multiplies bf16 itself; emulated, bf16 is slower than fp32."""
    check: Callable[[], bool] = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(check())


def open_facenet(weights: Weights) -> Network:
    """FaceNet with these weights; WeightsError if they do not fit it."""
    module = InceptionResnetV1(pretrained=None, classify=False)
    state = {name: tensor for name, tensor in _state(weights).items() if not name.startswith("logits.")}
    return TorchNetwork(_filled(module, state, weights), mean=(127.5,) * 3, scale=(128.0,) * 3)


def open_resnet50(weights: Weights) -> Network:
    """ResNet-50 without its last layer with these weights; WeightsError if they do not fit it."""
    module = _filled(resnet50(weights=None), _state(weights), weights)
    module.fc = nn.Identity()  # the 2048 pooled features, not the 1000 ImageNet classes
    return TorchNetwork(
        module, mean=[255 * value for value in IMAGENET_MEAN], scale=[255 * value for value in IMAGENET_STD]
    )


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
