"""Building embeddings: photos through the encoders, part by part, into files and indexes.

Several recipes are built in one pass over the photos. A recipe with a last layer is built from the embeddings of its
base in seconds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from pipeline.core.errors import (
    GalleryError,
    GalleryMissing,
    GalleryStale,
    GalleryTooSmall,
    IndexUnavailable,
    PhotoError,
    SettingsError,
    StorageError,
)
from pipeline.core.folders import make_folder
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import Recipe, fingerprint
from pipeline.core.settings import EMBEDDED, Milvus
from pipeline.embeddings.embed import NO_FACE, FormerResults, Job, embed_parts
from pipeline.embeddings.store import LAYER, Draft, Embeddings, former_collection, load_embeddings, seal
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.layer import fit_pca, save_layer, why_too_few
from pipeline.indexes.registry import available, build_index
from pipeline.photos.face_ids import face_ids
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos

COPYING_SECONDS = 300  # longer than copying a gallery's file takes

log = logging.getLogger(__name__)


def embeddings_folder(root: Path, photos: Photos, recipe_name: str) -> Path:
    """The folder of these photos' embeddings by this recipe."""
    return root / photos.name / recipe_name


def gallery_fingerprint(encoder: Encoder, photos: Photos) -> str:
    """The fingerprint that embeddings must have to be searched with this encoder."""
    return fingerprint(encoder.recipe, encoder.weights.sha256, photos.revision)


