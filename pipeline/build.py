"""Building galleries: photos through the encoder, part by part, into files and indexes.

Several recipes are built in one pass: each photo is decoded once and its faces are found once for all of them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from pipeline.encoder import Encoder
from pipeline.errors import GalleryError, GalleryMissing, IndexUnavailable, PhotoError, SettingsError
from pipeline.gallery import FACE_COLUMNS, Draft, Gallery, Part, face_row, load_gallery, seal
from pipeline.images import open_image
from pipeline.indexes import available, build_index
from pipeline.photos import Photos
from pipeline.recipes import fingerprint
from pipeline.settings import EMBEDDED, Milvus
from pipeline.types import Face, Progress, Report, silent

log = logging.getLogger(__name__)

NO_FACE = "no face found"
BATCH = 40  # photos decoded and embedded at a time; memory for more buys no speed


def gallery_folder(root: Path, photos: Photos, recipe_name: str) -> Path:
    """Where the gallery of these photos by this recipe lives."""
    return root / photos.name / recipe_name


def gallery_fingerprint(encoder: Encoder, photos: Photos) -> str:
    """What the gallery must have been built from to be searched with this encoder."""
    return fingerprint(encoder.recipe, encoder.weights.sha256, photos.revision)


def open_gallery(photos: Photos, encoder: Encoder, root: Path) -> Gallery:
    """The finished gallery of these photos by this encoder; GalleryError says why there is none."""
    folder = gallery_folder(root, photos, encoder.recipe.name)
    return load_gallery(folder, gallery_fingerprint(encoder, photos))


def build_galleries(
    photos: Photos, encoders: Sequence[Encoder], root: Path, report: Report = silent, milvus: Milvus = EMBEDDED
) -> dict[str, Gallery]:
    """Builds what is not built yet and returns the galleries by recipe name.

    A killed build goes on where it stopped. Two processes may build the same photos at once: one waits for the other.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{photos.name}.lock"):
        galleries, pending = {}, []
        for encoder in encoders:
            try:
                galleries[encoder.recipe.name] = _complete(open_gallery(photos, encoder, root), report, milvus)
            except GalleryError as error:
                if not isinstance(error, GalleryMissing):
                    log.warning("%s This is done now.", error)
                pending.append(encoder)
        if pending:
            started = time.perf_counter()
            drafts = _encode_all(photos, pending, root, report)
            for encoder, draft in zip(pending, drafts, strict=True):
                _finish(photos, encoder, draft, time.perf_counter() - started)
                galleries[encoder.recipe.name] = _complete(open_gallery(photos, encoder, root), report, milvus)
    return galleries


def build_shard(
    photos: Photos, encoders: Sequence[Encoder], root: Path, shard: tuple[int, int], report: Report = silent
) -> int:
    """Embeds one worker's share of the photos, (i, n) being every n-th part from the i-th; returns the parts left.

    Workers may share the folder or have it copied together afterwards. `build_galleries` then finds every part there
    and only puts them together, to the same bytes as a build by one worker.
    """
    number, of = shard
    if not 0 <= number < of:
        raise SettingsError(f"There is no shard {number}/{of}; give i/n with i from 0 to n - 1, such as 0/2 and 1/2.")
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{photos.name}.{number}-of-{of}.lock"):
        drafts = _encode_all(photos, encoders, root, report, shard)
    return max(len(draft.missing()) for draft in drafts)


def missing_indexes(gallery: Gallery) -> list[str]:
    """The indexes that could be there and are not: their package came later, or the build was cut short."""
    return [name for name in available() if name not in gallery.manifest["indexes"]]


def _complete(gallery: Gallery, report: Report, milvus: Milvus) -> Gallery:
    """The gallery with every index that can be had here."""
    manifest, missing, started = dict(gallery.manifest), missing_indexes(gallery), time.perf_counter()
    task = f"Building the indexes of {manifest['recipe']['name']}"
    for done, name in enumerate(missing):
        report(Progress(task, "indexes", done, len(missing), done, time.perf_counter() - started))
        try:
            facts = build_index(name, gallery.vectors, gallery.folder, gallery.collection(milvus), report)
        except IndexUnavailable as error:
            log.warning("The index %s is left out for now: %s", name, error)
            continue
        manifest["indexes"] = {**manifest["indexes"], name: facts}
        seal(gallery.folder, manifest)
    if not missing:
        return gallery
    report(Progress(task, "indexes", len(missing), len(missing), len(missing), time.perf_counter() - started))
    return load_gallery(gallery.folder, manifest["fingerprint"])


