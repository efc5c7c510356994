"""How many processor cores this process may use: often fewer than the machine has, as in a container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/proc/self/cgroup")  # the groups of this process: hierarchy:controllers:path
MOUNTS = Path("/sys/fs/cgroup")  # where systemd and container runtimes mount the hierarchies


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


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The folder of a group and of its parent groups; the smallest quota counts.

    Inside a container the path may be the host's, and the mount begins at the container's own group.
    """
    folder = mount / path.lstrip("/")
    yield folder
    while folder != mount and mount in folder.parents:
        folder = folder.parent
        yield folder


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
