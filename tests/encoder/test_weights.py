"""Weights come from the person's file, the local folder, the cache or the host, in this order, and always checked.

The host is a real HTTP server in a thread; nothing here leaves the machine.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from pipeline.core.errors import WeightsError
from pipeline.core.progress import Progress, silent
from pipeline.encoder import weights
from pipeline.encoder.weights import WeightFile, WeightStore

# Longer than two of the downloader's chunks and no multiple of them.
FACENET = bytes(range(256)) * 600 + b"end"
XML, BIN = b"<net/>", b"\x00\x01" * 500


@dataclasses.dataclass
class Host:
    """A host of weights that counts what it is asked for. `status`: what it answers; `cut`: sends half of that."""

    port: int
    files: dict[str, bytes]
    kind: str = "application/octet-stream"
    status: int = 200
    cut: bool = False
    asked: list[str] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def host() -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            served.asked.append(f"{self.command} {self.path}")
            content = served.files.get(self.path)
            self.send_response(404 if content is None else served.status)
            content = content or b""
            self.send_header("Content-Type", served.kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if served.cut else content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Host(server.server_port, {"/facenet.pt": FACENET, "/small.xml": XML, "/small.bin": BIN})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def weight_files(host: Host, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[WeightFile, ...]]:
    """Two networks on the host: one of a single file, one of two files in a folder."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    base = f"http://{host.name}"
    files = {
        "facenet": (WeightFile(f"{base}/facenet.pt", f"sha256:{hashlib.sha256(FACENET).hexdigest()}"),),
        "reid": (
            WeightFile(f"{base}/small.xml", f"sha384:{hashlib.sha384(XML).hexdigest()}", "small/FP16"),
            WeightFile(f"{base}/small.bin", f"sha384:{hashlib.sha384(BIN).hexdigest()}", "small/FP16"),
        ),
    }
    monkeypatch.setattr(weights, "WEIGHT_FILES", files)
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def store(cache: Path) -> WeightStore:
    return WeightStore(None, cache, {})


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(store: WeightStore, network: str = "facenet") -> str:
    with pytest.raises(WeightsError) as caught:
        store.get(network, silent)
    return str(caught.value)


def combined(*contents: bytes) -> str:
    return hashlib.sha256("".join(hashlib.sha256(content).hexdigest() for content in contents).encode()).hexdigest()


def test_weights_are_downloaded_checked_and_kept(store: WeightStore, cache: Path, host: Host) -> None:
    assert store.find("facenet") is None
    got = store.get("facenet", silent)
    assert got == weights.Weights("facenet", (cache / "facenet.pt",), combined(FACENET), custom=False)
    assert got.paths[0].read_bytes() == FACENET
    assert files_below(cache) == ["facenet.pt"]
    assert host.asked == ["GET /facenet.pt"]


def test_a_network_of_two_files_keeps_them_in_their_folder_and_order(
    store: WeightStore, cache: Path, host: Host
) -> None:
    got = store.get("reid", silent)
    assert got.paths == (cache / "small/FP16/small.xml", cache / "small/FP16/small.bin")
    assert got.sha256 == combined(XML, BIN)
    assert host.asked == ["GET /small.xml", "GET /small.bin"]


def test_the_second_time_nothing_is_asked_for(store: WeightStore, cache: Path, host: Host) -> None:
    first = store.get("facenet", silent)
    host.asked.clear()
    assert WeightStore(None, cache, {}).get("facenet", silent) == first
    assert store.find("facenet") == first
    assert host.asked == []


def test_only_the_file_that_is_missing_is_downloaded(store: WeightStore, cache: Path, host: Host) -> None:
    store.get("reid", silent)
    (cache / "small/FP16/small.bin").unlink()
    host.asked.clear()
    assert store.find("reid") is None
    assert store.get("reid", silent).sha256 == combined(XML, BIN)
    assert host.asked == ["GET /small.bin"]


def test_a_damaged_file_in_the_cache_counts_as_absent(store: WeightStore, cache: Path, host: Host) -> None:
    cache.mkdir()
    (cache / "facenet.pt").write_bytes(FACENET[:-1])
    assert store.find("facenet") is None
    assert store.get("facenet", silent).paths[0].read_bytes() == FACENET
    assert host.asked == ["GET /facenet.pt"]


def test_what_has_another_hash_is_thrown_away(store: WeightStore, cache: Path, host: Host) -> None:
    host.files["/facenet.pt"] = FACENET[:-1] + b"!"
    assert refused(store) == (
        f"What {host.name} sent is not the published facenet.pt (its hash differs) and was thrown away; try again, "
        "and if it stays so, a proxy on the way answers in its place."
    )
    assert files_below(cache) == []


