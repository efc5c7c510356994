"""Benchmarks: of the pipeline, the indexes and the server."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.common import NAMES, Commands, ProgressBars, peak_memory, positive, recipe_asked_for, takes_dim
from pipeline.core.errors import SettingsError
from pipeline.core.recipes import (
    DEFAULT_INDEX,
)
from pipeline.core.settings import Settings

if TYPE_CHECKING:
    pass


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = commands.add_parser("bench", help="measure how long photos take to become vectors")
    command.add_argument("--photos", type=positive, default=200, help="how many; default: %(default)s")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.add_argument("--profile", type=Path, metavar="FILE", help="write where the time went, as an SVG, by py-spy")
    command.add_argument("--growth", action="store_true", help="instead: how indexes grow, on faces drawn by numbers")
    command.add_argument(
        "--faces", action="store_true", help="instead: whether all photos' faces are facenet-pytorch's"
    )
    growing = command.add_argument_group("with --growth")
    growing.add_argument("--rows", type=positive, nargs="+", metavar="N", help="default: ten thousand to a million")
    growing.add_argument("--indexes", default="exact,annoy,knn,kmeans", metavar="NAMES", help="default: %(default)s")
    growing.add_argument("--start-server", action="store_true", help="start a Milvus server, as bench-scale does")
    growing.add_argument("--folder", type=Path, help="where to make a temporary folder; 5 GB for a million")
    growing.add_argument("--out", type=Path, default=Path("growth.svg"), help="the drawing; default: %(default)s")
    command.set_defaults(command=bench)

    command = commands.add_parser("bench-serving", help="measure the running page: its start, searches, many clients")
    command.add_argument("--recipe", metavar="NAME", help=NAMES)
    command.add_argument("--index", default=DEFAULT_INDEX, metavar="NAME", help="default: %(default)s")
    command.add_argument("--clients", type=positive, default=20, help="how many at once; default: %(default)s")
    command.add_argument("--seconds", type=float, default=20.0, help="for how long; default: %(default)s")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_serving)

    command = commands.add_parser("bench-indexes", help="measure every index on a gallery that is built")
    command.add_argument("--recipe", metavar="NAME", help=NAMES)
    takes_dim(command)
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_indexes)

    command = commands.add_parser("bench-scale", help="measure indexes on millions of faces drawn by numbers")
    command.add_argument("--rows", type=positive, default=2_000_000, help="how many; default: %(default)s")
    command.add_argument("--dim", type=positive, default=256, help="numbers each; default: %(default)s")
    command.add_argument("--indexes", default="annoy,milvus", metavar="NAMES", help="default: %(default)s")
    command.add_argument("--folder", type=Path, help="where to make a temporary folder; 10 GB for two million")
    command.add_argument(
        "--start-server", action="store_true", help="start the Milvus server of `pip install milvus==2.3.5` for this"
    )
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_scale)


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
    from pipeline.galleries.gallery import open_gallery

    gallery = open_gallery(Settings.from_env())
    with closing(ProgressBars()) as bars:
        figures = bench_speed(gallery.photos, gallery.encoders, options.photos, bars)
    if options.json:
        print(json.dumps(figures.as_json()))
        return 0
    print(f"{figures.photos} photos, milliseconds a photo{peak_memory()}")
    print(f"| step | {LOOP} | {BATCHED} | {OURS} | ours is faster by | floor |")
    print("|---|---|---|---|---|---|")
    loop, batched, ours = (figures.milliseconds[variant] for variant in (LOOP, BATCHED, OURS))
    for step in ours:
        cells = [f"{variant[step]:.2f}" if step in variant else "-" for variant in (loop, batched, ours)]
        faster = f"{loop[step] / ours[step]:.1f} x" if step in loop and ours[step] else "-"
        floor = f"{figures.floor_ms[step]:.2f}" if step in figures.floor_ms else "-"
        print(f"| {step} | {' | '.join(cells)} | {faster} | {floor} |")
    rates = ", ".join(f"{kind} {rate:.0f}" for kind, rate in figures.rate_gmacs.items())
    print(f"Floor: multiply-adds over the measured rate of matrices, in 10^9 a second: {rates}.")
    print(
        f"Faces as in {LOOP}: {figures.alike:.2%} of the photos; without a face: {figures.faceless_theirs} there, "
        f"{figures.faceless_ours} here."
    )
    return 0


def bench_faces(options: argparse.Namespace) -> int:
    """Compares the faces of all photos with facenet-pytorch's."""
    from pipeline.bench.parity import measure_agreement
    from pipeline.galleries.gallery import open_gallery

    with closing(ProgressBars()) as bars:
        found = measure_agreement(open_gallery(Settings.from_env()).photos, bars)
    if options.json:
        print(json.dumps(found.as_json()))
        return 0
    print(
        f"{found.photos:,} photos: the same faces in {found.alike:.2%}; without a face {found.faceless_theirs} by "
        f"facenet-pytorch, {found.faceless_ours} here."
    )
    return 0


