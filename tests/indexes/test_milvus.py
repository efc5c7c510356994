"""Milvus, embedded and as a real server: what is half filled is never searched, and what is down stops nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.bench.milvus_server import MilvusServer
from pipeline.core.errors import IndexUnavailable
from pipeline.core.progress import Progress
from pipeline.core.settings import Milvus
from pipeline.core.types import Collection, FloatArray, Neighbours
from pipeline.galleries.gallery import Gallery
from pipeline.indexes.exact import ExactIndex
from pipeline.indexes.registry import build_index, drop_index, open_index, why_unavailable
from pipeline.search.searcher import Searcher
from tests.fakes import TinyEncoders, portrait
from tests.indexes.test_indexes import GALLERY, QUERIES, brute_force, scattered

if (reason := why_unavailable("milvus")) is not None:
    pytest.skip(reason, allow_module_level=True)

from pymilvus import MilvusClient, MilvusException

from pipeline.indexes import milvus, milvus_connection, milvus_rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RECIPE = "mtcnn-facenet"
# The server asks itself every so many milliseconds whether there is something to do; by default up to once a second.
IMPATIENT = {
    "PROXY_TIMETICKINTERVAL": "20",
    "QUERYCOORD_CHECKSEGMENTINTERVAL": "50",
    "QUERYCOORD_CHECKCHANNELINTERVAL": "50",
    "QUERYCOORD_DISTPULLINTERVAL": "50",
    "COMMON_SESSION_TTL": "3",  # seconds after which a server that was killed is believed to be dead
}


@pytest.fixture(scope="session")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    try:
        import milvus  # noqa: F401
    except ImportError:
        pytest.skip("needs a Milvus server: `pip install milvus==2.3.5` (Linux x86-64)")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in IMPATIENT.items():
            patch.setenv(name, value)
        with MilvusServer(tmp_path_factory.mktemp("milvus-server")) as server:
            yield server


@pytest.fixture
def server(one_server: MilvusServer) -> MilvusServer:
    one_server.start()
    return one_server


@pytest.fixture(params=["lite", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Collection:
    """An empty collection, in a file and on the server."""
    uri = request.getfixturevalue("server").uri if request.param == "server" else str(tmp_path / "own.db")
    return named(uri, 600, tmp_path.name)


@pytest.fixture(scope="session")
def filled_once(
    one_server: MilvusServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Collection, dict[str, Any]]:
    place = named(one_server.uri, 600, "filled")
    return place, build_index("milvus", GALLERY, tmp_path_factory.mktemp("filled"), place)


@pytest.fixture
def filled(server: MilvusServer, filled_once: tuple[Collection, dict[str, Any]]) -> tuple[Collection, dict[str, Any]]:
    """A complete collection of `GALLERY` on the server, for the tests that change nothing, and its facts."""
    return filled_once


class Sent:
    """The keys of the rows that were sent, and of those that were deleted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[str] = []
        self.deleted: list[str] = []
        delete = MilvusClient.delete

        def deleting(client: MilvusClient, name: str, ids: list[str], **rest: float) -> object:
            self.deleted += ids
            return delete(client, name, ids=ids, **rest)

        for method in ("insert", "upsert"):
            monkeypatch.setattr(MilvusClient, method, self._counted(getattr(MilvusClient, method)))
        monkeypatch.setattr(MilvusClient, "delete", deleting)

    def _counted(self, send: Callable[..., object]) -> Callable[..., object]:
        def counted(client: MilvusClient, name: str, data: list[dict[str, Any]], **rest: float) -> object:
            self.keys += [row["id"] for row in data]
            return send(client, name, data, **rest)

        return counted


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


def named(uri: str, rows: int, name: str) -> Collection:
    labels = tuple(f"photo-{row}" for row in range(rows))
    return Collection(uri, "", name, labels, tuple(f"person of {label}" for label in labels))


