"""The report's tables as text, the same on the command line, in the file and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.core.tables import markdown_table
from pipeline.core.templates import Templates

TEMPLATES = Templates(Path(__file__).parent / "templates")
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
NOTHING = "-"


def headline(report: dict[str, Any]) -> Table:
    """One row per recipe: the figures that settle it, with their intervals."""
    header = (
        *("recipe", "View 2", "TAR at FAR 0.1 %", "80/20", "found, the query one of them", "others found"),
        *("top-1", "recall@20", "mAP@R", "open set by distance, 1 %"),
    )
    return header, [
        (
            recipe["recipe"],
            _estimate(recipe["verification"], "accuracy"),
            _estimate(recipe["verification"], "tar_at_far_1e3"),
            _estimate(recipe["split"], "accuracy"),
            _found(recipe["people"]),
            _found(recipe["people"], but=1),
            *(_estimate(recipe["retrieval"], name) for name in ("top1", "recall_at_20", "map_at_r")),
            _estimate(recipe["open_set"], "identified"),
        )
        for recipe in report["recipes"]
    ]


def _found(people: Sequence[dict[str, Any]], but: int = 0) -> str:
    """How many photos of the people searched for were found, but for so many of each: the query finds itself."""
    found, there = (sum(max(one[key] - but, 0) for one in people) for key in ("found", "of"))
    return f"{found} of {there}"


GAINS = {"verification": "View 2", "split": "80/20", "top1": "top-1"}
SIGNIFICANT = 0.05


def steps(report: dict[str, Any]) -> Table:
    """What each recipe has over another, on the same pairs and queries; and which gains remain among so many."""
    count = sum(name in step for step in report["steps"] for name in GAINS)
    rows: list[tuple[str, ...]] = []
    for step in report["steps"]:
        real = [title for name, title in GAINS.items() if name in step and step[name].get("p", 1) < SIGNIFICANT]
        gains = (_gain(step.get(name)) for name in GAINS)
        rows.append((step["from"], step["to"], *gains, ", ".join(real) or NOTHING))
    return ("from", "to", *GAINS.values(), f"not 0, of {count} compared"), rows


def costs(report: dict[str, Any]) -> Table:
    """What a photo costs by each recipe, in a batch."""
    header = ("recipe", "finding the face", "embedding it", "together", "photos a second")
    rows: list[tuple[str, ...]] = []
    for recipe in report["recipes"]:
        times = recipe["cost"]["detect_ms"], recipe["cost"]["embed_ms"]
        rows.append((recipe["recipe"], *(f"{ms:.1f} ms" for ms in (*times, sum(times))), f"{1000 / sum(times):.0f}"))
    return header, rows


def verification(report: dict[str, Any]) -> Table:
    """View 2 in full."""
    header = (
        *("recipe", "mean", "standard error", "AUC", "equal error"),
        *("TAR at FAR 1 %", "at 0.1 %", "folds", "compared"),
    )
    rows: list[tuple[str, ...]] = []
    for recipe in report["recipes"]:
        if found := recipe["verification"]:
            folds = " ".join(f"{fold * 100:.1f}" for fold in found["folds"])
            shares = [_share(found[name]) for name in ("equal_error_rate", "tar_at_far_1e2")]
            shares.append(_estimate(found, "tar_at_far_1e3"))
            mean, error = f"{found['accuracy']['value']:.4f}", f"{found['standard_error']:.4f}"
            compared = f"{found['compared']:,} of {found['pairs']:,}"
            rows.append((recipe["recipe"], mean, error, f"{found['auc']:.5f}", *shares, folds, compared))
    return header, rows


def percentages(report: dict[str, Any]) -> Table:
    """How far the percentages can be believed, on View 2's pairs."""
    header = ("recipe", "expected calibration error", "50 % at distance", "width", "pairs")
    rows: list[tuple[str, ...]] = []
    for recipe in report["recipes"]:
        if (found := recipe["verdicts"]) and (held := found["reliability"]):
            middle, width = f"{found['middle']:.3f}", f"{found['width']:.3f}"
            rows.append((recipe["recipe"], f"{held['error']:.4f}", middle, width, f"{sum(held['count']):,}"))
    return header, rows


