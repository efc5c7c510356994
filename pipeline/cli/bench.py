"""Benchmarks: of the pipeline, the indexes and the server."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.common import (
    Commands,
    ProgressBars,
    add_command,
    configured_gallery,
    output_file,
    peak_memory,
    positive,
    recipe_asked_for,
    takes_json,
    takes_recipe,
)
from pipeline.core.errors import SettingsError
from pipeline.core.processors import processor
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K
from pipeline.core.settings import Settings
from pipeline.core.tables import markdown_table

if TYPE_CHECKING:
    from pipeline.bench.indexes import IndexFigures

# The columns of the tables of indexes.
COLUMNS: dict[str, Callable[[IndexFigures], str]] = {
    "faces": lambda one: f"{one.rows:,}",
    "index": lambda one: f"`{one.index}`",
    "recall@20": lambda one: f"{one.recall_at_20:.3f}",
    "effort": lambda one: one.effort,
    "search, median": lambda one: f"{one.search_ms_median:.2f} ms",
    "p95": lambda one: f"{one.search_ms_p95:.2f} ms",
    "build": lambda one: f"{one.build_s:,.1f} s",
    "on disk": lambda one: "on the server" if one.disk_bytes is None else f"{one.disk_bytes / 1e6:,.1f} MB",
    "memory added": lambda one: f"{one.added_bytes / 1e6:,.1f} MB",
    "memory": lambda one: f"{one.peak_bytes / 2**30:.1f} GiB",
    "server's": lambda one: f"{one.children_peak_bytes / 2**30:.1f} GiB",
}


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = add_command(commands, "bench", bench, "measure how long photos take to become vectors")
    command.add_argument("--photos", type=positive, default=200, help="how many; default: %(default)s")
    takes_json(command)
    command.add_argument("--profile", type=output_file, metavar="FILE", help="write a flame graph (SVG), by py-spy")
    command.add_argument("--growth", action="store_true", help="instead: how indexes grow, on synthetic faces")
    command.add_argument(
        "--faces", action="store_true", help="instead: whether all photos' faces are facenet-pytorch's"
    )
    growing = command.add_argument_group("with --growth")
    growing.add_argument("--rows", type=positive, nargs="+", metavar="N", help="default: ten thousand to a million")
    most = "exact,annoy,faiss,knn,kmeans"
    growing.add_argument("--indexes", default=most, metavar="NAMES", help="default: %(default)s")
    growing.add_argument("--start-server", action="store_true", help="start a Milvus server, as bench-scale does")
    growing.add_argument("--folder", type=Path, help="where to make a temporary folder; 5 GB for a million")
    growing.add_argument(
        "--out", type=output_file, default=Path("growth.svg"), help="the drawing; default: %(default)s"
    )

    command = add_command(
        commands, "bench-serving", bench_serving, "measure the running page: start, searches, clients"
    )
    takes_recipe(command, dim=False)  # the page offers no recipe with another dimension
    command.add_argument("--index", default=DEFAULT_INDEX, metavar="NAME", help="default: %(default)s")
    command.add_argument("--clients", type=positive, default=20, help="how many at once; default: %(default)s")
    command.add_argument("--seconds", type=positive, default=20, help="for how long; default: %(default)s")
    takes_json(command)

    command = add_command(commands, "bench-indexes", bench_indexes, "measure every index on a gallery that is built")
    takes_recipe(command)
    takes_json(command)

    command = add_command(commands, "bench-scale", bench_scale, "measure indexes on millions of synthetic faces")
    command.add_argument("--rows", type=positive, default=2_000_000, help="how many; default: %(default)s")
    command.add_argument("--dim", type=positive, default=256, help="numbers each; default: %(default)s")
    command.add_argument("--indexes", default="annoy,milvus", metavar="NAMES", help="default: %(default)s")
    command.add_argument("--folder", type=Path, help="where to make a temporary folder; 10 GB for two million")
    command.add_argument(
        "--start-server", action="store_true", help="start the Milvus server of `pip install milvus==2.3.5` for this"
    )
    takes_json(command)


def bench(options: argparse.Namespace) -> int:
    """Measures how long photos take to become vectors, or how indexes grow."""
    if options.profile is not None:
        return profiled(options.profile)
    if options.faces:
        return bench_faces(options)
    return bench_growth(options) if options.growth else bench_speed(options)


def bench_speed(options: argparse.Namespace) -> int:
    """Measures how long photos take to become vectors."""
    from pipeline.bench.speed import BATCHED, LOOP, OURS, bench_speed

    gallery = configured_gallery()
    with closing(ProgressBars()) as bars:
        figures = bench_speed(gallery.photos, gallery.encoders, options.photos, bars)
    loop, batched, ours = (figures.milliseconds[variant] for variant in (LOOP, BATCHED, OURS))
    rows = [
        (
            step,
            *(f"{variant[step]:.2f}" if step in variant else "-" for variant in (loop, batched, ours)),
            f"{loop[step] / ours[step]:.1f} x" if step in loop and ours[step] else "-",
            f"{figures.floor_ms[step]:.2f}" if step in figures.floor_ms else "-",
        )
        for step in ours
    ]
    rates = ", ".join(f"{kind} {rate:.0f}" for kind, rate in figures.rate_gmacs.items())
    return _print(
        options,
        asdict(figures),
        _on_this_processor(f"{figures.photos} photos, milliseconds a photo{peak_memory()}", figures.precisions),
        *markdown_table(("step", LOOP, BATCHED, OURS, "ours is faster by", "floor"), rows),
        f"Floor: multiply-adds over the measured rate of matrix products, in 10^9 a second: {rates}.",
        f"Faces as in {LOOP}: {figures.alike:.2%} of the photos; without a face: {figures.faceless_theirs} there, "
        f"{figures.faceless_ours} here.",
    )


def _on_this_processor(title: str, precisions: Mapping[str, str] | None = None) -> str:
    """The title of figures, with the processor they are of and the precisions of the networks that were run."""
    networks = ", ".join(f"{network} in {precision}" for network, precision in (precisions or {}).items())
    return "; ".join(filter(None, (title, str(processor()), networks)))


def _print(options: argparse.Namespace, figures: Mapping[str, Any], *lines: str) -> int:
    """Prints the figures and the processor as JSON if that was asked for, else the lines; returns the exit code."""
    for line in [json.dumps({"processor": asdict(processor()), **figures})] if options.json else lines:
        print(line)
    return 0


def bench_faces(options: argparse.Namespace) -> int:
    """Compares the faces of all photos with facenet-pytorch's."""
    from pipeline.bench.parity import measure_parity

    with closing(ProgressBars()) as bars:
        found = measure_parity(configured_gallery().photos, bars)
    return _print(
        options,
        asdict(found),
        _on_this_processor("Faces beside facenet-pytorch's"),
        f"{found.photos:,} photos: the same faces in {found.alike:.2%}; without a face {found.faceless_theirs} by "
        f"facenet-pytorch, {found.faceless_ours} here; indexed by the very same face where small ones are left out "
        f"{found.chosen:.2%}.",
    )


