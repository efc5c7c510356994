"""Makes own galleries one after the other, searches in each, removes it, and prints what this process holds then."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import tempfile
from pathlib import Path

from pipeline.core.settings import SAMPLE
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.ask import Question, ask
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.indexes.registry import available
from pipeline.page.server.machine import share_freed_memory

PHOTOS = 12


def held() -> dict[str, int]:
    """Memory resident in MB, Python's objects, and open files."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return {
        "MB": int(resident.split()[1]) // 1024,
        "objects": len(gc.get_objects()),
        "files": len(os.listdir("/proc/self/fd")),
    }


def main(galleries: int) -> None:
    share_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        own = OwnGalleries(StoredEncoders(WeightStore(None, Path(place) / "cache", {})), Path(place) / "kept")
        photos = sorted(SAMPLE.rglob("*.jpg"))[:PHOTOS]
        for _ in range(galleries):
            key, gallery = own.create()
            gallery.add(photos, lambda: None)
            gallery.wait()
            preparation = gallery.preparation
            assert preparation, gallery.problem
            preparation.wait()
            for index in available():
                ask(Question(photos[0], index), lambda opened=preparation: opened.searcher(""))
            own.remove(key)
            del gallery, preparation
            sys.stdout.write(f"{json.dumps(held())}\n")
        own.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