def open_set(report: dict[str, Any]) -> Table:
    """Searches for people who are there, named rightly while few strangers are named."""
    header = (
        *("recipe", "names as they are, 1 %", "0.1 %", "corrected, 1 %", "0.1 %"),
        *("without twins, 1 %", "0.1 %", "searches", "strangers"),
    )
    rows: list[tuple[str, ...]] = []
    for name, found in _persons(report):
        if found["corrected"]:
            kinds = [found[kind] for kind in ("as_they_are", "corrected", "without_apart")]
            shares = [_estimate(kind, at) for kind in kinds for at in ("at_1e2", "at_1e3")]
            rows.append((name, *shares, *(f"{found['corrected'][of]:,}" for of in ("queries", "strangers"))))
    return header, rows


def asked(report: dict[str, Any]) -> Table:
    """Who gets a name, likely or better, by limits that were set on other people."""
    header = (
        *("recipe", "right name, of 200 people with 4 photos or more", "a name, of 200 strangers"),
        *("right name, of everybody with 2 or more", "a name, of all strangers"),
    )
    rows: list[tuple[str, ...]] = []
    for name, found in _persons(report):
        if found["asked"]:
            sure = [one for one in found["words"] if one["words"] in ("very likely", "likely")]
            right = sum(one["right"] * (one["present"] + one["absent"]) for one in sure if one["right"] is not None)
            drawn = [_estimate(found["asked"], kind) for kind in ("right", "named")]
            rows.append((name, *drawn, _share(right), _share(sum(one["absent"] for one in sure))))
    return header, rows


def parts(report: dict[str, Any]) -> Table:
    """How the verdict does in galleries of other sizes."""
    header = ("recipe", "people", "faces", "named rightly at 1 %", "calibration error", "searches", "strangers")
    return header, [
        (
            name,
            f"{one['people']:,}" if one["people"] else "all",
            f"{one['faces']:,}",
            _share(one["at_1e2"]),
            f"{one['error']:.3f}",
            f"{one['queries']:,}",
            f"{one['strangers']:,}",
        )
        for name, found in _persons(report)
        for one in found["parts"]
    ]


def words(report: dict[str, Any]) -> Table:
    """What each word for the person named first is worth, and how far the percentage can be believed."""
    header = (
        *("recipe", "first name called", "person is there", "is not there"),
        *("called so rightly", "calibration error"),
    )
    return header, [
        (
            name,
            one["words"],
            f"{one['present']:.1%}",
            f"{one['absent']:.1%}",
            _optional(one["right"], "{:.1%}"),
            f"{found['reliability']['error']:.3f}",
        )
        for name, found in _persons(report)
        for one in found["words"]
    ]


