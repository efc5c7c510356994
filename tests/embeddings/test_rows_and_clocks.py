"""A dataset with rows that are not what they should be, and a clock that jumps: the same vectors as undisturbed.

The threat: a dataset is other people's work, so a row may hold rubbish, nothing, no name, or a name twice; and the
clock of a machine is set back and forth by whoever keeps it right, in the middle of a build. Found and mended on the
way: a row with neither bytes nor a path, and file names that are numbers, ended in a traceback; photos that visitors
left stayed on the disk as long as the clock had been set back.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest

from pipeline.core.progress import Progress
from pipeline.embeddings.store import Embeddings
from pipeline.galleries.gallery import Gallery
from pipeline.page.server.uploads import sweep
from pipeline.photos.sources import UNKNOWN, open_photos
from tests.fakes import PEOPLE, TinyEncoders, portrait

RECIPE = "mtcnn-facenet"
YEAR = 366 * 86_400.0


def png(person: int, variation: int) -> bytes:
    stream = io.BytesIO()
    portrait(person, variation).save(stream, "PNG")
    return stream.getvalue()


GOOD = [(f"{name}_{1 + variation:04d}.png", person, png(person, variation))
        for person, name in enumerate(PEOPLE) for variation in range(2)]  # fmt: skip
BAD: dict[str, tuple[str | None, int | None, bytes | None]] = {
    "rubbish": ("rubbish_0001.png", 0, b"\x89PNG and then nothing of the kind"),
    "cut": ("cut_0001.png", 0, GOOD[0][2][:200]),
    "empty": ("empty_0001.png", 0, b""),
    "elsewhere": ("/nowhere/at/all.png", 0, None),
    "neither": (None, 0, None),
    "code": ("code_0001.png", 0, b"cos\nsystem\n(S'false'\ntR."),
}


def write(folder: Path, rows: list[tuple[str | None, int | None, bytes | None]]) -> str:
    """A dataset of (file name, label, content); its folder."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(PEOPLE))})
    columns = {"image": [{"bytes": b"", "path": None} for _ in rows], "label": [label for _, label, _ in rows]}
    (folder / "data").mkdir(parents=True)
    path = folder / "data" / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict(columns, features).to_parquet(path)
    # By other hands than the library's, which would not write a row that has neither bytes nor a path.
    table = pyarrow.parquet.read_table(path)
    images = pyarrow.array(
        [{"bytes": content, "path": file} for file, _, content in rows], table.schema.field("image").type
    )
    pyarrow.parquet.write_table(table.set_column(0, table.schema.field("image"), images), path)
    return str(folder)


def built(dataset: str, index: Path) -> Embeddings:
    gallery = Gallery(dataset, TinyEncoders(), index)
    gallery.build([RECIPE])
    return gallery.searcher(RECIPE).embeddings


def test_rows_that_are_no_photos_are_counted_and_the_others_indexed(tmp_path: Path) -> None:
    rows: list[tuple[str | None, int | None, bytes | None]] = [*GOOD]
    for place, bad in enumerate(BAD.values()):
        rows.insert(2 * place, bad)
    wanted = built(write(tmp_path / "good", [*GOOD]), tmp_path / "1")
    embeddings = built(write(tmp_path / "bad", rows), tmp_path / "2")
    assert embeddings.vectors.tobytes() == wanted.vectors.tobytes()
    assert embeddings.people == wanted.people
    assert embeddings.manifest["counts"]["unreadable"] == len(BAD)
    assert all(one["reason"].endswith(".") for one in embeddings.manifest["skipped"])


def test_rows_without_a_name_are_of_nobody_known(tmp_path: Path) -> None:
    rows = [(file, None if place == 3 else label, content) for place, (file, label, content) in enumerate(GOOD)]
    wanted = built(write(tmp_path / "good", [*GOOD]), tmp_path / "1")
    embeddings = built(write(tmp_path / "bad", [*rows]), tmp_path / "2")
    assert embeddings.vectors.tobytes() == wanted.vectors.tobytes()
    assert embeddings.people == tuple(UNKNOWN if place == 3 else name for place, name in enumerate(wanted.people))