def assert_like_exact(found: Neighbours, vectors: FloatArray, queries: FloatArray, k: int) -> None:
    exact = ExactIndex(vectors).search(queries, k)
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    assert sum(shared) >= 0.99 * exact.rows.size
    np.testing.assert_array_equal(found.rows[:, 0], exact.rows[:, 0])
    np.testing.assert_allclose(found.distances[:, 0], exact.distances[:, 0], atol=1e-6)


def assert_share(found: Neighbours, vectors: FloatArray, share: float) -> None:
    """Of the gallery's own first rows as queries."""
    exact = ExactIndex(vectors).search(vectors[: len(found.rows)], found.rows.shape[1])
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    assert sum(shared) >= share * exact.rows.size


def relabelled(place: Collection) -> Collection:
    """The photos the other way round."""
    return replace(place, photo_ids=place.photo_ids[::-1], people=place.people[::-1])


# What every index promises, on the server too: tests/indexes/test_indexes.py holds Milvus Lite to it


def test_the_server_finds_what_brute_force_finds(filled: tuple[Collection, dict[str, Any]], tmp_path: Path) -> None:
    place, facts = filled
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


def test_the_server_with_few_rows_and_duplicates(server: MilvusServer, tmp_path: Path) -> None:
    vectors = scattered(60, 16)
    vectors[[11, 30, 47]] = vectors[5]
    place = Collection(server.uri, "", tmp_path.name)
    index = open_index("milvus", vectors, tmp_path, build_index("milvus", vectors, tmp_path, place), place)
    found = index.search(vectors[30], 6)
    assert found.rows[0, :4].tolist() == [5, 11, 30, 47]
    assert found.distances[0, :4].tolist() == [0.0] * 4
    assert found.distances[0, 4] > 0
    assert index.search(vectors[3], 1000).rows[0].tolist() == brute_force(vectors, vectors[3], 60)[0]


def test_hard_vectors_are_probed_until_99_percent_are_found(server: MilvusServer, tmp_path: Path) -> None:
    vectors, place = scattered(3000, 32), Collection(server.uri, "", tmp_path.name)
    facts = build_index("milvus", vectors, tmp_path, place)
    assert facts["nprobe"] > milvus.FIRST_EFFORT["IVF_FLAT"]
    assert facts["recall_at_20"] >= 0.99
    plan = milvus_rows.IndexPlan("IVF_FLAT", 216)
    with_less = milvus._OpenCollection(MilvusClient(server.uri), milvus_rows.GalleryRows(vectors, place), plan, 1)
    few = milvus._candidates(with_less, vectors[:100], 20, 10)
    exact = ExactIndex(vectors).search(vectors[:100], 20).rows.tolist()
    assert np.mean([len(set(a.tolist()) & set(b)) / 20 for a, b in zip(few, exact, strict=True)]) < 0.9


def test_photo_and_person_stand_beside_the_vector(filled: tuple[Collection, dict[str, Any]]) -> None:
    place, facts = filled
    (row,) = MilvusClient(place.uri).query(facts["collection"], ids=["photo-7"], output_fields=["*"])
    assert (row["id"], row["person"]) == ("photo-7", "person of photo-7")
    np.testing.assert_allclose(row["vector"], GALLERY[7], atol=1e-6)


@pytest.mark.parametrize("where", ["lite", "server"])
def test_hnsw_can_be_chosen_and_left_again_without_sending_a_row(
    where: str, request: pytest.FixtureRequest, tmp_path: Path, sent: Sent
) -> None:
    vectors = scattered(1500, 32)
    uri = request.getfixturevalue("server").uri if where == "server" else str(tmp_path / "own.db")
    flat, graph = (replace(named(uri, 1500, tmp_path.name), kind=kind) for kind in ("IVF_FLAT", "HNSW"))
    facts = build_index("milvus", vectors, tmp_path, graph)
    assert (facts["kind"], facts["M"], facts["recall_at_20"] >= 0.99) == ("HNSW", 16, True)
    assert "nprobe" not in facts
    assert_share(open_index("milvus", vectors, tmp_path, facts, graph).search(vectors[:50], 20), vectors, 0.98)
    client = MilvusClient(uri)
    assert client.describe_index(facts["collection"], "vector")["index_type"] == "HNSW"
    client.close()
    milvus_connection.release_file(graph)
    assert len(sent.keys) == 1500
    other = build_index("milvus", vectors, tmp_path, flat)
    assert (other["kind"], other["nlist"], "ef" in other) == ("IVF_FLAT", 152, False)
    assert_share(open_index("milvus", vectors, tmp_path, other, flat).search(vectors[:50], 20), vectors, 0.98)
    described = MilvusClient(uri).describe_index(facts["collection"], "vector")
    assert described["index_type"] == "IVF_FLAT"
    assert described.get("nlist", "152") == "152", "Milvus Lite does not say"
    assert len(sent.keys) == 1500, "the rows are there already"


