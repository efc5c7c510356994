"""The processor: its name and instruction sets, and how many of its cores this process may use.

In a container these are often fewer than the machine has.
"""

from __future__ import annotations

import math
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.settings import of_library

CGROUPS = Path("/proc/self/cgroup")  # the groups of this process: hierarchy:controllers:path
MOUNTS = Path("/sys/fs/cgroup")  # where systemd and container runtimes mount the hierarchies
CPUINFO = Path("/proc/cpuinfo")
# On which the speed of networks and indexes depends, as Linux names them: those of x86-64, then of ARM.
INSTRUCTION_SETS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)
# Environment variables that keep OpenVINO, PyTorch or NumPy from instruction sets that the processor has.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")


@dataclass(frozen=True)
class Processor:
    """A processor, as far as the system tells; figures are comparable on the same one only.

    Attributes:
        name: its model, else its architecture.
        cores: that this process may use.
        instruction_sets: the ones of `INSTRUCTION_SETS` that it has; empty where the system is not Linux.
        limits: of the variables in `LIMITS` those that are set, as NAME=value.
    """

    name: str
    cores: int
    instruction_sets: tuple[str, ...]
    limits: tuple[str, ...]

    def __str__(self) -> str:
        known = ", ".join((*self.instruction_sets, *self.limits))
        return f"{self.cores} core{'s' * (self.cores != 1)} of {self.name}" + (f" ({known})" if known else "")


def processor(cpuinfo: Path = CPUINFO) -> Processor:
    """The processor of this machine."""
    told = ""
    with suppress(OSError):  # no Linux
        told = cpuinfo.read_text(encoding="utf-8", errors="replace")
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in told.splitlines())}
    here = facts.get("flags", facts.get("Features", "")).split()  # ARM's are features
    return Processor(
        facts.get("model name") or platform.processor() or platform.machine(),
        usable_cores(),
        tuple(name for name in INSTRUCTION_SETS if name in here),
        tuple(f"{name}={of_library(name)}" for name in LIMITS if of_library(name)),
    )


def usable_cores() -> int:
    """The number of cores this process may use: its affinity, limited by the processor time of its cgroups."""
    return max(1, math.ceil(min(_affinity(), quota())))


def _affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # from Python 3.13; heeds PYTHON_CPU_COUNT as well
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(cgroups: Path = CGROUPS, mounts: Path = MOUNTS) -> float:
    """The processor time that this process's cgroups allow, in cores; infinity without a quota."""
    quotas = [math.inf]
    with suppress(OSError):  # no Linux
        for line in cgroups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2, at its own place or beside version 1
                for folder in (*_upwards(mounts, path), *_upwards(mounts / "unified", path)):
                    quotas.append(_version_2(folder))
            elif "cpu" in controllers.split(","):
                for folder in (*_upwards(mounts / controllers, path), *_upwards(mounts / "cpu", path)):
                    quotas.append(_version_1(folder))
    return min(quotas)


def _upwards(mount: Path, path: str) -> tuple[Path, ...]:
    """The folder of a group and of its parent groups; the smallest quota counts.

    Inside a container the path may be the host's, and the mount begins at the container's own group.
    """
    folder = mount / path.lstrip("/")
    return folder, *folder.parents  # those above the mount have no quota


def _version_2(folder: Path) -> float:
    try:
        most, period = (folder / "cpu.max").read_text().split()
        return math.inf if most == "max" else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # the root group has no such file
        return math.inf


def _version_1(folder: Path) -> float:
    try:
        most, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return most / period if most > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
