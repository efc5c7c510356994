"""Atomic writes, and files whose content is checked against a digest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pipeline.core.errors import WeightsError
from pipeline.core.folders import PRIVATE_FILE, is_personal, make_folder

SEAL = "sha256"  # the field of a sealed JSON file with the digest of all the others
SETTLED_SECONDS = 2.0  # a file that was just written may be written again without a new time


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it is renamed to `path` when the block ends without an error.

    With `lasting` it is flushed to disk first; without, a power cut may leave an empty file, so that is for files that
    can be made again at any time.
    """
    make_folder(path.parent)
    beside = _beside(path, "tmp")
    mode = _mode_of_new(beside)
    try:
        yield beside
        beside.chmod(mode)  # Annoy and safetensors write for this account alone, whatever the umask
        if lasting:
            with beside.open("rb") as written:
                os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def apart(path: Path) -> Iterator[Path]:
    """A copy of `path` for this process alone, to be memory-mapped in the block, at whose end it is unlinked.

    Truncating a mapped file kills the process, and overwriting it changes search results; a copy without a name is safe
    from both. Where a copy cannot be written, this is `path` itself.
    """
    beside = _beside(path, "apart")
    own = beside
    try:
        try:
            beside.touch(PRIVATE_FILE)
            shutil.copyfile(path, beside)
        except OSError:
            own = path
        yield own
    finally:
        with suppress(OSError):
            beside.unlink()


def _mode_of_new(path: Path) -> int:
    """The permissions of a new file there: what the umask leaves, which only creating a file shows."""
    if is_personal(path):
        return PRIVATE_FILE
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def _beside(path: Path, ending: str) -> Path:
    # With the thread, because several threads of the page may make one thumbnail at the same time.
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.{ending}")


def write_json(path: Path, value: object) -> None:
    """Writes `value` as readable JSON, atomically."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with its digest added, which `read_sealed` checks."""
    content = {name: part for name, part in value.items() if name != SEAL}
    return {**content, SEAL: _digest_of(content)}


def is_unsealed(path: Path) -> bool:
    """Whether the file holds a JSON object without any digest, as early versions wrote it; OSError."""
    with suppress(ValueError, RecursionError):
        value = json.loads(path.read_bytes())
        return isinstance(value, dict) and SEAL not in value and "format" in value
    return False


def read_sealed(path: Path) -> dict[str, Any]:
    """The sealed value in a JSON file, without its digest; ValueError if it is damaged; OSError."""
    content = path.read_bytes()
    try:
        value = json.loads(content)
        whole = isinstance(value, dict) and value.pop(SEAL, None) == _digest_of(value)
    except (ValueError, RecursionError) as error:  # no JSON, no text, huge numbers, deep nesting
        raise ValueError(f"{path} holds no JSON") from error
    if not whole:
        raise ValueError(f"{path} holds something else than what was written")
    read: dict[str, Any] = value
    return read


def _digest_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def array_digest(told: object, *arrays: npt.NDArray[Any]) -> str:
    """The digest of arrays with their types and shapes, and of `told`, which must be JSON."""
    hasher = hashlib.sha256(json.dumps([told, [(array.dtype.str, array.shape) for array in arrays]]).encode())
    for array in arrays:
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def check_packaged(path: Path, sha256: str) -> None:
    """WeightsError if a file of this package is missing or changed."""
    if not path.is_file() or digest(path) != sha256:
        raise WeightsError(
            f"{path} is not the one that comes with this version (its hash differs); put that one back in its place."
        )


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The file's digest as hexadecimal text."""
    hasher = hashlib.new(algorithm)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def digest_once(path: Path, algorithm: str = "sha256") -> str:
    """The same of a large file; it is not read again by this process until it changes."""
    told = path.stat()
    if time.time() - told.st_ctime < SETTLED_SECONDS:
        return digest(path, algorithm)
    return _remembered(path, algorithm, (told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns))


@cache
def _remembered(path: Path, algorithm: str, stamp: tuple[int, ...]) -> str:
    return digest(path, algorithm)
