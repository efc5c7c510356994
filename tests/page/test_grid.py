"""Results as HTML: what each tile says and does, the groups, and that nothing foreign gets in unescaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.types import Answer, Face, Hit
from pipeline.core.verdicts import Verdict, Words
from pipeline.encoder.look import Look
from pipeline.page.html.grid import (
    MOST,
    Group,
    Tile,
    by_person,
    enlarged_html,
    faces_html,
    frames_html,
    results_html,
    served,
)
from tests.fakes import draw

EVIL = "<b onclick='x'>\"&"


def tile(rank: int, person: str = "Ada") -> Tile:
    return Tile(Hit(rank, f"{person}/{rank}.png", person, rank / 10), Path(f"/index/lfw/{rank}.jpg"))


def test_a_tile_can_be_searched_with_and_enlarged_and_says_what_it_is() -> None:
    html = results_html([Group("", "", (tile(3),))])
    assert "<button type='button' class='pick' data-event='select' data-photo='Ada/3.png'" in html
    assert "alt='3 · Ada, distance 0.30'" in html
    assert "src='pictures/lfw/3-small.jpg' srcset='pictures/lfw/3.jpg 2x'" in html
    assert "data-event='expand' data-photo='Ada/3.png' aria-label='Enlarge 3 · Ada, distance 0.30'" in html
    assert "<p class='who'>Ada</p><p class='far'>0.30</p>" in html, "no mark where nothing is known"
    assert "<h3>" not in html


@pytest.mark.parametrize(
    ("distance", "words", "beyond", "kind", "said"),
    [
        (0.0, "very likely", False, "sure", "same photo"),
        (0.3, "likely", False, "sure", "likely"),
        (0.3, "unclear", False, "maybe", "unclear"),
        (0.3, "unlikely", False, "maybe", "unlikely"),
        (0.3, "likely", True, "alike", ""),
        (0.3, None, False, "", ""),
        (0.3, None, True, "alike", ""),
    ],
)
def test_a_mark_has_a_shape_and_a_word(
    distance: float, words: Words | None, beyond: bool, kind: str, said: str
) -> None:
    hit = Hit(1, "a", "Ada", distance, Verdict(words, 0.5, 0.1) if words else None)
    one = Tile(hit, Path("/a.jpg"), beyond=beyond)
    assert (one.kind, one.word) == (kind, said)
    assert f"class='tile {kind}" in results_html([Group("", "", (one,))])


def test_columns_cannot_be_enlarged() -> None:
    html = results_html([Group("Baseline", "12 ms", (tile(1), tile(2)))], "columns")
    assert "<div class='groups columns'>" in html
    assert "<h3>Baseline</h3><p class='quiet'>12 ms</p>" in html
    assert "data-event='expand'" not in html
    assert html.count("data-event='select'") == 2


def test_nothing_found_is_nothing() -> None:
    assert results_html([]) == ""


def test_by_person_the_nearest_comes_first() -> None:
    groups = by_person([tile(1, "Ada"), tile(2, "Bo"), tile(3, "Ada"), tile(4, "Bo"), tile(5, "Cy")])
    assert [(group.heading, [one.hit.rank for one in group.tiles]) for group in groups] == [
        ("Ada", [1, 3]),
        ("Bo", [2, 4]),
        ("Cy", [5]),
    ]
    assert [group.note for group in groups] == [
        "2 photos, the nearest at 0.10",
        "2 photos, the nearest at 0.20",
        "1 photo, the nearest at 0.50",
    ]


def test_names_are_escaped() -> None:
    one = Tile(Hit(1, EVIL, EVIL, 0.5), Path("/a'b.jpg"))
    for html in (
        results_html([Group(EVIL, EVIL, (one,))]),
        enlarged_html(one, (10, 10), None),
    ):
        assert EVIL not in html
        assert "<b " not in html
        assert "onclick='" not in html
        assert "a%27b.jpg" in html


def test_an_enlarged_photo_has_its_face_framed_in_parts_of_its_size() -> None:
    html = enlarged_html(Tile(Hit(2, "Ada/2.png", "Ada", 0.25), Path("/p.png")), (200, 100), (50, 10, 150, 60))
    assert "left:25.00%;top:10.00%;width:50.00%;height:50.00%" in html
    assert "Ada/2.png · 200 x 100 pixels" in html
    assert "data-event='select' data-photo='Ada/2.png'>Search with this photo" in html
    assert "data-event='collapse'" in html


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((-20.0, -10.0, 100.0, 50.0), "left:0.00%;top:0.00%;width:50.00%;height:50.00%"),
        ((150.0, 50.0, 300.0, 150.0), "left:75.00%;top:50.00%;width:25.00%;height:50.00%"),
    ],
)
def test_a_frame_does_not_leave_the_photo(box: tuple[float, float, float, float], place: str) -> None:
    assert place in enlarged_html(Tile(Hit(1, "x", "A", 0.5), Path("/p.png")), (200, 100), box)


def test_without_a_face_there_is_no_frame() -> None:
    assert "class='box'" not in enlarged_html(Tile(Hit(1, "x", "A", 0.5), Path("/p.png")), (200, 100), None)


def test_an_address_is_relative_to_the_page_and_tells_nothing_of_folders() -> None:
    assert served(Path("/some folder/lfw/0a.jpg")) == "pictures/lfw/0a.jpg"
    address = served(Path("/some folder", f"own-{'0' * 32}", "0a.jpg"))
    assert re.fullmatch(r"pictures/[0-9a-f]{64}/0a\.jpg", address)
    assert served(Path("/another", f"own-{'0' * 32}", "0a.jpg")) == address
    assert served(Path("/another", f"own-{'1' * 32}", "0a.jpg")) != address


def test_a_line_divides_those_that_only_look_alike() -> None:
    near, far, farther = (Tile(Hit(n, str(n), "Ada", n / 10), Path("/a.jpg"), beyond=n > 1) for n in (1, 2, 3))
    said = [
        html.count("only alike from here")
        for html in results_html([Group("", "", (near, far, farther))]).split("</li>")
    ]
    assert said == [0, 1, 0, 0], "once, before the first of them"
    assert results_html([Group("", "", (far, farther))]).count("only alike from here") == 1
    assert "only alike" not in results_html([Group("Ada", "", (near, far))], "people")


def test_a_tile_and_its_enlarged_photo_know_their_answer() -> None:
    one = Tile(Hit(1, "a", "Ada", 0.3), Path("/a.jpg"), answer=2)
    assert "data-answer='2' data-event='expand' data-photo='a'" in results_html([Group("", "", (one,))], "strips")
    html = enlarged_html(one, (10, 10), None)
    assert "data-answer='2' data-event='expand' data-photo='a'>Why this match?</button>" in html


# The visitor's photo

FACES = tuple(Face((left, 10, left + 10, 30), 0.99, ((left + 1, 11),) * 5) for left in (0, 40, 90))
PHOTO = Look(draw(size=(100, 50)), FACES)


def answered(faces: tuple[Face, ...], chosen: int | None) -> Answer:
    face = faces[chosen] if chosen is not None else None
    return Answer("mtcnn-reid", "exact", "g", faces, face, draw(), (), {})


def test_faces_are_framed_in_parts_of_the_photo_and_the_chosen_one_marked() -> None:
    html = frames_html(PHOTO, answered(FACES, 1), "")
    assert "--ratio: 2.0" in html
    assert html.count("data-event='select'") == 3
    assert "class='frame chosen' style='left:40.00%;top:20.00%;width:10.00%;height:40.00%'" in html
    assert "data-face='2' aria-label='Face 2 in the photo'" in html
    assert "<img" not in html, "the browser shows the file itself"


def test_a_photo_that_browsers_cannot_show_lies_below_its_frames() -> None:
    assert "<img src='data:x' alt='Your photo'>" in frames_html(PHOTO, answered(FACES, 1), "data:x")
    assert EVIL not in frames_html(PHOTO, answered(FACES, 1), EVIL)


def test_faces_are_chosen_by_their_pictures_the_one_searched_with_first() -> None:
    html = faces_html(PHOTO, answered(FACES, 1))
    assert "alt='Face 2: what the network sees of your photo'" in html.split("<button")[0]
    assert [part.split("'")[0] for part in html.split("data-face='")[1:]] == ["1", "3"]
    assert "aria-label='Face 1: search with it'" in html
    assert "aria-label='All 3 faces: search for all of them'>All 3<br>faces</button>" in html
    alone = faces_html(Look(PHOTO.image, FACES[:1]), answered(FACES[:1], 0))
    assert "<button" not in alone
    assert "alt='what the network sees of your photo'" in faces_html(Look(PHOTO.image, ()), answered((), None))


def test_of_a_crowd_the_first_faces_are_shown_and_the_others_counted() -> None:
    crowd = tuple(Face((n, 0, n + 1, 1), 0.99, ((n, 0),) * 5) for n in range(MOST + 4))
    html = faces_html(Look(PHOTO.image, crowd), answered(crowd, 0))
    assert html.count("<button type='button' class='face'") == MOST
    assert "and 3 more in the photo" in html
