"""The processor: its name and instruction sets, and the cores that a process may use.

These are counted under a CPU affinity, under cgroup quotas, and under neither.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.core.processors import LIMITS, MOUNTS, processor, quota, usable_cores

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


X86 = """\
processor\t: 0
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu sse2 avx avx2 fma {more}

processor\t: 1
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu sse2 avx avx2 fma{more}
"""
ARM = """\
processor\t: 0
Features\t: fp asimd evtstrm asimddp bf16 i8mm
CPU implementer\t: 0x41
"""


@pytest.mark.parametrize(
    ("told", "name", "instruction_sets"),
    [
        (X86.format(more=""), "AMD EPYC 7763 64-Core Processor", ("avx2",)),
        (
            X86.format(more=" amx_bf16 avx512f avx512_bf16"),
            "AMD EPYC 7763 64-Core Processor",
            ("avx2", "avx512f", "avx512_bf16", "amx_bf16"),
        ),
        (ARM, platform.processor() or platform.machine(), ("asimd", "asimddp", "i8mm", "bf16")),
        (None, platform.processor() or platform.machine(), ()),
    ],
)
def test_the_processor_is_named_with_what_it_can(
    told: str | None, name: str, instruction_sets: tuple[str, ...], tmp_path: Path
) -> None:
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    found = processor(tmp_path / "cpuinfo")
    assert (found.name, found.cores, found.instruction_sets) == (name, usable_cores(), instruction_sets)


def test_it_is_one_line_with_what_keeps_libraries_from_its_instruction_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in LIMITS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pipeline.core.processors.usable_cores", lambda: 2)
    (tmp_path / "cpuinfo").write_text(X86.format(more=" avx512f"))
    assert str(processor(tmp_path / "cpuinfo")) == "2 cores of AMD EPYC 7763 64-Core Processor (avx2, avx512f)"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert str(processor(tmp_path / "cpuinfo")).endswith("(avx2, avx512f, ONEDNN_MAX_CPU_ISA=AVX2)")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert "(" not in str(processor(tmp_path / "none"))


def test_nothing_else_counts_cores() -> None:
    root = Path(__file__).parents[2]
    counting = [
        path.relative_to(root).as_posix()
        for path in [root / "app.py", *(root / "pipeline").rglob("*.py")]
        if "cpu_count(" in path.read_text(encoding="utf-8")
    ]
    assert counting == ["pipeline/core/processors.py"]
