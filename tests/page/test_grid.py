"""Results as HTML: what each tile says and does, the groups, and that nothing foreign gets in unescaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.types import Hit
from pipeline.page.html.grid import Group, Tile, by_person, enlarged_html, results_html, served

EVIL = "<b onclick='x'>\"&"


def tile(rank: int, person: str = "Ada", mark: str = "") -> Tile:
    return Tile(Hit(rank, f"{person}/{rank}.png", person, rank / 10), Path(f"/index/lfw/{rank}.jpg"), mark)


def test_a_tile_can_be_searched_with_and_enlarged_and_says_what_it_is() -> None:
    html = results_html([Group("", "", (tile(3),))])
    assert "<button type='button' class='pick' data-event='select' data-photo='Ada/3.png'" in html
    assert "alt='3 · Ada, distance 0.30'" in html
    assert "src='pictures/lfw/3.jpg'" in html
    assert "data-event='expand' data-photo='Ada/3.png' aria-label='Enlarge 3 · Ada, distance 0.30'" in html
    assert ">3 · Ada\ndistance 0.30</div>" in html
    assert "<h3>" not in html


def test_columns_cannot_be_enlarged_and_a_mark_is_text() -> None:
    html = results_html([Group("Baseline", "12 ms", (tile(1, mark="only here"), tile(2)))], "columns")
    assert "<div class='groups columns'>" in html
    assert "<h3>Baseline</h3><p class='quiet'>12 ms</p>" in html
    assert html.count("<span class='mark'>only here</span>") == 1
    assert html.count("class='tile marked'") == 1
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
        results_html([Group("", "", (Tile(one.hit, one.picture, EVIL),))]),
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


def test_what_is_beyond_the_limit_stays_and_says_so() -> None:
    near, far = Tile(Hit(1, "a", "Ada", 0.3), Path("/a.jpg")), Tile(Hit(2, "b", "Bo", 0.9), Path("/b.jpg"), beyond=True)
    first, second = results_html([Group("", "", (near, far))]).split("</li>")[:2]
    assert "class='tile beyond'" in second
    assert "farther than the limit" in second
    assert "beyond" not in first
    assert "farther" not in first
    assert "data-photo='b'" in second


def test_a_tile_and_its_enlarged_photo_know_their_answer() -> None:
    one = Tile(Hit(1, "a", "Ada", 0.3), Path("/a.jpg"), answer=2)
    assert "data-answer='2' data-event='expand' data-photo='a'" in results_html([Group("", "", (one,))], "strips")
    html = enlarged_html(one, (10, 10), None)
    assert "data-answer='2' data-event='expand' data-photo='a'>Why this match?</button>" in html
