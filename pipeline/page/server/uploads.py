"""Where visitors' photos lie while the page needs them: a folder of this process alone, swept, and gone when it ends.

Gradio would delete what it remembers. It forgets what an aborted upload left, and it leaves the folders, whose names
are the photos' hashes. What a killed process left, uploads and visitors' galleries, is removed at the next start.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import gradio as gr

from pipeline.core.errors import StorageError
from pipeline.core.folders import clear_temporary, remove_temporary, temporary_folder
from pipeline.galleries.own_galleries import TEMPORARY

log = logging.getLogger(__name__)

VARIABLE = "GRADIO_TEMP_DIR"
PREFIX = "reverse-face-search-uploads-"


@cache
def own_folder() -> Path:
    """This process's folder, which nobody else on the machine may read; made at the first call, and told to Gradio."""
    system = Path(tempfile.gettempdir())
    root = Path(os.environ.get(VARIABLE) or system)
    clear_temporary(system, TEMPORARY)
    clear_temporary(root, PREFIX)
    folder = temporary_folder(root, PREFIX)
    os.environ[VARIABLE] = str(folder)
    atexit.register(remove, folder)
    return folder


def remove(folder: Path) -> None:
    """Removes the folder with everything in it."""
    try:
        remove_temporary(folder)
    except StorageError as error:
        log.warning("%s", error)


def sweep(folder: Path, age: float) -> None:
    """Removes what has not been written or asked for anew in `age` seconds, and the folders that are empty then."""
    # What is inside comes before its folder; what goes away meanwhile is passed over.
    for inside, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = Path(inside, name)
            try:
                # Or from as far in the future: the clock was set back since, and nobody waits until it is there again.
                if abs(time.time() - path.lstat().st_ctime) > age:
                    path.rmdir() if path.is_dir() else path.unlink()
            except OSError:
                continue  # gone already, or a folder that is in use


def keep_swept(folder: Path, age: float) -> None:
    """Starts a thread that does so, twice in every `age` seconds."""

    def run() -> None:
        while True:
            time.sleep(age / 2)
            sweep(folder, age)

    threading.Thread(target=run, name="sweep", daemon=True).start()


class _Unlisted(set[str]):
    """Takes nothing in."""

    def add(self, file: str) -> None:
        """Does nothing."""

    def update(self, *files: Iterable[str]) -> None:
        """Does nothing."""


def keep_no_lists(page: gr.Blocks) -> None:
    """Lets Gradio make no lists of the files that a page takes and makes: the folder is swept without.

    It strikes off what it finds and removes itself, so all that was swept before stayed in its lists for good: half a
    kilobyte for each search.
    """
    for block in page.blocks.values():
        block.temp_files = _Unlisted()
    page.upload_file_set = _Unlisted()
    page.temp_file_sets = [page.upload_file_set]
