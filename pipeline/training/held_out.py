"""What the compact network makes of people it was never shown: pairs of photos of those who were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.geometry import unit_rows
from pipeline.core.recipes import Recipe
from pipeline.core.types import FloatArray, IntArray, Network
from pipeline.embeddings.store import Gallery
from pipeline.encoder.faces import cut
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Bools
from pipeline.evaluation.pairs import Pairs
from pipeline.photos.images import open_image
from pipeline.photos.sources import Photos
from pipeline.training.distil import held_out_people, held_out_rows

FOLDS = 10
SEED = 3
BATCH = 32


@dataclass(frozen=True)
class HeldOut:
    """How many people and pairs there are, the share of pairs each network judges rightly, and how alike the two are.

    `student` and `teacher` are accuracies as in LFW's View 2, the threshold chosen on nine folds and judged on the
    tenth; `cosine` is the mean between both networks' vectors of one photo.
    """

    people: int
    pairs: int
    student: float
    teacher: float
    cosine: float


def judge(network: Network, recipe: Recipe, gallery: Gallery, photos: Photos, view_2: Pairs) -> HeldOut:
    """The student's `network` on its `recipe`'s crops against the teacher's `gallery`.

    Pairs of one person are View 2's own as far as that person was held out; as many pairs of two people are drawn,
    because View 2 has few whose people both were.
    """
    rows = held_out_rows(gallery, photos)
    crops = []
    for row in rows.tolist():
        photo = photos.found(gallery.photo_ids[row])
        crops.append(cut(open_image(photo.source), gallery.face(row), recipe))
    embedded = [network.embed(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
    student, teacher = unit_rows(np.concatenate(embedded)), np.asarray(gallery.vectors[rows])
    ends, same = _pairs(gallery, rows, view_2)
    return HeldOut(
        people=len(held_out_people(photos.people)),
        pairs=len(ends),
        student=_accuracy(student, ends, same),
        teacher=_accuracy(teacher, ends, same),
        cosine=round(float((student * teacher).sum(axis=1).mean()), 4),
    )


def _pairs(gallery: Gallery, rows: IntArray, view_2: Pairs) -> tuple[IntArray, Bools]:
    """Places in `rows` of pairs (n, 2), the two kinds in turn, and which show one person (n,)."""
    place = {gallery.photo_ids[row]: number for number, row in enumerate(rows.tolist())}
    both = zip(view_2.photo_ids, view_2.same.tolist(), strict=True)
    genuine = [(place[one], place[other]) for (one, other), same in both if same and one in place and other in place]
    people = [gallery.people[row] for row in rows.tolist()]
    random, impostor = np.random.default_rng(SEED), list[tuple[int, int]]()
    while len(impostor) < len(genuine):
        first, second = random.integers(len(rows), size=2).tolist()
        if people[first] != people[second]:
            impostor.append((first, second))
    ends = np.array([pair for pairs in zip(genuine, impostor, strict=True) for pair in pairs], np.int64).reshape(-1, 2)
    return ends, np.arange(len(ends)) % 2 == 0


def _accuracy(vectors: FloatArray, ends: IntArray, same: Bools) -> float:
    measured = np.linalg.norm(vectors[ends[:, 0]] - vectors[ends[:, 1]], axis=1).astype(np.float64)
    folds = np.arange(len(ends)) * FOLDS // max(len(ends), 1)
    return round(float(metrics.fold_accuracies(measured, same, folds)[0].mean()), 4)
