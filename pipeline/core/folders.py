"""Folders of visitors' galleries, which are private, and temporary folders of one process.

A visitor's gallery is a folder named `own-` and 32 hexadecimal digits. Everything below it is readable for this account
alone. Writers never create the folder itself, so that it stays deleted even if something is still being written.

A process's temporary folder has a lock beside it, which the system releases however the process ends. A folder whose
lock is free belongs to a process that is gone, and may be deleted. Process ids do not tell: in a container all are 1.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.core.errors import StorageError

PERSONAL = re.compile(r"own-[0-9a-f]{32}")  # the name of a visitor's gallery
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
TOKEN = re.compile(r"[0-9a-f]{16}|\d+-\w{8}")  # what a temporary folder's name ends with; the latter up to version 0.9
LEFTOVER_SUFFIXES = (".removing", ".moving")  # of hidden folders that a killed process was deleting or copying
REMOVAL_ATTEMPTS = 5  # because a writer may add a file to a folder that is being emptied

log = logging.getLogger(__name__)
_locks: dict[Path, FileLock] = {}  # by the folders of this process


def is_personal(path: Path) -> bool:
    """Whether this is a visitor's gallery, or something in one."""
    return any(PERSONAL.fullmatch(part) for part in path.parts)


def make_folder(folder: Path) -> None:
    """Makes a folder and its missing parents; FileNotFoundError if one of these is a visitor's gallery."""
    if folder.is_dir():
        return
    # Folders of the same name inside it hold its vectors and pictures.
    if is_personal(folder) and not is_personal(folder.parent):
        raise FileNotFoundError(errno.ENOENT, "this gallery was removed", str(folder))
    make_folder(folder.parent)
    folder.mkdir(mode=PRIVATE_FOLDER if is_personal(folder) else 0o777, exist_ok=True)


def make_private_folder(folder: Path) -> None:
    """Makes a folder readable for this account alone, whatever the umask, whether or not it exists."""
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != PRIVATE_FOLDER:
        folder.chmod(PRIVATE_FOLDER)


def make_private(folder: Path) -> None:
    """Makes a folder and all that is in it readable for this account alone."""
    for inside, _, files in os.walk(folder):
        for path, mode in ((Path(inside), PRIVATE_FOLDER), *((Path(inside, name), PRIVATE_FILE) for name in files)):
            with suppress(FileNotFoundError):  # gone meanwhile
                if stat.S_IMODE(path.stat().st_mode) != mode:
                    path.chmod(mode)


def remove_folder(folder: Path) -> None:
    """Deletes a folder in which others may still be writing; StorageError if anything is left.

    It is renamed first, so that nobody can read or add anything by its path.
    """
    doomed = folder.with_name(f".{folder.name.lstrip('.')}.{secrets.token_hex(4)}.removing")
    for attempt in range(REMOVAL_ATTEMPTS):
        with suppress(OSError):
            folder.rename(doomed)
        for left in (doomed, folder):  # the folder itself where it cannot be renamed
            shutil.rmtree(left, ignore_errors=True)
        if not (os.path.lexists(doomed) or os.path.lexists(folder)):
            return
        time.sleep(0.05 * 2**attempt)
    raise StorageError(f"Not everything in {folder} could be deleted; make {folder.parent} writable, then delete it.")


def move_folder(folder: Path, place: Path) -> None:
    """Moves a folder atomically, also to another disk; OSError if it cannot be moved."""
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    aside, beside = (path.with_name(f".{path.name}.moving") for path in (folder, place))
    folder.rename(aside)  # so that nothing is added while it is copied
    try:
        shutil.copytree(aside, beside)
        beside.rename(place)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        aside.rename(folder)
        raise
    remove_folder(aside)


def link_folder(folder: Path, place: Path) -> None:
    """Makes a folder like another one, if there is that, of links to its files: what is written there changes none."""
    if folder.is_dir():
        shutil.copytree(folder.resolve(), place, copy_function=os.symlink, ignore=shutil.ignore_patterns("*.lock"))


def remove_leftovers(root: Path, prefix: str) -> None:
    """Deletes the folders in `root` that a process was deleting or copying when it was killed."""
    for left in [path for path in root.glob(f".{prefix}*") if path.name.endswith(LEFTOVER_SUFFIXES) and _is_mine(path)]:
        remove_folder(left)


def temporary_folder(root: Path, prefix: str) -> Path:
    """A new folder in `root` that is this process's alone until it ends, or `remove_temporary` is called."""
    root.mkdir(parents=True, exist_ok=True)
    folder = root.resolve() / f"{prefix}{secrets.token_hex(8)}"
    lock = FileLock(_lock_of(folder), mode=PRIVATE_FILE, thread_local=False)
    lock.acquire()  # before the folder exists: a folder whose lock is free counts as abandoned
    folder.mkdir(mode=PRIVATE_FOLDER)
    _locks[folder] = lock
    return folder


def remove_temporary(folder: Path) -> None:
    """Deletes this process's folder and releases its lock."""
    remove_folder(folder)
    lock = _locks.pop(folder, None)
    if lock is not None:
        _lock_of(folder).unlink(missing_ok=True)
        lock.release()


def clear_temporary(root: Path, prefix: str) -> None:
    """Deletes the temporary folders in `root` of this account's processes that were killed; for the start of a page."""
    found = [*root.glob(f"{prefix}*"), *root.glob(f".{prefix}*.lock")]
    names = {path.name.removeprefix(".").removesuffix(".lock") for path in found if _is_mine(path)}
    for folder in (root / name for name in names if TOKEN.fullmatch(name.removeprefix(prefix))):
        try:
            with FileLock(_lock_of(folder), timeout=0, mode=PRIVATE_FILE):
                remove_folder(folder)
                _lock_of(folder).unlink(missing_ok=True)
        except Timeout:  # its process is running
            continue
        except (OSError, StorageError) as error:
            log.warning("The folder of a killed process cannot be deleted: %s", error)
    with suppress(StorageError):
        remove_leftovers(root, prefix)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _is_mine(path: Path) -> bool:
    """Whether it is this account's, and no link: other accounts may put anything into a shared temporary folder."""
    try:
        told = path.lstat()
    except OSError:
        return False
    return not stat.S_ISLNK(told.st_mode) and (not hasattr(os, "getuid") or told.st_uid == os.getuid())