def test_hnsw_finds_all_of_a_gallery_whose_graph_is_torn(tmp_path: Path) -> None:
    """Of many equal vectors HNSW links only a few; with the greatest effort it still misses some."""
    vectors, place = np.repeat(scattered(1, 16), 300, axis=0), Collection(kind="HNSW")
    index = open_index("milvus", vectors, tmp_path, build_index("milvus", vectors, tmp_path, place), place)
    assert sorted(index.search(vectors[0], 300).rows[0].tolist()) == list(range(300))


# Half filled, and brought up to date


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def test_an_interrupted_insert_is_finished_and_nothing_is_sent_twice(
    place: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    record = milvus_rows.GalleryRows.record

    def until(rows: milvus_rows.GalleryRows, row: int) -> dict[str, Any]:
        if row == 300:
            raise Interrupted
        return record(rows, row)

    with monkeypatch.context() as patch:
        patch.setattr(milvus_rows, "BATCH_ROWS", 100)
        patch.setattr(milvus_rows.GalleryRows, "record", until)
        with pytest.raises(Interrupted):
            build_index("milvus", GALLERY, tmp_path, place)
    assert sent.keys == [f"photo-{row}" for row in range(300)]
    assert MilvusClient(place.uri).has_collection(milvus.collection_name(place)), "else this proves nothing"
    milvus_connection.release_file(place)
    seen = list[Progress]()
    facts = build_index("milvus", GALLERY, tmp_path, place, seen.append)
    assert sent.keys[300:] == [f"photo-{row}" for row in range(300, 600)]
    filling = [one for one in seen if one.task == "Filling Milvus"]
    assert [(one.done, one.total, one.worked, one.unit) for one in filling] == [
        (300, 600, 0, "rows"),
        (600, 600, 300, "rows"),
    ]
    assert_like_exact(open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20), GALLERY, QUERIES, 20)


