"""Writing so that nobody ever reads half a file, and telling whether a file is the one it should be."""

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

SEAL = "sha256"  # the field of a JSON file in which the digest of all the others stands
SETTLED_SECONDS = 2.0  # a file that was just written may be written again without a new time


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to; when the block ends well it is flushed to disk and renamed into place.

    What is not `lasting`, because it can be made again at any time, is not flushed: after a power cut it may be empty.
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
    """A copy of `path` that is nobody else's, to be mapped into memory in the block, after which it has no name.

    Whoever cuts a mapped file short ends the process, and whoever writes over it changes what is found. Where there is
    no room for a copy, or nobody may write, it is `path` itself.
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
    """The permissions that a file there is to have: what the umask leaves, which only a file that was made tells."""
    if is_personal(path):
        return PRIVATE_FILE
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def _beside(path: Path, ending: str) -> Path:
    # The thread counts too: the page makes one and the same thumbnail in several at once.
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.{ending}")


def write_json(path: Path, value: object) -> None:
    """Writes `value` as readable JSON, atomically."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with its own digest in it, by which `read_sealed` knows it again."""
    content = {name: part for name, part in value.items() if name != SEAL}
    return {**content, SEAL: _digest_of(content)}


def read_sealed(path: Path) -> dict[str, Any]:
    """The value that was written sealed, without the seal. ValueError if that is not what stands there; OSError."""
    content = path.read_bytes()
    try:
        value = json.loads(content)
        whole = isinstance(value, dict) and value.pop(SEAL, None) == _digest_of(value)
    except (ValueError, RecursionError) as error:  # no JSON, no text, numbers of thousands of digits, a deep nest
        raise ValueError(f"{path} holds no JSON") from error
    if not whole:
        raise ValueError(f"{path} holds something else than what was written")
    read: dict[str, Any] = value
    return read


def _digest_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def array_digest(told: object, *arrays: npt.NDArray[Any]) -> str:
    """The digest of arrays, their kinds and shapes, and of what is told of them, as JSON has it."""
    hasher = hashlib.sha256(json.dumps([told, [(array.dtype.str, array.shape) for array in arrays]]).encode())
    for array in arrays:
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def check_packaged(path: Path, sha256: str) -> None:
    """WeightsError if a file that comes with this package is gone or another one."""
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