def test_a_proxy_that_answers_with_a_page_is_not_taken_for_weights(store: WeightStore, cache: Path, host: Host) -> None:
    host.files["/facenet.pt"] = b"<!DOCTYPE html><title>Please log in</title>"
    host.kind = "text/html"
    assert "(its hash differs) and was thrown away" in refused(store)
    assert files_below(cache) == []


def test_a_body_cut_in_the_middle_leaves_nothing(store: WeightStore, cache: Path, host: Host) -> None:
    host.cut = True
    assert refused(store).startswith(f"{host.name} cannot be reached for the facenet weights; ")
    assert files_below(cache) == []
    host.cut = False
    assert store.get("facenet", silent).paths[0].read_bytes() == FACENET


# pooch asks for a stream and, when the answer is an error, leaves it to the garbage collector to hang up.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_host_without_the_file_is_an_error_too(store: WeightStore, cache: Path, host: Host) -> None:
    host.files.clear()
    assert refused(store).startswith(f"{host.name} answers 404 for facenet.pt; ")
    assert files_below(cache) == []
    gc.collect()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("network", "own"),
    [("facenet", ", or set FACESEARCH_FACENET_WEIGHTS to your own file"), ("reid", "")],
)
def test_a_host_out_of_reach_is_one_sentence_with_the_way_out(
    store: WeightStore,
    weight_files: dict[str, tuple[WeightFile, ...]],
    closed_port: int,
    network: str,
    own: str,
) -> None:
    name = f"127.0.0.1:{closed_port}"
    wanted = weight_files[network][0]
    gone = dataclasses.replace(wanted, url=f"http://{name}/{wanted.name}")
    weight_files[network] = (gone, *weight_files[network][1:])
    sentence = (
        f"{name} cannot be reached for the {network} weights; put {wanted.name} into a folder named by "
        f"FACESEARCH_MODELS{own}."
    )
    assert refused(store, network) == sentence
    assert store.why_unavailable(network) == sentence


@pytest.mark.parametrize("folder", ["small/FP16", "."])
def test_the_models_folder_is_looked_in_first_with_and_without_the_files_folder(
    models: Path, cache: Path, host: Host, folder: str
) -> None:
    (models / folder).mkdir(parents=True, exist_ok=True)
    (models / folder / "small.xml").write_bytes(XML)
    (models / folder / "small.bin").write_bytes(BIN)
    found = WeightStore(models, cache, {}).find("reid")
    assert found is not None
    assert found.paths == (models / folder / "small.xml", models / folder / "small.bin")
    assert (found.sha256, found.custom) == (combined(XML, BIN), False)
    assert WeightStore(models, cache, {}).get("reid", silent) == found
    assert host.asked == []
    assert not cache.exists()


def test_where_the_weights_lie_does_not_change_what_they_are(models: Path, cache: Path) -> None:
    (models / "facenet.pt").write_bytes(FACENET)
    downloaded = WeightStore(None, cache, {}).get("facenet", silent)
    found = WeightStore(models, cache, {}).get("facenet", silent)
    assert found.paths == (models / "facenet.pt",)
    assert found.sha256 == downloaded.sha256


def test_a_networks_files_come_from_one_place_even_if_half_of_them_are_in_another(
    models: Path, cache: Path, host: Host
) -> None:
    (models / "small.xml").write_bytes(XML)
    (models / "small/FP16").mkdir(parents=True)
    (models / "small/FP16/small.bin").write_bytes(BIN)
    store = WeightStore(models, cache, {})
    assert store.find("reid") is None
    got = store.get("reid", silent)
    assert got.paths == (cache / "small/FP16/small.xml", cache / "small/FP16/small.bin")
    assert store.find("reid") == got
    assert host.asked == ["GET /small.xml", "GET /small.bin"]


def test_a_wrong_file_in_the_models_folder_is_named_and_not_passed_over(models: Path, cache: Path, host: Host) -> None:
    (models / "facenet.pt").write_bytes(b"git-lfs pointer")
    store = WeightStore(models, cache, {})
    sentence = (
        f"{models / 'facenet.pt'} is not the published facenet.pt (its hash differs); replace it with the file from "
        f"http://{host.name}/facenet.pt, or unset FACESEARCH_MODELS."
    )
    assert refused(store) == sentence
    assert store.why_unavailable("facenet") == sentence
    with pytest.raises(WeightsError):
        store.find("facenet")
    assert host.asked == []


