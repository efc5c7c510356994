"""Growth in small: every index at every size, and what is concluded from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.bench.indexes import IndexFigures
from pipeline.bench.scale import Scale, bench_growth, exponents, faster_from
from pipeline.core.errors import SettingsError
from pipeline.core.processors import processor
from pipeline.evaluation.figures import growth_svg

SIZES = (400, 2000)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[IndexFigures]]:
    folder = tmp_path_factory.mktemp("growth")
    return folder, list(bench_growth(Scale(2000, 32, ("exact", "annoy", "kmeans")), SIZES[::-1], folder))


def test_every_index_is_measured_at_every_size(small: tuple[Path, list[IndexFigures]]) -> None:
    folder, figures = small
    assert [(one.rows, one.index) for one in figures] == [
        (rows, index) for rows in SIZES for index in ("exact", "annoy", "kmeans")
    ]
    by = {(one.index, one.rows): one for one in figures}
    assert all(0 < one.search_ms_median <= one.search_ms_p95 for one in figures)
    assert [by["exact", rows].recall_at_20 for rows in SIZES] == [1, 1]
    assert by["annoy", 2000].recall_at_20 >= 0.97
    assert by["kmeans", 2000].recall_at_20 < 1, "one cluster of six is searched"
    assert by["annoy", 2000].build_s > by["annoy", 400].build_s
    assert list(folder.iterdir()) == []


def made_up(index: str, medians: dict[int, float]) -> list[IndexFigures]:
    return [IndexFigures(index, rows, 1.0, "-", ms, ms, 1.0, 0, 0, 0, 0) for rows, ms in medians.items()]


def test_the_exponent_is_that_of_the_curve() -> None:
    figures = made_up("linear", {10: 1, 100: 10, 1000: 100}) + made_up("root", {10: 2, 1000: 20})
    assert exponents(figures, "search_ms_median") == pytest.approx({"linear": 1, "root": 0.5})


@pytest.mark.parametrize(
    ("medians", "first"), [({1: 9, 2: 2, 3: 2}, 2), ({1: 0.5, 2: 9, 3: 2}, 3), ({1: 0.5, 2: 1, 3: 3}, None)]
)
def test_an_index_is_the_faster_from_the_size_on_after_which_it_always_is(
    medians: dict[int, float], first: int | None
) -> None:
    figures = made_up("exact", {1: 1, 2: 3, 3: 3}) + made_up("annoy", medians)
    assert faster_from(figures, "annoy") == first


def test_one_size_says_nothing_of_growth() -> None:
    with pytest.raises(SettingsError, match="give at least two numbers of rows"):
        next(bench_growth(Scale(100, 16, ("exact",)), (100, 100)))


def test_the_command_prints_a_table_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "growth.svg"
    command = ["bench", "--growth", "--rows", "100", "300", "--indexes", "exact,annoy", "--folder", str(tmp_path)]
    assert main([*command, "--out", str(out)]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"Synthetic faces, vectors of 256 numbers; {processor()}"
    assert [line.split("|")[1:3] for line in lines[2:6]] == [
        [f" {rows} ", f" `{index}` "] for rows in (100, 300) for index in ("exact", "annoy")
    ]
    assert lines[6].startswith("exact: searching grows as n^")
    assert lines[7].startswith("annoy: searching grows as n^")
    assert "exact" in lines[7]
    assert out.read_text(encoding="utf-8").count("<svg") == 1
    assert main([*command, "--out", str(out), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert len(figures["figures"]) == 4
    assert figures["processor"]["name"] == processor().name


def test_an_index_that_has_nothing_to_build_has_no_line_for_it() -> None:
    figures = [{"index": "exact", "rows": rows, "search_ms_median": 1.0, "build_s": 0.0} for rows in (10, 100)]
    built = [{"index": "annoy", "rows": rows, "search_ms_median": 1.0, "build_s": 1.0} for rows in (10, 100)]
    assert growth_svg(figures + built).count("<!-- exact -->") == 1
    assert growth_svg(figures + built).count("<!-- annoy -->") == 2
