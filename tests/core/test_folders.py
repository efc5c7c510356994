"""Folders of visitors are private and stay deleted; those of a process go with it, however it ends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import folders
from pipeline.core.errors import StorageError
from pipeline.core.files import apart, replacing
from pipeline.core.folders import (
    clear_temporary,
    make_folder,
    make_private,
    remove_folder,
    remove_leftovers,
    remove_temporary,
    temporary_folder,
)

ROOT = Path(__file__).parents[2]
PREFIX = "reverse-face-search-own-"
GALLERY = "own-0123456789abcdef0123456789abcdef"


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_follow_the_umask_whoever_writes_them(tmp_path: Path, umask: int) -> None:
    with replacing(tmp_path / "index" / "trees") as beside:
        os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))  # as Annoy and safetensors do
    assert mode(tmp_path / "index" / "trees") == 0o666 & ~umask
    assert mode(tmp_path / "index") == 0o777 & ~umask


def test_what_is_a_visitors_is_readable_for_this_account_alone(tmp_path: Path, umask: int) -> None:
    (tmp_path / GALLERY).mkdir(mode=0o700)
    path = tmp_path / GALLERY / "index" / GALLERY / "vectors"
    with replacing(path) as beside:
        beside.write_text("x")
    with apart(path) as copy:
        assert mode(copy) == 0o600
    assert mode(path) == 0o600
    assert [mode(folder) for folder in path.parents[:3]] == [0o700] * 3
    os.chmod(path, 0o644)
    os.chmod(path.parent, 0o755)
    make_private(tmp_path / GALLERY)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_no_writer_makes_a_visitors_gallery_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="removed"), replacing(tmp_path / GALLERY / "index" / "file") as beside:
        beside.write_text("x")
    with pytest.raises(FileNotFoundError, match="removed"):
        make_folder(tmp_path / GALLERY)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(folders.shutil, "rmtree", lambda path, ignore_errors: None)
    monkeypatch.setattr(folders.time, "sleep", lambda seconds: None)
    with pytest.raises(StorageError, match=r"^Not everything in .*folder could be deleted; make .* writable"):
        remove_folder(tmp_path / "folder")
    monkeypatch.undo()
    remove_leftovers(tmp_path, "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_process_has_a_folder_to_itself_until_it_is_removed(tmp_path: Path, umask: int) -> None:
    folder = temporary_folder(tmp_path / "tmp", PREFIX)
    (folder / "photo.jpg").touch()
    assert mode(folder) == 0o700
    clear_temporary(tmp_path / "tmp", PREFIX)
    assert (folder / "photo.jpg").exists(), "its process lives"
    remove_temporary(folder)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_is_left_goes_whatever_its_clock_and_the_process_id_in_its_name_say(tmp_path: Path) -> None:
    for name in ("0123456789abcdef", "1-a_cdefgh", f"{os.getpid()}-abcdefgh"):
        (tmp_path / f"{PREFIX}{name}" / "x").mkdir(parents=True)
        (tmp_path / f"{PREFIX}{name}" / "x" / "photo.jpg").touch()
        os.utime(tmp_path / f"{PREFIX}{name}", (4e9, 4e9))
    (tmp_path / f".{PREFIX}0123456789abcdef.12345678.removing").mkdir()
    (tmp_path / f".{PREFIX}fedcba9876543210.lock").touch()
    others = [tmp_path / f"{PREFIX}main", tmp_path / f"{PREFIX}photos", tmp_path / "reverse-face-search-main"]
    for folder in others:
        folder.mkdir()
    clear_temporary(tmp_path, PREFIX)
    assert sorted(tmp_path.iterdir()) == sorted(others), "what somebody called so is not ours"


def test_a_link_in_a_shared_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "tmp" / f"{PREFIX}0123456789abcdef").symlink_to(tmp_path / "mine")
    clear_temporary(tmp_path / "tmp", PREFIX)
    assert (tmp_path / "mine").is_dir()


HOLDER = """
import sys
from pathlib import Path
from pipeline.core.folders import clear_temporary, temporary_folder
clear_temporary(Path(sys.argv[1]), sys.argv[2])
(temporary_folder(Path(sys.argv[1]), sys.argv[2]) / "photo.jpg").touch()
print("ready", flush=True)
sys.stdin.read()
"""


def holder(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), PREFIX], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_ten_processes_of_which_nine_were_killed(tmp_path: Path) -> None:
    processes = [holder(tmp_path) for _ in range(10)]
    assert len(list(tmp_path.glob("*/photo.jpg"))) == 10, "each start left the living ones alone"
    for process in processes[:9]:
        process.kill()
        process.communicate(timeout=60)
    clear_temporary(tmp_path, PREFIX)
    assert len(list(tmp_path.glob("*/photo.jpg"))) == 1
    assert len(list(tmp_path.iterdir())) == 2, "the folder and its lock"
    processes[9].kill()
    processes[9].communicate(timeout=60)
