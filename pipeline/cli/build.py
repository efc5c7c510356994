"""Building and publishing the embeddings of a gallery."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pipeline.cli.common import (
    NAMES,
    Commands,
    ProgressBars,
    add_command,
    configured_gallery,
    peak_memory,
    reduced_as_asked,
    takes_dim,
)
from pipeline.core.errors import GalleryMissing
from pipeline.core.progress import tracked
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import LFW, SAMPLE, Settings

if TYPE_CHECKING:
    from pipeline.galleries.gallery import Gallery

NAMED = 20  # files left out that are named, of each reason


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = add_command(commands, "build", build, "embed and index the gallery's photos; continues where it stopped")
    command.add_argument(
        "--recipe", nargs="+", metavar="NAME", help=f"all, or one or more of {NAMES}; default: the best that can be had"
    )
    takes_dim(command)
    command.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="embed only this worker's share of the photos, such as 0/2; then build without --shard to merge",
    )

    command = add_command(commands, "publish", publish, "upload built galleries to a model repository of the Hub")
    command.add_argument("--repo", required=True, metavar="USER/NAME", help="created where it does not exist")
    command.add_argument("--recipe", nargs="+", metavar="NAME", help="default: all that are built")
    access = command.add_mutually_exclusive_group()
    access.add_argument("--public", action="store_true", help="for everybody; default for LFW and the sample only")
    access.add_argument(
        "--private", action="store_true", help="for those you give access; default for all other photos"
    )


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 0/2")
    return int(number), int(of)


def build(options: argparse.Namespace) -> int:
    """Builds galleries."""
    gallery = configured_gallery()
    recipes = _recipes_asked_for(options, gallery)
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        if options.shard:
            left = gallery.build_shard(recipes, options.shard, bars)
        else:
            gallery.build(recipes, bars)
            _draw_maps(gallery, recipes, bars)
    if options.shard:
        rest = f"parts left for the other shards: {left}" if left else "every part is there"
        print(f"This shard is done; {rest}. When all are, the same command without --shard puts them together.")
        return 0
    for recipe in recipes:
        manifest = gallery.searcher(recipe).embeddings.manifest
        counts = manifest["counts"]
        indexed = counts["photos"] - counts["no_face"] - counts["unreadable"]
        faces = f"{counts['indexed']:,} faces in " if counts["indexed"] != indexed else ""
        print(
            f"{recipe}: {faces}{indexed:,} of {counts['photos']:,} photos of {counts['people']:,} people indexed, "
            f"{counts['no_face']} without a face, {counts['unreadable']} unreadable; "
            f"{_recall(manifest['indexes'].get('annoy'))}; {gallery.folder(recipe)}"
        )
        for skipped in manifest["skipped"]:
            print(f"  skipped {skipped['photo_id']}: {skipped['reason']}")
    _say_what_was_left_out(gallery.photos.left_out)
    print(f"Done in {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def _recall(annoy: Mapping[str, Any] | None) -> str:
    if annoy is None:
        return "without Annoy, see `python -m pipeline doctor`"
    return f"Annoy recall@20 {annoy['recall_at_20']} with search_k {annoy['search_k']:,}"


def _say_what_was_left_out(left_out: Sequence[tuple[str, str]]) -> None:
    for reason, count in Counter(reason for _, reason in left_out).most_common():
        names = [name for name, of in left_out if of == reason]
        more = f" and {count - NAMED:,} more" if count > NAMED else ""
        print(f"left out {count:,}, {reason}: {', '.join(names[:NAMED])}{more}")


def _draw_maps(gallery: Gallery, recipes: Sequence[str], bars: ProgressBars) -> None:
    """Draws the maps that are missing."""
    from pipeline.embeddings.map import load_map, open_map

    all_embeddings = [gallery.searcher(recipe).embeddings for recipe in recipes]
    missing = [embeddings for embeddings in all_embeddings if load_map(embeddings) is None]
    for embeddings in tracked(missing, "Drawing maps", "maps", bars):
        open_map(embeddings)


def _recipes_asked_for(options: argparse.Namespace, gallery: Gallery) -> list[str]:
    if "all" in (options.recipe or ()):
        return _buildable(gallery)
    asked = options.recipe or [gallery.recipe_to_build()]
    return list(dict.fromkeys(reduced_as_asked(name, options) for name in asked))


def _buildable(gallery: Gallery) -> list[str]:
    """All recipes but those whose head is not trained yet or for which the gallery is too small; these are named."""
    left_out = {}
    for name, recipe in RECIPES.items():
        if recipe.layer == "head" and not gallery.encoders.on_disk(name):
            left_out[name] = gallery.encoders.why_unavailable(name)
        elif reason := gallery.why_too_small(name):
            left_out[name] = reason
    for name, why in left_out.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    return [name for name in RECIPES if name not in left_out]


def publish(options: argparse.Namespace) -> int:
    """Uploads galleries that are built to a repository of the Hub."""
    from pipeline.embeddings.publish import publish
    from pipeline.galleries.gallery import open_gallery
    from pipeline.galleries.reports import built_recipes

    settings = Settings.from_env()
    gallery = open_gallery(settings)
    # Vectors of faces are biometric data: those of people who did not publish their photos are not made public unasked.
    private = options.private or (settings.dataset not in (LFW, SAMPLE.name) and not options.public)
    recipes = options.recipe or built_recipes(gallery)
    if not recipes:
        raise GalleryMissing("No gallery is built yet; run `python -m pipeline build`.")
    with closing(ProgressBars()) as bars:
        all_embeddings = [gallery.searcher(recipe).embeddings for recipe in recipes]
        commit = publish(gallery.pictures, all_embeddings, options.repo, bars, private=private)
    print(f"Published {', '.join(recipes)}{' in private' if private else ''}: {commit}")
    print(f"FACESEARCH_INDEX_REPO={options.repo} fetches them instead of building them.")
    return 0
