"""A page that is killed, as by a container's host: the next one on that disk removes what visitors had left."""

from __future__ import annotations

from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from pipeline.core.recipes import MINI
from tests.conftest import Tally
from tests.faults.conftest import Served
from tests.faults.corpus import encode, face
from tests.galleries.test_servers import photos_below, server


def test_photos_of_a_killed_page_go_when_the_next_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with_own_photos, page = server(tmp_path / "tmp"), Served(tmp_path)
    (tmp_path / "photo.png").write_bytes(encode(face(7, 2), "PNG"))
    client = Client(page.url, verbose=False, download_files=False)
    client.predict(handle_file(str(tmp_path / "photo.png")), MINI, "annoy", 20, 0, "", api_name="/search")
    client.close()
    assert [path for path in page.uploads.rglob("*") if path.is_file()]
    for process in (with_own_photos, page.process):
        process.kill()
        process.communicate(timeout=60)
    after = Served(tmp_path)  # on which nobody opens My photos
    own = {place: count for place, count in photos_below(tmp_path / "tmp").items() if "-own-" in place}
    left = [path for path in after.uploads.rglob("*") if path.is_file() and path.suffix != ".lock"]
    after.stop()
    assert (left, own) == ([], {})
    tally.add("photos left by a killed page", len(left))