def _encode_all(
    photos: Photos, encoders: Sequence[Encoder], root: Path, report: Report, shard: tuple[int, int] = (0, 1)
) -> list[Draft]:
    drafts = [
        Draft(gallery_folder(root, photos, encoder.recipe.name), gallery_fingerprint(encoder, photos), len(photos))
        for encoder in encoders
    ]
    missing = [{number for number in draft.missing() if number % shard[1] == shard[0]} for draft in drafts]
    todo = sorted(set().union(*missing))
    to_work = sum(len(drafts[0].rows(number)) for number in todo)
    started, worked = time.perf_counter(), 0

    def progressed(photos_done: int) -> None:
        nonlocal worked
        worked += photos_done
        done = len(photos) - to_work + worked
        report(Progress("Indexing", "photos", done, len(photos), worked, time.perf_counter() - started))

    progressed(0)
    for number in todo:
        waiting = [i for i in range(len(encoders)) if number in missing[i]]
        collected = {i: _Collected() for i in waiting}
        for rows, images, skipped in _decoded(photos, drafts[0].rows(number)):
            _encode_batch(rows, images, [(encoders[i], collected[i]) for i in waiting])
            for part in collected.values():
                part.skipped += skipped
            progressed(len(rows) + len(skipped))
        for i, part in collected.items():
            drafts[i].write(number, part.as_part(encoders[i].recipe.dim))
    return drafts


class _Collected:
    """One recipe's results while a part is being worked on."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.vectors: list[Any] = []
        self.faces: list[Any] = []
        self.skipped: list[tuple[int, str]] = []

    def as_part(self, dim: int) -> Part:
        return Part(
            np.array(self.rows, np.int64),
            np.array(self.vectors, np.float32).reshape(-1, dim),
            np.array(self.faces, np.float32).reshape(-1, FACE_COLUMNS),
            tuple(sorted(self.skipped)),
        )


def _encode_batch(
    rows: Sequence[int], images: Sequence[Image.Image], jobs: Sequence[tuple[Encoder, _Collected]]
) -> None:
    if not images:
        return
    found: dict[int, list[tuple[Face, ...]]] = {}  # by detector: recipes that share one share its work
    for encoder, collected in jobs:
        faces = None
        if encoder.detector is not None:
            if id(encoder.detector) not in found:
                found[id(encoder.detector)] = encoder.detector.detect(images)
            faces = found[id(encoder.detector)]
        for row, encoded in zip(rows, encoder.encode(images, found=faces), strict=True):
            if encoded.vector is None:
                collected.skipped.append((row, NO_FACE))
            else:
                collected.rows.append(row)
                collected.vectors.append(encoded.vector)
                collected.faces.append(face_row(encoded))


def _decoded(photos: Photos, rows: range) -> Iterator[tuple[list[int], list[Image.Image], list[tuple[int, str]]]]:
    """Batches of decoded photos with their rows, and what could not be read; the next batch decodes meanwhile."""

    def decode(batch: range) -> tuple[list[int], list[Image.Image], list[tuple[int, str]]]:
        good, images, skipped = [], [], []
        for row in batch:
            try:
                images.append(open_image(photos[row].source))
                good.append(row)
            except PhotoError as error:
                skipped.append((row, str(error)))
        return good, images, skipped

    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(decode, batches[0])
        for following in [*batches[1:], None]:
            ready = coming.result()
            if following is not None:
                coming = reader.submit(decode, following)
            yield ready


def _finish(photos: Photos, encoder: Encoder, draft: Draft, seconds: float) -> None:
    parts = [draft.read(number) for number in range(len(draft))]
    rows = np.concatenate([part.rows for part in parts]).tolist()
    vectors = np.concatenate([part.vectors for part in parts])
    skipped = [(photos.photo_ids[row], reason) for part in parts for row, reason in part.skipped]
    people = [photos.people[row] for row in rows]
    draft.finish(
        {"vectors": vectors, "faces": np.concatenate([part.faces for part in parts])},
        {"photo_ids": [photos.photo_ids[row] for row in rows], "people": people},
    )
    facts = _facts(photos, encoder, draft, skipped)
    facts["counts"] |= {"indexed": len(rows), "people": len(set(people))}
    seal(draft.folder, facts | {"build_seconds": round(seconds, 1), "indexes": {}})
    draft.clear()


def _facts(photos: Photos, encoder: Encoder, draft: Draft, skipped: Sequence[tuple[str, str]]) -> dict[str, Any]:
    reasons: Mapping[str, int] = Counter("no_face" if reason == NO_FACE else "unreadable" for _, reason in skipped)
    return {
        "fingerprint": draft.fingerprint,
        "gallery": photos.name,
        "title": photos.title,
        "photos_revision": photos.revision,
        "recipe": asdict(encoder.recipe),
        "weights": {"sha256": encoder.weights.sha256, "custom": encoder.weights.custom},
        "counts": {"photos": len(photos), **{kind: reasons.get(kind, 0) for kind in ("no_face", "unreadable")}},
        "skipped": [{"photo_id": photo_id, "reason": reason} for photo_id, reason in skipped],
    }
