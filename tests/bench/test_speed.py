"""The benchmark of photos to vectors: it runs on any gallery, and its comparison can tell faces apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.bench import parity, speed
from pipeline.core.processors import processor
from pipeline.core.settings import SAMPLE
from pipeline.core.types import Face
from pipeline.encoder.networks import NETWORKS
from pipeline.galleries.gallery import Gallery
from tests.fakes import TinyEncoders

POINTS = ((1.0, 1.0), (2.0, 1.0), (1.5, 2.0), (1.0, 3.0), (2.0, 3.0))


def test_faces_are_alike_within_a_pixel_and_a_hundredth_only() -> None:
    face = Face((0, 0, 400, 400), 1, POINTS)
    assert parity.overlap(face, Face((200, 0, 600, 400), 1, POINTS)) == pytest.approx(1 / 3)
    assert parity.alike([face], [Face((0, 0, 399, 400), 0.9, POINTS)])
    assert not parity.alike([face], [Face((0, 0, 390, 400), 1, POINTS)])
    assert not parity.alike([face], [Face(face.box, 1, (*POINTS[:4], (3.1, 3.0)))])
    assert not parity.alike([face], [])
    assert parity.alike([], [])


@pytest.mark.slow
def test_the_command_measures_every_step_on_any_gallery(
    tiny: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: tiny)
    assert main(["bench", "--photos", "6", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["milliseconds"]) == {speed.LOOP, speed.BATCHED, speed.OURS}
    assert figures["milliseconds"][speed.OURS]["detect"] > 0
    assert 1.4e9 < figures["macs"]["embed"] < 1.5e9, "FaceNet has 1.44 thousand million multiply-adds"
    assert figures["alike"] == 1
    facenet = NETWORKS["facenet"].precision
    assert figures["precisions"] == {
        **{"facenet-pytorch": "f32", "mtcnn": "f32", "facenet": facenet, "reid": "f32", "mini": "f32"}
    }, "the tiny networks are in f32"
    assert figures["processor"]["name"] == processor().name
    assert figures["faceless_theirs"] == figures["faceless_ours"] > 0


@pytest.mark.slow
def test_the_table_names_the_steps(
    tiny: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: tiny)
    assert main(["bench", "--photos", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    facenet = NETWORKS["facenet"].precision
    assert f"; {processor()}; facenet-pytorch in f32, mtcnn in f32, facenet in {facenet}, " in lines[0]
    assert [line.split(" | ")[0] for line in lines[3:5]] == ["| decode", "| detect"]
    assert lines[-1].startswith("Faces as in README's loop: 100.00% of the photos")


@pytest.fixture
def mixed(tmp_path: Path) -> Gallery:
    """Two faces, a grey photo without one, and a file that is none."""
    faces = sorted(SAMPLE.rglob("*.jpg"))[:2]
    for number, path in enumerate(faces):
        (tmp_path / "photos" / f"person {number}").mkdir(parents=True)
        shutil.copy(path, tmp_path / "photos" / f"person {number}")
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "photos" / "person 0" / "grey.png")
    (tmp_path / "photos" / "person 1" / "none.png").write_bytes(b"no photo")
    return Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "index")


def test_all_faces_are_compared_with_the_references(
    mixed: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: mixed)
    assert main(["bench", "--faces"]) == 0
    assert capsys.readouterr().out == (
        f"Faces beside facenet-pytorch's; {processor()}\n"
        "3 photos: the same faces in 100.00%; without a face 1 by facenet-pytorch, 1 here; indexed by the very same "
        "face where small ones are left out 100.00%.\n"
    )


def test_other_faces_are_counted(
    mixed: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: mixed)
    monkeypatch.setattr(parity.MtcnnDetector, "detect", lambda self, images, **_: [()] * len(images))
    assert main(["bench", "--faces", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    del figures["processor"]
    assert figures == {"photos": 3, "alike": 1 / 3, "chosen": 1, "faceless_theirs": 1, "faceless_ours": 3}
