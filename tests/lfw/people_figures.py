"""How well faces are grouped into people on LFW: `python -m tests.lfw.people_figures`, on galleries that are built.

On all of LFW, names hidden; on 20 galleries of 30 people drawn from it, everybody with at least four photos, and 200
strangers with one photo each among them; with `--tiled`, on the 500 tiled photos of the own-gallery test; with
`--many`, how long 100,000 faces take that `bench-scale` draws by numbers. And on 20 of 60 people with two or three
photos, none of whom is among the 30. Beside ours DBSCAN as Immich sets it (at most 0.5 cosine distance, at least 3
faces) and Chinese Whispers as dlib sets it (distance 0.6), on the same vectors. And how well a person is found by the
mean of the faces, beside the best one and any one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.cluster import DBSCAN

from pipeline.bench.scale import Scale, draw_faces
from pipeline.cli.common import peak_memory
from pipeline.core.errors import PipelineError
from pipeline.core.geometry import unit_rows
from pipeline.core.processors import processor
from pipeline.core.settings import Settings
from pipeline.core.types import FloatArray, IntArray
from pipeline.evaluation.calibrate import corrected_people
from pipeline.evaluation.grouping import (
    GALLERIES,
    MIN_PHOTOS,
    PEOPLE,
    STRANGERS,
    GroupingScore,
    draw_galleries,
    score_grouping,
)
from pipeline.evaluation.ranking import subject_of
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.galleries.known_people import worth
from pipeline.galleries.people import FolderFaces
from pipeline.search.calibration import Calibration, shipped
from pipeline.search.grouping import group_faces, limits_of
from tests.lfw.test_own_photos import labelled, tiled

RECIPES = ("mtcnn-reid", "mtcnn-facenet", "mtcnn-mini")
WHISPERS = 20  # rounds

Group = Callable[[FloatArray], IntArray]


def drawn_small(people: IntArray) -> Iterator[IntArray]:
    """The rows of 20 galleries of people with two or three photos, and of strangers who have one."""
    random, photos = np.random.default_rng(7), np.bincount(people)
    for _ in range(GALLERIES):
        chosen = random.choice(np.flatnonzero((photos >= 2) & (photos < MIN_PHOTOS)), 2 * PEOPLE, replace=False)
        strangers = random.permutation(np.flatnonzero(photos == 1))[:STRANGERS]
        yield np.flatnonzero(np.isin(people, (*chosen, *strangers)))


def dbscan(vectors: FloatArray) -> IntArray:
    groups = DBSCAN(eps=0.5, min_samples=3, metric="cosine").fit_predict(vectors)
    alone = groups < 0
    groups[alone] = groups.max() + 1 + np.arange(alone.sum())
    return np.asarray(groups, np.int64)


def chinese_whispers(vectors: FloatArray) -> IntArray:
    near = [np.flatnonzero(2 - 2 * vectors @ vector < 0.6**2) for vector in vectors]
    near = [others[others != row] for row, others in enumerate(near)]
    groups, random = np.arange(len(vectors)), np.random.default_rng(0)
    for _ in range(WHISPERS):
        for row in random.permutation(len(vectors)):
            if len(near[row]):
                groups[row] = np.bincount(groups[near[row]]).argmax()
    return np.unique(groups, return_inverse=True)[1]


def said(scores: Sequence[GroupingScore]) -> str:
    """The mean of the scores, and the worst."""
    worst = min(score.bcubed_f for score in scores)
    mean = GroupingScore.mean(scores)
    return (
        f"BCubed F {mean.bcubed_f:.4f} (worst {worst:.3f}), precision and recall {mean.bcubed_precision:.3f} and "
        f"{mean.bcubed_recall:.3f}, pairs {mean.pair_precision:.3f}/{mean.pair_recall:.3f}, "
        f"V {mean.v_measure:.4f}, {mean.groups:,.0f} groups of {mean.people:,.0f} people"
    )


def found_by(vectors: FloatArray, people: IntArray, scores: FloatArray) -> tuple[float, float, float]:
    """R-precision of the other half of a person's photos: by the mean of one half, its best face, and each of them."""
    random, by_mean, by_best, by_one = np.random.default_rng(0), [], [], []
    for person in np.flatnonzero(np.bincount(people) >= MIN_PHOTOS):
        rows = random.permutation(np.flatnonzero(people == person))
        known, wanted = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        rest = np.setdiff1d(np.arange(len(people)), known)
        queries = np.concatenate((unit_rows(vectors[known].mean(axis=0)), vectors[known]))
        nearest = np.argsort(-(queries @ vectors[rest].T), axis=1)[:, : len(wanted)]
        shares = (people[rest][nearest] == person).mean(axis=1)
        by_mean.append(shares[0])
        by_best.append(shares[1 + scores[known].argmax()])
        by_one.append(shares[1:].mean())
    return float(np.mean(by_mean)), float(np.mean(by_best)), float(np.mean(by_one))


