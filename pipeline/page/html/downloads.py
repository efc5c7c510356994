"""Answers as files to take away: CSV, JSON, and a contact sheet of the photos found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.core.recipes import recipe_named
from pipeline.core.types import Answer, Hit
from pipeline.evaluation.figures import font_file
from pipeline.photos.pictures import Picture, as_bytes, bytes_of

COLUMNS = 5
SIDE = 160  # pixels of a picture
GAP = 12
LINE = 18  # pixels; a line of text
TEXT = 13  # pixels
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
INK, PAPER = "#1a202c", "#ffffff"


def as_json(answers: Sequence[Answer]) -> str:
    """The answer as the command line prints it; a list of them where every face was searched with."""
    values = [answer.as_json() for answer in answers]
    return json.dumps(values[0] if len(values) == 1 else values, ensure_ascii=False, indent=1)


def as_csv(answers: Sequence[Answer]) -> str:
    """One line a hit, with the number of the face that it answers, empty for a whole photo."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["recipe", "index", "gallery", "face", "rank", "person", "photo_id", "distance"])
    for answer in answers:
        said = answer.recipe, answer.index, answer.gallery, answer.face_number or ""
        writer.writerows(
            [*map(_as_text, said), hit.rank, _as_text(hit.person), _as_text(hit.photo_id), f"{hit.distance:.4f}"]
            for hit in answer.hits
        )
    return stream.getvalue()


def _as_text(value: object) -> object:
    """A name that a spreadsheet would take for a formula and calculate, behind an apostrophe, as OWASP advises."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def contact_sheet(answers: Sequence[Answer], picture: Callable[[str], Picture], caption: Callable[[Hit], str]) -> bytes:
    """A PNG with the hits of all answers; `picture` is that of a photo by its id. The visitor's photo is not on it."""
    row_height = SIDE + 2 * LINE + GAP
    rows = sum(-(-len(answer.hits) // COLUMNS) for answer in answers)
    width = COLUMNS * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, GAP + len(answers) * (LINE + GAP) + rows * row_height), PAPER)
    pen, font, top = ImageDraw.Draw(sheet), ImageFont.truetype(str(font_file()), TEXT), GAP
    for answer in answers:
        pen.text((GAP, top), _title(answer), fill=INK, font=font)
        top += LINE + GAP
        for start in range(0, len(answer.hits), COLUMNS):
            for column, hit in enumerate(answer.hits[start : start + COLUMNS]):
                left = GAP + column * (SIDE + GAP)
                with Image.open(io.BytesIO(as_bytes(picture(hit.photo_id)))) as photo:
                    sheet.paste(ImageOps.fit(photo.convert("RGB"), (SIDE, SIDE)), (left, top))
                for number, line in enumerate(caption(hit).split("\n")[:2]):
                    pen.text((left, top + SIDE + number * LINE), _fitting(line, font), fill=INK, font=font)
            top += row_height
    return bytes_of(sheet, "PNG")


def _title(answer: Answer) -> str:
    face = f", face {answer.face_number}" if answer.face_number and len(answer.faces) > 1 else ""
    return f"{recipe_named(answer.recipe).label} on {answer.gallery} by {answer.index}{face}: {len(answer.hits)} photos"


def _fitting(line: str, font: ImageFont.FreeTypeFont) -> str:
    """The line, cut off where it would reach into the next picture."""
    if font.getlength(line) <= SIDE:
        return line
    while line and font.getlength(line + "…") > SIDE:
        line = line[:-1]
    return line + "…"
