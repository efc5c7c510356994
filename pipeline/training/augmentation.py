"""Training data of the compact network: augmented views of faces, each with the teacher's embedding.

The teacher gets a view at its own input size, the student at its smaller one and, half the time, degraded: blurred,
compressed, in another light. Mixing two faces and covering a part are the same for both, so that the student learns the
teacher's function beyond 13,000 photos (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and
consistent", arXiv:2106.05237).
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
VIEWS_PER_PART = 960  # written together; a kill loses one part
SEED = 11
# Two standard deviations in face widths, two in radians, the largest change, one standard deviation in face widths.
MAX_SHIFT, MAX_TURN, MAX_SCALING, LANDMARK_NOISE = 0.05, 0.12, 0.09, 0.015
MIXED_SHARE, COVERED_SHARE, DEGRADED_SHARE = 0.35, 0.2, 0.5  # shares of views

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Where views come from: embeddings that hold the faces, their photos, the teacher, and the student's recipe."""

    embeddings: Embeddings
    photos: Photos
    teacher: Encoder
    student: Recipe


class Views:
    """Views on disk, in parts: crops (n, side, side, 3) and the teacher's unit vectors (n, d)."""

    def __init__(self, folder: Path, name: str, rows: IntArray) -> None:
        """`rows` are the gallery's; views are mixed only with others of the same `name`."""
        self._folder, self._name = folder, name
        self.rows = np.random.default_rng(SEED).permutation(np.repeat(rows, VIEWS))
        self._opened: dict[int, tuple[Pixels, FloatArray]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def make(self, source: Source, report: Report = silent) -> None:
        """Makes the parts that are missing, damaged, or from another source."""
        count = -(-len(self) // VIEWS_PER_PART)
        todo = [part for part in range(count) if not self._is_whole(source, part)]
        for part in tracked(todo, f"Views ({self._name})", "parts", report, done=count - len(todo)):
            arrays: tuple[npt.NDArray[Any], ...] = self._made(source, part)
            for path, array in zip(self._paths(part), arrays, strict=True):
                with replacing(path) as beside, beside.open("wb") as stream:
                    np.save(stream, array, allow_pickle=False)
            write_json(self._record_path(part), sealed(self._record_of(source, part)))

    def __getitem__(self, numbers: IntArray) -> tuple[Pixels, FloatArray]:
        """Crops and vectors of these views."""
        pairs = [self._part(number // VIEWS_PER_PART) for number in numbers.tolist()]
        places = (numbers % VIEWS_PER_PART).tolist()
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

    def _record_path(self, part: int) -> Path:
        return self._folder / f"{self._name}-{part:03d}.json"

    def _is_whole(self, source: Source, part: int) -> bool:
        try:
            return read_sealed(self._record_path(part)) == self._record_of(source, part)
        except (OSError, ValueError):  # a file is missing or damaged
            return False

    def _record_of(self, source: Source, part: int) -> dict[str, Any]:
        """The content of a part's record: the source of its views, and the digests of both files as they are now."""
        return {
            "gallery": source.embeddings.manifest["fingerprint"],
            "teacher": [source.teacher.recipe.name, source.teacher.weights.sha256],
            "student": source.student.name,
            "rows": array_digest([SEED, VIEWS_PER_PART], self.rows),
            "files": [digest(path) for path in self._paths(part)],
        }

    def _made(self, source: Source, part: int) -> tuple[Pixels, FloatArray]:
        random = np.random.default_rng((SEED, part))
        rows = self.rows[part * VIEWS_PER_PART : (part + 1) * VIEWS_PER_PART]
        views = [_view(source, row, int(random.choice(self.rows)), random) for row in rows.tolist()]
        crops = np.stack([np.asarray(small) for _, small in views])
        large = [large for large, _ in views]
        vectors = np.concatenate([source.teacher.embed(large[at : at + 48]) for at in range(0, len(large), 48)])
        return crops, vectors


def _view(source: Source, row: int, other: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """One view of a photo's face: the teacher's crop and the student's."""
    pair = _crops(source, row, random)
    if random.random() < MIXED_SHARE:
        share = random.uniform(0.3, 0.7)
        pair = tuple(Image.blend(*both, share) for both in zip(pair, _crops(source, other, random), strict=True))  # type: ignore[assignment]
    if random.random() < COVERED_SHARE:
        corner, size, colour = random.uniform(0, 0.8, 2), random.uniform(0.15, 0.45, 2), random.integers(0, 256, 3)
        for crop in pair:
            box = np.concatenate([corner, corner + size]) * crop.width
            crop.paste(tuple(colour.tolist()), tuple(box.round().astype(int).tolist()))
    large, small = pair
    return large, _degraded(small, random) if random.random() < DEGRADED_SHARE else small


def _crops(source: Source, row: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """The teacher's and the student's crop of a photo's face, both moved a little."""
    photo, face = source.photos.found(source.embeddings.photo_ids[row]), source.embeddings.face(row)
    assert face is not None
    image = open_image(photo.source)
    moved = _moved(face, random)
    return cut(image, moved, source.teacher.recipe), cut(image, moved, source.student)


def _moved(face: Face, random: np.random.Generator) -> Face:
    points = np.array(face.landmarks) @ (1, 1j)
    middle, width = points.mean(), face.box[2] - face.box[0]
    turn = random.uniform(1 - MAX_SCALING, 1 + MAX_SCALING) * np.exp(1j * random.normal(0, MAX_TURN / 2))
    shift, noise = random.normal(0, MAX_SHIFT / 2, 2), random.normal(0, LANDMARK_NOISE, (5, 2))
    points = middle + (points - middle) * turn + (shift @ (1, 1j) + noise @ (1, 1j)) * width
    landmarks: Landmarks = tuple((float(point.real), float(point.imag)) for point in points)  # type: ignore[assignment]
    return Face(face.box, face.confidence, landmarks)


def _degraded(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """The crop as a worse camera or other light would show it."""
    return _DEGRADATIONS[int(random.integers(len(_DEGRADATIONS)))](crop, random)


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


_DEGRADATIONS: Sequence[Callable[[Image.Image, np.random.Generator], Image.Image]] = (
    _blurred,
    _compressed,
    _coarse,
    _lit,
    _grey,
)
