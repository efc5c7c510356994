"""What libraries do with memory and cores, as a page with many small searches needs it, and what a Space asks for."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from threadpoolctl import threadpool_limits
from uvicorn.config import HTTP_PROTOCOLS

ARENAS = 2
GIVE_BACK_SECONDS = 5.0
_M_ARENA_MAX = -8  # of glibc's malloc.h


def spare_cores() -> None:
    """Lets matrix products run on one core each.

    OpenBLAS' other threads go on spinning for a tenth of a second after every product, in case there is another one:
    the next search's networks find one core of two busy. Alone, a search took 61 ms so and takes 46; a product of a
    query with all of LFW takes less than a millisecond either way.
    """
    threadpool_limits(1, user_api="blas")


def share_freed_memory() -> None:
    """Lets all threads allocate from two arenas; to be called before there are threads.

    With glibc each of a page's threads has one of its own, where what one photo left free is of no use to the next
    one's thread: a page that had searched with photos of 12 megapixels held 997 MB, and with two arenas 771. Other C
    libraries share by themselves.
    """
    if (mallopt := _of_the_c_library("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def keep_giving_back() -> None:
    """Gives what is free back to the system every few seconds: glibc does so at the end of an arena only."""
    if (malloc_trim := _of_the_c_library("malloc_trim")) is not None:

        def run() -> None:
            while True:
                time.sleep(GIVE_BACK_SECONDS)
                malloc_trim(0)

        threading.Thread(target=run, name="memory", daemon=True).start()


def collect_from_now() -> None:
    """Turns Python's garbage collection on, and lets it leave alone what is there already.

    That is 200,000 objects of modules and of the page, all of which stay; looking through them takes 100 ms, in which
    no search goes on.
    """
    gc.freeze()
    gc.enable()


def keep_no_statistics() -> None:
    """Lets Gradio remember one request instead of 10,000, and sum them up never; to be called before a page is made.

    It sums up all of them after each, for a page of its own that is not served: 2 ms with ten, 8 with all.
    """
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(sys.maxsize)


def trust_proxies(addresses: Sequence[str]) -> None:
    """Lets the server take visitors' addresses from these proxies' headers alone; to be called before it starts.

    By itself it believes whoever comes from 127.0.0.1, which is every program of this computer.
    """
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(addresses)


def bound_headers() -> None:
    """Lets the server read requests by h11, which bounds their headers; httptools, where it is installed, does not."""
    HTTP_PROTOCOLS["auto"] = HTTP_PROTOCOLS["h11"]


def _of_the_c_library(name: str) -> Any | None:  # noqa: ANN401 - a function
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


GPU_SECONDS = 5  # the shortest share; nothing is ever asked for


def register_zero_gpu(*, zero_gpu: bool) -> None:
    """Gives ZeroGPU the decorated function without which it stops a Space; to be called before the page is launched.

    The networks here run on the processor, so no search is handed to a GPU: on ZeroGPU a decorated function runs in a
    process of its own, takes of the visitor's share of GPU time, and can neither take nor give what is not pickled.
    """
    if zero_gpu and find_spec("spaces") is not None:
        import spaces

        spaces.GPU(duration=GPU_SECONDS)(_on_a_gpu)


def _on_a_gpu() -> None:
    """What ZeroGPU finds at the start."""
