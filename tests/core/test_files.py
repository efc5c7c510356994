"""A file is replaced whole or not at all, and its digest is that of its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.files import digest, digest_once, replacing, write_json


def test_the_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
        assert beside.parent == path.parent  # renaming is atomic within a file system only
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_inside_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as beside:
        beside.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_anything_was_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), replacing(tmp_path / "file"):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_wrote_nothing_is_an_error_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "a" / "b" / "file") as beside:
        beside.write_text("x")
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_two_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    both_written = threading.Barrier(2, timeout=10)

    def write(text: str) -> str:
        with replacing(path) as beside:
            beside.write_text(text)
            both_written.wait()
            return beside.read_text()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(write, ["one", "another"])) == ["one", "another"]
    assert path.read_text() in ("one", "another")
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_readable_and_ends_in_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write_json(path, {"name": "Zoë", "rows": [1, 2]})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Zoë", "rows": [1, 2]}
    assert "Zoë" in text
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 3


def test_what_is_not_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"path": path})
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
@pytest.mark.parametrize("size", [0, 3, 1 << 20, (1 << 20) + 1])
def test_a_digest_is_that_of_all_bytes(tmp_path: Path, algorithm: str, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "file").write_bytes(content)
    assert digest(tmp_path / "file", algorithm) == hashlib.new(algorithm, content).hexdigest()


def test_the_digest_is_sha256_unless_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.05)
    (path := tmp_path / "large").write_bytes(b"before")
    assert digest_once(path) == digest(path)
    remembered = files._remembered.cache_info().currsize
    path.write_bytes(b"beside")
    assert digest_once(path) == digest(path)
    assert files._remembered.cache_info().currsize == remembered, "it may be written again within a tick of the clock"
    path.write_bytes(b"behind")
    assert digest_once(path) == digest(path)
    time.sleep(0.1)
    assert digest_once(path) == digest_once(path) == digest(path)
    assert digest_once(path, "sha384") == digest(path, "sha384")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(b"beyond")
    os.utime(path, ns=times)
    time.sleep(0.1)
    assert digest_once(path) == digest(path), "of the same size, and dated back"
