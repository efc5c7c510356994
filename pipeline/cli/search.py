"""The commands, each of which checks, calls and prints; `__main__.py` reads what is asked for."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from pipeline.core.errors import GalleryError, GalleryMissing
from pipeline.core.progress import Progress
from pipeline.core.recipes import RECIPES, recipe_named, reduced
from pipeline.core.settings import VARIABLES, Settings
from pipeline.core.types import Answer
from pipeline.indexes.registry import INDEXES

if TYPE_CHECKING:
    from pipeline.galleries.gallery import Gallery


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


def build(options: argparse.Namespace) -> int:
    """Builds galleries."""
    from pipeline.galleries.gallery import open_gallery

    gallery = open_gallery(Settings.from_env())
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
        counts, annoy = manifest["counts"], manifest["indexes"]["annoy"]
        print(
            f"{recipe}: {counts['indexed']:,} of {counts['photos']:,} photos of {counts['people']:,} people indexed, "
            f"{counts['no_face']} without a face, {counts['unreadable']} unreadable; "
            f"Annoy recall@20 {annoy['recall_at_20']} with search_k {annoy['search_k']:,}; {gallery.folder(recipe)}"
        )
        for skipped in manifest["skipped"]:
            print(f"  skipped {skipped['photo_id']}: {skipped['reason']}")
    print(f"Done in {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def _draw_maps(gallery: Gallery, recipes: Sequence[str], bars: ProgressBars) -> None:
    """Draws the maps that are not there yet."""
    from pipeline.embeddings.map import load_map, open_map

    all_embeddings, started = [gallery.searcher(recipe).embeddings for recipe in recipes], time.perf_counter()
    missing = [embeddings for embeddings in all_embeddings if load_map(embeddings) is None]
    for done, embeddings in enumerate(missing, start=1):
        bars(Progress("Drawing maps", "maps", done - 1, len(missing), done - 1, time.perf_counter() - started))
        open_map(embeddings)
        bars(Progress("Drawing maps", "maps", done, len(missing), done, time.perf_counter() - started))


def peak_memory() -> str:
    if sys.platform == "win32":
        return ""
    import resource

    kilo = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo / 2**30:.2f} GiB of memory at the peak"


def publish(options: argparse.Namespace) -> int:
    """Uploads galleries that are built to a repository of the Hub."""
    from pipeline.embeddings.publish import publish
    from pipeline.galleries.gallery import open_gallery
    from pipeline.galleries.reports import built_recipes

    gallery = open_gallery(Settings.from_env())
    recipes = options.recipe or built_recipes(gallery)
    if not recipes:
        raise GalleryMissing("No gallery is built yet; run `python -m pipeline build`.")
    with closing(ProgressBars()) as bars:
        all_embeddings = [gallery.searcher(recipe).embeddings for recipe in recipes]
        commit = publish(gallery.pictures, all_embeddings, options.repo, bars, private=options.private)
    print(f"Published {', '.join(recipes)}: {commit}")
    print(f"FACESEARCH_INDEX_REPO={options.repo} fetches them instead of building them.")
    return 0


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
            verdict = f"  {hit.verdict.words:<11} {hit.verdict.as_json()['pair_percent']:5.1f} % as a pair"
        print(f"{hit.rank:4}  {hit.distance:.4f}{verdict}  {hit.person:<32}  {hit.photo_id}{note}")
    if answer.limit is None:
        print("No verdicts: these weights were never calibrated for such a search; see `python -m pipeline calibrate`.")
        return
    found = "probably not in this gallery" if answer.probably_absent else "perhaps in this gallery"
    print(
        f"This person is {found}: {answer.limit.false_alarms:.1%} of searches for strangers have a photo within "
        f"{answer.limit.distance:.2f}. The percentages are of pairs this alike, half of all being of one person; they "
        "are no proof."
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
        reason = gallery.encoders.why_unavailable(name)
        if reason is None:
            try:
                gallery.searcher(name)
                state = "ready"
            except GalleryError as error:
                state = str(error)
        else:
            state = f"unavailable: {reason}"
        print(f"recipe   {name:<16} {recipe.label}: {state}")
    for variable, meaning in VARIABLES.items():
        print(f"setting  {variable}: {meaning}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Says what is well here and what is not."""
    from pipeline.cli.doctor import examine

    levels = set()
    for finding in examine():
        print(finding)
        levels.add(finding.level)
    return 1 if "fail" in levels else 0


def recipe_asked_for(options: argparse.Namespace, gallery: Gallery) -> str:
    """The recipe asked for, or the best that can be had; reduced if that was asked for."""
    return _reduced_as_asked(options.recipe or gallery.default_recipe(), options)


def _recipes_asked_for(options: argparse.Namespace, gallery: Gallery) -> list[str]:
    if options.recipe == ["all"]:
        return _all_but_untrained(gallery)
    return [_reduced_as_asked(name, options) for name in options.recipe or [gallery.default_recipe()]]


def _reduced_as_asked(name: str, options: argparse.Namespace) -> str:
    recipe = recipe_named(name)
    return recipe.name if options.dim is None else reduced(recipe, options.dim).name


def _all_but_untrained(gallery: Gallery) -> list[str]:
    """Every recipe; one whose head is not trained yet is named and left out."""
    untrained = [name for name, recipe in RECIPES.items() if recipe.layer == "head"]
    for name in (name for name in untrained if not gallery.encoders.on_disk(name)):
        print(f"{name} is left out: {gallery.encoders.why_unavailable(name)}", file=sys.stderr)
    return [name for name in RECIPES if name not in untrained or gallery.encoders.on_disk(name)]
