"""The benchmark of the running page, on the sample gallery: what it counts is what the page answered."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.bench import processes, serving
from pipeline.bench.processes import free_port
from pipeline.bench.serving import LARGE, Load, bench_serving
from pipeline.bench.visitor import Visitor
from pipeline.cli import bench
from pipeline.core.errors import ServingError
from pipeline.core.processors import processor
from pipeline.core.settings import SAMPLE, Settings
from pipeline.galleries.gallery import open_gallery

pytestmark = pytest.mark.slow

RECIPE = "mtcnn-mini"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of a page whose gallery is there, with nothing to build or download."""
    for name, value in (
        ("FACESEARCH_DATASET", f"imagefolder:{SAMPLE}"),
        ("FACESEARCH_INDEX", str(tmp_path / "index")),
        ("FACESEARCH_CACHE", str(tmp_path / "cache")),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),  # nobody listens there: nothing is fetched
        ("HF_HUB_OFFLINE", "1"),
    ):
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    open_gallery(settings).build([RECIPE])
    return settings


@pytest.mark.slow
def test_the_running_page_is_measured(built: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench-serving", "--recipe", RECIPE, "--clients", "2", "--seconds", "1", "--json"]
    assert main(command) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["processor"]["name"] == processor().name
    assert figures["precisions"] == {"mtcnn": "f32", "mini": "f32"}
    assert figures["recipe"] == RECIPE
    assert RECIPE in figures["ready"]["main"]
    assert 0 < figures["page_s"] <= figures["first_s"]
    for name in ("small_ms", "large_ms"):
        assert 0 < figures[name][0] <= figures[name][1]
    assert 0 < figures["index_ms"] < figures["small_ms"][0]
    assert figures["large_ms"][0] > figures["small_ms"][0]
    assert (figures["clients"], figures["failures"]) == (2, 0)
    assert figures["searches_a_second"] > 0
    assert figures["resident_bytes"] > figures["own_bytes"] > 50e6


def test_a_gallery_that_is_not_built_is_not_built_for_it(
    built: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACESEARCH_INDEX", str(tmp_path / "another"))
    assert main(["bench-serving", "--recipe", RECIPE]) == 2
    assert "python -m pipeline build" in capsys.readouterr().err
    assert not (tmp_path / "another").exists()


def test_a_page_that_does_not_start_is_one_sentence(built: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "APP", Path("no such file.py"))
    with pytest.raises(ServingError, match="The page did not come up"):
        bench_serving(open_gallery(built).photos, Load(RECIPE, "exact", searches=2, large=1))


def test_nobody_there_is_no_page() -> None:
    with closing(Visitor(f"http://127.0.0.1:{free_port()}")) as visitor:
        assert not visitor.page()


def test_the_large_photo_has_twelve_megapixels() -> None:
    photo = serving.enlarged(serving.open_image(next(iter(sorted(SAMPLE.rglob("*.jpg"))))))
    assert photo.size == LARGE == (4000, 3000)


# Profiling


def test_profiling_runs_the_same_command_under_py_spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = tmp_path / "py-spy"
    spy.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.called"\n')
    spy.chmod(0o755)
    monkeypatch.setattr(bench.shutil, "which", lambda name, path=None: str(spy) if name == "py-spy" else None)
    monkeypatch.setattr(sys, "argv", ["pipeline", "bench", "--profile", "time.svg", "--photos", "7"])
    assert main(sys.argv[1:]) == 0
    called = (tmp_path / "py-spy.called").read_text().splitlines()
    assert called[-5:] == ["-m", "pipeline", "bench", "--photos", "7"]
    assert called[called.index("--output") + 1] == "time.svg"


def test_profiling_without_py_spy_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.shutil, "which", lambda name, path=None: None)
    assert main(["bench", "--profile", "time.svg"]) == 2
    assert capsys.readouterr().err == "Profiling needs py-spy; install it with `pip install py-spy`.\n"
