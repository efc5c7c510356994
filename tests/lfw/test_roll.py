"""A roll of 60 files as a phone has them, taken in by every door; `python -m tests.lfw.roll` measures 1,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.settings import Settings
from pipeline.encoder.weights import Weights
from pipeline.galleries.gallery import Gallery
from tests.lfw.roll import FORMS, KINDS, Shot, planned, take_in, write

FILES = 60


@pytest.fixture(scope="module")
def roll(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Shot]]:
    shots = planned(gallery.photos, FILES)
    folder = tmp_path_factory.mktemp("roll") / "phone"
    write(gallery.photos, shots, folder)
    return folder, shots


@pytest.mark.lfw
@pytest.mark.parametrize("form", FORMS)
def test_every_file_is_counted_and_everybody_finds_another_photo(
    form: str,
    roll: tuple[Path, list[Shot]],
    settings: Settings,
    reid_weights: Weights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    measured = take_in(form, roll[0], settings, roll[1])
    assert sum(measured.counts.values()) == FILES
    assert measured.counts["left out (no photo by its ending)"] == FILES * KINDS["other"] // 100
    assert measured.counts["unreadable"] == 0
    assert measured.share >= 0.98, str(measured)
