"""Who is in a folder of photos."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from pipeline.cli.common import Commands, ProgressBars, add_command
from pipeline.core.errors import SettingsError
from pipeline.core.settings import Settings

SHOWN = 5  # of a person's photos, in the table


def add_commands(commands: Commands) -> None:
    """Adds the command below with its arguments."""
    command = add_command(commands, "people", people, "group the faces in a folder of photos into people")
    command.add_argument("folder", type=Path, help="any folder of photos; what is below it counts too")
    command.add_argument("--recipe", metavar="NAME", help="default: the best that can be had")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--link", type=Path, metavar="OUT", help="make a folder a person in OUT, with links to photos")


def people(options: argparse.Namespace) -> int:
    """Prints who is in the photos of a folder, the one with the most faces first."""
    from pipeline.core.recipes import recipe_named
    from pipeline.galleries.gallery import open_gallery
    from pipeline.galleries.people import FolderFaces, find_people, link_people, require_new

    settings = Settings.from_env()
    if options.link:
        require_new(options.link)
    gallery = FolderFaces(options.folder, open_gallery(settings).encoders, settings.index)
    recipe = recipe_named(options.recipe).name if options.recipe else gallery.recipe_to_build()
    if not recipe_named(recipe).finds_faces:
        raise SettingsError(f"{recipe} looks at whole photos; choose a recipe that finds faces.")
    with closing(ProgressBars()) as bars:
        found = find_people(gallery, recipe, bars)
    if options.link:
        link_people(found, options.folder, options.link)
    said = found.as_json()
    if options.json:
        print(json.dumps(said, ensure_ascii=False))
        return 0
    for person in said["people"]:
        photos = person["photos"]
        more = f" and {len(photos) - SHOWN:,} more" if len(photos) > SHOWN else ""
        name = person["person"] if isinstance(person["person"], str) else f"person {person['person']}"
        print(f"{name}: {len(photos):,} photos: {', '.join(photos[:SHOWN])}{more}")
    print(f"{len(said['unknown']):,} faces are seen only once.")
    return 0