def test_a_persons_own_file_comes_first_and_is_marked(models: Path, cache: Path, tmp_path: Path, host: Host) -> None:
    own = tmp_path / "mine.pt"
    own.write_bytes(b"my own")
    (models / "facenet.pt").write_bytes(FACENET)
    got = WeightStore(models, cache, {"facenet": own}).get("facenet", silent)
    assert got == weights.Weights("facenet", (own,), combined(b"my own"), custom=True)
    assert host.asked == []


def test_changed_custom_weights_have_another_sha(cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.pt"
    store = WeightStore(None, cache, {"facenet": own})
    seen = set()
    for content in (b"one", b"two", FACENET):
        own.write_bytes(content)
        seen.add(store.get("facenet", silent).sha256)
    assert len(seen) == 3


def test_custom_weights_of_one_network_leave_the_others_alone(cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.pt"
    own.write_bytes(b"my own")
    assert not WeightStore(None, cache, {"facenet": own}).get("reid", silent).custom


@pytest.mark.parametrize(("make", "reason"), [("nothing", "No such file or directory"), ("folder", "Is a directory")])
def test_a_custom_file_that_cannot_be_read(cache: Path, tmp_path: Path, make: str, reason: str) -> None:
    own = tmp_path / "mine.pt"
    if make == "folder":
        own.mkdir()
    store = WeightStore(None, cache, {"facenet": own})
    sentence = f"The facenet weights {own} cannot be read: {reason}."
    assert refused(store) == sentence
    assert store.why_unavailable("facenet") == sentence


def test_weights_that_are_here_or_to_be_had_are_available(store: WeightStore, host: Host) -> None:
    assert store.why_unavailable("facenet") is None
    assert host.asked == ["HEAD /facenet.pt"]  # asked for, not downloaded
    store.get("facenet", silent)
    host.asked.clear()
    assert store.why_unavailable("facenet") is None
    assert host.asked == []


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pooch: see above
@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_host_that_refuses_has_no_weights(store: WeightStore, host: Host, status: int) -> None:
    host.status = status
    reason = store.why_unavailable("facenet")
    assert reason is not None
    assert reason == refused(store)
    assert reason.startswith(f"{host.name} answers {status} for facenet.pt; ")
    gc.collect()


@pytest.mark.parametrize("status", [302, 405, 501])
def test_a_host_that_sends_elsewhere_or_wants_to_be_asked_otherwise_may_have_them(
    store: WeightStore, host: Host, status: int
) -> None:
    host.status = status
    assert store.why_unavailable("facenet") is None


def test_progress_goes_up_to_the_files_size_and_no_further(store: WeightStore) -> None:
    seen: list[Progress] = []
    store.get("facenet", seen.append)
    done = [progress.done for progress in seen]
    assert len(done) >= 3
    assert done == sorted(done)
    assert done[-1] == len(FACENET)
    assert {progress.total for progress in seen} == {len(FACENET)}
    assert {(progress.task, progress.unit) for progress in seen} == {("Downloading facenet.pt", "B")}
    assert all(progress.worked == progress.done and progress.rate > 0 for progress in seen)


def test_a_cache_that_cannot_be_a_folder_is_one_sentence(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file in its place")
    sentence = refused(WeightStore(None, cache, {}))
    assert sentence.startswith(f"facenet.pt could not be written to {cache} (")
    assert sentence.endswith("); make room there or set FACESEARCH_CACHE to another folder.")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_a_cache_that_cannot_be_written_is_one_sentence(cache: Path) -> None:
    cache.mkdir(mode=0o500)
    sentence = refused(WeightStore(None, cache, {}))
    assert sentence.startswith(f"facenet.pt could not be written to {cache} (")
    assert "FACESEARCH_CACHE" in sentence


def test_the_downloader_does_not_chatter(
    store: WeightStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = pooch.get_logger()  # has no parent, so caplog sees it only if it is handed over
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    logger.setLevel("INFO")
    store.get("facenet", silent)
    assert caplog.records == []


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs /proc/self/io, which counts what was read")
def test_weights_that_are_asked_for_again_are_not_read_again(
    models: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drop of three photos read 309 MB of them."""
    monkeypatch.setattr("pipeline.core.files.SETTLED_SECONDS", 0)
    (own := tmp_path / "own.pt").write_bytes(bytes(20_000_000))
    store = WeightStore(models, cache, {"facenet": own})

    def read_by_asking() -> int:
        before = _bytes_read()
        assert store.find("facenet") is not None
        assert store.why_unavailable("facenet") is None
        return _bytes_read() - before

    assert read_by_asking() >= 20_000_000
    assert read_by_asking() < 1_000_000


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])
