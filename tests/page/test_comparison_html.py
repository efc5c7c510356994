"""The comparison on the page: its table, its columns, and what is said of each model."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.types import Answer, Hit
from pipeline.page.html.grid import comparison_html
from pipeline.search.comparison import Comparison
from tests.fakes import draw

STEPS = {"detect": 20.4, "embed": 30.3, "search": 1.26, "total": 51.96}


def answer(recipe: str, *people: str) -> Answer:
    hits = tuple(Hit(rank, f"{person}/1", person, rank / 10) for rank, person in enumerate(people, start=1))
    return Answer(recipe, "exact", "g", (), None, draw() if people else None, hits, STEPS)


def html(*answers: Answer) -> str:
    from pipeline.page.html.grid import Tile

    return comparison_html(Comparison(answers), [[Tile(hit, Path("/p.jpg")) for hit in one.hits] for one in answers])


def test_the_table_says_how_many_photos_two_models_share() -> None:
    said = html(answer("resnet50", "A", "B", "C"), answer("mtcnn-facenet", "B", "D"))
    assert "<tr><th scope='row'>Baseline</th><td>3</td><td>1</td></tr>" in said
    assert "<tr><th scope='row'>Improved</th><td>1</td><td>2</td></tr>" in said


def test_what_only_one_model_found_is_marked_and_counted() -> None:
    said = html(answer("resnet50", "A", "B", "C"), answer("mtcnn-facenet", "B", "D"))
    first, second = said.split("<h3>")[1:]
    assert first.count("<span class='mark'>only here</span>") == 2
    assert second.count("<span class='mark'>only here</span>") == 1
    assert "Distances 0.10 to 0.30. 3 different people; 2 of 3 photos only here." in first
    assert "52 ms: finding the face 20, embedding 30, searching 1.3." in first


def test_a_model_that_found_no_face_says_so() -> None:
    said = html(answer("resnet50", "A"), answer("mtcnn-facenet"))
    assert "No face was found in this photo." in said.split("<h3>")[2]
    assert "one person; 1 of 1 photos only here." in said.split("<h3>")[1]


def test_one_model_alone_has_no_table() -> None:
    assert "<table>" not in html(answer("resnet50", "A"))
