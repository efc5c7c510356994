"""Training the head of the trained baseline and the compact network, and making the sample gallery."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.common import (
    Commands,
    ProgressBars,
    add_command,
    configured_gallery,
    output_file,
    peak_memory,
    positive,
)
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import COMPACT, DEFAULT_EPOCHS, HEADED, MINI, STEPS, recipe_named
from pipeline.core.settings import SAMPLE, Settings

if TYPE_CHECKING:
    from pipeline.galleries.gallery import Gallery
    from pipeline.training.heads import Epoch


def add_commands(commands: Commands) -> None:
    """Adds the commands below, each with its arguments."""
    command = add_command(commands, "train-head", train_head, f"train the head of {HEADED} on this gallery's people")
    command.add_argument(
        "--epochs", type=positive, default=DEFAULT_EPOCHS, help="passes over the photos; default: %(default)s"
    )

    command = add_command(commands, "distil", distil, f"train the network of {MINI} on LFW; continues where it stopped")
    command.add_argument("--steps", type=positive, default=STEPS, help="default: %(default)s")
    command.add_argument("--held-out", action="store_true", help="leave out a fifth of the people and evaluate on them")
    command.add_argument("--folder", type=Path, help="for training data and state; default: below FACESEARCH_CACHE")
    command.add_argument("--out", type=output_file, default=Path("mini.safetensors"), help="default: %(default)s")

    command = add_command(commands, "copy-mtcnn", copy_mtcnn, "copy MTCNN's weights out of facenet-pytorch's wheel")
    command.add_argument("--out", type=output_file, default=Path("mtcnn.safetensors"), help="default: %(default)s")

    command = add_command(commands, "compose-sample", compose_sample, "make the sample gallery from a gallery of LFW")
    command.add_argument("--folder", type=Path, default=SAMPLE, help="where to; default: %(default)s")


def distil(options: argparse.Namespace) -> int:
    """Trains the network of mtcnn-mini to give its teacher's embeddings, and writes it to a file."""
    from pipeline.encoder.encoder import Encoder
    from pipeline.encoder.networks import open_network
    from pipeline.galleries.gallery import open_gallery
    from pipeline.training.augmentation import Source
    from pipeline.training.distil import distil, open_views
    from pipeline.training.mini_net import save_mini
    from pipeline.training.teacher import read_teacher

    settings = Settings.from_env()
    gallery = open_gallery(settings)
    folder = options.folder or settings.cache / "distil"
    state = folder / f"state-{'part' if options.held_out else 'all'}-{options.steps}.pt"  # to continue from
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        gallery.build([COMPACT], bars)
        embeddings, weights = gallery.searcher(COMPACT).embeddings, gallery.encoders.get(COMPACT).weights
        flipped = recipe_named(f"{COMPACT}+flip")
        teacher = Encoder(flipped, open_network(flipped, weights), None, weights)
        source = Source(embeddings, gallery.photos, teacher, recipe_named(MINI))
        shown, apart = open_views(folder, embeddings, gallery.photos)
        parts = (shown,) if options.held_out else (shown, apart)
        for part in parts:
            part.make(source, bars)
        trained = distil(read_teacher(weights.paths[0]), parts, state, options.steps, bars)
    facts = {"teacher": weights.sha256, "photos": gallery.photos.revision, "steps": str(options.steps)}
    save_mini(trained.network, options.out, facts)
    if options.held_out:
        print(_held_out_sentence(settings, gallery, options.out))
    print("cosine to the teacher, by 50 steps:", *(f"{value:.3f}" for value in trained.curve))
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size:.2f} MB, {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def _held_out_sentence(settings: Settings, gallery: Gallery, weights: Path) -> str:
    """The accuracy of the network on pairs of people it was not trained on, in a sentence."""
    from pipeline.encoder.networks import open_network
    from pipeline.encoder.weights import Weights
    from pipeline.evaluation.pairs import open_pairs
    from pipeline.training.distil import judge

    pairs = open_pairs(settings.dataset, gallery.photos, settings.cache)
    if pairs is None:
        return "The people held out are not evaluated: LFW's pairs are available for all of LFW only."
    recipe = recipe_named(MINI)
    network = open_network(recipe, Weights("mini", (weights,), "", custom=True))
    found = judge(network, recipe, gallery.searcher(COMPACT).embeddings, gallery.photos, pairs)
    return (
        f"{found.pairs:,} pairs of {found.people:,} people held out: accuracy {found.student:.4f}, its teacher's "
        f"{found.teacher:.4f}; mean cosine of the two {found.cosine:.3f}."
    )


def copy_mtcnn(options: argparse.Namespace) -> int:
    """Copies MTCNN's weights out of facenet-pytorch's wheel."""
    from pipeline.core.files import digest
    from pipeline.training.mtcnn_weights import copy_mtcnn as copy

    copy(options.out)
    print(f"{options.out} has the hash {digest(options.out)}, which belongs into pipeline/encoder/cascade.py.")
    return 0


def train_head(options: argparse.Namespace) -> int:
    """Trains the head of the trained baseline."""
    from pipeline.training.heads import best_epoch

    gallery = configured_gallery()
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        path, facts, curve = train_and_keep_head(gallery, HEADED, options.epochs, bars)
    print("epoch    loss  named rightly: trained on  validation")
    for epoch in curve:
        shares = f"{epoch.training_accuracy:25.1%}  {epoch.validation_accuracy:10.1%}"
        print(f"{epoch.number:5}  {epoch.loss:6.3f}  {shares}")
    print(f"Epoch {best_epoch(curve).number} is kept in {path}.")
    accuracy, photos = float(facts["test_accuracy"]), int(facts["test_photos"])
    print(f"It names {accuracy:.1%} of {photos:,} photos rightly that had no part in the choice.")
    print(f"Done in {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def compose_sample(options: argparse.Namespace) -> int:
    """Makes the photos of people who do not exist."""
    from pipeline.training.sample import compose_sample

    gallery = configured_gallery()
    with closing(ProgressBars()) as bars:
        compose_sample(gallery.searcher(COMPACT).embeddings, gallery.photos, options.folder, bars)
    files = [path.stat().st_size for path in options.folder.rglob("*.jpg")]
    print(f"{len(files)} photos of people who do not exist, {sum(files) / 1e6:.2f} MB, are in {options.folder}.")
    return 0


def train_and_keep_head(
    gallery: Gallery, recipe: str, epochs: int, report: Report = silent
) -> tuple[Path, Mapping[str, str], list[Epoch]]:
    """Trains the recipe's head on this gallery and keeps it; returns its file, its facts and the training curve."""
    from pipeline.training.heads import train_head as train

    chosen = recipe_named(recipe)
    gallery.build([chosen.base], report)
    below = gallery.searcher(chosen.base).embeddings
    head, curve = train(below, chosen.dim, report, epochs)
    origin = {"backbone": below.manifest["weights"]["sha256"], "photos_revision": below.manifest["photos_revision"]}
    return gallery.encoders.keep_head(recipe, replace(head, facts={**head.facts, **origin})), head.facts, curve
