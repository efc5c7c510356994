"""Embedding photos, part by part, into drafts.

Several recipes are embedded in one pass: each photo is decoded once, and its faces are detected once for all recipes
with the same detector. Results of an earlier build are reused for photos that have not changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.errors import PhotoError, PhotoOutOfReach, PhotosError
from pipeline.core.progress import Meter, Report
from pipeline.core.types import Detector, Face, FloatArray
from pipeline.embeddings.store import FACE_COLUMNS, Draft, Embeddings, Part, face_row
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.look import Look, look_at_all
from pipeline.photos.face_ids import photo_of
from pipeline.photos.images import DROPPED, open_image
from pipeline.photos.photos import Photos

NO_FACE = "no face found"
OUT_OF_REACH = (
    "The photo {} could not be read, though it may be undamaged: {} What was embedded is kept; build again once the "
    "photos are there."
)
BATCH = 40  # photos decoded and embedded at a time; memory for more buys no speed
BATCH_PIXELS = 30_000_000  # the same where every face is taken: people's own photos, of 36 MB each once decoded

Embedded = tuple[FloatArray, FloatArray]  # a vector (d,) and its face (15,)
Decoded = tuple[list[int], list[Image.Image], list[tuple[int, str]]]  # rows, their photos; rows without, and why


class FormerResults:
    """The results of an earlier build by the same encoder, for photos that have not changed."""

    def __init__(self, photos: Photos, former: Embeddings | None) -> None:
        self._former = former
        self._of_now = list(zip(photos.photo_ids, photos.stamps, strict=True))
        self._rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._faceless: set[tuple[str, str]] = set()
        if former is not None:
            for row, (face, stamp) in enumerate(zip(former.photo_ids, former.stamps, strict=True)):
                self._rows[photo_of(face) if photos.every_face else face, stamp].append(row)
            skipped = former.manifest["skipped"]
            self._faceless = {(one["photo_id"], one["stamp"]) for one in skipped if one["reason"] == NO_FACE}

    def of(self, row: int) -> list[Embedded] | str | None:
        """The photo's vectors and faces, or why it was skipped; None if it is new or has changed."""
        if self._of_now[row] in self._faceless:
            return NO_FACE
        there = self._rows.get(self._of_now[row])
        if there is None or self._former is None:
            return None
        return [(self._former.vectors[face], self._former.faces[face]) for face in there]


@dataclass(frozen=True)
class Job:
    """One encoder's work in a pass: its draft, and the results of an earlier build."""

    encoder: Encoder
    draft: Draft
    known: FormerResults


def embed_parts(photos: Photos, jobs: Sequence[Job], report: Report, shard: tuple[int, int] = (0, 1)) -> None:
    """Embeds and writes the parts missing from the drafts; with a shard (i, n) those whose number is i modulo n."""
    if not jobs:
        return
    missing = [{number for number in job.draft.missing() if number % shard[1] == shard[0]} for job in jobs]
    todo = sorted(set().union(*missing))
    to_work = sum(len(jobs[0].draft.rows(number)) for number in todo)
    meter = Meter("Indexing", "photos", len(photos), report, done=len(photos) - to_work)
    for number in todo:
        rows = jobs[0].draft.rows(number)
        working = [_PartInProgress(job, rows) for job, wanted in zip(jobs, missing, strict=True) if number in wanted]
        unknown = sorted(set().union(*(one.unknown for one in working)))
        if len(unknown) < len(rows):
            meter.advance(len(rows) - len(unknown))
        with closing(_decoded(photos, unknown)) as batches:
            for batch, images, unreadable in batches:
                _encode_batch(batch, images, working, photos)
                images.clear()  # before it is another visitor's turn
                for one in working:
                    one.skip(unreadable)
                meter.advance(len(batch) + len(unreadable))
        for one in working:
            one.job.draft.write(number, one.as_part())


class _PartInProgress:
    """One job's results for a part. `unknown` are the photo rows that must be embedded."""

    def __init__(self, job: Job, rows: range) -> None:
        self.job = job
        self.unknown: set[int] = set()
        self._found: dict[int, list[Embedded]] = {}
        self._skipped: dict[int, str] = {}
        for row in rows:
            known = job.known.of(row)
            if known is None:
                self.unknown.add(row)
            elif isinstance(known, str):
                self._skipped[row] = known
            else:
                self._found[row] = known

    def add(self, row: int, vector: FloatArray | None, face: FloatArray) -> None:
        """Adds the vector (d,) and face (15,) of a photo's row, or that it shows no face."""
        if vector is None:
            self._skipped[row] = NO_FACE
        else:
            self._found.setdefault(row, []).append((vector, face))

    def skip(self, unreadable: Sequence[tuple[int, str]]) -> None:
        """Adds photos that cannot be read, with the reasons."""
        self._skipped |= {row: reason for row, reason in unreadable if row in self.unknown}

    def as_part(self) -> Part:
        """The results, ordered by photo."""
        rows = [row for row in sorted(self._found) for _ in self._found[row]]
        embedded = [one for row in sorted(self._found) for one in self._found[row]]
        vectors: list[Any] = [vector for vector, _ in embedded]
        faces: list[Any] = [face for _, face in embedded]
        return Part(
            np.array(rows, np.int64),
            np.array(vectors, np.float32).reshape(-1, self.job.encoder.recipe.dim),
            np.array(faces, np.float32).reshape(-1, FACE_COLUMNS),
            tuple(sorted(self._skipped.items())),
        )


