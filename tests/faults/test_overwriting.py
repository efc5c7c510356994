"""Whoever writes over the files of a gallery that is open: the process goes on, and says what it said before.

The threat: vectors and trees are mapped into memory. A copy or a backup that is put back writes over files in place,
where a build replaces them; the system ends a process that reads a mapped page which is not there any more.

Found and mended on the way: cutting `vectors.npy` or `annoy.ann` short ended the page with SIGBUS, and what was written
over them was found instead. Copies of them are mapped that have no name. Known and left: where no copy can be written,
since the disk is full or the folder read-only, the files themselves are.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.embeddings.store import load_embeddings
from pipeline.galleries.gallery import Gallery
from tests.conftest import Tally
from tests.faults.conftest import ROOT
from tests.faults.opened import RECIPES


def cut(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(0)


def overwrite(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.write(bytes(byte ^ 0x15 for byte in content))


@pytest.mark.parametrize("harm", [cut, overwrite])
def test_files_are_written_over_in_place(
    harm: Callable[[Path], None], tiny: Gallery, tmp_path: Path, tally: Tally
) -> None:
    tiny.build(list(RECIPES))
    command = [sys.executable, "-m", "tests.faults.opened", str(tmp_path / "photos"), str(tiny.index_root)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    with process:
        before = process.stdout.readline()
        assert before.count("Dimitri") > 20
        files = [path for recipe in RECIPES for path in tiny.folder(recipe).iterdir() if path.is_file()]
        assert {"vectors.npy", "annoy.ann"} < {path.name for path in files}
        assert not [path for path in files if path.name.startswith(".")], "copies have no name"
        for path in files:
            harm(path)
            tally.add("faults while serving")
        process.stdin.write("again\n")
        process.stdin.flush()
        assert process.stdout.readline() == before
        process.stdin.close()
        assert process.wait(60) == 0


def test_where_no_copy_can_be_written_files_are_mapped_where_they_lie(
    tiny: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.build([RECIPES[0]])
    wanted = load_embeddings(tiny.folder(RECIPES[0]), None).vectors.tobytes()
    monkeypatch.setattr("pipeline.core.files._beside", lambda path, _: path.parent / "no such folder" / path.name)
    assert load_embeddings(tiny.folder(RECIPES[0]), None).vectors.tobytes() == wanted
