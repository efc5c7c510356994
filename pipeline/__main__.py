"""The command line: `python -m pipeline COMMAND`. It prints; errors go to stderr, one sentence, and exit with 2."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.measure import bench, bench_indexes, bench_scale, bench_serving, calibrate, evaluate
from pipeline.cli.search import build, doctor, explain, info, publish, search
from pipeline.cli.train import compose_sample, copy_mtcnn, distil, train_head
from pipeline.core.errors import PipelineError
from pipeline.core.recipes import DEFAULT_EPOCHS, DEFAULT_INDEX, DEFAULT_K, HEADED, MAX_K, MINI, OPTIONS, RECIPES, STEPS
from pipeline.indexes.registry import INDEXES
from pipeline.photos.sources import SAMPLE

_NAMES = (
    f"{', '.join(RECIPES)}, each with any of +{' +'.join(OPTIONS)} behind its name; default: the best that can be had"
)


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


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    return int(number), int(of)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Reverse face search.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("build", help="embed the gallery's photos and index them; goes on where it stopped")
    command.add_argument("--recipe", nargs="+", metavar="NAME", help=f"all, or one or more of {_NAMES}")
    _takes_dim(command)
    command.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="embed only this worker's share, such as 0/2; build without it to merge",
    )
    command.set_defaults(command=build)

    command = commands.add_parser("publish", help="upload galleries that are built to a model repository of the Hub")
    command.add_argument("--repo", required=True, metavar="USER/NAME", help="created where it does not exist")
    command.add_argument("--recipe", nargs="+", metavar="NAME", help="default: all that are built")
    command.add_argument("--private", action="store_true", help="only for those whom you let in")
    command.set_defaults(command=publish)

    command = commands.add_parser("train-head", help=f"train the head of {HEADED} on this gallery's people")
    command.add_argument(
        "--epochs", type=int, default=DEFAULT_EPOCHS, help="passes over the photos; default: %(default)s"
    )
    command.set_defaults(command=train_head)

    command = commands.add_parser("distil", help=f"train the network of {MINI} anew, on LFW; goes on where it stopped")
    command.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    command.add_argument("--held-out", action="store_true", help="leave out a fifth of the people, and judge by them")
    command.add_argument("--folder", type=Path, help="where to keep what is done; default: below FACESEARCH_CACHE")
    command.add_argument("--out", type=Path, default=Path("mini.safetensors"), help="default: %(default)s")
    command.set_defaults(command=distil)

    command = commands.add_parser("copy-mtcnn", help="copy MTCNN's weights out of facenet-pytorch's wheel anew")
    command.add_argument("--out", type=Path, default=Path("mtcnn.safetensors"), help="default: %(default)s")
    command.set_defaults(command=copy_mtcnn)

    command = commands.add_parser("search", help="search the gallery with a photo; exit code 1 if it shows no face")
    command.add_argument("photo", type=Path)
    command.add_argument("--recipe", metavar="NAME", help=_NAMES)
    _takes_dim(command)
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
    command.add_argument("--recipe", metavar="NAME", help=_NAMES)
    _takes_dim(command)
    command.add_argument("--hit", metavar="PHOTO_ID", help="default: the nearest that is not the photo itself")
    command.add_argument(
        "--face", type=int, default=0, metavar="N", help="which face where there are several; default: the largest"
    )
    command.add_argument("--out", type=Path, help="the picture; default: why.png, or none with --json")
    command.add_argument("--json", action="store_true", help="print the figures as JSON, patch by patch")
    command.set_defaults(command=explain)

    command = commands.add_parser("calibrate", help="measure on LFW what distances mean, for verdicts")
    command.add_argument("--recipes", nargs="+", metavar="NAME", help="default: all that are built")
    command.add_argument(
        "--json", type=Path, help="a file to add the figures to, such as pipeline/search/calibrations.json"
    )
    command.set_defaults(command=calibrate)

    command = commands.add_parser("bench", help="measure how long photos take to become vectors")
    command.add_argument("--photos", type=int, default=200, help="how many; default: %(default)s")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.add_argument("--profile", type=Path, metavar="FILE", help="write where the time went, as an SVG, by py-spy")
    command.add_argument("--growth", action="store_true", help="instead: how indexes grow, on faces drawn by numbers")
    command.add_argument(
        "--faces", action="store_true", help="instead: whether all photos' faces are facenet-pytorch's"
    )
    growing = command.add_argument_group("with --growth")
    growing.add_argument("--rows", type=int, nargs="+", metavar="N", help="default: ten thousand to a million")
    growing.add_argument("--indexes", default="exact,annoy,knn,kmeans", metavar="NAMES", help="default: %(default)s")
    growing.add_argument("--start-server", action="store_true", help="start a Milvus server, as bench-scale does")
    growing.add_argument("--folder", type=Path, help="where to make a temporary folder; 5 GB for a million")
    growing.add_argument("--out", type=Path, default=Path("growth.svg"), help="the drawing; default: %(default)s")
    command.set_defaults(command=bench)

    command = commands.add_parser("bench-serving", help="measure the running page: its start, searches, many clients")
    command.add_argument("--recipe", metavar="NAME", help=_NAMES)
    command.add_argument("--index", default=DEFAULT_INDEX, metavar="NAME", help="default: %(default)s")
    command.add_argument("--clients", type=int, default=20, help="how many at once; default: %(default)s")
    command.add_argument("--seconds", type=float, default=20.0, help="for how long; default: %(default)s")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_serving)

    command = commands.add_parser("bench-indexes", help="measure every index on a gallery that is built")
    command.add_argument("--recipe", metavar="NAME", help=_NAMES)
    _takes_dim(command)
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_indexes)

    command = commands.add_parser("evaluate", help="which model is better, by how much: measured on what is built")
    command.add_argument(
        "--recipes", nargs="+", metavar="NAME", help="as for build, with options too; default: all that are built"
    )
    command.add_argument("--indexes", nargs="+", metavar="NAME", help="default: all that a gallery has")
    command.add_argument("--json", type=Path, help="where to write the figures; default: beside the galleries")
    command.add_argument("--html", type=Path, help="where to write the report; default: beside the galleries")
    command.set_defaults(command=evaluate)

    command = commands.add_parser("bench-scale", help="measure indexes on millions of faces drawn by numbers")
    command.add_argument("--rows", type=int, default=2_000_000, help="how many; default: %(default)s")
    command.add_argument("--dim", type=int, default=256, help="numbers each; default: %(default)s")
    command.add_argument("--indexes", default="annoy,milvus", metavar="NAMES", help="default: %(default)s")
    command.add_argument("--folder", type=Path, help="where to make a temporary folder; 10 GB for two million")
    command.add_argument(
        "--start-server", action="store_true", help="start the Milvus server of `pip install milvus==2.3.5` for this"
    )
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=bench_scale)

    command = commands.add_parser("compose-sample", help="make the sample gallery anew, of a gallery of LFW")
    command.add_argument("--folder", type=Path, default=SAMPLE, help="where to; default: %(default)s")
    command.set_defaults(command=compose_sample)

    command = commands.add_parser("doctor", help="what is well here and what is not; exit code 1 if anything fails")
    command.set_defaults(command=doctor)

    command = commands.add_parser("info", help="what is set, what is here and what can be searched")
    command.set_defaults(command=info)
    return parser


def _takes_dim(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dim", type=int, help="reduce the recipe's vectors to so many numbers by PCA")


if __name__ == "__main__":
    sys.exit(main())
