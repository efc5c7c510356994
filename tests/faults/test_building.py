"""Whatever happens to a build: afterwards the same vectors, or one sentence; never half a gallery, never a lock.

The threat is not a person but the machine: it is switched off, the disk is full, the folder is not to be written. What
is defended is that nobody ever searches in half a gallery without knowing, and that the next build simply works.

Elsewhere: two builds at once and shards (`test_build.py`), downloads that are cut short, are not what they should be or
are a proxy's page (`test_weights.py`, `test_publish.py`), Milvus killed while it is filled (`test_milvus.py`).

Found and mended on the way: a full disk and a folder that cannot be made ended in a traceback; a killed build left the
file it was writing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tally
from tests.faults.conftest import ROOT, environment


@pytest.fixture(scope="module")
def kills(full: bool) -> int:
    """How often the build is killed."""
    return 25 if full else 6


@pytest.fixture(scope="module")
def came_of_it(kills: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `builder.py` prints."""
    folder = tmp_path_factory.mktemp("building")
    command = [sys.executable, "-m", "tests.faults.builder", str(folder), str(kills)]
    done = subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result | {"folder": folder}


def test_killed_at_random_moments_it_comes_to_the_same_vectors(
    came_of_it: dict[str, Any], kills: int, tally: Tally
) -> None:
    assert came_of_it["killed"] == kills
    assert came_of_it["same after kills"]
    assert len(set(came_of_it["moments"])) > 2, "killed with no, some and many parts done"
    tally.add("kill -9 while building", came_of_it["killed"])


def test_killed_builds_leave_nothing_behind(came_of_it: dict[str, Any]) -> None:
    assert came_of_it["left over"] == []


def test_a_full_disk_is_one_sentence_and_then_goes_on(came_of_it: dict[str, Any], tally: Tally) -> None:
    assert came_of_it["full disk"] == 2
    assert came_of_it["full disk, said"].startswith("The gallery cannot be written to ")
    assert not came_of_it["half served"]
    assert came_of_it["same after full disk"]
    tally.add("full disk, folder that cannot be written", 2)


def test_a_folder_that_cannot_be_written_is_one_sentence(came_of_it: dict[str, Any]) -> None:
    assert came_of_it["read-only"] == 2
    assert "set FACESEARCH_INDEX to a folder that can be written" in came_of_it["read-only, said"]


@pytest.mark.parametrize("command", ["build", "search"])
def test_on_the_command_line_too(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["--recipe", "mtcnn-mini"] + (
        [str(ROOT / "pipeline/photos/sample/Composite 01/1.jpg")] * (command == "search")
    )
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", command, *arguments],
        cwd=ROOT, env=environment(tmp_path) | {"FACESEARCH_INDEX": str(tmp_path / "file" / "index")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
