"""Photos that visitors kept are listed and removed on the command line, whoever still has their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import __main__ as cli
from pipeline.galleries.own_galleries import OwnGalleries
from tests.fakes import portrait
from tests.galleries.test_own_galleries import Encoders, filled


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("FACESEARCH_INDEX", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def own(index: Path) -> OwnGalleries:
    return OwnGalleries(Encoders(), index / "own")


def keep(own: OwnGalleries, folder: Path, count: int) -> tuple[str, str]:
    """Key and name of a gallery of so many photos that is kept."""
    folder.mkdir()
    for number in range(count):
        portrait(number).save(folder / f"{number}.png")
    key, mine = filled(own, sorted(folder.iterdir()))
    own.keep(key, kept=True)
    mine.wait()
    return key, mine.name


def test_kept_photos_are_listed_and_removed(
    own: OwnGalleries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (key, one), (_, two), (_, three) = (keep(own, tmp_path / str(count), count) for count in (1, 2, 3))
    assert cli.main(["own", "list"]) == 0
    said = capsys.readouterr().out
    assert key not in said
    lines = {line.split()[0]: line for line in said.splitlines()}
    assert lines.keys() == {one, two, three}
    assert "3 photos" in lines[three]
    assert "MB" in lines[three]

    assert cli.main(["own", "remove", two]) == 0
    assert capsys.readouterr().out == f"Removed: {two}.\n"
    assert cli.main(["own", "remove", key]) == 0
    assert sorted(path.name for path in (tmp_path / "index" / "own").iterdir()) == [three]
    assert own.find(key) is None, "a page that has it open gives it to nobody any more"

    (tmp_path / "index" / "own" / f".{one}.moving").mkdir()
    assert cli.main(["own", "remove", "--all"]) == 0
    assert list((tmp_path / "index" / "own").iterdir()) == []
    capsys.readouterr()
    assert cli.main(["own", "list"]) == 0
    assert capsys.readouterr().out == f"No photos of visitors are kept in {tmp_path / 'index' / 'own'}.\n"


@pytest.mark.parametrize("name", ["own-0123456789abcdef0123456789abcdef", "../index", "", "/tmp"])
def test_what_is_not_kept_is_said_and_nothing_is_removed(
    own: OwnGalleries, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, there = keep(own, tmp_path / "photos", 1)
    assert cli.main(["own", "remove", there, name]) == 2
    assert capsys.readouterr().err == (
        f"No photos are kept as {name!r}; `python -m pipeline own list` names those that are.\n"
    )
    assert (tmp_path / "index" / "own" / there).is_dir()


@pytest.mark.parametrize("arguments", [[], ["--all", "own-x"]])
def test_it_must_be_said_what_to_remove(index: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["own", "remove", *arguments]) == 2
    assert "names from `python -m pipeline own list`, or --all" in capsys.readouterr().err
    assert not index.exists()
