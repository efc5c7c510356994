"""A process counts the cores that it may use: under a CPU affinity, under cgroup quotas, and neither."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.core.processors import MOUNTS, quota, usable_cores

COUNT = "from pipeline.core.processors import usable_cores; print(usable_cores())"


def child(script: str, enter: Callable[[], None]) -> str:
    """What a process prints that began with `enter`."""
    done = subprocess.run([sys.executable, "-c", script], preexec_fn=enter, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no CPU affinity")


@linux
def test_affinity_counts() -> None:
    assert child(COUNT, on_one_core) == "1"
    assert int(child(COUNT, lambda: None)) == usable_cores() <= len(os.sched_getaffinity(0))


@linux
@pytest.mark.slow
def test_networks_get_as_many_streams_as_cores() -> None:
    detector = "from pipeline.encoder.faces import MtcnnDetector; print(MtcnnDetector()._workers)"
    assert child(detector, on_one_core) == "2", "two workers for its one stream"
    assert int(child(detector, lambda: None)) == 2 * min(8, usable_cores())


@pytest.fixture
def group() -> Iterator[Path]:
    """A real cgroup with a quota of one core, of whichever version is mounted here."""
    for mount, name, value in (
        (MOUNTS, "cpu.max", "100000 100000"),
        (MOUNTS / "cpu", "cpu.cfs_quota_us", "100000"),
    ):
        folder = mount / f"facesearch-test-{os.getpid()}"
        with suppress(OSError):
            folder.mkdir()
            try:
                if (folder / name).is_file():  # else this mount is no hierarchy, or has no such controller
                    (folder / name).write_text(value)
                    yield folder
                    return
            finally:
                folder.rmdir()
    pytest.skip("needs the right to make a cgroup with a quota")


@linux
def test_a_real_quota_counts(group: Path) -> None:
    assert child(COUNT, lambda: (group / "cgroup.procs").write_text("0") and None) == "1"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        ("0::/../../of-the-host\n", {"cpu.max": "100000 100000"}, 1),
        ("0::/a\n", {"unified/a/cpu.max": "300000 100000"}, 3),
        ("3:cpu,cpuacct:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1"}, math.inf),
        (
            "3:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            "3:cpuset:/\n2:cpu:/docker/1f\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
            1,
        ),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
        ("0::/\n", {}, math.inf),
    ],
)
def test_quotas(groups: str, files: dict[str, str], cores: float, tmp_path: Path) -> None:
    told = tmp_path / "cgroup"
    told.write_text(groups)
    for name, value in files.items():
        (tmp_path / "mounts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounts" / name).write_text(value)
    assert quota(told, tmp_path / "mounts") == cores


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path / "nowhere", tmp_path) == math.inf


def test_nothing_else_counts_cores() -> None:
    root = Path(__file__).parents[2]
    counting = [
        path.relative_to(root).as_posix()
        for path in [root / "app.py", *(root / "pipeline").rglob("*.py")]
        if "cpu_count(" in path.read_text(encoding="utf-8")
    ]
    assert counting == ["pipeline/core/processors.py"]