def test_an_interrupted_change_of_a_complete_collection_is_never_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of rows is right all the time; only the mark tells."""
    place = named(str(tmp_path / "own.db"), 600, "x")
    facts, upsert = build_index("milvus", GALLERY, tmp_path, place), MilvusClient.upsert

    def cut_off(client: MilvusClient, name: str, data: list[dict[str, Any]], **rest: float) -> None:
        upsert(client, name, data, **rest)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(milvus_rows, "BATCH_ROWS", 300)
        patch.setattr(MilvusClient, "upsert", cut_off)
        with pytest.raises(Interrupted):
            build_index("milvus", GALLERY[::-1].copy(), tmp_path, place)
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_half_filled_collection_is_completed_by_the_first_search(tmp_path: Path) -> None:
    place = named(str(tmp_path / "own.db"), 600, "x")
    facts = build_index("milvus", GALLERY, tmp_path, place)
    client = MilvusClient(place.uri)
    client.alter_collection_properties(facts["collection"], {milvus.DIGEST: ""})
    client.delete(facts["collection"], ids=[f"photo-{row}" for row in range(100, 600)])
    client.close()
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_server_killed_in_the_middle_of_an_insert_is_filled_by_the_next_build(
    server: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, place, inserted = milvus_rows.GalleryRows.record, named(server.uri, 600, tmp_path.name), 0

    def kill_on_the_way(rows: milvus_rows.GalleryRows, row: int) -> dict[str, Any]:
        nonlocal inserted
        if row == 300:
            server.kill()
        inserted = row
        return record(rows, row)

    with monkeypatch.context() as patch:
        patch.setattr(milvus_rows, "BATCH_ROWS", 50)
        patch.setattr(milvus_rows.GalleryRows, "record", kill_on_the_way)
        with pytest.raises(IndexUnavailable):
            build_index("milvus", GALLERY, tmp_path, place)
    assert inserted == 349, "the batch after the kill was the last"
    server.start()
    left = MilvusClient(server.uri).describe_collection(milvus.collection_name(place))
    assert milvus.DIGEST not in left["properties"]
    facts = build_index("milvus", GALLERY, tmp_path, place)
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_complete_collection_is_not_filled_again(
    filled: tuple[Collection, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, facts = filled
    monkeypatch.setattr(milvus, "synchronise", None)
    assert build_index("milvus", GALLERY, tmp_path, place) == facts


def test_photos_added_removed_or_changed_cost_only_themselves(place: Collection, tmp_path: Path, sent: Sent) -> None:
    """600 photos; then 4 leave, 5 come, one has a new vector and one another name."""
    keep, ids, people = slice(0, 595), list(place.photo_ids), list(place.people)
    before = replace(place, photo_ids=tuple(ids[keep]), people=tuple(people[keep]))
    build_index("milvus", GALLERY[keep], tmp_path, before)
    assert len(sent.keys) == 595
    vectors, people[9] = GALLERY.copy(), "somebody else"
    vectors[8] = scattered(1, 32)[0]
    gone = [3, 4, 5, 594]
    rows = [row for row in range(600) if row not in gone]
    after = replace(place, photo_ids=tuple(ids[row] for row in rows), people=tuple(people[row] for row in rows))
    del sent.keys[:]
    facts = build_index("milvus", vectors[rows], tmp_path, after)
    assert sorted(sent.keys) == sorted(ids[row] for row in [8, 9, *range(595, 600)])
    assert sorted(sent.deleted) == sorted(ids[row] for row in gone)
    assert_like_exact(
        open_index("milvus", vectors[rows], tmp_path, facts, after).search(QUERIES, 20), vectors[rows], QUERIES, 20
    )


def test_the_former_collection_is_taken_over_under_the_new_name(place: Collection, tmp_path: Path, sent: Sent) -> None:
    former = build_index("milvus", GALLERY, tmp_path, place)["collection"]
    newer = replace(place, name=f"{place.name}_newer", former=former)
    facts = build_index("milvus", GALLERY[::-1].copy(), tmp_path, relabelled(newer))
    assert len(sent.keys) == 600, "the same photos in another order: none was sent again"
    assert facts["collection"] == milvus.collection_name(newer)
    client = MilvusClient(place.uri)
    assert client.has_collection(facts["collection"])
    assert not client.has_collection(former)
    found = open_index("milvus", GALLERY[::-1].copy(), tmp_path, facts, relabelled(newer)).search(QUERIES, 20)
    assert_like_exact(found, GALLERY[::-1].copy(), QUERIES, 20)


@pytest.mark.parametrize("where", ["lite", "server"])
def test_a_photo_that_comes_into_a_folder_is_all_that_is_sent(
    where: str, request: pytest.FixtureRequest, tiny_folder: Path, tmp_path: Path, sent: Sent
) -> None:
    uri = request.getfixturevalue("server").uri if where == "server" else str(tmp_path / "own.db")

    def built() -> Searcher:
        gallery = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index", Milvus(uri))
        gallery.build([RECIPE])
        return gallery.searcher(RECIPE)

    before = built().embeddings.manifest["indexes"]["milvus"]["collection"]
    assert len(sent.keys) == 24
    portrait(0, 2).save(tiny_folder / "Ada" / "new.png")
    (tiny_folder / "Bruno" / "1.png").unlink()
    searcher = built()
    assert sent.keys[24:] == ["Ada/new.png"]
    assert sent.deleted == ["Bruno/1.png"]
    after = searcher.embeddings.manifest["indexes"]["milvus"]["collection"]
    there = MilvusClient(uri).list_collections()
    assert after in there
    assert before not in there
    assert searcher.search(portrait(0, 2), 24, "milvus").hits == searcher.search(portrait(0, 2), 24, "exact").hits


@pytest.mark.parametrize("reason", ["cannot rename", "other length"])
def test_a_former_collection_that_cannot_be_taken_over_is_dropped_in_the_end(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    place, vectors = named(str(tmp_path / "own.db"), 60, "x"), scattered(60, 16)
    former = build_index("milvus", scattered(60, 8) if reason == "other length" else vectors, tmp_path, place)
    there_while_filling = list[bool]()

    def refuse(*_: object, **__: object) -> None:
        raise MilvusException(message="unimplemented")

    def look(_: Progress) -> None:
        there_while_filling.append(MilvusClient(place.uri).has_collection(former["collection"]))

    if reason == "cannot rename":
        monkeypatch.setattr(MilvusClient, "rename_collection", refuse)
    newer = replace(place, name="y", former=former["collection"])
    facts = build_index("milvus", vectors, tmp_path, newer, look)
    assert len(sent.keys) == 120
    assert there_while_filling
    assert all(there_while_filling)
    assert MilvusClient(place.uri).list_collections() == [facts["collection"]]


def test_rows_that_went_missing_are_noticed(tmp_path: Path, sent: Sent) -> None:
    place = named(str(tmp_path / "own.db"), 600, "x")
    facts = build_index("milvus", GALLERY, tmp_path, place)
    client, nearest = MilvusClient(place.uri), f"photo-{ExactIndex(GALLERY).search(QUERIES[0], 1).rows[0, 0]}"
    client.load_collection(facts["collection"])
    client.delete(facts["collection"], ids=[nearest])
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)
    assert sent.keys[600:] == [nearest]


def test_a_collection_of_other_vectors_is_not_searched(tmp_path: Path) -> None:
    place = named(str(tmp_path / "own.db"), 600, "x")
    facts = build_index("milvus", GALLERY[::-1].copy(), tmp_path, place)
    found = open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20)
    assert_like_exact(found, GALLERY, QUERIES, 20)


def test_a_collection_of_another_form_is_made_anew(tmp_path: Path) -> None:
    """As versions before this one left them: the row's number as the key, and no stamp."""
    place = named(str(tmp_path / "own.db"), 60, "x")
    client = MilvusClient(place.uri)
    client.create_collection(milvus.collection_name(place), dimension=16)
    client.close()
    milvus_connection.release_file(place)
    vectors = scattered(60, 16)
    index = open_index("milvus", vectors, tmp_path, build_index("milvus", vectors, tmp_path, place), place)
    assert index.search(vectors[3], 60).rows[0].tolist() == brute_force(vectors, vectors[3], 60)[0]


