"""The command line: `python -m pipeline COMMAND`. It prints; errors go to stderr, one sentence, and exit with 2."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.cli import audit, bench, build, measure, own, people, search, train
from pipeline.core.errors import PipelineError, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        options = _parser().parse_args(arguments)
        code: int = options.command(options)
        print(end="", flush=True)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        if sys.stdout:  # Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever reads has enough, as `head` does
            return 141
        what = "What was to be printed cannot be written" if error.errno else "This did not work"
        what = f"{error.filename} cannot be used" if error.filename else what
        print(f"{what} ({error.strerror or error}); see to that, then try again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; what was done is kept.", file=sys.stderr)
        return 130
    return code


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m pipeline", description="Reverse face search.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (build, search, people, own, measure, audit, bench, train):
        module.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
