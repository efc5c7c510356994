"""Who is in a folder of photos, by the real small network on the people who do not exist."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.core.errors import SettingsError
from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.people import FolderFaces, People, find_people, link_people

PEOPLE = sorted(SAMPLE.iterdir())[:4]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of four people in no order, five, four, three and one of each, and one without a face."""
    folder = tmp_path_factory.mktemp("album")
    for person, count in zip(PEOPLE, (5, 4, 3, 1), strict=True):
        for photo in sorted(person.iterdir())[:count]:
            shutil.copy(photo, folder / f"{photo.stem}-{person.name[-2:]}.jpg")
    Image.new("RGB", (200, 200), "green").save(folder / "meadow.jpg")
    return folder


@pytest.fixture(scope="module")
def found(album: Path, tmp_path_factory: pytest.TempPathFactory) -> People:
    place = tmp_path_factory.mktemp("index")
    encoders = StoredEncoders(WeightStore(None, place / "cache", {}))
    return find_people(FolderFaces(album, encoders, place), MINI)


def test_everybody_is_found_whoever_has_most_first(found: People) -> None:
    assert [{name[-6:-4] for name in person.faces} for person in found.people] == [{"01"}, {"02"}, {"03"}]
    assert [len(person.faces) for person in found.people] == [5, 4, 3]
    assert [name[-6:-4] for name in found.unknown] == ["04"]


def test_links_to_the_photos_of_each(found: People, album: Path, tmp_path: Path) -> None:
    link_people(found, album, tmp_path / "out")
    links = sorted((tmp_path / "out").rglob("*.jpg"))
    assert [link.parent.name for link in links] == [*["person 1"] * 5, *["person 2"] * 4, *["person 3"] * 3, "unknown"]
    assert all(link.is_symlink() and link.resolve() == (album / link.name).resolve() for link in links)
    with pytest.raises(SettingsError, match="no empty folder"):
        link_people(found, album, tmp_path / "out")


def test_the_command(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACESEARCH_INDEX", str(tmp_path / "index"))
    monkeypatch.setenv("FACESEARCH_CACHE", str(tmp_path / "cache"))
    assert main(["people", str(album), "--recipe", MINI]) == 0
    assert "person 1: 5 photos: " in capsys.readouterr().out
    assert main(["people", str(album), "--recipe", MINI, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [len(person["photos"]) for person in said["people"]] == [5, 4, 3]
    assert len(said["unknown"]) == 1
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for wrong, sentence in {
        (str(tmp_path / "nowhere"),): "There is no folder",
        (str(tmp_path / "empty"),): "There are no photos in empty; add some.",
        (str(album), "--link", str(tmp_path / "file")): "no empty folder",
        (str(album), "--recipe", "resnet50"): "resnet50 looks at whole photos",
    }.items():
        assert main(["people", *wrong]) == 2
        said = capsys.readouterr()
        assert sentence in said.err
        assert said.err.count("\n") == 1, "before any work"
