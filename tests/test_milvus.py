"""Milvus, embedded and as a real server: what is half filled is never searched, and what is down stops nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import IndexUnavailable
from pipeline.indexes import build_index, open_index, why_unavailable
from pipeline.indexes.exact import ExactIndex
from pipeline.library import Library
from pipeline.settings import Milvus
from pipeline.types import Collection, FloatArray, Neighbours
from tests.test_indexes import GALLERY, QUERIES, brute_force, scattered
from tests.tiny import TinyEncoders, portrait

if (reason := why_unavailable("milvus")) is not None:
    pytest.skip(reason, allow_module_level=True)

from pymilvus import MilvusClient

from pipeline.indexes import milvus

ROOT = Path(__file__).parent.parent
RECIPE = "mtcnn-facenet"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def bound(port: int) -> socket.socket | None:
    """In place of the package's own, which takes the next port where this one was in use a moment ago."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen()
    except OSError:
        found.close()
        return None
    return found


class Server:
    """A real Milvus in a process of its own, which can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._server: Any = None
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        if self._server is None:
            from milvus import MilvusServer

            self._server = MilvusServer()
            self._server.set_base_dir(str(self._folder))
            self._server.listen_port = self._port
            self._server.config.try_bind_port = bound
            self._server.start()

    def kill(self) -> None:
        self._server.server_proc.send_signal(signal.SIGKILL)
        self._server.server_proc.wait()
        self.stop()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


@pytest.fixture(scope="session")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        import milvus  # noqa: F401
    except ImportError:
        pytest.skip("needs a Milvus server: `pip install milvus==2.3.5` (Linux x86-64)")
    server = Server(tmp_path_factory.mktemp("milvus-server"))
    yield server
    server.stop()


@pytest.fixture
def server(one_server: Server) -> Server:
    one_server.start()
    return one_server


@pytest.fixture(params=["lite", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Collection:
    """An empty collection, in a file and on the server."""
    uri = request.getfixturevalue("server").uri if request.param == "server" else str(tmp_path / "own.db")
    return named(uri, 600, tmp_path.name)


def named(uri: str, rows: int, name: str) -> Collection:
    labels = tuple(f"photo-{row}" for row in range(rows))
    return Collection(uri, "", name, labels, tuple(f"person of {label}" for label in labels))


def assert_like_exact(found: Neighbours, vectors: FloatArray, queries: FloatArray, k: int) -> None:
    exact = ExactIndex(vectors).search(queries, k)
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    assert sum(shared) >= 0.99 * exact.rows.size
    np.testing.assert_array_equal(found.rows[:, 0], exact.rows[:, 0])
    np.testing.assert_allclose(found.distances[:, 0], exact.distances[:, 0], atol=1e-6)


# What every index promises, on the server too: tests/test_indexes.py holds Milvus Lite to it


def test_the_server_finds_what_brute_force_finds(server: Server, tmp_path: Path) -> None:
    place = Collection(server.uri, "", tmp_path.name)
    facts = build_index("milvus", GALLERY, tmp_path, place)
    assert facts["files"] == list(tmp_path.iterdir()) == []
    assert facts["nlist"] == 96
    assert 0.99 <= facts["recall_at_20"] <= 1
    index = open_index("milvus", GALLERY, tmp_path, facts, place)
    found = index.search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)
    assert (found.rows.dtype, found.distances.dtype) == (np.int64, np.float32)
    for query, rows, distances in zip(QUERIES, found.rows.tolist(), found.distances, strict=True):
        np.testing.assert_allclose(distances, np.linalg.norm(GALLERY[rows] - query, axis=1), atol=1e-6)
        assert np.all(np.diff(distances) >= 0)
    assert index.search(GALLERY[7], 1).distances.tolist() == [[0]]
    assert index.search(GALLERY[:5], 599).rows.shape == (5, 599), "a large k is filled"
    assert len(set(index.search(GALLERY[0], 1000).rows[0].tolist())) == 600
    assert index.search(np.empty((0, 32)), 5).rows.shape == (0, 5)


def test_the_server_with_few_rows_and_duplicates(server: Server, tmp_path: Path) -> None:
    vectors = scattered(60, 16)
    vectors[[11, 30, 47]] = vectors[5]
    place = Collection(server.uri, "", tmp_path.name)
    index = open_index("milvus", vectors, tmp_path, build_index("milvus", vectors, tmp_path, place), place)
    found = index.search(vectors[30], 6)
    assert found.rows[0, :4].tolist() == [5, 11, 30, 47]
    assert found.distances[0, :4].tolist() == [0.0] * 4
    assert found.distances[0, 4] > 0
    assert index.search(vectors[3], 1000).rows[0].tolist() == brute_force(vectors, vectors[3], 60)[0]


def test_hard_vectors_are_probed_until_99_percent_are_found(server: Server, tmp_path: Path) -> None:
    vectors, place = scattered(3000, 32), Collection(server.uri, "", tmp_path.name)
    facts = build_index("milvus", vectors, tmp_path, place)
    assert facts["nprobe"] > milvus.FIRST_PROBES
    assert facts["recall_at_20"] >= 0.99
    with_less = milvus._Opened(MilvusClient(server.uri), facts["collection"], 216, 1, 0)
    few = milvus._candidates(with_less, vectors[:100], 20, 10)
    exact = ExactIndex(vectors).search(vectors[:100], 20).rows.tolist()
    assert np.mean([len(set(a.tolist()) & set(b)) / 20 for a, b in zip(few, exact, strict=True)]) < 0.9


def test_photo_and_person_stand_beside_the_vector(place: Collection, tmp_path: Path) -> None:
    facts = build_index("milvus", GALLERY, tmp_path, place)
    client = MilvusClient(place.uri)
    client.load_collection(facts["collection"])
    (row,) = client.query(facts["collection"], ids=[7], output_fields=["*"])
    assert (row["photo_id"], row["person"]) == ("photo-7", "person of photo-7")
    np.testing.assert_allclose(row["vector"], GALLERY[7], atol=1e-6)


# Half filled


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def test_an_interrupted_insert_is_never_searched(
    place: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = milvus._record

    def until(row: int, *rest: FloatArray | Collection) -> dict[str, Any]:
        if row == 300:
            raise Interrupted
        return record(row, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(milvus, "BATCH", 100)
        patch.setattr(milvus, "_record", until)
        with pytest.raises(Interrupted):
            build_index("milvus", GALLERY, tmp_path, place)
    assert MilvusClient(place.uri).has_collection(milvus.collection_name(place)), "else this proves nothing"
    found = open_index("milvus", GALLERY, tmp_path, {}, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_server_killed_in_the_middle_of_an_insert_is_filled_by_the_next_build(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, place, inserted = milvus._record, named(server.uri, 600, tmp_path.name), 0

    def kill_on_the_way(row: int, *rest: FloatArray | Collection) -> dict[str, Any]:
        nonlocal inserted
        if row == 300:
            server.kill()
        inserted = row
        return record(row, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(milvus, "BATCH", 50)
        patch.setattr(milvus, "_record", kill_on_the_way)
        with pytest.raises(IndexUnavailable):
            build_index("milvus", GALLERY, tmp_path, place)
    assert inserted == 349, "the batch after the kill was the last"
    server.start()
    left = MilvusClient(server.uri).describe_collection(milvus.collection_name(place))
    assert milvus.MARK not in left["properties"]
    facts = build_index("milvus", GALLERY, tmp_path, place)
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_complete_collection_is_not_filled_again(
    place: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = build_index("milvus", GALLERY, tmp_path, place)
    monkeypatch.setattr(milvus, "_fill", None)
    assert build_index("milvus", GALLERY, tmp_path, place) == facts


def test_rows_that_went_missing_are_noticed(place: Collection, tmp_path: Path) -> None:
    facts = build_index("milvus", GALLERY, tmp_path, place)
    client = MilvusClient(place.uri)
    client.load_collection(facts["collection"])
    client.delete(facts["collection"], ids=[int(ExactIndex(GALLERY).search(QUERIES[0], 1).rows[0, 0])])
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_collection_of_other_vectors_is_not_searched(place: Collection, tmp_path: Path) -> None:
    facts = build_index("milvus", GALLERY[::-1].copy(), tmp_path, place)
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_two_recipes_do_not_mix(server: Server, tiny_folder: Path, tmp_path: Path) -> None:
    recipes = ["resnet50", RECIPE]
    library = Library(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index", Milvus(server.uri))
    library.build(recipes)
    names = {library.searcher(recipe).gallery.manifest["indexes"]["milvus"]["collection"] for recipe in recipes}
    assert len(names) == 2
    assert names <= set(MilvusClient(server.uri).list_collections())
    for recipe in recipes:
        searcher = library.searcher(recipe)
        for person in range(6):
            photo = portrait(person, 1)
            assert searcher.search(photo, 24, "milvus").hits == searcher.search(photo, 24, "exact").hits


# Out of reach


def assert_one_sentence_soon(place: Collection, folder: Path) -> str:
    index, started = open_index("milvus", GALLERY, folder, {}, place), time.monotonic()
    with pytest.raises(IndexUnavailable) as caught:
        index.search(QUERIES, 5)
    assert time.monotonic() - started < 5
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_server_that_is_down_is_one_sentence_without_the_token(tmp_path: Path) -> None:
    port = free_port()
    place = Collection(f"http://someone:secret@127.0.0.1:{port}", "someone:secret", "x")
    assert "secret" not in repr(place)
    assert assert_one_sentence_soon(place, tmp_path) == (
        f"Milvus at http://127.0.0.1:{port} cannot be used now; start it or correct FACESEARCH_MILVUS_URI, "
        "or search with another index meanwhile."
    )


def test_a_server_that_never_answers_is_given_up_soon(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = Collection(f"http://127.0.0.1:{silent.getsockname()[1]}", "", "x")
        assert "start it" in assert_one_sentence_soon(place, tmp_path)


def test_a_server_that_goes_away_and_comes_back(server: Server, tmp_path: Path) -> None:
    place = named(server.uri, 600, tmp_path.name)
    index = open_index("milvus", GALLERY, tmp_path, build_index("milvus", GALLERY, tmp_path, place), place)
    before = index.search(QUERIES, 20)
    server.kill()
    started = time.monotonic()
    with pytest.raises(IndexUnavailable):
        index.search(QUERIES, 20)
    assert time.monotonic() - started < 5
    server.start()
    np.testing.assert_array_equal(index.search(QUERIES, 20).rows, before.rows)


def test_without_its_server_everything_else_works_and_milvus_joins_later(
    server: Server, tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def library() -> Library:
        return Library(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index", Milvus(server.uri))

    server.kill()
    started = library()
    started.build([RECIPE])
    assert [record.message.partition(":")[0] for record in caplog.records] == ["The index milvus is left out for now"]
    searcher, photo = started.searcher(RECIPE), portrait(1, 1)
    assert "milvus" not in searcher.gallery.manifest["indexes"]
    with pytest.raises(IndexUnavailable):
        searcher.search(photo, 5, "milvus")
    exact = searcher.search(photo, 5, "exact").hits
    server.start()
    assert searcher.search(photo, 5, "milvus").hits == exact, "at the next search"
    assert searcher.recall("milvus") == 1
    assert "milvus" in library().searcher(RECIPE).gallery.manifest["indexes"], "and at the next start"


def test_a_file_that_another_program_has_open_is_one_sentence(tmp_path: Path) -> None:
    place = Collection(str(tmp_path / "own.db"), "", "x")
    holder = (
        "import sys; from pymilvus import MilvusClient; MilvusClient(sys.argv[1]); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, place.uri], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert "close the other program" in assert_one_sentence_soon(place, tmp_path)
        os.kill(process.pid, signal.SIGKILL)
    assert open_index("milvus", GALLERY, tmp_path, {}, place).search(QUERIES, 5).rows.shape == (40, 5)


# Names and addresses


def test_a_collection_has_a_name_that_milvus_takes_and_that_ends_in_the_fingerprint() -> None:
    assert milvus.collection_name(Collection(name="my faces_mtcnn-reid_0a1b")) == "facesearch_my_faces_mtcnn_reid_0a1b"
    long = milvus.collection_name(Collection(name=f"{'ü9' * 400}_0a1b"))
    assert len(long) <= 255
    assert long.endswith("_0a1b")
    assert long[0].isalpha()


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("http://host:19530", "http://host:19530"),
        ("https://user:secret@host:443/db?token=secret", "https://host:443/db"),
        ("/data/milvus.db", "/data/milvus.db"),
    ],
)
def test_an_address_is_printed_without_its_secrets(uri: str, printed: str) -> None:
    assert milvus.shown(uri) == printed