def bench_growth(options: argparse.Namespace) -> int:
    """Measures how the indexes grow, and draws it."""
    from pipeline.bench.scale import ROWS, Scale, bench_growth, exponents, faster_from
    from pipeline.evaluation.figures import growth_svg

    rows, names = options.rows or ROWS, tuple(options.indexes.split(","))
    scale = Scale(max(rows), indexes=names, milvus=Settings.from_env().milvus, start_server=options.start_server)
    figures = []
    with closing(ProgressBars()) as bars:
        if not options.json:
            print("| faces | index | search, median | p95 | recall@20 | build | memory added |")
            print("|---|---|---|---|---|---|---|")
        for one in bench_growth(scale, rows, options.folder, bars):  # each size at once: the next may take an hour
            figures.append(one)
            if not options.json:
                print(
                    f"| {one.rows:,} | `{one.index}` | {one.search_ms_median:.2f} ms | {one.search_ms_p95:.2f} ms "
                    f"| {one.recall_at_20:.3f} | {one.build_s:,.1f} s | {_megabytes(one.added_bytes)} |",
                    flush=True,
                )
    searching, building = exponents(figures, "search_ms_median"), exponents(figures, "build_s")
    options.out.write_text(growth_svg([one.as_json() for one in figures]), encoding="utf-8")
    if options.json:
        print(json.dumps({"figures": [one.as_json() for one in figures], "search": searching, "build": building}))
        return 0
    for name in names:
        first = faster_from(figures, name) if name != "exact" and "exact" in names else None
        beats = (
            "" if name == "exact" else f"; faster than exact from {first:,}" if first else "; never faster than exact"
        )
        print(f"{name}: searching grows as n^{searching[name]:.2f}, building as n^{building[name]:.2f}{beats}")
    print(f"Drawn in {options.out}.")
    return 0


