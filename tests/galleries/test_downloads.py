"""A download of weights holds up nobody who does not need them; whoever waits for one may give up."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.core.errors import Stopped, WeightsError
from pipeline.core.progress import Progress
from pipeline.core.recipes import DEFAULT, MINI
from pipeline.core.settings import SAMPLE
from pipeline.encoder import weights
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.weights import WEIGHT_FILES, WeightFile, WeightStore
from pipeline.galleries.own_galleries import OwnGalleries

CONTENT = bytes(1 << 17)
SOON = 10.0  # seconds; the download does not end before the test does


class SlowHost:
    """A host that sends half a file, and the rest when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.port = 0


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHost]:
    slow = SlowHost()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            slow.asked.set()
            slow.go_on.wait(60)
            self.wfile.write(CONTENT[len(CONTENT) // 2 :])

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        slow.port = server.server_port
        # Not the hash of what is sent: once it is here, it is thrown away, and nothing tries to load it.
        file = WeightFile(f"http://127.0.0.1:{slow.port}/weights.pt", f"sha256:{hashlib.sha256(b'').hexdigest()}")
        monkeypatch.setattr(weights, "WEIGHT_FILES", dict.fromkeys(WEIGHT_FILES, (file,)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield slow
        slow.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def encoders(tmp_path: Path) -> StoredEncoders:
    return StoredEncoders(WeightStore(None, tmp_path / "cache", {}))


@pytest.fixture
def downloading(encoders: StoredEncoders, host: SlowHost) -> Iterator[threading.Thread]:
    """The thread in which the default's weights are being downloaded."""

    def download() -> None:
        with pytest.raises(WeightsError, match="its hash differs"):
            encoders.get(DEFAULT)

    thread = threading.Thread(target=download)
    thread.start()
    assert host.asked.wait(SOON)
    yield thread
    host.go_on.set()
    thread.join()


def test_an_own_gallery_is_made_and_removed_while_other_weights_are_downloaded(
    encoders: StoredEncoders, downloading: threading.Thread, tmp_path: Path
) -> None:
    own = OwnGalleries(encoders, tmp_path / "kept")
    key, gallery = own.create()
    started = time.monotonic()
    gallery.add(sorted((SAMPLE / "Composite 01").iterdir())[:2], lambda: None)
    gallery.wait()
    assert gallery.problem == ""
    assert gallery.preparation is not None
    assert gallery.preparation.ready() == [MINI]
    assert gallery.preparation.working, "models that are to be downloaded follow behind"
    own.remove(key)
    own.close()
    assert time.monotonic() - started < SOON
    assert downloading.is_alive()


def test_who_waits_for_a_download_sees_how_far_it_is_and_may_give_up(
    encoders: StoredEncoders, downloading: threading.Thread
) -> None:
    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 3:
            raise Stopped("Enough.")

    with pytest.raises(Stopped):
        encoders.get(DEFAULT, report)
    assert {(one.task, one.done, one.total) for one in seen} == {("Downloading weights.pt", 1 << 16, len(CONTENT))}
    assert downloading.is_alive()


def test_a_download_that_failed_is_tried_again_by_who_waited(
    encoders: StoredEncoders, downloading: threading.Thread, host: SlowHost
) -> None:
    def ask() -> None:
        with pytest.raises(WeightsError):
            encoders.get(DEFAULT)

    asked = threading.Thread(target=ask)
    asked.start()
    host.asked.clear()
    host.go_on.set()
    asked.join()
    assert host.asked.is_set()
