"""The report's tables and drawings, from figures written down by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from PIL import Image

from pipeline.evaluation import figures, report, tables


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def identified(share: float) -> dict[str, Any]:
    return {"at_1e2": estimate(share, 0.7, 1), "at_1e3": estimate(0.5, 0.3, 0.7), "queries": 9204, "strangers": 4028}


@pytest.fixture
def one() -> dict[str, Any]:
    """A recipe's figures."""
    return {
        "recipe": "mtcnn-reid",
        "label": "Compact",
        "verification": {
            "accuracy": estimate(0.99467, 0.99, 1),
            "standard_error": 0.00123,
            "folds": [0.99, 1.0],
            "thresholds": [1.0, 1.2],
            "auc": 0.998765,
            "equal_error_rate": 0.0051,
            "tar_at_far_1e2": 0.995,
            "tar_at_far_1e3": estimate(0.9876, 0.97, 0.99),
            "pairs": 6000,
            "compared": 5999,
            "roc": [[0.001, 0.9], [1.0, 1.0]],
            "genuine_histogram": [3, 1, 0, 0],
            "impostor_histogram": [0, 0, 2, 2],
            "false_matches": [{"photo_ids": ["a", "b"], "people": ["<A>", "B"], "distance": 0.5}],
            "false_misses": [{"photo_ids": ["c", "d"], "people": ["E", "E"], "distance": None}],
        },
        "verdicts": {
            "middle": 1.17107,
            "width": 0.035,
            "limit": {"distance": 1.01, "false_alarms": 0.1},
            "reliability": {"count": [2990, 3009], "said": [0.01, 0.99], "true": [0.0, 1.0], "error": 0.00512},
            "person": {
                "as_they_are": identified(0.8),
                "corrected": identified(0.9),
                "without_apart": identified(0.95) | {"at_1e3": None},
                "parts": [
                    {"people": 100, "faces": 233, "at_1e2": 0.97, "queries": 1890, "strangers": 12000, "error": 0.0042},
                    {"people": 0, "faces": 13231, "at_1e2": 0.9, "queries": 9204, "strangers": 4028, "error": 0.0072},
                ],
                "asked": {"right": estimate(0.905, 0.9, 0.92), "named": estimate(0.01, 0, 0.02)},
                "reliability": {"count": [10, 10], "said": [0.1, 0.9], "true": [0.1, 0.9], "error": 0.0072},
                "words": [
                    {"words": "very likely", "present": 0.9, "absent": 0.01, "right": 0.9876},
                    {"words": "unlikely", "present": 0.0, "absent": 0.0, "right": None},
                ],
            },
        },
        "split": {"accuracy": estimate(0.643, 0.63, 0.65), "spread": 0.0071, "ceilings": [0.66, 0.67]},
        "ancestors": {"split": 0.622, "albert_costa": 6},
        "people": [
            {"photo_id": "Albert_Costa_0001", "found": 5, "of": 6, "hits": ["a", "b"], "right": [True, False]},
            {"photo_id": "x", "found": 6, "of": 6, "hits": ["a"], "right": [True]},
        ],
        "retrieval": {
            "top1": estimate(0.991, 0.98, 0.995),
            "recall_at_20": estimate(0.5, 0.4, 0.6),
            "r_precision": estimate(0.5, 0.4, 0.6),
            "map_at_r": estimate(0.4, 0.3, 0.5),
            "precision_at_20": 0.3,
            "precision_ceiling": 0.503,
            "queries": 9164,
            "cmc": [0.8, 0.9],
        },
        "open_set": None,
        "grouping": {
            "all": {
                **{"pair_precision": 0.99, "pair_recall": 0.98, "bcubed_precision": 0.97, "bcubed_recall": 0.96},
                **{"bcubed_f": 0.965, "v_measure": 0.9956, "groups": 5800.0, "people": 5737.0},
            }
        },
        "cost": {"detect_ms": 14.0, "embed_ms": 6.04},
        "indexes": [{"index": "kmeans", "recall_at_20": 0.6931, "top1": 0.9, "top1_lost": 0.091, "queries": 500}],
        "groups": [
            {
                "attribute": "brightness",
                "label": "lowest quarter (1 to 2)",
                "photos": 3308,
                "top1_error": 0.012,
                "miss_rate": None,
                "match_rate": 0.00123,
                "genuine_distance": 0.8,
                "impostor_distance": 1.4,
            }
        ],
    }