def profiled(file: Path) -> int:
    """Runs this command anew under py-spy, which writes where its time went; SettingsError without py-spy."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise SettingsError("Profiling needs py-spy; install it with `pip install py-spy`.")
    place = next(i for i, word in enumerate(sys.argv) if word.startswith("--profile"))
    words = sys.argv[1:place] + sys.argv[place + (1 if "=" in sys.argv[place] else 2) :]
    command = [
        spy,
        "record",
        "--native",
        "--rate",
        "20",
        "--output",
        str(file),
        "--",
        sys.executable,
        "-m",
        "pipeline",
        *words,
    ]
    return subprocess.run(command, check=False).returncode


def bench_serving(options: argparse.Namespace) -> int:
    """Measures the running page."""
    from pipeline.bench.serving import Load, bench_serving
    from pipeline.galleries.gallery import open_gallery

    gallery = open_gallery(Settings.from_env())
    recipe = options.recipe or gallery.default_recipe()
    gallery.searcher(recipe)  # an error, not a build, where there is no gallery
    load = Load(recipe, options.index, clients=options.clients, seconds=options.seconds)
    with closing(ProgressBars()) as bars:
        figures = bench_serving(gallery.photos, load, bars)
    if options.json:
        print(json.dumps(figures.as_json()))
        return 0
    print(f"{figures.recipe} by {load.index}; ready: {figures.ready}")
    print(f"| page answers / first search answered | {figures.page_s:.1f} s / {figures.first_s:.1f} s |")
    print(f"| search of a gallery photo, p50 / p95 | {figures.small_ms[0]:.0f} / {figures.small_ms[1]:.0f} ms |")
    print(f"| search of 12 megapixels, p50 / p95 | {figures.large_ms[0]:.0f} / {figures.large_ms[1]:.0f} ms |")
    print(f"| index part of a search | {figures.index_ms:.2f} ms |")
    print(
        f"| {figures.clients} clients at once | {figures.searches_a_second:.1f} a second, {figures.failures} failed |"
    )
    print(f"| resident memory | {figures.resident_bytes / 1e6:,.0f} MB |")
    return 0


def bench_indexes(options: argparse.Namespace) -> int:
    """Measures every index on one recipe's gallery."""
    from pipeline.bench.indexes import bench_indexes
    from pipeline.galleries.gallery import open_gallery

    gallery = open_gallery(Settings.from_env())
    embeddings = gallery.searcher(recipe_asked_for(options, gallery)).embeddings
    with closing(ProgressBars()) as bars:
        figures = bench_indexes(embeddings, bars, gallery.milvus)
    if options.json:
        print(
            json.dumps(
                {
                    "gallery": embeddings.manifest["gallery"],
                    "recipe": embeddings.manifest["recipe"]["name"],
                    "vectors": list(embeddings.vectors.shape),
                    "indexes": [one.as_json() for one in figures],
                }
            )
        )
        return 0
    count, dim = embeddings.vectors.shape
    print(
        f"{embeddings.manifest['recipe']['name']} on {embeddings.manifest['gallery']}: "
        f"{count:,} vectors of {dim} numbers"
    )
    print("| index | recall@20 | search, median | search, p95 | build | on disk |")
    print("|---|---|---|---|---|---|")
    for one in figures:
        print(
            f"| `{one.index}` | {one.recall_at_20:.3f} | {one.search_ms_median:.2f} ms | {one.search_ms_p95:.2f} ms "
            f"| {one.build_s:.1f} s | {_megabytes(one.disk_bytes)} |"
        )
    return 0


def bench_scale(options: argparse.Namespace) -> int:
    """Measures indexes on millions of faces drawn by numbers."""
    from pipeline.bench.scale import Scale, bench_scale

    indexes = tuple(options.indexes.split(","))
    scale = Scale(options.rows, options.dim, indexes, Settings.from_env().milvus, options.start_server)
    with closing(ProgressBars()) as bars:
        figures = bench_scale(scale, options.folder, bars)
        if options.json:
            print(json.dumps({"dim": scale.dim, "indexes": [one.as_json() for one in figures]}))
            return 0
        print(
            "| rows | index | build | on disk | recall@20 | effort | search, median | search, p95 | memory | server's |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for one in figures:  # each at once: the next may take an hour
            print(
                f"| {one.rows:,} | `{one.index}` | {one.build_s:,.0f} s | {_megabytes(one.disk_bytes)} "
                f"| {one.recall_at_20:.3f} | {one.effort} | {one.search_ms_median:.0f} ms | {one.search_ms_p95:.0f} ms "
                f"| {one.peak_bytes / 2**30:.1f} GiB | {one.children_peak_bytes / 2**30:.1f} GiB |",
                flush=True,
            )
    return 0


def _megabytes(count: int | None) -> str:
    return "on the server" if count is None else f"{count / 1e6:,.1f} MB"
