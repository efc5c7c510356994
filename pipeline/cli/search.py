"""Searching with a photo, explaining a hit, and showing the state of the installation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipeline.cli.common import (
    Commands,
    add_command,
    configured_gallery,
    output_file,
    recipe_asked_for,
    takes_json,
    takes_recipe,
)
from pipeline.core.errors import GalleryError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.core.settings import VARIABLES, values_to_show
from pipeline.core.types import Answer
from pipeline.indexes.registry import INDEXES


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = add_command(commands, "search", search, "search with a photo; exit code 1 if it shows no face")
    command.add_argument("photo")
    takes_recipe(command)
    command.add_argument(
        "--index", default=DEFAULT_INDEX, metavar="NAME", help=f"{' or '.join(INDEXES)}; default: %(default)s"
    )
    command.add_argument(
        "--k", type=int, default=DEFAULT_K, help=f"how many results, 1 to {MAX_K}; default: %(default)s"
    )
    _takes_face(command)
    command.add_argument("--whole-photo", action="store_true", help="search with the whole photo, without a face")
    takes_json(command, "the answer as JSON")

    command = add_command(commands, "explain", explain, "draw which parts of two photos their similarity comes from")
    command.add_argument("photo")
    takes_recipe(command)
    command.add_argument("--hit", metavar="PHOTO_ID", help="default: the nearest that is not the photo itself")
    _takes_face(command)
    command.add_argument("--out", type=output_file, help="the picture; default: why.png, or none with --json")
    takes_json(command, "the figures as JSON, patch by patch")

    add_command(commands, "doctor", doctor, "check the installation; exit code 1 if anything fails")

    add_command(commands, "info", info, "show the settings, the gallery and what can be searched")


def _takes_face(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--face", type=int, default=0, metavar="N", help="which face where there are several; default: the largest"
    )


def search(options: argparse.Namespace) -> int:
    """Searches the gallery with a face of one photo."""
    from pipeline.galleries.ask import Question, Which, ask

    gallery = configured_gallery()
    face = Which.WHOLE_PHOTO if options.whole_photo else options.face
    question = Question(options.photo, options.index, options.k, face)
    answer = ask(question, lambda: gallery.searcher(recipe_asked_for(options, gallery))).answers[0]
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
    """Draws, or prints as JSON, which parts of a face and one hit their similarity comes from."""
    from pipeline.galleries.ask import Question, ask
    from pipeline.search.explain import EMBEDDINGS, nearest, picture, save_picture, why

    gallery = configured_gallery()
    question = Question(options.photo, "exact", face=options.face)
    found = ask(question, lambda: gallery.searcher(recipe_asked_for(options, gallery)))
    (answer,) = found.answers
    if answer.crop is None:
        print(json.dumps(answer.as_json(), ensure_ascii=False) if options.json else "No face was found in this photo.")
        return 1
    reason = why(found.searcher, answer.crop, gallery.photos.found(options.hit or nearest(answer)))
    out = options.out or (None if options.json else Path("why.png"))
    if out is not None:
        shown = picture(reason.explanation, (Path(options.photo).name, reason.photo.photo_id), answer.recipe)
        save_picture(shown, out)
    if options.json:
        print(json.dumps(reason.as_json(), ensure_ascii=False))
    else:
        alike, took = reason.explanation.similarity, f"{EMBEDDINGS} embeddings in {reason.ms:.0f} ms"
        print(f"Similarity {alike:.3f} with {reason.photo.photo_id}, {took}; {out}.")
    return 0


def info(options: argparse.Namespace) -> int:
    """Prints the settings, the gallery and the state of every recipe."""

    gallery = configured_gallery()
    print(
        f"gallery  {gallery.photos.title}: {len(gallery.photos):,} photos, {len(set(gallery.photos.people)):,} people"
    )
    print(f"indexes  {', '.join(INDEXES)} in {gallery.index_root.resolve()}")
    for name, recipe in RECIPES.items():
        state = "ready"
        if reason := gallery.why_unavailable(name):
            state = f"unavailable: {reason}"
        else:
            try:
                gallery.searcher(name)
            except GalleryError as error:
                state = str(error)
        print(f"recipe   {name:<16} {recipe.label}: {state}")
    for variable, value in values_to_show().items():
        print(f"setting  {variable} = {value}\n         {VARIABLES[variable]}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Prints one finding a line."""
    from pipeline.cli.doctor import examine

    failed = False
    for finding in examine():
        print(finding)
        failed |= finding.level == "fail"
    return int(failed)
