"""Training the head of the trained baseline and the compact network, and making the sample gallery."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.common import Commands, ProgressBars, peak_memory, positive
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import (
    COMPACT,
    DEFAULT_EPOCHS,
    HEADED,
    MINI,
    STEPS,
    recipe_named,
)
from pipeline.core.settings import Settings
from pipeline.photos.sources import SAMPLE

if TYPE_CHECKING:
    from pipeline.galleries.gallery import Gallery
    from pipeline.training.heads import Epoch


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = commands.add_parser("train-head", help=f"train the head of {HEADED} on this gallery's people")
    command.add_argument(
        "--epochs", type=positive, default=DEFAULT_EPOCHS, help="passes over the photos; default: %(default)s"
    )
    command.set_defaults(command=train_head)

    command = commands.add_parser("distil", help=f"train the network of {MINI} anew, on LFW; goes on where it stopped")
    command.add_argument("--steps", type=positive, default=STEPS, help="default: %(default)s")
    command.add_argument("--held-out", action="store_true", help="leave out a fifth of the people, and judge by them")
    command.add_argument("--folder", type=Path, help="where to keep what is done; default: below FACESEARCH_CACHE")
    command.add_argument("--out", type=Path, default=Path("mini.safetensors"), help="default: %(default)s")
    command.set_defaults(command=distil)

    command = commands.add_parser("copy-mtcnn", help="copy MTCNN's weights out of facenet-pytorch's wheel anew")
    command.add_argument("--out", type=Path, default=Path("mtcnn.safetensors"), help="default: %(default)s")
    command.set_defaults(command=copy_mtcnn)

    command = commands.add_parser("compose-sample", help="make the sample gallery anew, of a gallery of LFW")
    command.add_argument("--folder", type=Path, default=SAMPLE, help="where to; default: %(default)s")
    command.set_defaults(command=compose_sample)


@dataclass(frozen=True)
class Run:
    """Where a training keeps what it has done: views of both, its own state for each number of steps."""

    folder: Path
    steps: int
    held_out: bool

    @property
    def state(self) -> Path:
        """What a training that was cut short goes on from."""
        return self.folder / f"state-{'part' if self.held_out else 'all'}-{self.steps}.pt"


def distil(options: argparse.Namespace) -> int:
    """Trains the network of mtcnn-mini to say what its teacher says, and keeps it."""
    from pipeline.encoder.encoder import Encoder
    from pipeline.encoder.networks import Reid
    from pipeline.galleries.gallery import open_gallery
    from pipeline.training.augmentation import Source
    from pipeline.training.distil import distil, open_views
    from pipeline.training.mini_net import save_mini
    from pipeline.training.teacher import read_teacher

    settings = Settings.from_env()
    gallery = open_gallery(settings)
    run = Run(options.folder or settings.cache / "distil", options.steps, options.held_out)
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        gallery.build([COMPACT], bars)
        embeddings, weights = gallery.searcher(COMPACT).embeddings, gallery.encoders.get(COMPACT).weights
        teacher = Encoder(recipe_named(f"{COMPACT}+flip"), Reid(weights.paths[0]), None, weights)
        source = Source(embeddings, gallery.photos, teacher, recipe_named(MINI))
        shown, apart = open_views(run.folder, embeddings, gallery.photos)
        parts = (shown,) if run.held_out else (shown, apart)
        for part in parts:
            part.make(source, bars)
        trained = distil(read_teacher(weights.paths[0]), parts, run.state, run.steps, bars)
    facts = {"teacher": weights.sha256, "photos": gallery.photos.revision, "steps": str(run.steps)}
    save_mini(trained.network, options.out, facts)
    if run.held_out:
        print(_of_the_held_out(settings, gallery, options.out))
    print("cosine to the teacher, by 50 steps:", *(f"{value:.3f}" for value in trained.curve))
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size:.2f} MB, {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def _of_the_held_out(settings: Settings, gallery: Gallery, weights: Path) -> str:
    """How well the network judges pairs of the people it was not shown, in a sentence."""
    from pipeline.encoder.networks import Mini
    from pipeline.evaluation.pairs import open_pairs
    from pipeline.training.distil import judge

    pairs = open_pairs(settings.dataset, gallery.photos, settings.cache)
    if pairs is None:
        return "Nothing is said of the people held out: LFW's pairs are there for all of LFW only."
    found = judge(Mini(weights), recipe_named(MINI), gallery.searcher(COMPACT).embeddings, gallery.photos, pairs)
    return (
        f"{found.pairs:,} pairs of {found.people:,} people held out: {found.student:.4f} right, its teacher "
        f"{found.teacher:.4f}; mean cosine of the two {found.cosine:.3f}."
    )


def copy_mtcnn(options: argparse.Namespace) -> int:
    """Makes the file with MTCNN's weights anew, out of facenet-pytorch's wheel."""
    from pipeline.core.files import digest
    from pipeline.training.mtcnn_weights import copy_mtcnn as copy

    copy(options.out)
    print(f"{options.out} has the hash {digest(options.out)}, which belongs into pipeline/encoder/cascade.py.")
    return 0


def train_head(options: argparse.Namespace) -> int:
    """Trains the head of the baseline that ends with one."""
    from pipeline.galleries.gallery import open_gallery
    from pipeline.training.heads import best_epoch

    gallery = open_gallery(Settings.from_env())
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        path, curve = train_and_keep_head(gallery, HEADED, options.epochs, bars)
    print("epoch    loss  named rightly: trained on  held out")
    for epoch in curve:
        print(f"{epoch.number:5}  {epoch.loss:6.3f}  {epoch.training_accuracy:25.1%}  {epoch.held_out_accuracy:8.1%}")
    print(f"Epoch {best_epoch(curve).number} is kept in {path}.")
    print(f"Done in {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def compose_sample(options: argparse.Namespace) -> int:
    """Makes the photos of people who do not exist."""
    from pipeline.galleries.gallery import open_gallery
    from pipeline.training.sample import compose_sample

    gallery = open_gallery(Settings.from_env())
    with closing(ProgressBars()) as bars:
        compose_sample(gallery.searcher(COMPACT).embeddings, gallery.photos, options.folder, bars)
    files = [path.stat().st_size for path in options.folder.rglob("*.jpg")]
    print(f"{len(files)} photos of people who do not exist, {sum(files) / 1e6:.2f} MB, are in {options.folder}.")
    return 0


def train_and_keep_head(
    gallery: Gallery, recipe: str, epochs: int, report: Report = silent
) -> tuple[Path, list[Epoch]]:
    """Trains the recipe's head on this gallery and keeps it; returns where, and the training curve."""
    from pipeline.training.heads import train_head as train

    chosen = recipe_named(recipe)
    gallery.build([chosen.base], report)
    below = gallery.searcher(chosen.base).embeddings
    head, curve = train(below, chosen.dim, report, epochs)
    origin = {"backbone": below.manifest["weights"]["sha256"], "photos_revision": below.manifest["photos_revision"]}
    return gallery.encoders.keep_head(recipe, replace(head, facts={**head.facts, **origin})), curve
