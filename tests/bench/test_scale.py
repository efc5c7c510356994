"""The scale run in small: the faces it draws are like faces, and what it says of an index is what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.bench import scale as scale_module
from pipeline.bench.indexes import SAMPLE_SECONDS, IndexFigures, peak_memory
from pipeline.bench.scale import PHOTOS_PER_PERSON, Scale, bench_scale, draw_faces
from pipeline.core.errors import SettingsError
from pipeline.core.processors import processor
from pipeline.core.progress import Progress
from pipeline.indexes.registry import why_unavailable

Small = tuple[Path, list[Progress], dict[str, IndexFigures]]


def test_the_faces_are_as_far_apart_as_real_ones(tmp_path: Path) -> None:
    """mtcnn-reid on LFW: 0.81 (standard deviation 0.12) within a person, 1.41 (0.07) between two."""
    vectors = draw_faces(tmp_path / "vectors.npy", Scale(2000)).vectors
    people = np.arange(2000) // PHOTOS_PER_PERSON
    between = np.triu(people[:, None] != people)
    within = np.triu(people[:, None] == people, 1)
    distances = np.sqrt(np.maximum(2 - 2 * vectors @ vectors.T, 0))
    assert distances[within].mean() == pytest.approx(0.81, abs=0.03)
    assert distances[within].std() == pytest.approx(0.12, abs=0.03)
    assert distances[between].mean() == pytest.approx(1.41, abs=0.01)
    assert distances[between].std() == pytest.approx(0.07, abs=0.015)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_faces_are_always_the_same_and_more_are_the_same_and_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_module, "PEOPLE", 10)
    few, again, more = (
        draw_faces(tmp_path / f"{name}.npy", Scale(rows, 16))
        for name, rows in (("few", 450), ("again", 450), ("more", 900))
    )
    np.testing.assert_array_equal(few.vectors, again.vectors)
    np.testing.assert_array_equal(few.queries, again.queries)
    np.testing.assert_array_equal(few.vectors, more.vectors[:450])
    assert len(np.unique(more.vectors.round(5), axis=0)) == 900, "every chunk draws other people"


def test_the_queries_are_further_photos_of_people_who_are_there(tmp_path: Path) -> None:
    drawn = draw_faces(tmp_path / "vectors.npy", Scale(130, 256))  # six people, and half a seventh
    assert drawn.queries.shape == (7, 256)
    similarity = drawn.queries @ drawn.vectors.T
    assert similarity.max() < 0.999
    assert sorted(np.argmax(similarity, axis=1) // PHOTOS_PER_PERSON) == [0, 1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[Progress], dict[str, IndexFigures]]:
    folder, seen = tmp_path_factory.mktemp("scale"), list[Progress]()
    names = ("exact", "annoy", *(["milvus"] if why_unavailable("milvus") is None else []))
    return folder, seen, {one.index: one for one in bench_scale(Scale(3000, 64, names), folder, seen.append)}


@pytest.mark.slow
def test_every_index_is_measured(small: Small) -> None:
    folder, seen, figures = small
    assert list(folder.iterdir()) == [], "what was drawn and built is gone"
    assert (seen[0].task, seen[0].total) == ("Drawing faces", 3000)
    assert figures["exact"].recall_at_20 == 1
    assert (figures["exact"].effort, figures["exact"].disk_bytes) == ("-", 0)
    assert figures["annoy"].effort.startswith("search_k ")
    for one in figures.values():
        assert one.rows == 3000
        assert one.recall_at_20 >= 0.97
        assert 0 < one.search_ms_median <= one.search_ms_p95
        assert one.peak_bytes > 20e6, "an interpreter with NumPy is larger"
    assert figures["annoy"].disk_bytes is not None
    assert figures["annoy"].disk_bytes > 3000 * 64 * 4, "Annoy keeps the vectors too"


@pytest.mark.slow
def test_milvus_lite_is_measured_with_its_file(small: Small) -> None:
    _, seen, figures = small
    if "milvus" not in figures:
        pytest.skip("needs pymilvus[milvus-lite]")
    assert figures["milvus"].disk_bytes is not None
    assert figures["milvus"].disk_bytes > 3000 * 64 * 4
    assert figures["milvus"].effort.startswith("nprobe ")
    assert [one.done for one in seen if one.task == "Filling Milvus"][-1] == 3000


def test_the_memory_of_children_is_counted() -> None:
    with peak_memory() as before:  # a server that other tests have started is a child too
        time.sleep(2 * SAMPLE_SECONDS)
    code = "import sys; kept = bytearray(b'x') * 100_000_000; print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # until then it may be this process still, with all of its memory
        with peak_memory() as peaks:
            time.sleep(2 * SAMPLE_SECONDS)
        child.communicate()
    assert 100e6 < peaks[1] - before[1] < 400e6


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench-scale", "--rows", "500", "--dim", "16", "--indexes", "exact,annoy", "--folder", str(tmp_path)]
    assert main(command) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"Synthetic faces, vectors of 16 numbers; {processor()}"
    assert [line.split("|")[1:3] for line in lines[2:]] == [[" 500 ", " `exact` "], [" 500 ", " `annoy` "]]
    assert len({line.count("|") for line in lines}) == 1
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["processor"]["name"] == processor().name
    assert figures["dim"] == 16
    assert [one["index"] for one in figures["indexes"]] == ["exact", "annoy"]


def test_what_cannot_be_measured_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-scale", "--rows", "1"]) == 2
    assert capsys.readouterr().err == "1 rows of 256 numbers cannot be searched; give two or more of both.\n"
    assert main(["bench-scale", "--rows", "100", "--indexes", "annoy,nothing", "--folder", str(tmp_path)]) == 2
    assert "There is no index 'nothing'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SettingsError):
        Scale(100, 1)
