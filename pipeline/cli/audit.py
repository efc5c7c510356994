"""Auditing a gallery's names, and taking what somebody decided about them."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from pipeline.cli.common import Commands, ProgressBars, add_command, configured_gallery, output_file


def add_commands(commands: Commands) -> None:
    """Adds the command below with its arguments."""
    command = add_command(commands, "audit", audit, "mistakes in the names: one person twice, two as one, wrong faces")
    command.add_argument(
        "--recipes",
        nargs="+",
        metavar="NAME",
        help="networks that must all agree; default: the two best that are built",
    )
    command.add_argument("--uncorrected", action="store_true", help="as if no name had been corrected yet")
    command.add_argument("--json", type=output_file, help="where to write the findings; default: beside the galleries")
    command.add_argument("--csv", type=output_file, help="where to write the table to be reviewed; default: the same")
    command.add_argument("--html", type=output_file, help="where to write the pictures side by side; default: the same")
    command.add_argument("--accept", type=Path, metavar="FILE", help="take the decisions of a reviewed table")


def audit(options: argparse.Namespace) -> int:
    """Audits the names and prints what was found, or takes the decisions of a table."""
    from pipeline.evaluation.tables import markdown, mistakes
    from pipeline.galleries.reports import accept, make_audit, save_audit

    gallery = configured_gallery()
    if options.accept:
        print(f"{accept(gallery, options.accept)} decisions taken; audit again for what is left.")
        return 0
    with closing(ProgressBars()) as bars:
        made = make_audit(gallery, options.recipes, bars, corrected=not options.uncorrected)
    paths = save_audit(gallery, made, (options.json, options.csv, options.html))
    print(markdown(mistakes(made)))
    print(f"{len(made['findings'])} to look at; {', '.join(map(str, paths))}.")
    return 0
