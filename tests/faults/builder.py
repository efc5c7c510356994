"""Builds the sample gallery over and over and is killed at it; prints what came of it as JSON.

`python -m tests.faults.builder FOLDER KILLS`. Everything is imported once, and every build is a fork of that: a process
of its own would spend most of its time on imports, and be killed there.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.recipes import MINI
from pipeline.core.settings import Settings
from pipeline.embeddings import build as building
from pipeline.embeddings import store
from pipeline.embeddings.store import MANIFEST, load_embeddings
from pipeline.galleries import gallery as galleries_module

PARTS = 10
PART_SIZE = 200 // PARTS
SEED = 1
SMALL = 150_000  # bytes that a file may have when the disk is full: parts fit, the vectors do not


def build(root: Path) -> None:
    """One build, to the end."""
    galleries_module.open_gallery(Settings(dataset="sample", index=root)).build([MINI])


def forked(root: Path, limit: int | None = None, said: Path = Path("/dev/null")) -> int:
    """A build in a process of its own, which writes the sentence it ends with, if any, to `said`."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        build(root)
        code = 0
    except PipelineError as error:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        said.write_text(f"{error}")
        code = 2
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """The exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def vectors(root: Path) -> bytes:
    """The gallery's vectors; an error unless every file is the one its manifest describes."""
    folder = root / "sample" / MINI
    assert len(load_embeddings(folder, None)) > 0
    return (folder / "vectors.npy").read_bytes()


def parts(root: Path) -> list[Path]:
    """The parts that are done."""
    return list(root.glob("sample/*/parts-*/*.npz"))


def main() -> None:
    """Undisturbed, killed, with a full disk, and where nothing can be written."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    store.PART_SIZE = PART_SIZE
    building.available = lambda: ["exact", "annoy", "kmeans", "knn"]  # Milvus has tests of its own for being killed
    started = time.monotonic()
    assert ended(forked(folder / "undisturbed")) == 0
    takes, wanted = time.monotonic() - started, vectors(folder / "undisturbed")
    result: dict[str, Any] = {"seconds": takes, "killed": 0, "finished": 0, "moments": []}
    chance, root = random.Random(SEED), folder / "killed"
    while result["killed"] < kills:
        # By chance, but early, in the middle and late alike, of however few kills: a little after so many parts are
        # there. The clock alone does not tell on a busy machine.
        process, done = forked(root), result["killed"] * PARTS // kills
        while len(parts(root)) < done and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.001)
        time.sleep(chance.random() * takes / PARTS)
        os.kill(process, signal.SIGKILL)
        if ended(process) == -signal.SIGKILL:
            result["killed"] += 1
            result["moments"].append(len(parts(root)))
        if (root / "sample" / MINI / MANIFEST).exists():
            result["finished"] += 1
            assert vectors(root) == wanted, "a half gallery"
            shutil.rmtree(root)
    assert ended(forked(root)) == 0
    result["same after kills"] = vectors(root) == wanted
    result["left over"] = [path.name for path in root.rglob("*") if path.name.endswith(".tmp") or "parts-" in path.name]
    result["full disk"] = ended(forked(folder / "full", SMALL, folder / "full disk"))
    result["full disk, said"] = (folder / "full disk").read_text() if (folder / "full disk").exists() else ""
    result["half served"] = (folder / "full" / "sample" / MINI / MANIFEST).exists()
    assert ended(forked(folder / "full")) == 0
    result["same after full disk"] = vectors(folder / "full") == wanted
    (folder / "file").write_text("")
    result["read-only"] = ended(forked(folder / "file" / "index", said=folder / "read-only"))
    result["read-only, said"] = (folder / "read-only").read_text()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
