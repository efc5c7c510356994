"""The benchmark of the indexes: every index that can be had is measured, and its figures are what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.bench import indexes
from pipeline.bench.indexes import QUERIES, bench_indexes
from pipeline.core.processors import processor
from pipeline.core.progress import Progress, Report
from pipeline.core.settings import Milvus
from pipeline.core.types import Collection, FloatArray, VectorIndex
from pipeline.galleries.gallery import Gallery
from pipeline.indexes.registry import available, build_index, drop_index, open_index

pytestmark = pytest.mark.slow


@pytest.fixture
def built(tiny: Gallery) -> Gallery:
    tiny.build(["mtcnn-reid"])
    return tiny


def test_every_index_is_measured(built: Gallery) -> None:
    embeddings, seen = built.searcher("mtcnn-reid").embeddings, list[Progress]()
    figures = {one.index: one for one in bench_indexes(embeddings, seen.append)}
    assert list(figures) == available()
    assert figures["exact"].recall_at_20 == figures["knn"].recall_at_20 == 1
    assert figures["exact"].disk_bytes == 0
    assert figures["annoy"].disk_bytes == (embeddings.folder / "annoy.ann").stat().st_size
    assert figures["kmeans"].disk_bytes == (embeddings.folder / "kmeans.npz").stat().st_size
    assert all(0 < one.search_ms_median <= one.search_ms_p95 for one in figures.values())
    assert (seen[0].done, seen[-1].done) == (0, seen[-1].total)
    assert len(embeddings) < QUERIES, "a small gallery is no mistake"
    assert figures["annoy"].effort.startswith("search_k ")
    assert np.isfinite([one.build_s for one in figures.values()]).all()


def test_the_benchmark_leaves_the_gallery_as_it_was(built: Gallery) -> None:
    folder = built.folder("mtcnn-reid")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    bench_indexes(built.searcher("mtcnn-reid").embeddings)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_milvus_lite_is_measured_with_its_file_and_a_server_without(
    built: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is stood in for by Milvus Lite in a file of its own; tests/indexes/test_milvus.py fills a real one."""
    embeddings = built.searcher("mtcnn-reid").embeddings
    (lite,) = [one for one in bench_indexes(embeddings) if one.index == "milvus"] or [None]
    if lite is None:
        pytest.skip("needs pymilvus[milvus-lite]")
    assert lite.disk_bytes is not None
    assert lite.disk_bytes > embeddings.vectors.nbytes
    asked, dropped = list[Collection](), list[Collection]()

    def build(name: str, vectors: FloatArray, folder: Path, place: Collection, report: Report) -> dict[str, Any]:
        asked.append(place)
        return build_index(name, vectors, folder, replace(place, uri=""))

    def opened(name: str, vectors: FloatArray, folder: Path, facts: dict[str, Any], place: Collection) -> VectorIndex:
        return open_index(name, vectors, folder, facts, replace(place, uri=""))

    def drop(name: str, folder: Path, place: Collection) -> None:
        drop_index(name, folder, replace(place, uri=""))
        if name == "milvus":
            dropped.append(place)

    monkeypatch.setattr(indexes, "build_index", build)
    monkeypatch.setattr(indexes, "open_index", opened)
    monkeypatch.setattr(indexes, "drop_index", drop)
    figures = {one.index: one for one in bench_indexes(embeddings, milvus=Milvus("http://somewhere:19530", "x:y"))}
    assert figures["milvus"].disk_bytes is None
    assert figures["annoy"].disk_bytes
    assert {(place.uri, place.token) for place in asked} == {("http://somewhere:19530", "x:y")}
    assert dropped == [asked[0]]
    assert asked[0].name.startswith("bench_")
    assert asked[0].photo_ids == embeddings.photo_ids


def test_the_command_prints_a_table_or_json(
    built: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: built)
    assert main(["bench-indexes", "--recipe", "mtcnn-reid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mtcnn-reid on photos-" + lines[0][21:27] + f": 24 vectors of 256 numbers; {processor()}"
    assert [line.split("`")[1] for line in lines[3:]] == available()
    assert main(["bench-indexes", "--recipe", "mtcnn-reid", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["processor"]["name"] == processor().name
    assert figures["vectors"] == [24, 256]
    assert [one["index"] for one in figures["indexes"]] == available()
    assert set(figures["indexes"][0]) == {
        "index", "rows", "recall_at_20", "effort", "search_ms_median", "search_ms_p95", "build_s", "disk_bytes",
        "added_bytes", "peak_bytes", "children_peak_bytes",
    }  # fmt: skip
