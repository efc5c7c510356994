"""The indexes: one contract for all of them, held against brute force in float64; and what Annoy promises besides."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.geometry import unit_rows
from pipeline.core.types import FloatArray, Neighbours, VectorIndex
from pipeline.indexes import annoy, exact, faiss, kmeans, recall
from pipeline.indexes.exact import ExactIndex
from pipeline.indexes.registry import INDEXES, available, build_index, open_index, why_unavailable


def clustered(count: int = 600, dim: int = 32, clusters: int = 60, seed: int = 0) -> FloatArray:
    """Vectors like faces: about ten of each person, nearer to each other than to the rest."""
    random = np.random.default_rng(seed)
    middles = random.normal(size=(clusters, dim))
    return unit_rows(middles[random.integers(0, clusters, count)] + 0.4 * random.normal(size=(count, dim)))


GALLERY, QUERIES = clustered(640)[:600], clustered(640)[600:]  # the queries are other photos of the same people


def scattered(count: int, dim: int, seed: int = 0) -> FloatArray:
    """The hard case: no neighbour is much nearer than any other."""
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dim)))


def brute_force(vectors: FloatArray, query: FloatArray, k: int) -> tuple[list[int], list[float]]:
    distances = np.linalg.norm(vectors.astype(float) - query.astype(float), axis=1)
    order = np.argsort(distances, kind="stable")[:k]
    return order.tolist(), distances[order].tolist()


@pytest.fixture(params=INDEXES)
def index_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if (reason := why_unavailable(name)) is not None:
        pytest.skip(reason)
    return name


def opened(name: str, vectors: FloatArray, folder: Path) -> VectorIndex:
    return open_index(name, vectors, folder, build_index(name, vectors, folder))


# The contract

SHARE_FOUND = {"exact": 1, "knn": 1, "annoy": 0.99, "faiss": 0.99, "kmeans": 0.7, "milvus": 0.99}


@pytest.mark.parametrize("k", [1, 2, 20])
def test_it_finds_what_brute_force_finds(index_name: str, tmp_path: Path, k: int) -> None:
    index = opened(index_name, GALLERY, tmp_path)
    assert len(index) == 600
    found = index.search(QUERIES, k)
    assert found.rows.shape == found.distances.shape == (40, k)
    assert (found.rows.dtype, found.distances.dtype) == (np.int64, np.float32)
    right = 0
    for query, rows, distances in zip(QUERIES, found.rows.tolist(), found.distances, strict=True):
        true_rows, true_distances = brute_force(GALLERY, query, k)
        right += len(set(rows) & set(true_rows))
        if index_name != "kmeans":  # which may miss even the first, across the border of a cluster
            assert rows[0] == true_rows[0]
            assert distances[0] == pytest.approx(true_distances[0], abs=1e-6)
        np.testing.assert_allclose(distances, np.linalg.norm(GALLERY[rows] - query, axis=1), atol=1e-6)
        assert np.all(np.diff(distances) >= 0)
    assert right >= SHARE_FOUND[index_name] * 40 * k


@pytest.mark.parametrize("k", [7, 8, 1000])
def test_a_k_beyond_the_gallery_gives_all_of_it(index_name: str, tmp_path: Path, k: int) -> None:
    vectors = scattered(7, 16)
    index = opened(index_name, vectors, tmp_path)
    assert index.search(vectors[3], k).rows[0].tolist() == brute_force(vectors, vectors[3], 7)[0]
    assert index.search(np.empty((0, 16)), k).rows.shape == (0, 7)


def test_a_large_k_is_filled(index_name: str, tmp_path: Path) -> None:
    vectors = clustered()
    found = opened(index_name, vectors, tmp_path).search(vectors[:5], 599)
    assert found.rows.shape == (5, 599)
    assert all(len(set(row)) == 599 for row in found.rows.tolist())


def test_an_empty_gallery_has_no_neighbours(index_name: str, tmp_path: Path) -> None:
    index = opened(index_name, np.empty((0, 16), np.float32), tmp_path)
    assert len(index) == 0
    assert index.search(scattered(1, 16)[0], 5).rows.shape == (1, 0)
    assert index.search(scattered(3, 16), 5).distances.shape == (3, 0)


def test_a_gallery_of_one_photo_has_one_neighbour(index_name: str, tmp_path: Path) -> None:
    vectors = scattered(1, 16)
    found = opened(index_name, vectors, tmp_path).search(-vectors[0], 20)
    assert found.rows.tolist() == [[0]]
    assert found.distances[0, 0] == pytest.approx(2)


def test_the_same_vector_has_distance_exactly_zero(index_name: str, tmp_path: Path) -> None:
    vectors = clustered()
    found = opened(index_name, vectors, tmp_path).search(vectors[:50], 3)
    assert found.rows[:, 0].tolist() == list(range(50))
    assert found.distances[:, 0].tolist() == [0.0] * 50
    assert found.distances[:, 1].min() > 0


def test_duplicates_are_all_found_in_the_order_of_their_rows(index_name: str, tmp_path: Path) -> None:
    vectors = scattered(60, 16)
    vectors[[11, 30, 47]] = vectors[5]
    found = opened(index_name, vectors, tmp_path).search(vectors[30], 6)
    assert found.rows[0, :4].tolist() == [5, 11, 30, 47]
    assert found.distances[0, :4].tolist() == [0.0] * 4
    assert found.distances[0, 4] > 0


def test_a_gallery_of_equal_vectors_is_searched(index_name: str, tmp_path: Path) -> None:
    vectors = np.repeat(scattered(1, 16), 300, axis=0)
    found = opened(index_name, vectors, tmp_path).search(vectors[0], 20)
    assert len(set(found.rows[0].tolist())) == 20
    assert not found.distances.any()


def test_single_and_batched_queries_agree_whatever_their_layout(index_name: str, tmp_path: Path) -> None:
    queries = QUERIES[:10]
    index = opened(index_name, GALLERY, tmp_path)
    batch = index.search(queries, 5)
    wide = np.repeat(queries, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    for other in (queries.astype(np.float64), np.asfortranarray(queries), wide, queries.tolist()):
        again = index.search(other, 5)
        np.testing.assert_array_equal(again.rows, batch.rows)
        np.testing.assert_allclose(again.distances, batch.distances, atol=1e-6)
    for number, query in enumerate(queries):
        single = index.search(query, 5)
        assert single.rows.tolist() == batch.rows[number : number + 1].tolist()
        np.testing.assert_array_equal(single.distances[0], batch.distances[number])
    assert index.search(np.empty((0, 32)), 5).rows.shape == (0, 5)


def test_a_memory_mapped_gallery_is_searched_alike(index_name: str, tmp_path: Path) -> None:
    vectors = clustered()
    np.save(tmp_path / "vectors.npy", vectors)
    facts = build_index(index_name, vectors, tmp_path)
    mapped = open_index(index_name, np.load(tmp_path / "vectors.npy", mmap_mode="r"), tmp_path, facts)
    inside = open_index(index_name, vectors, tmp_path, facts)
    np.testing.assert_array_equal(mapped.search(vectors[:9], 5).rows, inside.search(vectors[:9], 5).rows)


def test_the_files_in_the_facts_are_those_it_wrote(index_name: str, tmp_path: Path) -> None:
    facts = build_index(index_name, clustered(), tmp_path)
    # Milvus Lite's is a folder that changes whenever it is opened; its collection carries a digest of its own.
    others = ["milvus.db"] if index_name == "milvus" else []
    assert sorted([*facts["files"], *others]) == sorted(path.name for path in tmp_path.iterdir())


def test_building_twice_gives_the_same_index(index_name: str, tmp_path: Path) -> None:
    vectors, built = scattered(2000, 32), []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        facts = build_index(index_name, vectors, tmp_path / name)
        built.append((facts, [(tmp_path / name / file).read_bytes() for file in facts["files"]]))
    assert built[0] == built[1]


def test_an_index_of_no_such_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="exact, annoy"):
        build_index("nothing", clustered(), tmp_path)
    with pytest.raises(SettingsError, match="'nothing'"):
        open_index("nothing", clustered(), tmp_path, {})


# Exact search


def test_exact_search_is_exact_on_hard_vectors() -> None:
    vectors = scattered(3000, 64)
    found = ExactIndex(vectors).search(vectors[:30], 20)
    for row in range(30):
        assert found.rows[row].tolist() == brute_force(vectors, vectors[row], 20)[0]


def test_exact_search_works_out_a_bounded_number_of_similarities_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, 600 queries against 3,000 rows are 7 MB of similarities."""
    vectors, peaks, answers = scattered(3000, 16), [], []
    for block in (2**26, 100_000, 1):
        monkeypatch.setattr(exact, "MAX_SIMILARITIES", block)
        tracemalloc.start()
        answers.append(ExactIndex(vectors).search(vectors[:600], 20).rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 7e6, "else this proves nothing"
    assert peaks[2] <= peaks[1] < 2e6
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


# k-means


def test_kmeans_states_what_it_loses_and_probing_every_cluster_loses_nothing(tmp_path: Path) -> None:
    vectors = scattered(2000, 32)
    facts = build_index("kmeans", vectors, tmp_path)
    assert (facts["clusters"], facts["probes"]) == (6, 1)
    assert 0.1 < facts["recall_at_20"] < 0.9, "else these vectors prove nothing"
    shares = [
        share_found(open_index("kmeans", vectors, tmp_path, facts | {"probes": n}), vectors, vectors[:200])
        for n in (1, 3, 6)
    ]
    assert shares[0] < shares[1] < shares[2] == 1
    assert facts["recall_at_20"] == pytest.approx(shares[0], abs=0.1)


def test_kmeans_searches_the_cluster_whose_centre_is_nearest() -> None:
    """By hand: three rows on the x axis, three on the y axis, a query that leans to x."""
    angles = np.radians([0, 5, 10, 80, 85, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index = kmeans.KmeansClusters(vectors, unit_rows([[1, 0.1], [0.1, 1]]), np.array([0, 0, 0, 1, 1, 1]))
    query = unit_rows([np.cos(np.radians(44)), np.sin(np.radians(44))])[0]
    assert index.search(query, 3).rows.tolist() == [[2, 1, 0]]
    assert index.search(query, 4).rows.tolist() == [[2, 3, 1, 4]], "three are not enough: the next cluster too"


# FAISS


def test_faiss_has_cells_where_a_graph_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="needs faiss-cpu")
    monkeypatch.setattr(faiss, "MOST_IN_A_GRAPH", 599)
    monkeypatch.setattr(faiss, "TRAINING_ROWS_A_CELL", 6)  # there are few
    facts = build_index("faiss", GALLERY, tmp_path)
    assert facts["kind"] == "IVF96,SQ8"
    assert facts["recall_at_20"] >= 0.99
    index = open_index("faiss", GALLERY, tmp_path, facts)
    np.testing.assert_array_equal(
        index.search(QUERIES[:5], 599).rows, ExactIndex(GALLERY).search(QUERIES[:5], 599).rows
    )
    one_cell = open_index("faiss", GALLERY, tmp_path, facts | {"effort": 1})
    assert (one_cell.search(QUERIES, 3).rows != ExactIndex(GALLERY).search(QUERIES, 3).rows).any()


def test_faiss_looks_at_every_vector_where_its_graph_gives_too_few(tmp_path: Path) -> None:
    """Of many equal vectors, a graph reaches only some: each is linked to 32 others that are as near."""
    pytest.importorskip("faiss", reason="needs faiss-cpu")
    vectors = np.concatenate([np.repeat(scattered(1, 32, seed), 300, axis=0) for seed in range(2)])
    index = opened("faiss", vectors, tmp_path)
    assert isinstance(index, faiss.FaissIndex)
    assert (index._index.search(vectors[:1], 600)[1] < 0).any(), "else this proves nothing"
    assert index.search(vectors[:1], 600).rows[0].tolist() == list(range(600))


# Optional packages


def test_an_index_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(INDEXES, "knn", replace(INDEXES["knn"], module="no_such_module", package="no-such-package"))
    assert (
        why_unavailable("knn") == "The index knn needs no-such-package; install it with `pip install no-such-package`."
    )
    assert [name for name in available() if name != "milvus"] == ["exact", "annoy", "faiss", "kmeans"]
    with pytest.raises(SettingsError, match="pip install no-such-package"):
        build_index("knn", GALLERY, tmp_path)


def test_the_recall_of_an_index_that_finds_half() -> None:
    class Half(ExactIndex):
        def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
            found = super().search(vectors, 11)
            rest = np.full((len(found.rows), k - 11), 599)
            return Neighbours(np.hstack([found.rows, rest]), np.zeros((len(found.rows), k), np.float32))

    assert recall.RecallCheck(GALLERY).recall(Half(GALLERY)) == pytest.approx(0.5, abs=0.01)
    assert recall.RecallCheck(GALLERY).recall(ExactIndex(GALLERY)) == 1
    assert recall.RecallCheck(GALLERY[:1]).recall(ExactIndex(GALLERY[:1])) == 1


# Annoy's promises


def share_found(index: VectorIndex, vectors: FloatArray, queries: FloatArray) -> float:
    truth = ExactIndex(vectors).search(queries, 20).rows.tolist()
    found = index.search(queries, 20).rows.tolist()
    return float(np.mean([len(set(a) & set(b)) / 20 for a, b in zip(truth, found, strict=True)]))


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> tuple[FloatArray, Path, dict[str, Any]]:
    """Vectors that Annoy's default effort does badly on, and its trees."""
    vectors, folder = scattered(3000, 64), tmp_path_factory.mktemp("annoy")
    return vectors, folder, build_index("annoy", vectors, folder)


def test_annoy_states_a_recall_of_99_percent_and_keeps_it(tmp_path: Path) -> None:
    vectors, queries = np.split(clustered(3100, 64, 300), [3000])
    facts = build_index("annoy", vectors, tmp_path)
    assert 0.99 <= facts["recall_at_20"] <= 1
    assert share_found(open_index("annoy", vectors, tmp_path, facts), vectors, queries) >= 0.98


def test_annoy_works_harder_on_hard_vectors(hard: tuple[FloatArray, Path, dict[str, Any]]) -> None:
    vectors, folder, facts = hard
    assert facts["search_k"] > annoy.TREES * recall.K
    assert facts["recall_at_20"] >= recall.TARGET_RECALL
    assert share_found(open_index("annoy", vectors, folder, facts), vectors, scattered(100, 64, seed=1)) >= 0.97


def test_the_effort_in_the_facts_is_the_one_that_is_used(hard: tuple[FloatArray, Path, dict[str, Any]]) -> None:
    vectors, folder, facts = hard
    queries = scattered(100, 64, seed=1)
    lazy = share_found(open_index("annoy", vectors, folder, facts | {"search_k": 1}), vectors, queries)
    assert lazy < share_found(open_index("annoy", vectors, folder, facts), vectors, queries) - 0.1


def test_candidates_that_come_short_are_sought_with_more_effort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees propose the same rows over and over; with an effort as for a single tree, too few of them differ."""
    index = opened("annoy", GALLERY, tmp_path)
    assert isinstance(index, annoy.AnnoyTrees)
    assert len(index._trees.get_nns_by_vector(QUERIES[0], 100, search_k=100)) < 100, "else this proves nothing"
    monkeypatch.setattr(annoy, "TREES", 1)
    lazy = annoy.AnnoyTrees(index._trees, GALLERY, 1)
    assert lazy.search(QUERIES, 100).rows.shape == (40, 100)


def test_the_stated_recall_does_not_count_finding_oneself(hard: tuple[FloatArray, Path, dict[str, Any]]) -> None:
    """Measured by hand: the other 20 of each of the gallery's vectors that were drawn."""
    vectors, folder, facts = hard
    drawn = np.random.default_rng(recall.SEED).permutation(len(vectors))[: recall.QUERIES].tolist()
    found = open_index("annoy", vectors, folder, facts).search(vectors[drawn], 21).rows.tolist()
    hits = 0
    for query, row in zip(drawn, found, strict=True):
        hits += len(set(brute_force(vectors, vectors[query], 21)[0]) & set(row) - {query})
    assert facts["recall_at_20"] == pytest.approx(hits / 20 / len(drawn), abs=1e-4)


def test_opening_the_indexes_does_not_wait_for_scikit_learn(tmp_path: Path) -> None:
    vectors = unit_rows(np.random.default_rng(1).standard_normal((50, 8), np.float32))
    np.save(tmp_path / "vectors.npy", vectors)
    facts = build_index("kmeans", vectors, tmp_path)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from pipeline.indexes.registry import open_index
vectors = np.load("vectors.npy")
indexes = [open_index("knn", vectors, Path(), {{}}), open_index("kmeans", vectors, Path(), {facts!r})]
assert "sklearn" not in sys.modules
assert [index.search(vectors[3], 1).rows[0, 0] for index in indexes] == [3, 3]
assert "sklearn" in sys.modules
"""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True
    )
    assert run.returncode == 0, run.stderr.decode()
