"""The command that trains the compact network which comes with this package."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands import ProgressBars, peak_memory
from pipeline.recipes import FALLBACK, MINI, recipe_named
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.library import Library


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
    from pipeline.distil import distil, open_views
    from pipeline.encoder import Encoder
    from pipeline.library import open_library
    from pipeline.mini_net import save_mini
    from pipeline.networks import Reid
    from pipeline.teacher import read_teacher
    from pipeline.views import Source

    settings = Settings.from_env()
    library = open_library(settings)
    run = Run(options.folder or settings.cache / "distil", options.steps, options.held_out)
    started = time.perf_counter()
    with closing(ProgressBars()) as bars:
        library.build([FALLBACK], bars)
        gallery, weights = library.searcher(FALLBACK).gallery, library.encoders.get(FALLBACK).weights
        teacher = Encoder(recipe_named(f"{FALLBACK}+flip"), Reid(weights.paths[0]), None, weights)
        source = Source(gallery, library.photos, teacher, recipe_named(MINI))
        shown, apart = open_views(run.folder, gallery, library.photos)
        parts = (shown,) if run.held_out else (shown, apart)
        for part in parts:
            part.make(source, bars)
        trained = distil(read_teacher(weights.paths[0]), parts, run.state, run.steps, bars)
    facts = {"teacher": weights.sha256, "photos": library.photos.revision, "steps": str(run.steps)}
    save_mini(trained.network, options.out, facts)
    if run.held_out:
        print(_of_the_held_out(settings, library, options.out))
    print("cosine to the teacher, by 50 steps:", *(f"{value:.3f}" for value in trained.curve))
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size:.2f} MB, {time.perf_counter() - started:.0f} s{peak_memory()}.")
    return 0


def _of_the_held_out(settings: Settings, library: Library, weights: Path) -> str:
    """How well the network judges pairs of the people it was not shown, in a sentence."""
    from pipeline.held_out import judge
    from pipeline.networks import Mini
    from pipeline.pairs import open_pairs

    pairs = open_pairs(settings.dataset, library.photos, settings.cache)
    if pairs is None:
        return "Nothing is said of the people held out: LFW's pairs are there for all of LFW only."
    found = judge(Mini(weights), recipe_named(MINI), library.searcher(FALLBACK).gallery, library.photos, pairs)
    return (
        f"{found.pairs:,} pairs of {found.people:,} people held out: {found.student:.4f} right, its teacher "
        f"{found.teacher:.4f}; mean cosine of the two {found.cosine:.3f}."
    )


def copy_mtcnn(options: argparse.Namespace) -> int:
    """Makes the file with MTCNN's weights anew, out of facenet-pytorch's wheel."""
    from pipeline.files import digest
    from pipeline.wheel import copy_mtcnn as copy

    copy(options.out)
    print(f"{options.out} has the hash {digest(options.out)}, which belongs into pipeline/cascade.py.")
    return 0
