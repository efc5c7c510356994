"""Which builds of PyTorch and torchvision are installed, for CPUs or for CUDA, read without importing them."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

CPU_WHEELS = "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu"
_OF_CUDA = re.compile(r"(?:nvidia|cuda|triton)\b")


def torch_build() -> tuple[str, str]:
    """What is installed, and advice where that is CUDA's libraries without an NVIDIA GPU; empty where it is missing."""
    torch, torchvision = _version_file("torch"), _version_file("torchvision")
    if not torch:
        return "", ""
    cuda, hip = _assigned("cuda", torch), _assigned("hip", torch)
    build = f"CUDA {cuda}" if cuda else f"ROCm {hip}" if hip else "CPU"
    what = f"PyTorch's build: {build} (torch {_assigned('__version__', torch)}"
    what += f", torchvision {_assigned('__version__', torchvision)})" if torchvision else ")"
    if not cuda or nvidia_gpu():
        return what, ""
    return what, (
        f"there is no NVIDIA GPU here, and the CPU build takes {_cuda_bytes() / 1e9:.1f} GB less of disk; in a new "
        f"environment, run `{CPU_WHEELS}` first"
    )


def nvidia_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU is installed."""
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidiactl").exists()


def _version_file(package: str) -> str:
    """The source of the package's `version` module, which its wheel's builder wrote."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return ""
    file = Path(found.origin).with_name("version.py")
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _assigned(name: str, source: str) -> str:
    found = re.search(rf"^{name}\b[^=\n]*= *['\"]([^'\"]+)['\"]", source, re.MULTILINE)
    return found[1] if found else ""


def _cuda_bytes() -> int:
    """What CUDA's libraries take, as installed; those inside PyTorch's own wheel included."""
    return sum(_bytes_for_cuda(one) for one in distributions())


def _bytes_for_cuda(installed: Distribution) -> int:
    name, files = installed.name, installed.files or []
    if name == "torch":
        files = [file for file in files if "cuda" in file.name and ".so" in file.name]
    elif not _OF_CUDA.match(re.sub(r"[-_.]+", "-", name.lower())):
        return 0
    return sum(file.size or 0 for file in files)
