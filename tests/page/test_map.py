"""The map as HTML: what the drawing is told, where the visitor's photo goes, and what is said in words."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.types import Answer
from pipeline.embeddings import map
from pipeline.embeddings.map import GalleryMap, open_map
from pipeline.embeddings.store import Embeddings
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.map import COLOURS, STEPS, Shown, found_in, map_html
from pipeline.page.query import Request
from pipeline.page.tabs import map as tab
from tests.fakes import PEOPLE, portrait

RECIPE = "mtcnn-reid"
KEY = "main"


@pytest.fixture
def embeddings(tiny: Gallery) -> Embeddings:
    tiny.build([RECIPE])
    return tiny.searcher(RECIPE).embeddings


@pytest.fixture
def answer(embeddings: Embeddings, tiny: Gallery) -> Answer:
    return tiny.searcher(RECIPE).search(portrait(3, 1), 3, "exact")


def line(embeddings: Embeddings, kept: float | None = 0.4321) -> GalleryMap:
    """The photos in a row, from left to right, downwards."""
    along = np.linspace(-1, 1, len(embeddings), dtype=np.float32)
    return GalleryMap(np.stack([along, -along], axis=1), kept)


def told(html: str) -> dict[str, Any]:
    """What the drawing is told."""
    found = re.search(r"data-map='([^']*)'", html)
    assert found
    data: dict[str, Any] = json.loads(unescape(found[1]))
    return data


def test_the_drawing_is_told_where_every_photo_is_and_whom_it_shows(embeddings: Embeddings) -> None:
    data = told(map_html(Shown(embeddings, "Tiny", KEY, line(embeddings))))
    points = np.frombuffer(base64.b64decode(data["points"]), "<u2").reshape(-1, 2)
    assert points[0].tolist() == [0, 0], "the upper left corner"
    assert points[-1].tolist() == [STEPS, STEPS]
    assert points[12, 0] == round((np.linspace(-1, 1, 24)[12] + 1) / 2 * STEPS)
    person = np.frombuffer(base64.b64decode(data["person"]), "<u4")
    assert [data["people"][number] for number in person] == list(embeddings.people)
    assert [data["people"][number] for number in data["known"]] == list(PEOPLE)
    assert (data["gallery"], data["recipe"], data["fingerprint"]) == (KEY, RECIPE, embeddings.manifest["fingerprint"])
    assert data["hits"] == data["queries"] == []


def test_the_visitors_photo_stands_at_its_nearest_result(embeddings: Embeddings, answer: Answer) -> None:
    data = told(map_html(Shown(embeddings, "Tiny", KEY, line(embeddings), (answer,))))
    row = embeddings.photo_ids.index("Dimitri/1.png")
    assert answer.hits[0].photo_id == "Dimitri/1.png"
    (query,) = data["queries"]
    assert (query["x"], query["y"]) == pytest.approx((row / 23 * STEPS, row / 23 * STEPS), abs=1)
    assert query["name"] == "Your photo"
    assert data["hits"][0] == {"row": row, "said": "result 1, distance 0.00"}
    assert [embeddings.photo_ids[hit["row"]] for hit in data["hits"]] == [hit.photo_id for hit in answer.hits]


def test_several_faces_stand_each_at_its_own(embeddings: Embeddings, answer: Answer, tiny: Gallery) -> None:
    other = tiny.searcher(RECIPE).search(portrait(0), 2, "exact")
    nobody = replace(answer, faces=(), face=None, crop=None, hits=())
    data = told(map_html(Shown(embeddings, "Tiny", KEY, line(embeddings), (answer, other, nobody))))
    assert [query["name"] for query in data["queries"]] == ["Face 1", "Face 1"]
    assert len(data["hits"]) == 5
    assert data["queries"][0]["x"] > data["queries"][1]["x"] == 0


def test_a_result_that_two_faces_share_is_told_once_and_one_that_is_gone_not_at_all(
    embeddings: Embeddings, answer: Answer
) -> None:
    first, *others = answer.hits
    gone = replace(answer, hits=(replace(first, photo_id="Gone/0.png"), *others))
    data = told(map_html(Shown(embeddings, "Tiny", KEY, line(embeddings), (gone, answer))))
    said = {embeddings.photo_ids[hit["row"]]: hit["said"] for hit in data["hits"]}
    assert len(data["hits"]) == 3
    assert said["Dimitri/1.png"] == "result 1, distance 0.00"
    assert said[others[0].photo_id] == f"result 2, distance {others[0].distance:.2f}"


def test_only_answers_of_this_gallery_are_lit_up(embeddings: Embeddings, answer: Answer) -> None:
    others = (replace(answer, gallery="elsewhere"), replace(answer, recipe="resnet50"))
    assert found_in((*others, answer), embeddings) == (answer,)


def test_the_words_say_what_the_map_keeps(embeddings: Embeddings, answer: Answer) -> None:
    html = map_html(Shown(embeddings, "T<i>ny", KEY, line(embeddings)))
    assert "43 % of every photo's ten nearest" in html
    assert "ten nearest" not in map_html(Shown(embeddings, "Tiny", KEY, line(embeddings, None)))
    assert "gallery T&lt;i&gt;ny as the model Compact sees it" in html
    assert "Search with a photo to see where it stands." in html
    assert "data-do='yours'" not in html
    searched = map_html(Shown(embeddings, "Tiny", KEY, line(embeddings), (answer,)))
    assert "The cross is your photo, and rings are its results." in searched
    assert "data-do='yours'" in searched
    assert "aria-label='Map of 24 photos." in html


def test_how_long_a_map_takes_is_said_until_it_is_there(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tab, "SECONDS_A_PHOTO", 2.5)
    preparation = Preparation(tiny, maps=False)
    request = Request(None, KEY, RECIPE)
    assert tab.expected(preparation, request) is None, "nothing can be drawn yet"
    preparation.start([RECIPE])
    preparation.wait()
    said = tab.expected(preparation, request)
    assert said
    assert "map of 24 photos" in said
    assert "data-left='60'>about 60 s left" in said
    open_map(preparation.searcher(RECIPE).embeddings)
    assert tab.expected(preparation, request) is None


def test_the_legend_says_who_has_a_colour(embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    def legend() -> str:
        return map_html(Shown(embeddings, "Tiny", KEY, line(embeddings)))

    assert "Everyone has a colour and a shape. Choose" in legend()
    assert re.findall(r"data-person='(\d)' aria-pressed='false'", legend()) == list("012345")
    monkeypatch.setattr(map, "MAX_COLOURS", 4)
    assert "The 4 people with the most photos have a colour and a shape; everyone else is grey." in legend()
    monkeypatch.setattr(map, "MAX_COLOURS", 1)
    assert "The one person with the most photos has a colour and a shape; everyone else is grey." in legend()
    assert "Ada <span class='count'>4</span>" in legend()
    monkeypatch.setattr(map, "MIN_PHOTOS", 9)
    assert "every point is grey" in legend()
    assert "<ul>" not in legend()


def test_colours_come_again_in_another_shape(embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.page.html.map.COLOURS", 4)
    html = map_html(Shown(embeddings, "Tiny", KEY, line(embeddings)))
    marks = re.findall(r"class='mark (k\d)'[^>]*><(circle|path)", html)
    assert marks == [(f"k{n}", "circle") for n in range(4)] + [("k0", "path"), ("k1", "path")]
    assert COLOURS == 6


def test_names_are_escaped(embeddings: Embeddings) -> None:
    people = ("<b>'\"&amp;",) * len(embeddings)
    html = map_html(Shown(replace(embeddings, people=people), "Tiny", KEY, line(embeddings)))
    assert "<b>" not in html
    assert told(html)["people"] == [people[0]]


def test_a_photo_without_a_face_stands_nowhere(embeddings: Embeddings, answer: Answer) -> None:
    nobody = replace(answer, crop=None, hits=(), face=None, faces=())
    found = replace(answer, crop=Image.new("RGB", (8, 8)))
    assert told(map_html(Shown(embeddings, "Tiny", KEY, line(embeddings), (nobody,))))["queries"] == []
    assert len(told(map_html(Shown(embeddings, "Tiny", KEY, line(embeddings), (found,))))["queries"]) == 1
