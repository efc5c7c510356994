"""Evaluating the galleries that are built, and calibrating their distances."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing

from pipeline.cli.common import Commands, ProgressBars, add_command, configured_gallery, output_file, peak_memory
from pipeline.core.settings import Settings


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = add_command(commands, "evaluate", evaluate, "measure on built galleries which model is better")
    command.add_argument(
        "--recipes", nargs="+", metavar="NAME", help="as for build, with options too; default: all that are built"
    )
    command.add_argument("--indexes", nargs="+", metavar="NAME", help="default: all that a gallery has")
    command.add_argument("--json", type=output_file, help="where to write the figures; default: beside the galleries")
    command.add_argument("--html", type=output_file, help="where to write the report; default: beside the galleries")

    command = add_command(commands, "calibrate", calibrate, "measure on LFW what distances mean, for the verdicts")
    command.add_argument("--recipes", nargs="+", metavar="NAME", help="default: all that are built")
    command.add_argument(
        "--json", type=output_file, help="a file to add the figures to, such as pipeline/search/calibrations.json"
    )


def calibrate(options: argparse.Namespace) -> int:
    """Measures what distances mean, on galleries of LFW that are built."""
    from pipeline.galleries.reports import built_recipes
    from pipeline.search.calibration import write_calibrations

    gallery = configured_gallery()
    with closing(ProgressBars()) as bars:
        measured = gallery.calibrate(options.recipes or built_recipes(gallery), bars)
    if options.json:
        write_calibrations(options.json, measured)
    for one in measured:
        limit = one.presence(one.hits.sizes[-1])
        print(
            f"{one.recipe}: as many pairs of one person as of two at distance {one.middle:.3f}, width {one.width:.3f}; "
            f"beyond {limit.distance:.3f} probably not in the gallery"
        )
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Evaluates the galleries that are built, and writes the report."""
    from pipeline.evaluation.tables import asked, costs, grouping, headline, markdown, open_set, parts, steps, words
    from pipeline.galleries.gallery import open_gallery
    from pipeline.galleries.reports import make_report, save_report

    settings = Settings.from_env()
    gallery = open_gallery(settings)
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        report = make_report(gallery, settings, options.recipes, options.indexes, bars)
    left_out = dict(report["left_out"])
    for one in report["recipes"]:
        left_out |= {f"{index} of {one['recipe']}": reason for index, reason in one["indexes_left_out"].items()}
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    paths = save_report(gallery, report, options.json, options.html)
    tables = (table(report) for table in (headline, steps, costs, open_set, asked, words, parts, grouping))
    print(*(markdown(table) for table in tables if table[1]), sep="\n\n")
    took = f"{time.perf_counter() - started:.0f} s{peak_memory()}, on {report['processor']}"
    print(f"Done in {took}; {paths[0]} and {paths[1]}.")
    return 0