def _persons(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    verdicts = [(recipe["recipe"], recipe["verdicts"]) for recipe in report["recipes"] if recipe["verdicts"]]
    return [(name, found["person"]) for name, found in verdicts if found["person"]]


def splits(report: dict[str, Any]) -> Table:
    """The ancestors' split beside its ceiling and their figures."""
    header = ("recipe", "80/20", "spread", "ceiling", "their 80/20", "Albert Costa, of 6", "theirs")
    rows: list[tuple[str, ...]] = []
    for recipe in report["recipes"]:
        split, theirs = recipe["split"], recipe["ancestors"]
        ceiling = sum(split["ceilings"]) / len(split["ceilings"])
        costa = [str(one["found"]) for one in recipe["people"] if one["photo_id"] == "Albert_Costa_0001"]
        rows.append(
            (
                recipe["recipe"],
                _estimate(split, "accuracy"),
                f"{split['spread'] * 100:.1f}",
                _share(ceiling),
                NOTHING if theirs["split"] is None else _share(theirs["split"]),
                costa[0] if costa else NOTHING,
                NOTHING if theirs["albert_costa"] is None else str(theirs["albert_costa"]),
            )
        )
    return header, rows


def retrieval(report: dict[str, Any]) -> Table:
    """Leave-one-out beside its ceiling."""
    header = ("recipe", "top-1", "recall@20", "R-precision", "mAP@R", "precision@20", "its ceiling", "queries")
    rows: list[tuple[str, ...]] = []
    for recipe in report["recipes"]:
        found = recipe["retrieval"]
        estimates = [_estimate(found, name) for name in ("top1", "recall_at_20", "r_precision", "map_at_r")]
        precision = [_share(found["precision_at_20"]), _share(found["precision_ceiling"])]
        rows.append((recipe["recipe"], *estimates, *precision, f"{found['queries']:,}"))
    return header, rows


def indexes(report: dict[str, Any]) -> Table:
    """What every index finds, and what it costs."""
    header = ("recipe", "index", "recall@20", "top-1", "top-1 lost", "queries")
    return header, [
        (
            recipe["recipe"],
            index["index"],
            f"{index['recall_at_20']:.3f}",
            _share(index["top1"]),
            f"{index['top1_lost'] * 100:.1f}",
            str(index["queries"]),
        )
        for recipe in report["recipes"]
        for index in recipe["indexes"]
    ]


def grouping(report: dict[str, Any]) -> Table:
    """How well faces are grouped into people, names hidden."""
    header = (
        *("recipe", "faces of", "BCubed F", "precision", "recall"),
        *("pairs' precision", "recall", "V-measure", "groups", "people"),
    )
    shares = ("bcubed_f", "bcubed_precision", "bcubed_recall", "pair_precision", "pair_recall", "v_measure")
    counts = ("groups", "people")
    return header, [
        (recipe["recipe"], of, *(f"{one[name]:.3f}" for name in shares), *(f"{one[name]:,.0f}" for name in counts))
        for recipe in report["recipes"]
        for of, one in recipe["grouping"].items()
    ]


def mistakes(made: dict[str, Any]) -> Table:
    """What an audit found in a gallery's names."""
    columns = ("kind", "photo", "other", "name", "reason", "sure")
    return columns, [tuple(str(finding[column]) for column in columns) for finding in made["findings"]]


def groups(recipe: dict[str, Any]) -> Table:
    """Who one recipe fails."""
    header = ("by", "group", "photos", "top-1 wrong", "misses", "false matches", "distance, one person", "two people")
    return header, [
        (
            group["attribute"],
            group["label"],
            f"{group['photos']:,}",
            *(_optional(group[name], "{:.1%}") for name in ("top1_error", "miss_rate")),
            _optional(group["match_rate"], "{:.3%}"),
            *(_optional(group[name], "{:.2f}") for name in ("genuine_distance", "impostor_distance")),
        )
        for group in recipe["groups"]
    ]


def markdown(table: Table) -> str:
    """The table as README.md in this package has it."""
    header, rows = table
    return "\n".join(markdown_table(header, ((f"`{row[0]}`", *row[1:]) for row in rows)))


def _share(value: float) -> str:
    return f"{value * 100:.1f}"


def _optional(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


def _estimate(figures: dict[str, Any] | None, name: str) -> str:
    """Per cent with the interval, such as 99.2 (98.9 to 99.5)."""
    if figures is None or figures[name] is None:
        return NOTHING
    value, low, high = (figures[name][part] * 100 for part in ("value", "low", "high"))
    digits = 2 if value >= 98 else 1  # where the last tenths are what is argued about
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _gain(figures: dict[str, float] | None) -> str:
    """Percentage points with the interval, such as +2.1 (+1.8 to +2.4)."""
    if figures is None:
        return NOTHING
    value, low, high = (f"{figures[part] * 100:+.1f}" for part in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def as_html(table: Table) -> Markup:
    """The table as HTML."""
    header, rows = table
    return TEMPLATES("table", header=header, rows=rows)