def test_two_processes_that_fill_one_collection_at_once_come_to_the_same_rows(
    server: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, sends, insert = named(server.uri, 600, tmp_path.name), threading.Barrier(2, timeout=60), MilvusClient.insert
    monkeypatch.setattr(milvus_rows, "BATCH_ROWS", 200)

    def together(client: MilvusClient, name: str, data: list[dict[str, Any]], **rest: float) -> object:
        sends.wait()  # so that both have seen an empty collection
        return insert(client, name, data, **rest)

    monkeypatch.setattr(MilvusClient, "insert", together)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: build_index("milvus", GALLERY, tmp_path, place), range(2))
    assert one["collection"] == other["collection"]
    monkeypatch.setattr(milvus, "synchronise", None)  # it is complete
    facts = build_index("milvus", GALLERY, tmp_path, place)
    assert milvus_rows.count_rows(MilvusClient(server.uri), facts["collection"]) == 600
    assert_like_exact(open_index("milvus", GALLERY, tmp_path, facts, place).search(QUERIES, 20), GALLERY, QUERIES, 20)


def test_a_collection_that_another_process_changed_is_one_sentence(tmp_path: Path) -> None:
    place = named(str(tmp_path / "own.db"), 600, "x")
    facts = build_index("milvus", GALLERY, tmp_path, place)
    index = open_index("milvus", GALLERY, tmp_path, facts, place)
    before, nearest = index.search(QUERIES[0], 5), dict(vector=QUERIES[0], stamp=0, person="new")
    client = MilvusClient(place.uri)
    client.upsert(facts["collection"], [{"id": "a photo that came later", **nearest}])
    with pytest.raises(IndexUnavailable) as caught:
        index.search(QUERIES[0], 5)
    assert str(caught.value) == (
        f"The collection of this gallery in Milvus at {place.uri} was changed by another process; start this program "
        "anew, or search with another index meanwhile."
    )
    client.delete(facts["collection"], ids=["a photo that came later"])
    np.testing.assert_array_equal(index.search(QUERIES[0], 5).rows, before.rows)
    client.rename_collection(facts["collection"], "taken_over")
    with pytest.raises(IndexUnavailable, match="was changed by another process"):
        index.search(QUERIES[0], 5)
    assert client.list_collections() == ["taken_over"], "nobody fills the former one again"


