"""The command line: `python -m pipeline COMMAND`. It checks, calls and prints; errors go to stderr and exit with 2."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from pipeline.errors import GalleryError, PipelineError
from pipeline.indexes import INDEXES
from pipeline.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.settings import VARIABLES, Settings
from pipeline.types import Answer, Progress


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; what was done is kept.", file=sys.stderr)
        return 130
    return code


def build(options: argparse.Namespace) -> int:
    """Builds galleries."""
    from pipeline.library import open_library

    library = open_library(Settings.from_env())
    recipes = list(RECIPES) if options.recipe == "all" else [options.recipe or library.default_recipe()]
    started = time.perf_counter()
    bars = ProgressBars()
    try:
        if options.shard:
            left = library.build_shard(recipes, options.shard, bars)
        else:
            library.build(recipes, bars)
    finally:
        bars.close()
    if options.shard:
        rest = f"parts left for the other shards: {left}" if left else "every part is there"
        print(f"This shard is done; {rest}. When all are, the same command without --shard puts them together.")
        return 0
    for recipe in recipes:
        manifest = library.searcher(recipe).gallery.manifest
        counts, annoy = manifest["counts"], manifest["indexes"]["annoy"]
        print(
            f"{recipe}: {counts['indexed']:,} of {counts['photos']:,} photos of {counts['people']:,} people indexed, "
            f"{counts['no_face']} without a face, {counts['unreadable']} unreadable; "
            f"Annoy recall@20 {annoy['recall_at_20']} with search_k {annoy['search_k']:,}; {library.folder(recipe)}"
        )
        for skipped in manifest["skipped"]:
            print(f"  skipped {skipped['photo_id']}: {skipped['reason']}")
    print(f"Done in {time.perf_counter() - started:.0f} s{_peak_memory()}.")
    return 0


def _peak_memory() -> str:
    if sys.platform == "win32":
        return ""
    import resource

    kilo = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo / 2**30:.2f} GiB of memory at the peak"


def search(options: argparse.Namespace) -> int:
    """Searches for the largest face of one photo."""
    from pipeline.images import open_image
    from pipeline.library import open_library
    from pipeline.search import check_request

    check_request(options.k, options.index)
    image = open_image(options.photo)
    library = open_library(Settings.from_env())
    searcher = library.searcher(options.recipe or library.default_recipe())
    answer = searcher.search(image, options.k, options.index, whole_photo=options.whole_photo)
    if options.json:
        print(json.dumps(answer.as_json(), ensure_ascii=False))
    else:
        _print_answer(answer)
    return 0 if answer.found_face else 1


def _print_answer(answer: Answer) -> None:
    if not answer.found_face:
        print("No face was found in this photo; try another, or search with the whole photo (--whole-photo).")
        return
    others = f", the largest of {len(answer.faces)} faces" if len(answer.faces) > 1 else ""
    print(f"{answer.recipe} on {answer.gallery} by {answer.index}{others}: {answer.timings_ms['total']:.0f} ms")
    for hit in answer.hits:
        note = "  the same photo" if hit.is_query else ""
        print(f"{hit.rank:4}  {hit.distance:.4f}  {hit.person:<32}  {hit.photo_id}{note}")


def bench_indexes(options: argparse.Namespace) -> int:
    """Measures every index on one recipe's gallery."""
    from pipeline.bench import bench_indexes
    from pipeline.library import open_library

    library = open_library(Settings.from_env())
    gallery = library.searcher(options.recipe or library.default_recipe()).gallery
    bars = ProgressBars()
    try:
        figures = bench_indexes(gallery, bars)
    finally:
        bars.close()
    if options.json:
        print(
            json.dumps(
                {
                    "gallery": gallery.manifest["gallery"],
                    "recipe": gallery.manifest["recipe"]["name"],
                    "vectors": list(gallery.vectors.shape),
                    "indexes": [one.as_json() for one in figures],
                }
            )
        )
        return 0
    count, dim = gallery.vectors.shape
    print(f"{gallery.manifest['recipe']['name']} on {gallery.manifest['gallery']}: {count:,} vectors of {dim} numbers")
    print("| index | recall@20 | search, median | search, p95 | build | on disk |")
    print("|---|---|---|---|---|---|")
    for one in figures:
        print(
            f"| `{one.index}` | {one.recall_at_20:.3f} | {one.search_ms_median:.2f} ms | {one.search_ms_p95:.2f} ms "
            f"| {one.build_s:.1f} s | {one.disk_bytes / 1e6:.1f} MB |"
        )
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Measures the galleries that are built, and keeps the report."""
    from pipeline.library import open_library
    from pipeline.reports import make_report, save_report
    from pipeline.tables import headline, markdown, steps

    settings = Settings.from_env()
    library = open_library(settings)
    started = time.perf_counter()
    bars = ProgressBars()
    try:
        report = make_report(library, settings, options.recipes, options.indexes, bars)
    finally:
        bars.close()
    left_out = dict(report["left_out"])
    for one in report["recipes"]:
        left_out |= {f"{index} of {one['recipe']}": reason for index, reason in one["indexes_left_out"].items()}
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    paths = save_report(library, report, options.json, options.html)
    print(markdown(headline(report)), markdown(steps(report)), sep="\n\n")
    print(f"Done in {time.perf_counter() - started:.0f} s{_peak_memory()}; {paths[0]} and {paths[1]}.")
    return 0


def info(options: argparse.Namespace) -> int:
    """Says what is set, what is here and what can be searched."""
    from pipeline.library import open_library

    settings = Settings.from_env()
    library = open_library(settings)
    print(
        f"gallery  {library.photos.title}: {len(library.photos):,} photos, {len(set(library.photos.people)):,} people"
    )
    print(f"indexes  {', '.join(INDEXES)} in {library.index_root.resolve()}")
    for name, recipe in RECIPES.items():
        reason = library.encoders.why_unavailable(name)
        if reason is None:
            try:
                library.searcher(name)
                state = "ready"
            except GalleryError as error:
                state = str(error)
        else:
            state = f"unavailable: {reason}"
        print(f"recipe   {name:<16} {recipe.label}: {state}")
    for variable, meaning in VARIABLES.items():
        print(f"setting  {variable}: {meaning}")
    return 0


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    return int(number), int(of)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Reverse face search.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("build", help="embed the gallery's photos and index them; goes on where it stopped")
    command.add_argument("--recipe", choices=[*RECIPES, "all"], help="default: the best one that can be had")
    command.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="embed only this worker's share, such as 0/2; build without it to merge",
    )
    command.set_defaults(command=build)

    command = commands.add_parser("search", help="search the gallery with a photo; exit code 1 if it shows no face")
    command.add_argument("photo", type=Path)
    command.add_argument("--recipe", choices=list(RECIPES), help="default: the best one that can be had")
    command.add_argument(
        "--index", default=DEFAULT_INDEX, metavar="NAME", help=f"{' or '.join(INDEXES)}; default: %(default)s"
    )
    command.add_argument(
        "--k", type=int, default=DEFAULT_K, help=f"how many results, 1 to {MAX_K}; default: %(default)s"
    )
    command.add_argument("--whole-photo", action="store_true", help="search with the whole photo, without a face")
    command.add_argument("--json", action="store_true", help="print the answer as JSON")
    command.set_defaults(command=search)

    command = commands.add_parser("bench-indexes", help="measure every index on a gallery that is built")
    command.add_argument("--recipe", choices=list(RECIPES), help="default: the best one that can be had")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_indexes)

    command = commands.add_parser("evaluate", help="which model is better, by how much: measured on what is built")
    command.add_argument(
        "--recipes", nargs="+", choices=list(RECIPES), metavar="NAME", help="default: all that are built"
    )
    command.add_argument("--indexes", nargs="+", metavar="NAME", help="default: all that a gallery has")
    command.add_argument("--json", type=Path, help="where to write the figures; default: beside the galleries")
    command.add_argument("--html", type=Path, help="where to write the report; default: beside the galleries")
    command.set_defaults(command=evaluate)

    command = commands.add_parser("info", help="what is set, what is here and what can be searched")
    command.set_defaults(command=info)
    return parser


if __name__ == "__main__":
    sys.exit(main())
