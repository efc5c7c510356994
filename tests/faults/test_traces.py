"""What a visitor leaves: after the session no byte on disk, nothing in the log, and nobody else was told.

The threat: a face is the most personal thing that can be uploaded. Whoever gets at the disk, at the log or at the
network, later or meanwhile, must not learn who was looked for. What is looked through is everything that the page and
the other tests here wrote and uploaded, for the page is the one that they used.

Known and left: Gradio's answers name files by their path in its temporary folder, which is its protocol; and while a
photo is kept, whoever has its SHA-256, that is, the photo, can fetch it.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from pipeline.core.recipes import MINI
from pipeline.page.server.uploads import PREFIX
from tests.conftest import Tally
from tests.faults.conftest import KEEP_SECONDS, ROOT, Served
from tests.faults.corpus import encode, face

NAME = "somebody-who-is-looked-for.png"
LINE = re.compile(
    r"search request=[0-9a-f]{8} recipe=mtcnn-mini index=annoy gallery=sample faces=\d+ outcome=(found|no_face) "
    r"detect_ms=[\d.]+ embed_ms=[\d.]+ search_ms=[\d.]+ total_ms=[\d.]+"
)


@pytest.fixture(scope="module")
def session(served: Served, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A visitor's session, from upload to end; the photo."""
    content = encode(face(7, 2).rotate(3), "PNG")
    path = tmp_path_factory.mktemp("visitor") / NAME
    path.write_bytes(content)
    client = Client(served.url, verbose=False, download_files=False)
    answer = client.predict(handle_file(str(path)), MINI, "annoy", 20, 0, "", api_name="/search")
    assert answer[-1]["hits"][0]["person"] == "Composite 07"
    client.predict(handle_file(str(path)), "exact", 20, 0, "", api_name="/compare")
    digest = hashlib.sha256(content).hexdigest()
    kept = [file for file in served.uploads.rglob("*") if file.is_file()]
    assert digest in {hashlib.sha256(file.read_bytes()).hexdigest() for file in kept}, "it was there"
    client.close()
    return content


def owned(served: Served) -> list[Path]:
    """The page's own folder of uploads; beside it Gradio makes one that stays empty."""
    return list(served.uploads.glob(f"{PREFIX}*"))


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_byte_is_on_disk_when_the_time_is_over(session: bytes, served: Served, tally: Tally) -> None:
    until = time.monotonic() + 4 * KEEP_SECONDS
    # The lock by which a running page is known is empty, and stays until it ends.
    while (left := [path for path in files_below(served.uploads) if path.stat().st_size]) and time.monotonic() < until:
        time.sleep(0.5)
    assert left == []
    assert {path.suffix for path in files_below(served.uploads)} <= {".lock"}
    for path in served.folder.rglob("*"):
        if path.is_file():
            assert session[:4096] not in path.read_bytes(), path
    tally.add("bytes of visitors left", sum(path.stat().st_size for path in left))


def test_not_even_a_folder_with_the_photos_hash_is_left(session: bytes, served: Served) -> None:
    until = time.monotonic() + 4 * KEEP_SECONDS
    while (left := [path for own in owned(served) for path in own.rglob("*")]) and time.monotonic() < until:
        time.sleep(0.5)
    assert left == []


def test_nobody_else_may_look_into_the_folder(session: bytes, served: Served) -> None:
    (own,) = owned(served)
    assert own.stat().st_mode & 0o077 == 0


def test_the_log_has_a_line_for_the_search_and_nothing_of_it(session: bytes, served: Served) -> None:
    log = served.log.read_text()
    assert LINE.search(log)
    digest = hashlib.sha256(session).hexdigest()
    for secret in (NAME, NAME.removesuffix(".png"), digest, "Composite", "photo.jpg", str(served.uploads)):
        assert secret not in log


def test_every_line_about_a_search_is_of_our_making(session: bytes, served: Served) -> None:
    known = re.compile(
        LINE.pattern
        + r"|search request=[0-9a-f]{8} (recipe=mini-whole .*|recipe=mtcnn-mini index=exact .*"
        + r"|outcome=refused error=\w+ total_ms=[\d.]+|outcome=failed error=\w+ at=\w+:\d+)"
    )
    lines = [line for line in served.log.read_text().splitlines() if "search request=" in line]
    assert lines
    assert [line for line in lines if not known.search(line)] == []


def test_nobody_outside_was_connected_to(session: bytes, served: Served, tally: Tally) -> None:
    assert not served.connections.exists(), served.connections.read_text()
    tally.add("connections to other machines", 0)


def test_no_answer_has_a_path_of_ours_but_those_of_files_to_fetch(session: bytes, served: Served) -> None:
    client = Client(served.url, verbose=False, download_files=False)
    for name in ("/galleries", "/health"):
        assert str(ROOT) not in str(client.predict(api_name=name))
        assert str(served.folder) not in str(client.predict(api_name=name))


def test_sigterm_ends_it_within_five_seconds_and_removes_what_was_uploaded(
    session: bytes, served: Served, tally: Tally
) -> None:
    client = Client(served.url, verbose=False, download_files=False)
    for _ in range(4):
        client.submit(
            handle_file(str(ROOT / "pipeline/photos/sample/Composite 01/1.jpg")), MINI, "annoy", api_name="/search"
        )
    took = served.stop()
    assert served.process.returncode == 0
    assert took < 5
    assert owned(served) == []
    tally.most("SIGTERM to end, s", took)
