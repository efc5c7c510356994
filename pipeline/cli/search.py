"""Searching with a photo, explaining a hit, and saying what is here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.common import NAMES, Commands, recipe_asked_for, takes_dim
from pipeline.core.errors import GalleryError
from pipeline.core.recipes import (
    DEFAULT_INDEX,
    DEFAULT_K,
    MAX_K,
    RECIPES,
)
from pipeline.core.settings import VARIABLES, Settings, values_to_show
from pipeline.core.types import Answer
from pipeline.indexes.registry import INDEXES

if TYPE_CHECKING:
    pass


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = commands.add_parser("search", help="search the gallery with a photo; exit code 1 if it shows no face")
    command.add_argument("photo", type=Path)
    command.add_argument("--recipe", metavar="NAME", help=NAMES)
    takes_dim(command)
    command.add_argument(
        "--index", default=DEFAULT_INDEX, metavar="NAME", help=f"{' or '.join(INDEXES)}; default: %(default)s"
    )
    command.add_argument(
        "--k", type=int, default=DEFAULT_K, help=f"how many results, 1 to {MAX_K}; default: %(default)s"
    )
    command.add_argument(
        "--face", type=int, default=0, metavar="N", help="which face where there are several; default: the largest"
    )
    command.add_argument("--whole-photo", action="store_true", help="search with the whole photo, without a face")
    command.add_argument("--json", action="store_true", help="print the answer as JSON")
    command.set_defaults(command=search)

    command = commands.add_parser("explain", help="draw what the similarity of a photo and a hit rests on")
    command.add_argument("photo", type=Path)
    command.add_argument("--recipe", metavar="NAME", help=NAMES)
    takes_dim(command)
    command.add_argument("--hit", metavar="PHOTO_ID", help="default: the nearest that is not the photo itself")
    command.add_argument(
        "--face", type=int, default=0, metavar="N", help="which face where there are several; default: the largest"
    )
    command.add_argument("--out", type=Path, help="the picture; default: why.png, or none with --json")
    command.add_argument("--json", action="store_true", help="print the figures as JSON, patch by patch")
    command.set_defaults(command=explain)

    command = commands.add_parser("doctor", help="what is well here and what is not; exit code 1 if anything fails")
    command.set_defaults(command=doctor)

    command = commands.add_parser("info", help="what is set, what is here and what can be searched")
    command.set_defaults(command=info)


def search(options: argparse.Namespace) -> int:
    """Searches for a face of one photo."""
    from pipeline.encoder.faces import numbered
    from pipeline.galleries.gallery import open_gallery
    from pipeline.photos.images import open_image
    from pipeline.search.searcher import check_request

    check_request(options.k, options.index)
    image = open_image(options.photo)
    gallery = open_gallery(Settings.from_env())
    searcher = gallery.searcher(recipe_asked_for(options, gallery))
    choose = None if options.whole_photo else numbered(options.face)
    answer = searcher.search(image, options.k, options.index, choose=choose)
    if options.json:
        print(json.dumps(answer.as_json(), ensure_ascii=False))
    else:
        _print_answer(answer)
    return 0 if answer.found_face else 1


def _print_answer(answer: Answer) -> None:
    if not answer.found_face:
        print("No face was found in this photo; try another, or search with the whole photo (--whole-photo).")
        return
    number = answer.face_number
    others = f", face {number} of {len(answer.faces)}" if number and len(answer.faces) > 1 else ""
    print(f"{answer.recipe} on {answer.gallery} by {answer.index}{others}: {answer.timings_ms['total']:.0f} ms")
    for hit in answer.hits:
        note = "  the same photo" if hit.is_query else ""
        verdict = ""
        if hit.verdict:
            verdict = f"  {hit.verdict.words:<11}"
        print(f"{hit.rank:4}  {hit.distance:.4f}{verdict}  {hit.person:<32}  {hit.photo_id}{note}")
    if not answer.hits:
        print("This gallery has no face to compare with; add photos that show one.")
        return
    if answer.person is None:
        print("No verdicts: these weights were never calibrated for such a search; see `python -m pipeline calibrate`.")
        return
    said = answer.person.as_json()
    print(
        f"{said['name']}: {said['is_right']}. Of searches like this one, half of all being for people of the gallery, "
        f"{said['person_percent']} % are right; {said['false_alarm_percent']} % of searches for strangers look as sure."
    )


def explain(options: argparse.Namespace) -> int:
    """Draws, or prints as JSON, what the similarity of a face and one hit rests on."""
    from pipeline.encoder.faces import numbered
    from pipeline.galleries.gallery import open_gallery
    from pipeline.photos.images import open_image
    from pipeline.search.explain import EMBEDDINGS, nearest, picture, save_picture, why

    image = open_image(options.photo)
    gallery = open_gallery(Settings.from_env())
    searcher = gallery.searcher(recipe_asked_for(options, gallery))
    answer = searcher.search(image, index="exact", choose=numbered(options.face))
    if answer.crop is None:
        _print_answer(answer)
        return 1
    reason = why(searcher, answer.crop, gallery.photos.found(options.hit or nearest(answer)))
    out = options.out or (None if options.json else Path("why.png"))
    if out is not None:
        shown = picture(reason.explanation, (options.photo.name, reason.photo.photo_id), answer.recipe)
        save_picture(shown, out)
    if options.json:
        print(json.dumps(reason.as_json(), ensure_ascii=False))
    else:
        alike, took = reason.explanation.similarity, f"{EMBEDDINGS} embeddings in {reason.ms:.0f} ms"
        print(f"Similarity {alike:.3f} with {reason.photo.photo_id}, {took}; {out}.")
    return 0


def info(options: argparse.Namespace) -> int:
    """Says what is set, what is here and what can be searched."""
    from pipeline.galleries.gallery import open_gallery

    settings = Settings.from_env()
    gallery = open_gallery(settings)
    print(
        f"gallery  {gallery.photos.title}: {len(gallery.photos):,} photos, {len(set(gallery.photos.people)):,} people"
    )
    print(f"indexes  {', '.join(INDEXES)} in {gallery.index_root.resolve()}")
    for name, recipe in RECIPES.items():
        reason = gallery.why_unavailable(name)
        if reason is None:
            try:
                gallery.searcher(name)
                state = "ready"
            except GalleryError as error:
                state = str(error)
        else:
            state = f"unavailable: {reason}"
        print(f"recipe   {name:<16} {recipe.label}: {state}")
    for variable, value in values_to_show().items():
        print(f"setting  {variable} = {value}\n         {VARIABLES[variable]}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Says what is well here and what is not."""
    from pipeline.cli.doctor import examine

    levels = set()
    for finding in examine():
        print(finding)
        levels.add(finding.level)
    return 1 if "fail" in levels else 0