def test_a_collection_can_be_dropped(tmp_path: Path) -> None:
    place = named(str(tmp_path / "own.db"), 60, "x")
    build_index("milvus", scattered(60, 16), tmp_path, place)
    drop_index("milvus", tmp_path, place)
    assert MilvusClient(place.uri).list_collections() == []


def test_two_recipes_do_not_mix(server: MilvusServer, tiny_folder: Path, tmp_path: Path) -> None:
    recipes = ["resnet50", RECIPE]
    gallery = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index", Milvus(server.uri))
    gallery.build(recipes)
    names = {gallery.searcher(recipe).embeddings.manifest["indexes"]["milvus"]["collection"] for recipe in recipes}
    assert len(names) == 2
    assert names <= set(MilvusClient(server.uri).list_collections())
    for recipe in recipes:
        searcher = gallery.searcher(recipe)
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
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
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


def test_long_vectors_are_asked_for_in_answers_that_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus Lite sends the vectors along, and nothing larger than 256 MB: 500 queries of 8,192 numbers are more."""
    sizes, search = list[int](), MilvusClient.search

    def counted(client: MilvusClient, name: str, queries: list[FloatArray], **rest: object) -> object:
        sizes.append(len(queries))
        return search(client, name, queries, **rest)

    monkeypatch.setattr(MilvusClient, "search", counted)
    vectors = scattered(600, 8192)
    place = Collection(name="long")
    index = open_index("milvus", vectors, tmp_path, build_index("milvus", vectors, tmp_path, place), place)
    assert max(sizes) * 21 * 8192 * 4 <= 2**26
    assert index.search(vectors[:40], 1).rows[:, 0].tolist() == list(range(40))


def test_a_server_that_is_there_and_slow_is_waited_for(
    filled: tuple[Collection, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, given = MilvusClient.search, list[float]()

    def slow(client: MilvusClient, *request: object, timeout: float, **rest: object) -> object:
        given.append(timeout)
        if len(given) == 1:
            time.sleep(1.1)
            raise MilvusException(message="deadline exceeded")
        return search(client, *request, timeout=timeout, **rest)

    index = open_index("milvus", GALLERY, tmp_path, filled[1], filled[0])
    monkeypatch.setattr(MilvusClient, "search", slow)
    assert_like_exact(index.search(QUERIES[:10], 20), GALLERY, QUERIES[:10], 20)
    assert given == [milvus_connection.SEARCH_SECONDS, milvus_connection.WORK_SECONDS]


def test_a_server_that_goes_away_and_comes_back_stops_nothing_else(
    server: MilvusServer,
    filled: tuple[Collection, dict[str, Any]],
    tiny_folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was open finds the server again by itself; a gallery that was built without it joins later."""

    def gallery() -> Gallery:
        return Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index", Milvus(server.uri))

    place, facts = filled
    index = open_index("milvus", GALLERY, tmp_path, facts, place)
    before = index.search(QUERIES, 20)
    server.kill()
    gone = time.monotonic()
    with pytest.raises(IndexUnavailable):
        index.search(QUERIES, 20)
    assert time.monotonic() - gone < 5
    started = gallery()
    started.build([RECIPE])
    assert [record.message.partition(":")[0] for record in caplog.records] == ["The index milvus is left out for now"]
    searcher, photo = started.searcher(RECIPE), portrait(1, 1)
    assert "milvus" not in searcher.embeddings.manifest["indexes"]
    with pytest.raises(IndexUnavailable):
        searcher.search(photo, 5, "milvus")
    exact = searcher.search(photo, 5, "exact").hits
    server.start()
    with monkeypatch.context() as patch:
        patch.setattr(milvus, "synchronise", None)
        assert build_index("milvus", GALLERY, tmp_path, place) == facts, "it is still known to be complete"
    np.testing.assert_array_equal(index.search(QUERIES, 20).rows, before.rows)
    assert searcher.search(photo, 5, "milvus").hits == exact, "at the next search"
    assert searcher.recall("milvus") == 1
    assert "milvus" in gallery().searcher(RECIPE).embeddings.manifest["indexes"], "and at the next start"


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