def _encode_batch(
    rows: Sequence[int], images: Sequence[Image.Image], working: Sequence[_PartInProgress], photos: Photos
) -> None:
    if not images:
        return
    looks: dict[int, list[Look]] = {}  # by detector, which several recipes may share
    every, for_one = photos.every_face, all(one.job.encoder.for_one for one in working)
    for one in working:
        encoder = one.job.encoder
        if id(encoder.detector) not in looks:
            looks[id(encoder.detector)] = _looked_at(images, encoder.detector, every_face=every, for_one=for_one)
        seen = looks[id(encoder.detector)]
        mine = [place for place, row in enumerate(rows) if row in one.unknown]
        faces = [seen[place].faces for place in mine]
        if photos.every_face:  # each photo once for each of its faces
            apart = [(place, face) for place in mine for face in _apart(seen[place], encoder, named=photos.named)]
            mine, faces = [place for place, _ in apart], [face for _, face in apart]
        results = encoder.encode([seen[place].image for place in mine], encoder.of_gallery, faces)
        for place, encoded in zip(mine, results, strict=True):
            one.add(rows[place], encoded.vector, face_row(encoded.face and seen[place].as_it_lay(encoded.face)))


def _looked_at(
    images: Sequence[Image.Image], detector: Detector | None, *, every_face: bool, for_one: bool
) -> list[Look]:
    """The images with their faces; where every face counts, also those of turned photos, and small ones of large."""
    if detector is None:
        return [Look(image, ()) for image in images]
    if every_face:
        return look_at_all(images, detector)
    return [Look(*one) for one in zip(images, detector.detect(images, for_one=for_one), strict=True)]


def _apart(seen: Look, encoder: Encoder, *, named: bool) -> list[tuple[Face, ...]]:
    """The faces one by one, in front the one that has the photo's name."""
    first = seen.indexed_by(encoder.of_gallery) if named else None
    return [(face,) for face in sorted(seen.faces, key=lambda face: face is not first)] or [()]


def _decoded(photos: Photos, rows: Sequence[int]) -> Generator[Decoded, None, None]:
    """Batches of decoded photos with their rows, and what could not be read.

    The next batch is decoded meanwhile; but of visitors' own photos, of which one batch is in memory at a time.
    """

    def decode(row: int) -> Image.Image | str:
        try:
            return open_image(photos[row].source)
        except (PhotoOutOfReach, OSError) as error:  # the latter where a dataset's own file is gone
            raise PhotosError(OUT_OF_REACH.format(photos.photo_ids[row], error)) from error
        except PhotoError as error:
            return str(error)

    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    with ThreadPoolExecutor(max_workers=2 if photos.every_face else 1) as readers:
        if photos.every_face:
            yield from _decoded_in_turn(rows, partial(readers.map, decode))
            return
        coming: Iterable[Image.Image | str] = ()
        for batch, following in zip_longest(batches, batches[1:], fillvalue=()):
            ready = _sorted_out(batch, coming or readers.map(decode, batch))
            coming = readers.map(decode, following)
            yield ready


def _decoded_in_turn(
    rows: Sequence[int], decoded: Callable[[Sequence[int]], Iterable[Image.Image | str]]
) -> Generator[Decoded, None, None]:
    """Batches of at most BATCH photos, and of BATCH_PIXELS and two photos more; one is in memory at a time."""
    done = 0
    while done < len(rows):
        with DROPPED:
            batch, images = list[int](), list[Image.Image | str]()
            while done < len(rows) and len(batch) < BATCH and _pixels(images) < BATCH_PIXELS:
                pair, done = rows[done : done + 2], done + 2
                images += decoded(pair)
                batch += pair
            yield _sorted_out(batch, images)
            images.clear()


def _pixels(images: Sequence[Image.Image | str]) -> int:
    return sum(image.width * image.height for image in images if isinstance(image, Image.Image))


def _sorted_out(batch: Sequence[int], decoded: Iterable[Image.Image | str]) -> Decoded:
    good, images, skipped = [], [], []
    for row, one in zip(batch, decoded, strict=True):
        if isinstance(one, str):
            skipped.append((row, one))
        else:
            good.append(row)
            images.append(one)
    return good, images, skipped