def bench_growth(options: argparse.Namespace) -> int:
    """Measures how the indexes grow, and draws it."""
    from pipeline.bench.scale import ROWS, Scale, bench_growth, exponents, faster_from
    from pipeline.evaluation.figures import growth_svg

    rows, names = options.rows or ROWS, tuple(options.indexes.split(","))
    scale = Scale(max(rows), indexes=names, milvus=Settings.from_env().milvus, start_server=options.start_server)
    with closing(ProgressBars()) as bars:
        figures = _shown(
            f"Synthetic faces, vectors of {scale.dim} numbers",
            bench_growth(scale, rows, options.folder, bars),
            ("faces", "index", "search, median", "p95", "recall@20", "build", "memory added"),
            as_json=options.json,
        )
    searching, building = exponents(figures, "search_ms_median"), exponents(figures, "build_s")
    as_json = [asdict(one) for one in figures]
    options.out.write_text(growth_svg(as_json), encoding="utf-8")
    lines = []
    for name in names:
        first = faster_from(figures, name) if name != "exact" and "exact" in names else None
        beats = (
            "" if name == "exact" else f"; faster than exact from {first:,}" if first else "; never faster than exact"
        )
        lines.append(f"{name}: searching grows as n^{searching[name]:.2f}, building as n^{building[name]:.2f}{beats}")
    return _print(
        options, {"figures": as_json, "search": searching, "build": building}, *lines, f"Drawn in {options.out}."
    )


