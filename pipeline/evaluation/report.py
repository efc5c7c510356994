"""The report as one HTML file that needs nothing else: tables, drawings and the pictures behind them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from markupsafe import Markup
from PIL import Image, ImageDraw

from pipeline.evaluation import figures, tables
from pipeline.photos.pictures import bytes_of

Picture = Callable[[str], Image.Image]  # a photo id's RGB picture

SHEET_SIDE, PAIR_SIDE = 64, 110  # pixels of one picture
GAP = 3
RIGHT, WRONG, QUERY = "#0072b2", "#d55e00", "#000000"


def html_report(report: dict[str, Any], picture: Picture) -> str:
    """The whole file; `report` as `evaluate.evaluate` returns it."""
    recipes = report["recipes"]
    made = f"{report['photos']:,} photos of {report['people']:,} people, made {report['made']}."
    if report["pairs"]:
        made += f" {report['pairs']['count']:,} pairs of View 2 from {report['pairs']['source']}."
    grouped = any(recipe["grouping"] for recipe in recipes)
    sections = [
        _section("Which is better", tables.headline(report), HEADLINE_NOTE),
        *([_section("By how much", tables.steps(report), STEP_NOTE)] if report["steps"] else []),
        _section("What a photo costs", tables.costs(report), f"{COST_NOTE} {report.get('processor', 'unknown')}."),
        drawings(report),
        *([_section("Are two photos of one person? (View 2)", tables.verification(report))] if report["pairs"] else []),
        *([verdicts(report)] if any(recipe["verdicts"] for recipe in recipes) else []),
        _section("Naming a photo: the ancestors' split", tables.splits(report), SPLIT_NOTE),
        _section("Searching with every photo", tables.retrieval(report), RETRIEVAL_NOTE),
        *([_section("Who is in these photos?", tables.grouping(report), GROUPING_NOTE)] if grouped else []),
        _section("What the indexes lose", tables.indexes(report)),
    ]
    return tables.TEMPLATES(
        "report",
        title=f"Evaluation on {report['title']}",
        made=made,
        report=report,
        sections=sections,
        sheets=[_sheet(recipe, picture) for recipe in recipes],
        group_note=GROUP_NOTE,
        groups=[(recipe["label"], tables.as_html(tables.groups(recipe))) for recipe in recipes],
        errors=[_errors(recipe, picture) for recipe in recipes if recipe["verification"]],
        recipes=[_recipe_line(recipe) for recipe in recipes],
        small_print=_small_print(report),
    )


HEADLINE_NOTE = (
    "Per cent, with the interval of 95 % over people. View 2: pairs judged rightly. TAR: pairs of one person "
    "recognised while one in a thousand pairs of two people is. 80/20: photos named rightly by their three nearest. "
    "Found: photos of the people searched for, with the query and without. Top-1, recall@20, mAP@R: every photo "
    "searched with, of a person who has another. Open set: of those, named rightly by the nearest distance while one "
    "in a hundred who are not in the gallery is named at all; names as they are."
)
COST_NOTE = "In a batch, as when a gallery is built, timed in turns on the machine that made this report:"
STEP_NOTE = (
    "Percentage points that a model has over the one before it, an option over its model, on the same pairs and "
    "photos. The last column names the gains that differ from 0 after Holm's correction for all comparisons in the "
    "table (5 %; errors taken as normal, with the standard deviation of the resamples)."
)
PERCENTAGE_NOTE = (
    "The percentage is about two photos side by side, of which one person is as likely as two; it was fitted to View 1 "
    "and is judged here on View 2. The error is the mean gap between the percentage given and the share that "
    "came true. Good models give few pairs anything between 10 % and 90 %, so the curve is rough there."
)
OPEN_SET_NOTE = (
    "Every photo searched with, itself taken out; people with one photo are strangers. The verdict about the person "
    "that the list names first, by a model and limits fitted to searches for other people, in five folds. Corrected: "
    "with the mistakes in LFW's names that are listed in lfw_errata.csv taken out."
)
ASKED_NOTE = "Means of five draws, the lowest and the highest of which stand in brackets."
WORD_NOTE = (
    "The last columns are of searches of which half are for people who are there. The error is the mean gap between "
    "the percentage given and the share that came true."
)
SPLIT_NOTE = (
    "A fifth of the photos, drawn at random, is named by the majority of the three nearest others; mean of five draws. "
    "The ceiling is the share of them whose person is among the other four fifths at all."
)
RETRIEVAL_NOTE = (
    "Each photo in turn is taken out and searched with. Precision@20 is low whatever the model, for most people have "
    "few photos; its ceiling stands beside it."
)
GROUPING_NOTE = (
    "Faces grouped into people, their names hidden; judged by the corrected names. BCubed: of the faces in a face's "
    "group the share of the same person, and of that person's faces the share in the group, averaged over faces. The "
    "drawn galleries hold up to 200 strangers besides, with one photo each; their row is the mean."
)
GROUP_NOTE = (
    "Misses: pairs of one person that are too far apart; false matches: pairs of two people that are too close; at the "
    "distance that lets one in a thousand of all pairs of two people pass, taken from a sample. Quarters are of all "
    "photos."
)


def drawings(report: dict[str, Any]) -> Markup:
    """ROC, cumulative match and a distance histogram of each recipe."""
    recipes = report["recipes"]
    verified = [recipe for recipe in recipes if recipe["verification"]]
    drawn = [_drawing(figures.cmc_svg(recipes), "Searches with the right person among the first n results, by model")]
    if verified:
        drawn.insert(0, _drawing(figures.roc_svg(recipes), "True-accept over false-accept rate, by model"))
        drawn += [
            _drawing(figures.histogram_svg(recipe), f"Distances of pairs of one person and of two: {recipe['label']}")
            for recipe in verified
        ]
    return tables.TEMPLATES("drawings", drawn=drawn)


def verdicts(report: dict[str, Any]) -> Markup:
    """What percentages and words are worth."""
    rows = tables.percentages(report)[1]
    drawn = _drawing(figures.reliability_svg(report["recipes"]), "Pairs of one person over the percentage given")
    believed = _section("Can the percentages be believed?", tables.percentages(report), PERCENTAGE_NOTE) + drawn
    return (
        _section("Who is it, and is it anybody?", tables.open_set(report), OPEN_SET_NOTE)
        + _section("Who gets a name", tables.asked(report), ASKED_NOTE)
        + _section("What the words are worth", tables.words(report), WORD_NOTE)
        + _section("In galleries of other sizes", tables.parts(report))
        + (believed if rows else Markup())
    )


def _drawing(svg: str, alternative: str) -> Markup:
    # An image of its own: the names inside one SVG would meet those of the next in one page.
    return _image(svg.encode(), "svg+xml", alternative)


def _section(title: str, table: tables.Table, note: str = "") -> Markup:
    return tables.TEMPLATES("section", title=title, table=tables.as_html(table), note=note)


def _sheet(recipe: dict[str, Any], picture: Picture) -> Markup:
    people = recipe["people"]
    found = f"{sum(one['found'] for one in people)} of {sum(one['of'] for one in people)}"
    longest = max((len(one["hits"]) for one in people), default=0)
    sheet = Image.new("RGB", (longest * (SHEET_SIDE + GAP) or 1, len(people) * (SHEET_SIDE + 2 * GAP) or 1), "white")
    for row, one in enumerate(people):
        for column, (photo_id, right) in enumerate(zip(one["hits"], one["right"], strict=True)):
            place = (column * (SHEET_SIDE + GAP), row * (SHEET_SIDE + 2 * GAP))
            sheet.paste(_framed(picture(photo_id), QUERY if column == 0 else RIGHT if right else WRONG), place)
            if not right:  # not by colour alone
                bottom = place[1] + SHEET_SIDE
                ImageDraw.Draw(sheet).rectangle((place[0], bottom, place[0] + SHEET_SIDE - 1, bottom + 2), fill=WRONG)
    said = f"{recipe['label']}: {found} found"
    return tables.TEMPLATES("figure", picture=_jpeg(sheet, said), caption=said)


def _framed(image: Image.Image, colour: str) -> Image.Image:
    side = SHEET_SIDE - 2 * GAP
    framed = Image.new("RGB", (SHEET_SIDE, SHEET_SIDE), colour)
    framed.paste(image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2), (GAP, GAP))
    return framed


def _errors(recipe: dict[str, Any], picture: Picture) -> Markup:
    found = recipe["verification"]
    kinds = [
        ("two people taken for one", [_error(error, picture) for error in found["false_matches"]]),
        ("one person not recognised", [_error(error, picture) for error in found["false_misses"]]),
    ]
    return tables.TEMPLATES("errors", label=recipe["label"], kinds=kinds)


def _error(error: dict[str, Any], picture: Picture) -> Markup:
    distance = "no face found" if error["distance"] is None else f"distance {error['distance']:.2f}"
    return _pair(map(picture, error["photo_ids"]), " and ".join(dict.fromkeys(error["people"])), distance)


def _pair(pictures: Iterable[Image.Image], names: str, said: str) -> Markup:
    both = Image.new("RGB", (2 * PAIR_SIDE + GAP, PAIR_SIDE), "white")
    for column, picture in enumerate(pictures):
        small = picture.resize((PAIR_SIDE, PAIR_SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
        both.paste(small, (column * (PAIR_SIDE + GAP), 0))
    return tables.TEMPLATES("figure", picture=_jpeg(both, names), caption=f"{names}, {said}")


AUDIT_NOTE = (
    "What two networks find wrong with the names, the surest first: 1 for the same photo, 0 where as many pairs show "
    "one person as two. Look at both photos, write accepted or rejected into the column status of audit.csv, and take "
    "that file into the gallery's corrections: python -m pipeline audit --accept FILE."
)


def audit_part(made: dict[str, Any] | None) -> Markup:
    """The table of the last audit, for the page; nothing if there was none."""
    return _section("Mistakes in the names", tables.mistakes(made), AUDIT_NOTE) if made else Markup()


def audit_sheet(made: dict[str, Any], picture: Picture) -> str:
    """An audit as one HTML file: the pictures of every finding side by side."""
    pairs = []
    for finding in made["findings"]:
        both = finding["photo"], finding["other"]
        kind, name, reason, sure = (finding[column] for column in ("kind", "name", "reason", "sure"))
        said = f"{kind} ({name}): {reason}, {sure}" if name else f"{kind}: {reason}, {sure}"
        pairs.append(_pair(map(picture, both), " and ".join(both), said))
    return tables.TEMPLATES("audit", title=f"Names of {made['title']}", made=made, note=AUDIT_NOTE, pairs=pairs)


def _jpeg(image: Image.Image, alternative: str) -> Markup:
    return _image(bytes_of(image, "JPEG", quality=80), "jpeg", alternative)


def _image(content: bytes, kind: str, alternative: str) -> Markup:
    return tables.TEMPLATES("picture", data=base64.b64encode(content).decode(), kind=kind, alternative=alternative)


def _small_print(report: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    seeds = ", ".join(f"{name} {seed}" for name, seed in report["seeds"].items())
    return f"Photos {report['photos_revision'][:16]}. Seeds: {seeds}. {versions}."


def _recipe_line(recipe: dict[str, Any]) -> str:
    weights, custom = recipe["weights"]["sha256"][:16], " (custom)" if recipe["weights"]["custom"] else ""
    return (
        f"{recipe['recipe']}: fingerprint {recipe['fingerprint']}, weights {weights}{custom}, {recipe['dim']} numbers, "
        f"{recipe['embedded']:,} photos embedded, {recipe['seconds']} s"
    )
