"""The comparison on the page: which models, what their headings say, and the table of photos in common."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.galleries.galleries import MAIN
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.presenter import searched
from pipeline.page.query import Request
from pipeline.page.tabs.compare import compared
from tests.fakes import PHOTOS_EACH, TinyEncoders, draw, portrait


@pytest.fixture
def preparation(tiny: Gallery) -> Preparation:
    preparation = Preparation(tiny, maps=False)
    preparation.start(["resnet50", "mtcnn-facenet", "mtcnn-reid"])
    preparation.wait()
    return preparation


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    """A photo of Dimitri that is in the gallery."""
    portrait(3, 1).save(tmp_path / "query.png")
    return Request(str(tmp_path / "query.png"), MAIN, "mtcnn-reid", k=5)


def headings(html: str) -> list[str]:
    return re.findall(r"<h3>(.*?)</h3>", html)


def test_the_two_roles_side_by_side_and_how_many_photos_each_found(preparation: Preparation, asked: Request) -> None:
    html = compared(preparation, asked)
    baseline, improved = headings(html)
    assert re.fullmatch(r"Baseline: \d of 4 found", baseline)
    assert improved == f"Improved: {PHOTOS_EACH} of {PHOTOS_EACH} found"
    assert html.count("<li class='tile") == 10
    assert re.search(r"<p class='quiet'>\d+ ms · \d of 5 photos only here</p>", html)
    assert "<details class='shared'><summary>Photos in common</summary>" in html
    assert "<tr><th scope='row'>Baseline</th><td>5</td><td>" in html
    assert "by both models. Compare distances" in html


def test_a_photo_that_was_searched_with_is_not_looked_at_again(preparation: Preparation, asked: Request) -> None:
    detector = preparation.gallery.encoders.detector  # type: ignore[attr-defined]
    anew = compared(preparation, asked)
    searched_with = replace(asked, seen=searched(preparation, asked).seen)
    before = detector.photos_seen
    again = compared(preparation, searched_with)
    assert detector.photos_seen == before
    assert re.sub(r"\d+ ms", "", again) == re.sub(r"\d+ ms", "", anew)


def test_others_join_by_ticking_them(preparation: Preparation, asked: Request) -> None:
    html = compared(preparation, asked, ["mtcnn-reid", "mtcnn-facenet", "mtcnn-mini", "nope"])
    assert [heading.split(":")[0] for heading in headings(html)] == ["Baseline", "Improved", "Compact"]
    assert "by 3 models. Compare distances" in html


def test_of_whom_the_gallery_knows_nothing_the_first_is_named(preparation: Preparation, tmp_path: Path) -> None:
    draw((3, 1, (12, 12, 70))).save(tmp_path / "new.png")
    html = compared(preparation, Request(str(tmp_path / "new.png"), MAIN, "mtcnn-reid", k=5))
    assert headings(html)[1] == "Improved: Dimitri, 4 of 4 found"


def test_without_a_face_the_heading_says_so(preparation: Preparation, tmp_path: Path) -> None:
    draw().save(tmp_path / "nobody.png")
    html = compared(preparation, Request(str(tmp_path / "nobody.png"), MAIN, "mtcnn-reid"))
    assert headings(html)[1] == "Improved: nothing found"
    assert "No face was found in this photo." in html


def test_one_model_alone_has_no_table_and_none_a_sentence(tiny: Gallery, asked: Request) -> None:
    preparation = Preparation(tiny, maps=False)
    assert "not ready yet" in compared(preparation, asked)
    tiny.encoders = TinyEncoders({"resnet50": "Not here.", "mini-whole": "Not here."})
    preparation.start(["mtcnn-mini"])
    preparation.wait()
    html = compared(preparation, replace(asked, recipe="mtcnn-mini"))
    assert [heading.split(":")[0] for heading in headings(html)] == ["Improved"]
    assert "<p class='quiet'>Mini · " in html, "which model stands in"
    assert "by one model." in html
    assert not re.search("<table>|both models|only here|Compare distances", html), "nothing is compared"