def _shown(title: str, figures: Iterable[IndexFigures], columns: Sequence[str], *, as_json: bool) -> list[IndexFigures]:
    """The figures, printed as a table, each row as soon as it is measured; with `as_json` nothing is printed."""
    measured: list[IndexFigures] = []

    def rows() -> Iterator[list[str]]:
        for one in figures:
            measured.append(one)
            yield [COLUMNS[column](one) for column in columns]

    for line in chain([_on_this_processor(title)], markdown_table(columns, rows())):
        if not as_json:
            print(line, flush=True)
    return measured


def profiled(file: Path) -> int:
    """Runs this command again under py-spy, which writes its flame graph to the file; SettingsError without py-spy."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise SettingsError("Profiling needs py-spy; install it with `pip install py-spy`.")
    place = next(i for i, word in enumerate(sys.argv) if word.startswith("--profile"))
    words = sys.argv[1:place] + sys.argv[place + (1 if "=" in sys.argv[place] else 2) :]
    recording = [spy, "record", "--native", "--rate", "20", "--output", str(file), "--"]
    return subprocess.run([*recording, sys.executable, "-m", "pipeline", *words], check=False).returncode


def bench_serving(options: argparse.Namespace) -> int:
    """Measures the running page."""
    from pipeline.bench.serving import Load, bench_serving
    from pipeline.search.searcher import check_request

    gallery = configured_gallery()
    recipe = options.recipe or gallery.default_recipe()
    searcher = gallery.searcher(recipe)  # an error, not a build, where there is no gallery
    check_request(DEFAULT_K, options.index)
    load = Load(recipe, options.index, clients=options.clients, seconds=options.seconds)
    with closing(ProgressBars()) as bars:
        figures = bench_serving(gallery.photos, load, bars)
    memory = figures.resident_bytes, figures.own_bytes
    rows = (
        ("page answers / first search answered", f"{figures.page_s:.1f} s / {figures.first_s:.1f} s"),
        ("search of a gallery photo, p50 / p95", "{:.0f} / {:.0f} ms".format(*figures.small_ms)),
        ("search of 12 megapixels, p50 / p95", "{:.0f} / {:.0f} ms".format(*figures.large_ms)),
        ("index part of a search", f"{figures.index_ms:.2f} ms"),
        (
            f"{figures.clients} clients at once",
            f"{figures.searches_a_second:.1f} a second, {figures.failures} failed",
        ),
        ("resident memory, and of it the page's own", "{:,.0f} / {:,.0f} MB".format(*(each / 1e6 for each in memory))),
    )
    precisions = searcher.encoder.precisions
    title = _on_this_processor(f"{figures.recipe} by {load.index}; ready: {figures.ready}", precisions)
    as_json = {**asdict(figures), "precisions": precisions}
    return _print(options, as_json, title, *markdown_table(("what", "measured"), rows))


def bench_indexes(options: argparse.Namespace) -> int:
    """Measures every index on one recipe's gallery."""
    from pipeline.bench.indexes import bench_indexes

    gallery = configured_gallery()
    embeddings = gallery.searcher(recipe_asked_for(options, gallery)).embeddings
    manifest, (count, dim) = embeddings.manifest, embeddings.vectors.shape
    of_vectors = {"gallery": manifest["gallery"], "recipe": manifest["recipe"]["name"], "vectors": [count, dim]}
    with closing(ProgressBars()) as bars:
        figures = bench_indexes(embeddings, bars, gallery.milvus)
    title = _on_this_processor(
        f"{manifest['recipe']['name']} on {manifest['gallery']}: {count:,} vectors of {dim} numbers"
    )
    columns = ("index", "recall@20", "search, median", "p95", "build", "on disk")
    table = markdown_table(columns, ([COLUMNS[column](one) for column in columns] for one in figures))
    return _print(options, {**of_vectors, "indexes": [asdict(one) for one in figures]}, title, *table)


def bench_scale(options: argparse.Namespace) -> int:
    """Measures indexes on millions of synthetic faces."""
    from pipeline.bench.scale import Scale, bench_scale

    indexes = tuple(options.indexes.split(","))
    scale = Scale(options.rows, options.dim, indexes, Settings.from_env().milvus, options.start_server)
    title = f"Synthetic faces, vectors of {scale.dim} numbers"
    columns = ("index", "build", "on disk", "recall@20", "effort", "search, median", "p95", "memory", "server's")
    with closing(ProgressBars()) as bars:
        figures = _shown(title, bench_scale(scale, options.folder, bars), ("faces", *columns), as_json=options.json)
    return _print(options, {"dim": scale.dim, "indexes": [asdict(one) for one in figures]})