def test_the_headline(one: dict[str, Any]) -> None:
    header, (row,) = tables.headline({"recipes": [one]})
    assert len(header) == len(row)
    assert row == (
        "mtcnn-reid",
        "99.47 (99.00 to 100.00)",
        "98.76 (97.00 to 99.00)",
        "64.3 (63.0 to 65.0)",
        "11 of 12",
        "9 of 10",
        "99.10 (98.00 to 99.50)",
        "50.0 (40.0 to 60.0)",
        "40.0 (30.0 to 50.0)",
        "-",
    )
    one["verification"] = None
    assert tables.headline({"recipes": [one]})[1][0][1:3] == ("-", "-")


def test_the_other_tables(one: dict[str, Any]) -> None:
    whole = {"recipes": [one]}
    assert tables.verification(whole)[1] == [
        (
            "mtcnn-reid",
            "0.9947",
            "0.0012",
            "0.99877",
            "0.5",
            "99.5",
            "98.76 (97.00 to 99.00)",
            "99.0 100.0",
            "5,999 of 6,000",
        )
    ]
    assert tables.splits(whole)[1] == [("mtcnn-reid", "64.3 (63.0 to 65.0)", "0.7", "66.5", "62.2", "5", "6")]
    assert tables.retrieval(whole)[1][0][-3:] == ("30.0", "50.3", "9,164")
    assert tables.indexes(whole)[1] == [("mtcnn-reid", "kmeans", "0.693", "90.0", "9.1", "500")]
    assert tables.groups(one)[1] == [
        ("brightness", "lowest quarter (1 to 2)", "3,308", "1.2%", "-", "0.123%", "0.80", "1.40")
    ]
    assert tables.costs(whole)[1] == [("mtcnn-reid", "14.0 ms", "6.0 ms", "20.0 ms", "50")]
    assert tables.grouping(whole)[1] == [
        (*("mtcnn-reid", "all", "0.965", "0.970", "0.960", "0.990", "0.980", "0.996"), "5,800", "5,737")
    ]
    every = (tables.verification, tables.splits, tables.retrieval, tables.indexes, tables.costs, tables.grouping)
    for table in every:
        header, rows = table(whole)
        assert {len(row) for row in rows} == {len(header)}


def test_what_verdicts_are_worth(one: dict[str, Any]) -> None:
    unknown = one | {"verdicts": None}
    whole = {"recipes": [one, unknown]}
    assert tables.percentages(whole)[1] == [("mtcnn-reid", "0.0051", "1.171", "0.035", "5,999")]
    assert tables.words(whole)[1] == [
        ("mtcnn-reid", "very likely", "90.0%", "1.0%", "98.8%", "0.007"),
        ("mtcnn-reid", "unlikely", "0.0%", "0.0%", "-", "0.007"),
    ]
    half = "50.0 (30.0 to 70.0)"
    assert tables.open_set(whole)[1] == [
        (
            *("mtcnn-reid", "80.0 (70.0 to 100.0)", half, "90.0 (70.0 to 100.0)", half),
            *("95.0 (70.0 to 100.0)", "-", "9,204", "4,028"),
        )
    ]
    assert tables.asked(whole)[1] == [("mtcnn-reid", "90.5 (90.0 to 92.0)", "1.0 (0.0 to 2.0)", "89.9", "1.0")]
    assert tables.parts(whole)[1] == [
        ("mtcnn-reid", "100", "233", "97.0", "0.004", "1,890", "12,000"),
        ("mtcnn-reid", "all", "13,231", "90.0", "0.007", "9,204", "4,028"),
    ]
    assert lines_of(figures.reliability_svg([one, unknown])) == 1 * 2
    assert "Can the percentages be believed?" in report.verdicts(whole)
    one["verdicts"]["reliability"] = None
    shown = report.verdicts({"recipes": [one]})
    assert "believed" not in shown
    assert "What the words are worth" in shown


