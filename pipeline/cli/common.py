"""What several commands share: progress bars, peak memory, and which recipe was asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from tqdm import tqdm

from pipeline.core.errors import SettingsError
from pipeline.core.progress import Progress
from pipeline.core.recipes import OPTIONS, RECIPES, recipe_named, reduced
from pipeline.core.settings import Settings

if TYPE_CHECKING:
    from pipeline.galleries.gallery import Gallery


NAMES = f"{', '.join(RECIPES)}, each with any of +{' +'.join(OPTIONS)} behind its name"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """Adds a command, which `run` performs, and returns its parser for its arguments."""
    command = commands.add_parser(name, help=summary)
    command.set_defaults(command=run)
    return command


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return number


def output_file(text: str) -> Path:
    """Where a file is to be written, for argparse; SettingsError, before any work is done, if it cannot be there."""
    path = Path(text)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SettingsError(f"{path} cannot be written; name a file in a folder that can be.")
    return path


class ProgressBars:
    """Progress as tqdm's bars on stderr, one after the other."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None
        self._task = ""

    def __call__(self, progress: Progress) -> None:
        if self._bar is None or self._task != progress.task:
            self.close()
            self._task = progress.task
            self._bar = tqdm(
                total=progress.total,
                initial=progress.done - progress.worked,
                desc=progress.task,
                unit=progress.unit if progress.unit == "B" else f" {progress.unit}",
                unit_scale=progress.unit == "B",
            )
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        """Ends the bar that is open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def configured_gallery() -> Gallery:
    """The gallery that the environment's settings name."""
    from pipeline.galleries.gallery import open_gallery

    return open_gallery(Settings.from_env())


def peak_memory() -> str:
    """The most memory that this process has had, as the end of a sentence."""
    if sys.platform == "win32":
        return ""
    import resource

    kilo = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo / 2**30:.2f} GiB of memory at the peak"


def recipe_asked_for(options: argparse.Namespace, gallery: Gallery) -> str:
    """The recipe asked for, or the best that is built, or can be; reduced if that was asked for."""
    return reduced_as_asked(options.recipe or gallery.default_recipe(), options)


def reduced_as_asked(name: str, options: argparse.Namespace) -> str:
    """The recipe's name, with its dimension if `--dim` gives one."""
    recipe = recipe_named(name)
    return recipe.name if options.dim is None else reduced(recipe, options.dim).name


def takes_recipe(command: argparse.ArgumentParser, *, dim: bool = True) -> None:
    """Adds `--recipe`, and `--dim` with it."""
    command.add_argument("--recipe", metavar="NAME", help=f"{NAMES}; default: the best that is built")
    if dim:
        takes_dim(command)


def takes_dim(command: argparse.ArgumentParser) -> None:
    """Adds `--dim`."""
    command.add_argument("--dim", type=positive, help="reduce the recipe's vectors to this dimension by PCA")


def takes_json(command: argparse.ArgumentParser, what: str = "the figures as JSON") -> None:
    """Adds `--json`."""
    command.add_argument("--json", action="store_true", help=f"print {what}")