def test_rows_of_one_name_are_told_apart(tmp_path: Path) -> None:
    rows = [(GOOD[0][0], label, content) for _, label, content in GOOD]
    wanted = built(write(tmp_path / "good", [*GOOD]), tmp_path / "1")
    embeddings = built(write(tmp_path / "bad", [*rows]), tmp_path / "2")
    assert embeddings.vectors.tobytes() == wanted.vectors.tobytes()
    assert len(set(embeddings.photo_ids)) == len(rows)
    assert embeddings.people == wanted.people


@pytest.mark.parametrize("names", [[7, 8], ["", None], ["a.png", "a.png"]])
def test_file_names_that_are_none(names: list[object], tmp_path: Path) -> None:
    kind = "int64" if isinstance(names[0], int) else "string"
    features = datasets.Features({"image": datasets.Image(), "filename": datasets.Value(kind)})
    columns = {"image": [{"bytes": content, "path": None} for *_, content in GOOD[:2]], "filename": names}
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict(columns, features).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    photos = open_photos(str(tmp_path))
    assert len(set(photos.photo_ids)) == 2
    assert all(isinstance(person, str) for person in photos.people)


# The clock


@pytest.fixture(params=["back", "forth", "both"])
def jumps(request: pytest.FixtureRequest) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """A clock that goes wrong from one look to the next."""

    def jumping(clock: Callable[[], float]) -> Callable[[], float]:
        looks = 0

        def now() -> float:
            nonlocal looks
            looks += 1
            away = {"back": -looks, "forth": looks, "both": (-1) ** looks * looks}[request.param]
            return clock() + YEAR * away

        return now

    return jumping


def test_a_build_under_a_jumping_clock(
    jumps: Callable[[Callable[[], float]], Callable[[], float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write(tmp_path / "dataset", [*GOOD])
    wanted = built(dataset, tmp_path / "1").vectors.tobytes()
    said: list[Progress] = []
    with monkeypatch.context() as patch:
        for name in ("time", "perf_counter"):
            patch.setattr(time, name, jumps(getattr(time, name)))
        gallery = Gallery(dataset, TinyEncoders(), tmp_path / "2")
        gallery.build([RECIPE], said.append)
        assert gallery.searcher(RECIPE).embeddings.vectors.tobytes() == wanted
    assert said
    assert all(one.seconds_left is None or one.seconds_left >= 0 for one in said)


def test_photos_from_the_future_are_photos(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for person in range(3):
        portrait(person).save(folder / f"{person}.png")
    wanted = built(f"imagefolder:{folder}", tmp_path / "1").vectors.tobytes()
    for path in folder.iterdir():
        os.utime(path, (time.time() + YEAR, time.time() + YEAR))
    again = built(f"imagefolder:{folder}", tmp_path / "1")
    assert again.vectors.tobytes() == wanted
    np.testing.assert_equal(len(set(again.stamps)), 3)


@pytest.mark.parametrize(("away", "stays"), [(0.0, True), (-YEAR, False), (YEAR, False), (-50.0, True)])
def test_uploads_go_although_the_clock_was_set(
    away: float, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    now = time.time() + away
    monkeypatch.setattr(time, "time", lambda: now)
    sweep(tmp_path, 3600)
    assert (tmp_path / "photo.jpg").exists() == stays


def test_a_folder_that_goes_while_it_is_swept_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.jpg").write_bytes(b"a photo")
    list_folder = os.scandir

    def another_was_faster(path: str | int) -> Iterable[os.DirEntry[str]]:
        if str(path) == str(tmp_path / "b"):
            shutil.rmtree(path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", another_was_faster)
    sweep(tmp_path, -1)
    assert list(tmp_path.rglob("*.jpg")) == []
