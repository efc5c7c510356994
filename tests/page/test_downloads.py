"""Answers as files: CSV and JSON that say what the answer says, and a contact sheet with every picture."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.types import Answer, Face, Hit
from pipeline.page.html.downloads import COLUMNS, GAP, LINE, SIDE, as_csv, as_json, contact_sheet
from tests.fakes import draw

FACES = (Face((0, 0, 10, 10), 0.99, ((1, 1),) * 5), Face((20, 0, 30, 10), 0.98, ((21, 1),) * 5))
COLOURS = ("red", "lime", "blue")


def answer(number: int | None = None, hits: int = 7, faces: tuple[Face, ...] = FACES) -> Answer:
    found = tuple(Hit(rank, f"p{rank}", f'O\'Brien, "Pat" {rank} ' * 3, rank / 10) for rank in range(1, hits + 1))
    face = faces[number - 1] if number else None
    return Answer("mtcnn-facenet", "exact", "lfw", faces if number else (), face, draw(), found, {"total": 1.0})


def test_csv_has_a_line_for_each_hit() -> None:
    head, *lines = csv.reader(io.StringIO(as_csv([answer(2, hits=2), answer(hits=1)])))
    assert head == ["recipe", "index", "gallery", "face", "rank", "person", "photo_id", "distance"]
    assert lines[1] == ["mtcnn-facenet", "exact", "lfw", "2", "2", 'O\'Brien, "Pat" 2 ' * 3, "p2", "0.2000"]
    assert [line[3] for line in lines] == ["2", "2", ""]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://elsewhere")'])
def test_a_name_is_no_formula_in_a_spreadsheet(name: str) -> None:
    hit = Hit(1, name, name, 0.5)
    text = as_csv([replace(answer(), gallery=name, hits=(hit,))])
    _, line = csv.reader(io.StringIO(text, newline=""))
    assert [line[2], line[5], line[6]] == [f"'{name}"] * 3
    assert line[7] == "0.5000"


def test_json_is_the_answer_or_the_list_of_them() -> None:
    assert json.loads(as_json([answer(1)])) == answer(1).as_json()
    assert json.loads(as_json([answer(1), answer(2)])) == [answer(1).as_json(), answer(2).as_json()]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(1, 8):
        Image.new("RGB", (60, 40), COLOURS[number % 3]).save(tmp_path / f"p{number}.png")
    return tmp_path


def test_a_contact_sheet_has_every_picture_in_its_place(pictures: Path) -> None:
    def picture(photo_id: str) -> Path:
        return pictures / f"{photo_id}.png"

    captions: list[int] = []

    def caption(hit: Hit) -> str:
        captions.append(hit.rank)
        return f"{hit.rank} · {hit.person}\ndistance {hit.distance:.2f}"

    sheet = Image.open(io.BytesIO(contact_sheet([answer(1), answer(2, hits=1)], picture, caption)))
    assert sheet.format == "PNG"
    step, row = SIDE + GAP, SIDE + 2 * LINE + GAP
    top = GAP + LINE + GAP
    assert sheet.size == (COLUMNS * step + GAP, GAP + 2 * (LINE + GAP) + 3 * row)
    for rank in range(1, 8):
        place = (GAP + (rank - 1) % COLUMNS * step + 5, top + (rank - 1) // COLUMNS * row + 5)
        assert sheet.getpixel(place) == Image.new("RGB", (1, 1), COLOURS[rank % 3]).getpixel((0, 0))
    assert sheet.getpixel((GAP + 5, top + 2 * row + LINE + GAP + 5)) == (0, 255, 0)
    assert captions == [1, 2, 3, 4, 5, 6, 7, 1]
    # A long name is cut off before the next picture: nothing is written between the columns.
    between = sheet.crop((GAP + SIDE + 1, top, GAP + step - 1, top + row))
    assert between.getcolors() == [(between.width * between.height, (255, 255, 255))]
