"""The photos that visitors keep on this computer: listing and removing them, whoever still has their keys."""

from __future__ import annotations

import argparse
import time

from pipeline.cli.common import Commands, add_command
from pipeline.core.errors import SettingsError
from pipeline.core.settings import Settings


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = commands.add_parser("own", help="list or remove the photos that visitors keep here (My photos)")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    add_command(actions, "list", list_kept, "the kept galleries: name, photos, size and last change")
    removing = add_command(actions, "remove", remove, "delete kept galleries, photos and vectors")
    removing.add_argument("names", nargs="*", metavar="NAME", help="a name from the list, or a browser's key")
    removing.add_argument("--all", action="store_true", help="every kept gallery")


def list_kept(options: argparse.Namespace) -> int:
    """Prints one kept gallery a line."""
    from pipeline.galleries.own_galleries import KEPT, kept_galleries

    root = Settings.from_env().index / KEPT
    found = kept_galleries(root)
    for kept in found:
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.changed))
        print(f"{kept.name}  {kept.photos:5,} photos  {kept.bytes / 1e6:9,.1f} MB  {changed}")
    if not found:
        print(f"No photos of visitors are kept in {root}.")
    return 0


def remove(options: argparse.Namespace) -> int:
    """Deletes the galleries named, or all."""
    from pipeline.galleries.own_galleries import KEPT, kept_galleries, remove_kept

    if bool(options.names) == options.all:
        raise SettingsError("Say which kept photos to remove: names from `python -m pipeline own list`, or --all.")
    root = Settings.from_env().index / KEPT
    names = [kept.name for kept in kept_galleries(root)] if options.all else options.names
    remove_kept(root, names)
    print(f"Removed: {', '.join(names) or 'nothing, for nothing was kept'}.")
    return 0
