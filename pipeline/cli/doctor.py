"""What is well here and what is not: one finding a line, with what to do. Builds, downloads and changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NoReturn

from pipeline.cli.torch_build import torch_build
from pipeline.core.errors import (
    GalleryDamaged,
    GalleryError,
    GalleryMissing,
    PipelineError,
    SettingsError,
    Stopped,
    WeightsError,
)
from pipeline.core.folders import link_folder
from pipeline.core.processors import processor
from pipeline.core.progress import Progress
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.embeddings.build import missing_indexes, open_embeddings, readable_again
from pipeline.encoder.weights import PACKAGED, WEIGHT_FILES, WeightStore
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.indexes.registry import INDEXES, why_unavailable, why_unreachable
from pipeline.photos.sources import datasets_kept_in

Level = Literal["ok", "warn", "fail"]

PYTHONS = ((3, 10), (3, 13))
PACKAGES = ("gradio", "torch", "torchvision", "openvino", "facenet-pytorch", "numpy", "pillow", "annoy", "datasets")
LEAST_GIB, LEAST_FREE_GB = 3.0, 2.0  # building takes 2.3 GiB at the peak; LFW, weights and four galleries 1 GB


@dataclass(frozen=True)
class Finding:
    """One line: how it is, what is so, and what to do where that is not well."""

    level: Level
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<4} {self.what}" + (f" — {self.remedy}" if self.remedy else "")


def examine() -> Iterator[Finding]:
    """Everything, from what the rest stands on upwards."""
    yield from environment()
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        yield Finding("fail", "settings", str(error))
        return
    yield Finding("ok", f"settings: gallery {settings.dataset}, built in {settings.index}")
    yield from folder(settings)
    yield from weights(settings)
    with _caches_of_links(settings) as linked:
        yield from embeddings(open_gallery(linked))
    yield from indexes(settings)


@contextmanager
def _caches_of_links(settings: Settings) -> Iterator[Settings]:
    """Settings whose cache, and that of datasets, hold links to what is cached, and are gone after the block."""
    with TemporaryDirectory() as folder, datasets_kept_in(Path(folder, "datasets")):
        own = Path(folder, "own")
        link_folder(settings.cache, own)
        yield replace(settings, cache=own)


def environment() -> Iterator[Finding]:
    """Python, packages, cores and memory."""
    least, most = PYTHONS
    fits = least <= sys.version_info[:2] <= most
    yield Finding(
        "ok" if fits else "warn",
        f"Python {platform.python_version()}",
        "" if fits else f"this was tested with Python {least[0]}.{least[1]} to {most[0]}.{most[1]}",
    )
    for package in PACKAGES:
        try:
            yield Finding("ok", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("fail", f"{package} is missing", "run `pip install -r requirements.txt`")
    build, advice = torch_build()
    if build:
        yield Finding("ok", build, advice)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    enough = memory >= LEAST_GIB
    yield Finding(
        "ok" if enough else "warn",
        f"{processor()}, {memory:.1f} GiB of memory",
        "" if enough else f"building wants {LEAST_GIB:.0f} GiB; build elsewhere and copy the folder of galleries here",
    )


def folder(settings: Settings) -> Iterator[Finding]:
    """Whether galleries can be written, and how much room there is."""
    there = settings.index.resolve()
    while not there.exists():
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK)):
        yield Finding(
            "fail", f"{settings.index} cannot be written", "set FACESEARCH_INDEX to a folder that can be written"
        )
        return
    free = shutil.disk_usage(there).free / 1e9
    roomy = free >= LEAST_FREE_GB
    yield Finding("ok" if roomy else "warn", f"{free:,.1f} GB free for galleries", "" if roomy else "make room there")


def weights(settings: Settings) -> Iterator[Finding]:
    """Each network's weights: here with the right hash, or to be had, or neither."""
    store = WeightStore(settings.models, settings.cache, settings.custom_weights)
    for network in (*WEIGHT_FILES, *PACKAGED):
        try:
            found = store.find(network)
        except WeightsError as error:
            yield Finding("fail", f"weights of {network}", str(error))
            continue
        if found is not None:
            origin = "your own file" if found.custom else "here, hash right"
            yield Finding("ok", f"weights of {network}: {origin}")
        elif (reason := store.why_unavailable(network)) is not None:
            yield Finding("warn", f"weights of {network}", reason)
        else:
            yield Finding("ok", f"weights of {network}: not here yet, to be downloaded when they are needed")


def embeddings(gallery: Gallery) -> Iterator[Finding]:
    """The photos, and what is built of them by each recipe whose weights are here."""
    try:
        photos = gallery.open_photos(_not_here)
    except Stopped:
        yield Finding("ok", f"dataset: {gallery.title} is not here yet, to be downloaded when it is needed")
        return
    except PipelineError as error:
        yield Finding("fail", "dataset", str(error))
        return
    yield Finding("ok", f"dataset: {photos.title}, {len(photos):,} photos of {len(set(photos.people)):,} people")
    for name in RECIPES:
        try:
            if gallery.encoders.on_disk(name):
                yield _built(gallery, name)
        except WeightsError:
            continue  # said above


def _not_here(progress: Progress) -> NoReturn:
    raise Stopped("This would be a download.")


def _built(gallery: Gallery, name: str) -> Finding:
    if reason := gallery.why_too_small(name):
        return Finding("ok", f"gallery {name} is not offered", reason)
    what, build = f"gallery {name}", f"run `python -m pipeline build --recipe {name}`"
    try:
        opened = open_embeddings(gallery.photos, gallery.encoders.get(name), gallery.index_root, mapped=False)
    except GalleryMissing:
        return Finding("warn", f"{what} is not built", f"{build}, or start the page, which does")
    except GalleryDamaged as error:
        return Finding("fail", what, f"{error} `python -m pipeline build --recipe {name}` does.")
    except GalleryError as error:
        return Finding("warn", what, str(error))
    if absent := missing_indexes(opened):
        return Finding("warn", f"{what} has no {', '.join(absent)}", build)
    if again := readable_again(gallery.photos, opened):
        return Finding("warn", f"{what} lacks {len(again):,} photos that could not be read, and now can", build)
    count = opened.manifest["counts"]["unreadable"]
    unread = f"; {count:,} files cannot be read as photos" if count else ""
    return Finding("ok", f"{what}: {len(opened):,} photos, {', '.join(opened.manifest['indexes'])}{unread}")


def indexes(settings: Settings) -> Iterator[Finding]:
    """The indexes' packages, and the Milvus server where one is set."""
    for name in INDEXES:
        reason = why_unavailable(name)
        if reason is not None:
            level: Level = "warn" if name == "annoy" else "ok"
            if name == "milvus" and settings.milvus.uri:
                level = "fail"
            yield Finding(level, f"index {name} is not used", reason)
    if "://" in settings.milvus.uri and why_unavailable("milvus") is None:
        problem = why_unreachable(settings.milvus.uri, settings.milvus.token)
        yield Finding("fail" if problem else "ok", "Milvus" if problem else "Milvus answers", problem or "")