# Cells and waiting


def test_cells_follow_the_rows_of_a_segment_and_an_index_is_kept_while_it_is_near() -> None:
    assert milvus_rows.planned("IVF_FLAT", 13_232, 256) == milvus_rows.IndexPlan("IVF_FLAT", 460)
    assert milvus_rows.planned("IVF_FLAT", 7, 256).nlist == 7
    assert milvus_rows.planned("IVF_FLAT", 2_000_000, 256).nlist == 4 * 724, "512 MB hold 524,288 rows"
    assert milvus_rows.planned("HNSW", 2_000_000, 256).params == {"M": 16, "efConstruction": 200}
    plan = milvus_rows.planned("IVF_FLAT", 10_000, 256)
    for rows, near in ((10_200, True), (20_000, True), (30_000, False), (3_000, False)):
        assert plan.is_near(milvus_rows.planned("IVF_FLAT", rows, 256)) == near
    assert not plan.is_near(milvus_rows.planned("HNSW", 10_000, 256))
    assert not plan.is_near(None)


class Indexing:
    """A client of a server that indexes: what it says, one after the other, the last for ever."""

    def __init__(self, *said: tuple[int, int, str]) -> None:
        self._said = list(said)

    def describe_index(self, *_: object, **__: object) -> dict[str, object]:
        done, pending, state = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        return {"indexed_rows": done, "total_rows": 9, "pending_index_rows": pending, "state": state}


def test_indexing_is_waited_for_and_given_up_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(*said: tuple[int, int, str]) -> list[tuple[int, int]]:
        return list(milvus_rows._until_indexed(Indexing(*said), "x"))

    monkeypatch.setattr(milvus_rows, "POLL_SECONDS", 0)
    monkeypatch.setattr(milvus_rows, "LONG_SECONDS", 0.3)
    monkeypatch.setattr(milvus_rows, "SETTLE_SECONDS", 0.1)
    assert seen((0, 9, "InProgress"), (5, 4, "InProgress"), (9, 0, "Finished")) == [(0, 9), (5, 9), (9, 9)]
    assert set(seen((9, 4, "Finished"))) == {(9, 9)}, "what it merges afterwards is not waited for without end"
    with pytest.raises(MilvusException, match="5 rows of 9 were indexed"):
        seen((5, 4, "InProgress"))
    with pytest.raises(MilvusException, match="5 rows of 9 were indexed"):
        seen((5, 4, "Failed"))


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
    assert milvus_connection.shown(uri) == printed
