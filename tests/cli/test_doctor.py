"""The doctor: each thing that can be wrong is one line with a remedy, and the exit code tells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import __main__ as cli
from pipeline.bench.processes import free_port
from pipeline.cli import doctor
from pipeline.cli.doctor import Finding, embeddings, environment, folder, indexes, weights
from pipeline.core.processors import processor
from pipeline.core.recipes import DEFAULT, MINI, RECIPES
from pipeline.core.settings import SAMPLE, Milvus, Settings
from pipeline.encoder.weights import WEIGHT_FILES
from pipeline.galleries.gallery import Gallery
from tests.fakes import TinyEncoders, portrait
from tests.network import plain_environment


def levels(findings: list[Finding], about: str) -> list[str]:
    return [finding.level for finding in findings if about in finding.what]


def test_a_finding_is_one_line() -> None:
    assert str(Finding("ok", "numpy 2.1")) == "ok   numpy 2.1"
    assert str(Finding("fail", "annoy is missing", "install it")) == "fail annoy is missing — install it"


def test_the_environment_here_is_well() -> None:
    found = list(environment())
    assert {finding.level for finding in found} <= {"ok", "warn"}
    assert levels(found, f"{processor()}, ")


def test_a_missing_package_and_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    monkeypatch.setattr(doctor, "PYTHONS", ((3, 98), (3, 99)))
    found = list(environment())
    assert levels(found, "no-such-package") == ["fail"]
    assert levels(found, "Python") == ["warn"]


def test_a_folder_that_can_and_one_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.level for finding in folder(Settings(index=tmp_path / "new" / "index"))] in (["ok"], ["warn"])
    (tmp_path / "file").touch()
    assert [finding.level for finding in folder(Settings(index=tmp_path / "file" / "index"))] == ["fail"]
    monkeypatch.setattr(doctor, "LEAST_FREE_GB", 1e12)
    assert [finding.level for finding in folder(Settings(index=tmp_path))] == ["warn"]


def test_weights_that_are_here_wrong_and_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipeline.encoder.weights.WeightStore.why_unavailable", lambda store, network: f"no way to {network}."
    )
    wrong = tmp_path / WEIGHT_FILES["facenet"][0].name
    wrong.write_bytes(b"<html>a proxy's page</html>")
    found = list(weights(Settings(models=tmp_path, cache=tmp_path / "cache")))
    assert levels(found, "facenet") == ["fail"]
    assert levels(found, "resnet50") == ["warn"]
    assert levels(found, "mini") == ["ok"]


def test_galleries_that_are_not_built_built_stale_damaged_and_lack_an_index(tiny: Gallery, tiny_folder: Path) -> None:
    assert levels(list(embeddings(tiny)), f"gallery {DEFAULT}")[0] == "warn"
    tiny.build([DEFAULT])
    assert levels(list(embeddings(tiny)), f"gallery {DEFAULT}")[0] == "ok"
    (tiny.folder(DEFAULT) / "vectors.npy").write_bytes(b"damaged")
    (damaged,) = (finding for finding in embeddings(tiny) if finding.what == f"gallery {DEFAULT}")
    assert damaged.level == "fail"
    tiny.build([DEFAULT])
    portrait(0, 3).save(tiny_folder / "Ada" / "new.png")
    changed = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tiny.index_root)
    assert levels(list(embeddings(changed)), f"gallery {DEFAULT}")[0] == "warn"
    assert len(list(embeddings(tiny))) == 1 + len(RECIPES)


def test_photos_that_are_not_there(tmp_path: Path) -> None:
    (only,) = embeddings(Gallery(f"imagefolder:{tmp_path / 'gone'}", TinyEncoders(), tmp_path))
    assert (only.level, only.what) == ("fail", "dataset")


@pytest.mark.slow
def test_it_writes_nothing(tmp_path: Path) -> None:
    """It had `datasets` write 112 MB, and copied every gallery's vectors."""
    photos = tmp_path / "photos"
    for number, photo in enumerate(sorted(SAMPLE.glob("*/1.jpg"))[:3]):
        (photos / "train" / f"Person {number}").mkdir(parents=True)
        shutil.copy(photo, photos / "train" / f"Person {number}")
    here = plain_environment(tmp_path) | {"FACESEARCH_DATASET": str(photos), "TMPDIR": str(tmp_path)}

    def run(*command: str, cache: str) -> str:
        environment = here | {"HF_HOME": str(tmp_path / cache)}
        asked = [sys.executable, "-B", "-m", "pipeline", *command]
        return subprocess.run(asked, env=environment, capture_output=True, text=True).stdout

    run("build", "--recipe", MINI, cache="warm")
    before = everything_in(tmp_path)
    for cache in ("warm", "cold"):  # which holds the photos already, or not
        assert f"ok   gallery {MINI}: 3 photos" in run("doctor", cache=cache)
        assert everything_in(tmp_path) == before


def everything_in(folder: Path) -> dict[str, int]:
    """Files and folders, and when they were changed: a folder is, by a file that is gone again."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.photos.sources.reachable", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (only,) = embeddings(Gallery("user/name", TinyEncoders(), tmp_path))
    assert str(only) == "ok   dataset: name is not here yet, to be downloaded when it is needed"


def test_milvus_that_is_not_installed_counts_only_where_it_is_set(tmp_path: Path) -> None:
    assert levels(list(indexes(Settings())), "milvus") == ["ok"]
    assert levels(list(indexes(Settings(milvus=Milvus("http://localhost:1")))), "milvus") == ["fail"]


def test_a_milvus_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymilvus", reason="needs pymilvus: pip install pymilvus")
    monkeypatch.setattr("pipeline.indexes.registry.find_spec", lambda name: name)
    (finding,) = indexes(Settings(milvus=Milvus(f"http://127.0.0.1:{free_port()}")))
    assert finding.level == "fail"
    assert "cannot be used now" in finding.remedy


def test_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for level, code in (("ok", 0), ("warn", 0), ("fail", 1)):
        monkeypatch.setattr(
            doctor, "examine", lambda level=level: iter([Finding("ok", "a"), Finding(level, "b", "do")])
        )
        assert cli.main(["doctor"]) == code
        assert capsys.readouterr().out.splitlines()[1].startswith(f"{level:<4} b — do")


def test_a_setting_of_no_value_is_said_and_the_rest_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESEARCH_MODELS", "/no/such/folder")
    last = list(doctor.examine())[-1]
    assert (last.level, last.what) == ("fail", "settings")