def tiled_faces(gallery: Gallery, recipe: str) -> tuple[FloatArray, IntArray, list[str]]:
    """The faces of 500 tiled photos: their vectors, whose they are, and in which photo."""
    with tempfile.TemporaryDirectory() as place:
        (photos := Path(place) / "photos").mkdir()
        places = tiled(gallery.photos, 500, photos)
        faces = FolderFaces(photos, gallery.encoders, Path(place) / "index")
        faces.build([recipe])
        embeddings = faces.searcher(recipe).embeddings
        rows = labelled(embeddings, places)
        names = [gallery.photos.people[of_lfw] for of_lfw in rows]
        chosen = list(rows.values())
        photo = [embeddings.photo_ids[row].split(" #")[0] for row in chosen]
        return np.array(embeddings.vectors[chosen]), np.unique(names, return_inverse=True)[1], photo


def measure(gallery: Gallery, recipe: str) -> None:
    searcher = gallery.searcher(recipe)
    subject, calibration = subject_of(searcher.embeddings, gallery.photos), searcher.calibration
    assert calibration is not None
    people = corrected_people(subject, gallery.corrections)[0]
    known = np.flatnonzero(people >= 0)
    vectors, people = subject.vectors[known], people[known]
    ours: Group = lambda some: group_faces(some, limits_of(calibration, len(some)))  # noqa: E731
    ways: dict[str, Group] = {"ours": ours, "DBSCAN": dbscan, "Chinese Whispers": chinese_whispers}
    sets = {
        "20 of 30 people": list(draw_galleries(people)),
        "20 of 60 people with few photos": list(drawn_small(people)),
    }
    sets["all of LFW"] = [np.arange(len(people))]
    for title, galleries in sets.items():
        for name, group in ways.items():
            scores = [score_grouping(people[rows], group(vectors[rows])) for rows in galleries]
            sys.stdout.write(f"{recipe}, {title}, {name}: {said(scores)}\n")
    best = np.array([worth(searcher.embeddings.face(row)) for row in known.tolist()])
    each = [found_by(vectors[rows], people[rows], best[rows]) for rows in sets["20 of 30 people"]]
    by_mean, by_best, by_one = np.mean(each, axis=0)
    sys.stdout.write(
        f"{recipe}: found by the mean of half the photos {by_mean:.4f}, by the best of them {by_best:.4f}, "
        f"by any one {by_one:.4f}\n"
    )
    if "--tiled" in sys.argv:
        vectors, people, photos = tiled_faces(gallery, recipe)
        ways["ours"] = lambda some: group_faces(some, limits_of(calibration, len(some)), photos)
        for name, group in ways.items():
            score = score_grouping(people, group(vectors))
            sys.stdout.write(f"{recipe}, tiled, {name}: {said([score])}\n")


def measure_many(calibration: Calibration, faces: int = 100_000) -> None:
    with tempfile.TemporaryDirectory() as place:
        drawn = draw_faces(Path(place) / "vectors.npy", Scale(rows=faces, dim=256))
        photos = [str(face % (faces // 3)) for face in range(faces)]  # of three people each
        vectors, began = np.array(drawn.vectors), time.perf_counter()
        groups = int(group_faces(vectors, limits_of(calibration, faces), photos).max()) + 1
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{faces:,} faces, {groups:,} groups: {seconds:.0f} s{peak_memory()}, {processor()}\n")


def main() -> None:
    if "--many" in sys.argv:
        measure_many(next(known for known in shipped() if known.recipe == "mtcnn-reid"))
        return
    gallery = open_gallery(Settings.from_env())
    for recipe in RECIPES:
        try:
            measure(gallery, recipe)
        except PipelineError as error:
            sys.stdout.write(f"{recipe}: {error}\n")


if __name__ == "__main__":
    main()