def gallery_facts(photos: Photos, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """The part of the manifest that is known before a build; `folder` tells the former collection."""
    return {
        "fingerprint": gallery_fingerprint(encoder, photos),
        "gallery": photos.name,
        "title": photos.title,
        "photos_revision": photos.revision,
        "recipe": asdict(encoder.recipe),
        "weights": {"sha256": encoder.weights.sha256, "custom": encoder.weights.custom},
        "indexes": {},
        "former_collection": former_collection(folder),
        **({"every_face": True} if photos.every_face and photos.named else {}),
    }


def open_embeddings(photos: Photos, encoder: Encoder, root: Path, *, mapped: bool = True) -> Embeddings:
    """The finished embeddings of these photos by this encoder, see `load_embeddings`; GalleryError if none."""
    folder = embeddings_folder(root, photos, encoder.recipe.name)
    embeddings = load_embeddings(folder, gallery_fingerprint(encoder, photos), mapped=mapped)
    _check_size(len(embeddings), encoder.recipe)
    return embeddings


def _check_size(faces: int, recipe: Recipe) -> None:
    """GalleryTooSmall if so many faces are too few for the recipe."""
    if reason := why_too_few(faces, recipe):
        raise GalleryTooSmall(reason)


def build_embeddings(
    photos: Photos, encoders: Sequence[Encoder], root: Path, report: Report = silent, milvus: Milvus = EMBEDDED
) -> dict[str, Embeddings]:
    """Builds the embeddings that are missing, with their indexes.

    A build that was killed continues where it stopped. Where photos were added or removed, only the new ones are
    embedded. Of two processes that build the same photos, one waits for the other.

    Args:
        photos: the gallery's.
        encoders: one for each recipe.
        root: the folder of all galleries.
        report: receives the progress.
        milvus: where Milvus stores its collections.

    Returns:
        The embeddings by recipe name.

    Raises:
        GalleryTooSmall: too few faces for a recipe; at once if there are too few photos, else when all others are
            built.
        StorageError: `root` cannot be written.
    """
    for encoder in encoders if photos.named else ():
        _check_size(len(photos), encoder.recipe)
    with writing(root), FileLock(root / f".{photos.name}.lock"):
        all_embeddings = _built(photos, encoders, root, report, milvus)
        pending = [encoder for encoder in encoders if encoder.recipe.name not in all_embeddings]
        bases = [one for one in _below(pending) if one.recipe.name not in {each.recipe.name for each in encoders}]
        all_embeddings |= _built(photos, bases, root, report, milvus)
        needed = [encoder for encoder in _below(pending) if encoder.recipe.name not in all_embeddings]
        _embed(photos, needed, root, report)
        for encoder in needed:
            all_embeddings[encoder.recipe.name] = _complete(open_embeddings(photos, encoder, root), report, milvus)
        for encoder in sorted(pending, key=lambda encoder: encoder.recipe.layer == "pca"):
            if encoder.below is not None:
                _check_size(len(all_embeddings[encoder.below.recipe.name]), encoder.recipe)
                _derive(photos, encoder, all_embeddings[encoder.below.recipe.name], root)
                all_embeddings[encoder.recipe.name] = _complete(open_embeddings(photos, encoder, root), report, milvus)
    return {encoder.recipe.name: all_embeddings[encoder.recipe.name] for encoder in encoders}


def _built(
    photos: Photos, encoders: Sequence[Encoder], root: Path, report: Report, milvus: Milvus
) -> dict[str, Embeddings]:
    """Those that are built already, by recipe name; of what is damaged the log tells, since it is built again."""
    built = {}
    for encoder in encoders:
        _clear_leftovers(embeddings_folder(root, photos, encoder.recipe.name))
        try:
            former = open_embeddings(photos, encoder, root)
            if not readable_again(photos, former):
                built[encoder.recipe.name] = _complete(former, report, milvus)
        except GalleryError as error:
            if not isinstance(error, GalleryMissing | GalleryTooSmall | GalleryStale):
                log.warning("%s This is done now.", error)
    return built


def build_shard(
    photos: Photos, encoders: Sequence[Encoder], root: Path, shard: tuple[int, int], report: Report = silent
) -> int:
    """Embeds one worker's share of the photos; returns how many parts are missing from all shares.

    Workers may share the folder, or theirs are merged by copying. `build_embeddings` then finds every part and only
    joins them: to the same bytes as a build by one worker if all processors are of one kind, else up to rounding.

    Args:
        photos: the gallery's.
        encoders: one for each recipe.
        root: the folder of all galleries.
        shard: (i, n) for every n-th part from the i-th.
        report: receives the progress.
    """
    number, of = shard
    if not 0 <= number < of:
        raise SettingsError(f"There is no shard {number}/{of}; give i/n with i from 0 to n - 1, such as 0/2 and 1/2.")
    with writing(root), FileLock(root / f".{photos.name}.{number}-of-{of}.lock"):
        jobs = [_job(photos, encoder, root) for encoder in _below(encoders)]
        embed_parts(photos, jobs, report, shard)
    return max(len(job.draft.missing()) for job in jobs)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Makes the folder; turns what cannot be written in the block into StorageError."""
    try:
        make_folder(root)
        yield
    except OSError as error:
        raise StorageError(
            f"The gallery cannot be written to {root} ({error.strerror or error}); make room there, or set "
            "FACESEARCH_INDEX to a folder that can be written. What is done so far is kept."
        ) from error


def _clear_leftovers(folder: Path) -> None:
    """Removes temporary files of a killed process. Call it with the lock held, as writers do.

    Copies for memory-mapping (`files.apart`) are made without the lock, in seconds, so those of the last minutes stay.
    """
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    for copy in folder.glob(".*.apart"):
        with suppress(FileNotFoundError):
            if copy.stat().st_mtime < time.time() - COPYING_SECONDS:
                copy.unlink()


def readable_again(photos: Photos, embeddings: Embeddings) -> list[str]:
    """The photos that could not be read during the build and now can, such as those of a drive that is back."""
    readable = []
    for one in embeddings.manifest["skipped"]:
        if one["reason"] != NO_FACE and photos.row_of(one["photo_id"]) is not None:
            with suppress(PhotoError, OSError):
                open_image(photos.found(one["photo_id"]).source)
                readable.append(str(one["photo_id"]))
    return readable


def missing_indexes(embeddings: Embeddings) -> list[str]:
    """The installed indexes that are missing: their package came later, or the build was interrupted."""
    return [name for name in available() if name not in embeddings.manifest["indexes"]]


def _complete(embeddings: Embeddings, report: Report, milvus: Milvus) -> Embeddings:
    """The embeddings with every index that is installed."""
    manifest, missing = embeddings.manifest, missing_indexes(embeddings)
    for name in tracked(missing, f"Building the indexes of {manifest['recipe']['name']}", "indexes", report):
        try:
            facts = build_index(name, embeddings.vectors, embeddings.folder, embeddings.collection(milvus), report)
        except IndexUnavailable as error:
            log.warning("The index %s is left out for now: %s", name, error)
            continue
        manifest = seal(embeddings.folder, {**manifest, "indexes": {**manifest["indexes"], name: facts}})
    return replace(embeddings, manifest=manifest)


def _below(encoders: Sequence[Encoder]) -> list[Encoder]:
    """The encoders that embed photos for these: the base of one with a last layer, else itself."""
    return list({one.recipe.name: one for one in (encoder.below or encoder for encoder in encoders)}.values())


def _job(photos: Photos, encoder: Encoder, root: Path) -> Job:
    folder = embeddings_folder(root, photos, encoder.recipe.name)
    draft = Draft(folder, gallery_fingerprint(encoder, photos), len(photos))
    return Job(encoder, draft, FormerResults(photos, _former(folder, encoder, photos)))


def _former(folder: Path, encoder: Encoder, photos: Photos) -> Embeddings | None:
    """The embeddings in the folder, even of other photos, if they are of the same recipe, weights and faces."""
    try:
        former = load_embeddings(folder, None)
    except GalleryError:
        return None
    built_as = fingerprint(encoder.recipe, encoder.weights.sha256, str(former.manifest.get("photos_revision")))
    same_faces = former.manifest.get("every_face", False) == (photos.every_face and photos.named)
    return former if same_faces and former.manifest["fingerprint"] == built_as else None


def _embed(photos: Photos, encoders: Sequence[Encoder], root: Path, report: Report) -> None:
    """Embeds the photos with all encoders in one pass, without indexes."""
    started, jobs = time.perf_counter(), [_job(photos, encoder, root) for encoder in encoders]
    embed_parts(photos, jobs, report)
    for job in jobs:
        _finish(photos, job, time.perf_counter() - started)


def _finish(photos: Photos, job: Job, seconds: float) -> None:
    """Joins the parts of a draft and seals it, without indexes."""
    parts = [job.draft.read(number) for number in range(len(job.draft))]
    rows = np.concatenate([part.rows for part in parts]).tolist()
    skipped = [
        {"photo_id": photos.photo_ids[row], "reason": reason, "stamp": photos.stamps[row]}
        for part in parts
        for row, reason in part.skipped
    ]
    reasons: Mapping[str, int] = Counter("no_face" if one["reason"] == NO_FACE else "unreadable" for one in skipped)
    ids = face_ids([photos.photo_ids[row] for row in rows])
    columns = {
        "photo_ids": ids,
        "people": [photos.person(face) for face in ids],
        "stamps": [photos.stamps[row] for row in rows],
    }
    counts = {"photos": len(photos), **{kind: reasons.get(kind, 0) for kind in ("no_face", "unreadable")}}
    facts = gallery_facts(photos, job.encoder, job.draft.folder) | {
        "counts": counts | {"indexed": len(rows), "people": len({photos.people[row] for row in rows})},
        "skipped": skipped,
        "precisions": job.encoder.precisions,
        "build_seconds": round(seconds, 1),
    }
    vectors, faces = (np.concatenate([getattr(part, name) for part in parts]) for name in ("vectors", "faces"))
    job.draft.finish({"vectors": vectors, "faces": faces}, columns)
    seal(job.draft.folder, facts)
    job.draft.clear()


def _derive(photos: Photos, encoder: Encoder, base: Embeddings, root: Path) -> None:
    """Builds the embeddings of a recipe with a last layer from those of its base, without indexes."""
    started = time.perf_counter()
    folder = embeddings_folder(root, photos, encoder.recipe.name)
    draft = Draft(folder, gallery_fingerprint(encoder, photos), len(photos))
    layer = encoder.layer or fit_pca(base.vectors, encoder.recipe.dim)
    kept = [name for name in ("counts", "skipped", "precisions") if name in base.manifest]  # earlier ones lack the last
    facts = gallery_facts(photos, encoder, folder) | {name: base.manifest[name] for name in kept}
    draft.finish(
        {"vectors": layer.apply(base.vectors), "faces": base.faces},
        {"photo_ids": base.photo_ids, "people": base.people, "stamps": base.stamps},
    )
    if encoder.layer is None:
        save_layer(layer, folder / LAYER)
        facts["layer"] = dict(layer.facts)
    seal(folder, facts | {"build_seconds": round(time.perf_counter() - started, 1)})
