"""MTCNN's weights out of facenet-pytorch's wheel, as the file that `cascade.py` reads."""

from __future__ import annotations

from pathlib import Path

from facenet_pytorch import ONet, PNet, RNet
from safetensors.numpy import save_file

from pipeline.core.files import replacing
from pipeline.core.types import FloatArray

MODULES = {"pnet": PNet, "rnet": RNet, "onet": ONet}


def wheel_weights() -> dict[str, FloatArray]:
    """The weights of the three networks by name; each name begins with its network's."""
    return {
        f"{network}.{name}": tensor.numpy()
        for network, module in MODULES.items()
        for name, tensor in module().state_dict().items()
    }


def copy_mtcnn(path: Path) -> None:
    """Writes the weights as safetensors; facenet-pytorch's licence is MIT, as this project's is."""
    with replacing(path) as beside:
        save_file(wheel_weights(), beside)
