"""What is drawn, as SVG: ROC, distance histograms, cumulative match, reliability of a report; growth of the indexes.

`recipes` are those of a report. Matplotlib is imported by what draws: the page starts without waiting for it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart, with a second sign for print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES = ("-", "--", "-.", ":")
GENUINE, IMPOSTOR = COLOURS[2], COLOURS[1]
FONT_SIZE = 9

Recipes = Sequence[dict[str, Any]]


def font_file() -> Path:
    """A font with most of the world's letters, for names in pictures; Pillow's own has the Latin ones only."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def roc_svg(recipes: Recipes) -> str:
    """True-accept over false-accept rate (logarithmic) of the recipes with a verification."""
    figure, axes = _figure(5.7, 4.0)
    for number, recipe in enumerate(recipes):
        if recipe["verification"]:
            far, tar = np.transpose(recipe["verification"]["roc"])
            axes.plot(far, tar, label=recipe["label"], drawstyle="steps-post", **_line(number))
    axes.set(xscale="log", xlabel="different people taken for one (false-accept rate)", ylim=(0, 1.01))
    axes.set_ylabel("one person recognised (true-accept rate)")
    return _drawn(figure, axes)


def reliability_svg(recipes: Recipes) -> str:
    """Share of View 2's pairs that show one person over the percentage they were given; the diagonal is perfect."""
    figure, axes = _figure(5.7, 4.0)
    axes.plot((0, 1), (0, 1), color="grey", linewidth=0.8)
    for number, recipe in enumerate(recipes):
        if recipe["verdicts"] and (held := recipe["verdicts"]["reliability"]):
            axes.plot(held["said"], held["true"], label=recipe["label"], marker=".", **_line(number))
    axes.set(xlabel="probability given to a pair", ylabel="share that shows one person", xlim=(0, 1), ylim=(0, 1.01))
    return _drawn(figure, axes)


def cmc_svg(recipes: Recipes) -> str:
    """Share of searches with the right person among the first 1, 2, ... results."""
    figure, axes = _figure(5.7, 4.0)
    for number, recipe in enumerate(recipes):
        shares = recipe["retrieval"]["cmc"]
        axes.plot(range(1, len(shares) + 1), shares, label=recipe["label"], marker=".", **_line(number))
    axes.set(xlabel="among the first n results", ylabel="searches with the right person", ylim=(0, 1.01))
    axes.locator_params(axis="x", integer=True)
    return _drawn(figure, axes)


def histogram_svg(recipe: dict[str, Any]) -> str:
    """Distances of the pairs of one person and of two, with the mean threshold between them."""
    figure, axes = _figure(4.6, 2.7)
    found = recipe["verification"]
    for kind, label, colour in (("genuine", "one person", GENUINE), ("impostor", "two people", IMPOSTOR)):
        counts = found[f"{kind}_histogram"]
        axes.stairs(counts, np.linspace(0, 2, len(counts) + 1), fill=True, alpha=0.55, color=colour, label=label)
    threshold = float(np.mean(found["thresholds"]))
    axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="distance", ylabel="pairs", xlim=(0, 2), title=recipe["label"])
    return _drawn(figure, axes)


def growth_svg(figures: Sequence[dict[str, Any]]) -> str:
    """Median search and building over the number of faces, both logarithmic, a line for each index."""
    figure = _sheet(8.6, 3.6)
    for axes, of, label in zip(
        figure.subplots(1, 2), ("search_ms_median", "build_s"), ("a search, ms", "building, s"), strict=True
    ):
        for number, name in enumerate(dict.fromkeys(one["index"] for one in figures)):
            mine = [one for one in figures if one["index"] == name]
            if all(one[of] for one in mine):  # what has nothing to build has no line there
                points = [one["rows"] for one in mine], [one[of] for one in mine]
                axes.plot(*points, label=name, marker=".", **_line(number))
        axes.set(xscale="log", yscale="log", xlabel="faces in the gallery", ylabel=label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(fontsize=FONT_SIZE, frameon=False)
    return _saved(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _sheet(width, height)
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _sheet(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    # A Figure of its own, not pyplot's: pages draw in several threads.
    return Figure(figsize=(width, height), layout="constrained")


def _line(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)], "linewidth": 1.6}


def _drawn(figure: Figure, axes: Axes) -> str:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize=FONT_SIZE, frameon=False)
    return _saved(figure)


def _saved(figure: Figure) -> str:
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "reverse-face-search", "font.size": FONT_SIZE}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
