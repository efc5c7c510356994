"""What the compact network learns from: faces cut out of photos in many ways, each with the teacher's vector.

The teacher sees a view as large as it likes it, the student as small and, half the time, worse: blurred, compressed,
in another light. Both see the same mixture of two faces and the same thing held before a face, so that what is to be
learned is what the teacher does everywhere, and not only at 13,000 photos (Beyer et al. 2022, "Knowledge distillation:
a good teacher is patient and consistent", arXiv:2106.05237).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from pipeline.core.files import array_digest, digest, read_sealed, replacing, sealed, write_json
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import Recipe
from pipeline.core.types import Face, FloatArray, IntArray, Landmarks
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.faces import cut
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos

VIEWS = 3  # of each photo
PART = 960  # views that are kept, and can be lost, together
SEED = 11
# How far views differ: parts of the face's width, radians, parts.
SHIFT, TURN, SIZE, NOISE = 0.05, 0.12, 0.09, 0.015
MIXED, COVERED, WORSE = 0.35, 0.2, 0.5  # shares of views

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Where views come from: a gallery that knows its faces, its photos, and which recipe's crops are wanted.

    `teacher` sees its own crops; `student` is the recipe whose crops are kept.
    """

    embeddings: Embeddings
    photos: Photos
    teacher: Encoder
    student: Recipe


class Views:
    """Views on disk, in parts: crops (n, side, side, 3) and the teacher's unit vectors (n, d)."""

    def __init__(self, folder: Path, name: str, rows: IntArray) -> None:
        """`rows` of the gallery; those of one name are mixed with each other only."""
        self._folder, self._name = folder, name
        self.rows = np.random.default_rng(SEED).permutation(np.repeat(rows, VIEWS))
        self._opened: dict[int, tuple[Pixels, FloatArray]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def make(self, source: Source, report: Report = silent) -> None:
        """Makes the parts that are not there yet, are damaged, or are of another source."""
        count = -(-len(self) // PART)
        todo = [part for part in range(count) if not self._is_whole(source, part)]
        for part in tracked(todo, f"Views ({self._name})", "parts", report, done=count - len(todo)):
            arrays: tuple[npt.NDArray[Any], ...] = self._made(source, part)
            for path, array in zip(self._paths(part), arrays, strict=True):
                with replacing(path) as beside, beside.open("wb") as stream:
                    np.save(stream, array, allow_pickle=False)
            write_json(self._record(part), sealed(self._told(source, part)))

    def __getitem__(self, numbers: IntArray) -> tuple[Pixels, FloatArray]:
        """Crops and vectors of these views."""
        pairs = [self._part(number // PART) for number in numbers.tolist()]
        places = (numbers % PART).tolist()
        return (
            np.stack([crops[place] for (crops, _), place in zip(pairs, places, strict=True)]),
            np.stack([vectors[place] for (_, vectors), place in zip(pairs, places, strict=True)]),
        )

    def _part(self, part: int) -> tuple[Pixels, FloatArray]:
        if part not in self._opened:
            crops, vectors = (np.load(path, mmap_mode="r", allow_pickle=False) for path in self._paths(part))
            self._opened[part] = crops, vectors
        return self._opened[part]

    def _paths(self, part: int) -> tuple[Path, Path]:
        stem = f"{self._name}-{part:03d}"
        return self._folder / f"{stem}-crops.npy", self._folder / f"{stem}-vectors.npy"

    def _record(self, part: int) -> Path:
        return self._folder / f"{self._name}-{part:03d}.json"

    def _is_whole(self, source: Source, part: int) -> bool:
        try:
            return read_sealed(self._record(part)) == self._told(source, part)
        except (OSError, ValueError):  # a file is not there, or something else
            return False

    def _told(self, source: Source, part: int) -> dict[str, Any]:
        """What a part's record says: whose views these are, and the digests of both files as they are now."""
        return {
            "gallery": source.embeddings.manifest["fingerprint"],
            "teacher": [source.teacher.recipe.name, source.teacher.weights.sha256],
            "student": source.student.name,
            "rows": array_digest([SEED, PART], self.rows),
            "files": [digest(path) for path in self._paths(part)],
        }

    def _made(self, source: Source, part: int) -> tuple[Pixels, FloatArray]:
        random = np.random.default_rng((SEED, part))
        rows = self.rows[part * PART : (part + 1) * PART]
        views = [_view(source, row, int(random.choice(self.rows)), random) for row in rows.tolist()]
        crops = np.stack([np.asarray(small) for _, small in views])
        large = [large for large, _ in views]
        vectors = np.concatenate([source.teacher.embed(large[at : at + 48]) for at in range(0, len(large), 48)])
        return crops, vectors


def _view(source: Source, row: int, other: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """One view of a photo's face: as the teacher sees it, and as the student does."""
    pair = _crops(source, row, random)
    if random.random() < MIXED:
        share = random.uniform(0.3, 0.7)
        pair = tuple(Image.blend(*both, share) for both in zip(pair, _crops(source, other, random), strict=True))  # type: ignore[assignment]
    if random.random() < COVERED:
        corner, size, colour = random.uniform(0, 0.8, 2), random.uniform(0.15, 0.45, 2), random.integers(0, 256, 3)
        for crop in pair:
            box = np.concatenate([corner, corner + size]) * crop.width
            crop.paste(tuple(colour.tolist()), tuple(box.round().astype(int).tolist()))
    large, small = pair
    return large, _worse(small, random) if random.random() < WORSE else small


def _crops(source: Source, row: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A photo's face as both see it, cut out a little beside where it is."""
    photo, face = source.photos.found(source.embeddings.photo_ids[row]), source.embeddings.face(row)
    assert face is not None
    image = open_image(photo.source)
    moved = _moved(face, random)
    return cut(image, moved, source.teacher.recipe), cut(image, moved, source.student)


def _moved(face: Face, random: np.random.Generator) -> Face:
    points = np.array(face.landmarks) @ (1, 1j)
    middle, width = points.mean(), face.box[2] - face.box[0]
    turn = random.uniform(1 - SIZE, 1 + SIZE) * np.exp(1j * random.normal(0, TURN / 2))
    shift, noise = random.normal(0, SHIFT / 2, 2), random.normal(0, NOISE, (5, 2))
    points = middle + (points - middle) * turn + (shift @ (1, 1j) + noise @ (1, 1j)) * width
    landmarks: Landmarks = tuple((float(point.real), float(point.imag)) for point in points)  # type: ignore[assignment]
    return Face(face.box, face.confidence, landmarks)


def _worse(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """A crop as worse cameras, or worse light, would have it."""
    return _HARMS[int(random.integers(len(_HARMS)))](crop, random)


def _blurred(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    return crop.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.8)))


def _compressed(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    kept = io.BytesIO()
    crop.save(kept, "JPEG", quality=int(random.integers(15, 70)))
    with Image.open(kept) as read:
        return read.convert("RGB")


def _coarse(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    side = round(crop.width / random.uniform(1.3, 3))
    return crop.resize((side, side), Image.Resampling.BILINEAR).resize(crop.size, Image.Resampling.BILINEAR)


def _lit(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        crop = change(crop).enhance(random.uniform(0.6, 1.4))
    return crop


def _grey(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    return crop.convert("L").convert("RGB")


_HARMS: Sequence[Callable[[Image.Image, np.random.Generator], Image.Image]] = (
    _blurred,
    _compressed,
    _coarse,
    _lit,
    _grey,
)
