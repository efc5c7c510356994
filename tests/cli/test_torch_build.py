"""The doctor names PyTorch's build; either passes, and CUDA's without a GPU is advised against."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import torch_build
from pipeline.cli.torch_build import CPU_WHEELS, nvidia_gpu
from tests.network import plain_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
# As wheels have them; the second is from before types were written.
VERSIONS = {
    "cpu": "__version__ = '2.14.1+cpu'\ndebug = False\ncuda: Optional[str] = None\nhip: Optional[str] = None\n",
    "cuda": "__version__ = '2.14.1+cu130'\ndebug = False\ncuda = '13.0'\nhip = None\n",
    "rocm": "__version__ = '2.14.1+rocm7.0'\ncuda: Optional[str] = None\nhip: Optional[str] = '7.0.51831'\n",
}


def doctor_with(folder: Path, build: str, *, gpu: bool = False) -> tuple[int, str]:
    """The doctor's exit code and its line about the build, where this one is installed."""
    label = VERSIONS[build].partition("+")[2].partition("'")[0]
    for package, version in (("torch", VERSIONS[build]), ("torchvision", f"__version__ = '0.29.1+{label}'\n")):
        (folder / package).mkdir()
        # Imported, it would end the doctor.
        (folder / package / "__init__.py").write_text("raise SystemExit('the doctor imported it')\n")
        (folder / package / "version.py").write_text(version)
    if gpu:
        (folder / "nvidia-smi").write_text("#!/bin/sh\n")
        (folder / "nvidia-smi").chmod(0o755)
    environment = plain_environment(folder)
    environment |= {"PYTHONPATH": str(folder), "PATH": f"{folder}{os.pathsep}{environment['PATH']}"}
    command = [sys.executable, "-m", "pipeline", "doctor"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    (line,) = (line for line in done.stdout.splitlines() if "PyTorch's build" in line)
    return done.returncode, line


def test_the_cpu_build_passes(tmp_path: Path) -> None:
    assert doctor_with(tmp_path, "cpu") == (
        0,
        "ok   PyTorch's build: CPU (torch 2.14.1+cpu, torchvision 0.29.1+cpu)",
    )


def test_the_cuda_build_passes_too_and_without_a_gpu_the_line_for_the_other_is_there(tmp_path: Path) -> None:
    if nvidia_gpu():
        pytest.skip("there is an NVIDIA GPU here")
    code, line = doctor_with(tmp_path, "cuda")
    assert code == 0
    assert line.startswith("ok   PyTorch's build: CUDA 13.0 (torch 2.14.1+cu130, torchvision 0.29.1+cu130) — ")
    assert CPU_WHEELS in line


def test_with_a_gpu_there_is_no_advice(tmp_path: Path) -> None:
    assert doctor_with(tmp_path, "cuda", gpu=True) == (
        0,
        "ok   PyTorch's build: CUDA 13.0 (torch 2.14.1+cu130, torchvision 0.29.1+cu130)",
    )


def test_amds_build_is_named(tmp_path: Path) -> None:
    assert "PyTorch's build: ROCm 7.0.51831 (" in doctor_with(tmp_path, "rocm")[1]


def test_the_build_here_is_read_as_torch_reads_it() -> None:
    import torch

    said = torch_build.torch_build()[0]
    assert f"(torch {torch.__version__}, torchvision " in said
    assert f"build: CUDA {torch.version.cuda} " in said or torch.version.cuda is None


def test_what_is_advised_against_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wheel(name: str, *files: tuple[str, int]) -> None:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "RECORD").write_text("".join(f"{file},sha256=x,{size}\n" for file, size in files))
        for file, _ in files:  # from Python 3.12 on, files that are not there are left out
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()

    wheel("nvidia_cublas", ("nvidia/cublas.so.13", 3_000_000_000))
    wheel("triton", ("triton/libtriton.so", 900_000_000))
    wheel("torch", ("torch/lib/libtorch_cuda.so", 500_000_000), ("torch/lib/libtorch_cpu.so", 400_000_000))
    wheel("cudaless", ("cudaless/data", 7_000_000_000))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert torch_build._cuda_bytes() == 4_400_000_000