def test_without_ancestors(one: dict[str, Any]) -> None:
    one["ancestors"] = {"split": None, "albert_costa": None}
    del one["people"][0]
    assert tables.splits({"recipes": [one]})[1][0][-3:] == ("-", "-", "-")


def test_steps_say_which_way() -> None:
    gained = {
        "split": estimate(0.021, 0.018, 0.024) | {"p": 0.049},
        "top1": estimate(-0.01, -0.02, 0.001) | {"p": 0.05},
    }
    header, (row, other) = tables.steps({"steps": [{"from": "a", "to": b, **gained} for b in "bc"]})
    assert header[-1] == "not 0, of 4 compared"
    assert row == ("a", "b", "-", "+2.1 (+1.8 to +2.4)", "-1.0 (-2.0 to +0.1)", "80/20")
    assert other[1] == "c"


def test_a_report_of_before_has_no_p_values() -> None:
    step = {"from": "a", "to": "b", "top1": estimate(0.021, 0.018, 0.024)}
    assert tables.steps({"steps": [step]})[1] == [("a", "b", "-", "-", "+2.1 (+1.8 to +2.4)", "-")]


def test_a_table_as_markdown_and_as_html() -> None:
    table: tables.Table = (("recipe", "a"), [("x", "1 < 2")])
    assert tables.markdown(table) == "| recipe | a |\n|---|---|\n| `x` | 1 < 2 |"
    assert "<th scope='row'>x</th><td>1 &lt; 2</td>" in tables.as_html(table)


def lines_of(svg: str) -> int:
    """How many curves, each the colour of a recipe, a drawing has outside its legend."""
    root = ElementTree.fromstring(svg)
    groups = [
        group for group in root.iter("{http://www.w3.org/2000/svg}g") if group.get("id", "").startswith("line2d_")
    ]
    return sum("stroke-width: 1.6" in ElementTree.tostring(group).decode() for group in groups)


def test_drawings(one: dict[str, Any]) -> None:
    unverified = one | {"verification": None, "label": "Other"}
    assert lines_of(figures.cmc_svg([one, unverified])) == 2 * 2  # with the legend's
    assert lines_of(figures.roc_svg([one, unverified])) == 1 * 2
    ElementTree.fromstring(figures.histogram_svg(one))
    assert figures.roc_svg([one]) == figures.roc_svg([one])
    drawn = report.drawings({"recipes": [one, unverified]})
    assert drawn.count("<img ") == 3
    assert report.drawings({"recipes": [unverified]}).count("<img ") == 1


def test_pictures_of_errors(one: dict[str, Any]) -> None:
    asked: list[str] = []

    def picture(photo_id: str) -> Image.Image:
        asked.append(photo_id)
        return Image.new("RGB", (40, 60))

    shown = report._errors(one, picture)
    assert asked == ["a", "b", "c", "d"]
    assert "&lt;A&gt; and B, distance 0.50" in shown
    assert "<A>" not in shown
    assert "<figcaption>E, no face found</figcaption>" in shown
    one["verification"]["false_misses"] = []
    assert "one person not recognised</h3><p>None.</p>" in report._errors(one, picture)


def test_the_sheet_marks_what_is_wrong_by_more_than_colour(one: dict[str, Any]) -> None:
    images = []

    def keep(image: Image.Image, alternative: str) -> str:
        images.append(image.copy())
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_jpeg", keep)
        caption = report._sheet(one, lambda photo_id: Image.new("RGB", (50, 50), "white"))
    assert "Compact: 11 of 12 found" in caption
    (sheet,) = images
    side = report.SHEET_SIDE
    assert sheet.size == (2 * (side + report.GAP), 2 * (side + 2 * report.GAP))
    colours = [
        sheet.getpixel((x, y))
        for x, y in ((0, 0), (side + report.GAP, 0), (side + report.GAP, side + 1), (0, side + 1))
    ]
    black, orange, white = (0, 0, 0), (0xD5, 0x5E, 0), (255, 255, 255)
    assert colours == [black, orange, orange, white]
