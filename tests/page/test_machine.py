"""A page's memory and cores: what one thread freed is there for the others, and products leave a core free."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.page.server.machine import ARENAS, collect_from_now

# Eight threads that allocate at the same time, and how many arenas the C library has in the end.
COUNT = """
import ctypes, sys, threading
from pipeline.page.server.machine import share_freed_memory
if sys.argv[1] == "shared":
    share_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


# Blocks among which some stay, so that glibc by itself gives none of them back; in MB, before and after a while.
HELD = """
import ctypes, sys, time
from pipeline.page.server import machine
machine.GIVE_BACK_SECONDS = 0.2
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
blocks = [ctypes.c_void_p(libc.malloc(100_000)) for _ in range(1000)]
for block in blocks: ctypes.memset(block, 1, 100_000)
for number, block in enumerate(blocks):
    if number % 10: libc.free(block)
before = resident()
machine.keep_giving_back()
time.sleep(1)
print(before, resident())
"""


# On how many threads NumPy's products run.
THREADS = """
import numpy as np
from threadpoolctl import threadpool_info
from pipeline.page.server.machine import spare_cores
spare_cores()
print(max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"))
"""


def test_a_product_runs_on_one_core() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], check=True, capture_output=True, text=True)
    assert int(done.stdout) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_is_free_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], check=True, capture_output=True, text=True)
    before, after = map(float, done.stdout.split())
    assert after < before - 60


def arenas(how: str, folder: Path) -> int:
    told = folder / how
    subprocess.run([sys.executable, "-c", COUNT, how, str(told)], check=True)
    return told.read_text().count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="arenas are glibc's")
def test_threads_share_two_arenas(tmp_path: Path) -> None:
    assert arenas("shared", tmp_path) == ARENAS
    assert arenas("each its own", tmp_path) > ARENAS


def test_what_is_there_when_collecting_begins_is_left_alone_and_later_garbage_collected() -> None:
    gc.disable()
    try:
        collect_from_now()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000, "modules and their functions"
        later: list[object] = []
        later.append(later)
        del later
        assert gc.collect() >= 1
    finally:
        gc.enable()
        gc.unfreeze()
