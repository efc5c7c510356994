"""The command line: `python -m pipeline COMMAND`. It prints; errors go to stderr, one sentence, and exit with 2."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from pipeline.cli import audit, bench, build, measure, own, people, search, train
from pipeline.core.errors import PipelineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as `head` does; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; what was done is kept.", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Reverse face search.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (build, search, people, own, measure, audit, bench, train):
        module.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
