"""Writing so that nobody ever reads half a file, and telling whether a file is the one it should be."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to; when the block ends well it is flushed to disk and renamed into place.

    What is not `lasting`, because it can be made again at any time, is not flushed: after a power cut it may be empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The thread counts too: the page makes one and the same thumbnail in several at once.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield beside
        if lasting:
            with beside.open("rb") as written:
                os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Writes `value` as readable JSON, atomically."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The file's digest as hexadecimal text."""
    hasher = hashlib.new(algorithm)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
