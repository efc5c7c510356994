"""A gallery's map on disk: drawn once, known to be of its vectors, and drawn anew where it cannot be trusted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.files import digest, sealed, write_json
from pipeline.embeddings import map
from pipeline.embeddings.map import FACTS, POINTS, GalleryMap, load_map, open_map, well_known
from pipeline.embeddings.store import Embeddings
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from tests.fakes import PEOPLE

RECIPE = "mtcnn-reid"


@pytest.fixture
def embeddings(tiny: Gallery) -> Embeddings:
    tiny.build([RECIPE])
    return tiny.searcher(RECIPE).embeddings


def test_a_map_is_drawn_once(embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_map(embeddings) is None
    drawn = open_map(embeddings)
    assert drawn.points.shape == (24, 2)
    assert drawn.kept is not None and drawn.kept > 0.5
    monkeypatch.setattr(map, "project", None)  # calling it would fail
    again = open_map(embeddings)
    assert np.array_equal(again.points, drawn.points)
    assert again.kept == pytest.approx(drawn.kept)


def test_the_gallery_is_as_it_was(embeddings: Embeddings, tiny: Gallery) -> None:
    before = {path.name: digest(path) for path in embeddings.folder.iterdir()}
    open_map(embeddings)
    after = {path.name: digest(path) for path in embeddings.folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {POINTS, FACTS}
    assert len(Gallery(tiny._dataset, tiny.encoders, tiny.index_root).searcher(RECIPE).embeddings) == 24


def spoil_points(folder: Path) -> None:
    """A single bit of the points."""
    content = bytearray((folder / POINTS).read_bytes())
    content[-1] ^= 1
    (folder / POINTS).write_bytes(bytes(content))


def replace_points(folder: Path, points: np.ndarray, **facts: object) -> None:
    """Other points, with facts that vouch for them."""
    np.save(folder / POINTS, points, allow_pickle=False)
    change(folder, points=digest(folder / POINTS), **facts)


def change(folder: Path, **facts: object) -> None:
    """Other facts, under a seal of theirs."""
    write_json(folder / FACTS, sealed(json.loads((folder / FACTS).read_text()) | facts))


SPOILT = {
    "no points": lambda folder: (folder / POINTS).unlink(),
    "no facts": lambda folder: (folder / FACTS).unlink(),
    "damaged points": spoil_points,
    "no JSON": lambda folder: (folder / FACTS).write_text("{"),
    "changed by hand": lambda folder: (folder / FACTS).write_text((folder / FACTS).read_text().replace("kept", "Kept")),
    "a list": lambda folder: (folder / FACTS).write_text("[]"),
    "of other vectors": lambda folder: change(folder, vectors="0" * 64),
    "of another format": lambda folder: change(folder, format=0),
    "not a share": lambda folder: change(folder, kept="<b>"),
    "more than everything": lambda folder: change(folder, kept=1.5),
    "too few": lambda folder: replace_points(folder, np.zeros((23, 2), np.float32)),
    "of three dimensions": lambda folder: replace_points(folder, np.zeros((24, 3), np.float32)),
    "far out": lambda folder: replace_points(folder, np.full((24, 2), 7, np.float32)),
    "not numbers": lambda folder: replace_points(folder, np.full((24, 2), np.nan, np.float32)),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_cannot_be_trusted_is_drawn_anew(embeddings: Embeddings, spoil: object) -> None:
    drawn = open_map(embeddings)
    spoil(embeddings.folder)  # type: ignore[operator]
    assert load_map(embeddings) is None
    assert np.array_equal(open_map(embeddings).points, drawn.points)
    assert load_map(embeddings) is not None


def test_a_pickle_in_place_of_the_points_is_not_opened(embeddings: Embeddings) -> None:
    open_map(embeddings)
    np.save(embeddings.folder / POINTS, np.array([{}], object), allow_pickle=True)
    change(embeddings.folder, points=digest(embeddings.folder / POINTS))
    assert load_map(embeddings) is None


def test_a_gallery_that_is_gone_stays_gone(embeddings: Embeddings, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(embeddings.folder)
    assert len(open_map(embeddings).points) == 24
    assert not embeddings.folder.exists()
    assert "is not kept: No such file or directory" in caplog.text


def test_points_lie_on_the_map() -> None:
    for points in (np.zeros((3, 3), np.float32), np.full((3, 2), 2, np.float32)):
        with pytest.raises(ValueError, match=r"needs points \(n, 2\)"):
            GalleryMap(points, None)


def test_people_with_the_most_photos_have_a_colour(embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert well_known(embeddings) == [(person, 4) for person in PEOPLE]
    most = replace(embeddings, people=("Zoe",) * 9 + ("Yves",) * 3 + ("Xaver",) * 10 + ("Ada",) * 2)
    assert well_known(most) == [("Xaver", 10), ("Zoe", 9), ("Yves", 3)]
    monkeypatch.setattr(map, "MAX_COLOURS", 2)
    assert well_known(embeddings) == [("Ada", 4), ("Bruno", 4)]
    monkeypatch.setattr(map, "MIN_PHOTOS", 5)
    assert well_known(embeddings) == []


def test_maps_are_drawn_when_everything_is_ready(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = []
    monkeypatch.setattr("pipeline.galleries.preparation.open_map", lambda embeddings: ready.append(preparation.ready()))
    preparation = Preparation(tiny)
    preparation.start((RECIPE, "mtcnn-mini"))
    preparation.wait()
    assert ready == [[RECIPE, "mtcnn-mini"]] * 2
    preparation.start()
    preparation.wait()
    assert len(ready) > 4
    without = Preparation(tiny, maps=False)
    without.start((RECIPE,))
    without.wait()
    assert without.ready() == preparation.ready(), "all that are built are opened"
    assert len(ready) == 2 + len(preparation.ready())


def test_stopping_does_not_wait_for_maps(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def one(embeddings: Embeddings) -> None:
        drawn.append(embeddings)
        preparation._stopping.set()

    monkeypatch.setattr("pipeline.galleries.preparation.open_map", one)
    preparation = Preparation(tiny)
    preparation.start((RECIPE, "mtcnn-mini"))
    preparation.wait()
    assert len(drawn) == 1
    assert preparation.ready() == [RECIPE, "mtcnn-mini"]
