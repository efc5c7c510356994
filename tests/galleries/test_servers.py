"""Servers on one computer: what one that was killed left goes at the next start, and two accounts do not meet."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # processes of their own

ROOT = Path(__file__).parents[2]
SECONDS = 120
NOBODY = 65534
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another account"
)

# What a page does at its start, and a visitor with it; it lives until stdin ends.
SERVER = """
import sys, tempfile
from pathlib import Path
tempfile.tempdir = sys.argv[1]
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.page.server.uploads import own_folder
from tests.fakes import TinyEncoders, portrait

def visit(kept):
    uploads = own_folder.__wrapped__()
    own = OwnGalleries(TinyEncoders(), kept)
    own.start()
    if "start" in sys.argv:
        return
    portrait(0).save(uploads / "photo.png")
    key, mine = own.create()
    mine.add([uploads / "photo.png"], lambda: None)
    mine.wait()
    assert mine.problem == "", mine.problem
    while mine.busy:
        mine.preparation.wait()
    assert len(mine.photo_ids) == 1
    return own, key
"""
LIVES = f"""{SERVER}
visit(Path(sys.argv[1]) / "kept")
print("ready", flush=True)
sys.stdin.read()
"""


def server(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = dict(os.environ) | {"GRADIO_TEMP_DIR": str(temporary / "up")}
    process = subprocess.Popen(
        [sys.executable, "-c", LIVES, str(temporary), *arguments], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def photos_below(folder: Path) -> dict[str, int]:
    """How many photos and vectors lie below it, by the folder of the process."""
    counts: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.name in ("photo.png", "vectors.npy"):
            place = path.relative_to(folder).parts[1 if path.is_relative_to(folder / "up") else 0]
            counts[place] = counts.get(place, 0) + 1
    return counts


def test_what_a_killed_server_left_goes_at_the_next_start_and_a_living_ones_stays(tmp_path: Path) -> None:
    killed, living = server(tmp_path), server(tmp_path)
    both = photos_below(tmp_path)
    assert len(both) == 4, "uploads and a gallery of each"
    killed.kill()
    killed.communicate(timeout=SECONDS)
    assert photos_below(tmp_path) == both
    started = server(tmp_path, "start")  # and nobody opens the tab
    left = photos_below(tmp_path)
    assert len(left) == 2
    assert left.items() <= both.items()
    started.communicate(timeout=SECONDS)
    assert photos_below(tmp_path) == left
    living.communicate(timeout=SECONDS)
    assert photos_below(tmp_path) == {}


@pytest.fixture
def shared() -> Iterator[Path]:
    """A temporary folder for all accounts, as /tmp is."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


# As root first, so that all modules are there: Python itself may lie where another account may not look.
OTHER_ACCOUNT = f"""{SERVER}
import os
own, key = visit(Path(sys.argv[1]) / "kept")
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
os.environ.pop("GRADIO_TEMP_DIR")
other, _ = visit(Path(sys.argv[1]) / "other")
print(*sorted(path.name for path in Path(sys.argv[1]).iterdir() if path.stat().st_uid == {NOBODY}))
other.close()
os._exit(0)  # what is root's cannot be deleted any more
"""


@needs_root
def test_two_accounts_on_one_computer_do_not_meet(shared: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", OTHER_ACCOUNT, str(shared)], cwd=ROOT, env=environment, text=True,
        capture_output=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deleted" not in done.stderr, "the other account's folders are not even tried"


UNREADABLE = f"""
import os, sys
from pathlib import Path
from pipeline.core.errors import PipelineError
from tests.fakes import tiny_gallery
gallery = tiny_gallery(Path(sys.argv[1]))
gallery.build(["mtcnn-facenet"])
gallery.searcher("mtcnn-facenet")
folder = gallery.folder("mtcnn-facenet")
(folder / "faces.npy").chmod(0o600)
gallery._searchers.clear()
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
try:
    gallery.searcher("mtcnn-facenet")
except PipelineError as error:
    print(error)
"""


@needs_root
def test_a_gallery_that_another_account_may_not_read_is_said_in_a_sentence(shared: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(shared)], cwd=ROOT, text=True, capture_output=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert "faces.npy cannot be read by this account; make it readable" in done.stdout


@needs_root
def test_a_gallery_is_built_by_one_account_and_served_by_another(shared: Path) -> None:
    code = UNREADABLE.replace('(folder / "faces.npy").chmod(0o600)', "")
    done = subprocess.run(
        [sys.executable, "-c", code, str(shared)], cwd=ROOT, text=True, capture_output=True, timeout=SECONDS
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in (shared / "index").rglob("mtcnn-facenet/*") if path.is_file()
    }
    assert len(modes) == 1
