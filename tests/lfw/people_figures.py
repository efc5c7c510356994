"""How well faces are grouped into people on LFW: `python -m tests.lfw.people_figures`, on galleries that are built.

On all of LFW, names hidden, and on 20 galleries of 30 people drawn from it: everybody drawn has at least four photos,
and 200 strangers with one photo each stand among them. Beside ours DBSCAN as Immich sets it (at most 0.5 cosine
distance, at least 3 faces) and Chinese Whispers as dlib sets it (distance 0.6), on the same vectors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.cluster import DBSCAN

from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.core.types import FloatArray, IntArray
from pipeline.evaluation.protocols import score_grouping
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.search.grouping import group_faces, limit_of

RECIPES = ("mtcnn-reid", "mtcnn-facenet", "mtcnn-mini")
GALLERIES, PEOPLE, STRANGERS, MIN_PHOTOS = 20, 30, 200, 4
WHISPERS = 20  # rounds

Group = Callable[[FloatArray], IntArray]


def drawn(people: IntArray, count: int = GALLERIES) -> Iterator[IntArray]:
    """The rows of each gallery, by a fixed seed."""
    random, photos = np.random.default_rng(0), np.bincount(people)
    for _ in range(count):
        chosen = random.choice(np.flatnonzero(photos >= MIN_PHOTOS), PEOPLE, replace=False)
        others = random.permutation(np.setdiff1d(np.unique(people), chosen))[:STRANGERS]
        strangers = [random.choice(np.flatnonzero(people == other)) for other in others]
        yield np.concatenate((np.flatnonzero(np.isin(people, chosen)), strangers))


def dbscan(vectors: FloatArray) -> IntArray:
    groups = DBSCAN(eps=0.5, min_samples=3, metric="cosine").fit_predict(vectors)
    alone = groups < 0
    groups[alone] = groups.max() + 1 + np.arange(alone.sum())
    return np.asarray(groups, np.int64)


def chinese_whispers(vectors: FloatArray) -> IntArray:
    near = 2 - 2 * vectors @ vectors.T < 0.6**2
    np.fill_diagonal(near, val=False)
    groups, random = np.arange(len(vectors)), np.random.default_rng(0)
    for _ in range(WHISPERS):
        for row in random.permutation(len(vectors)):
            if near[row].any():
                groups[row] = np.bincount(groups[near[row]]).argmax()
    return np.unique(groups, return_inverse=True)[1]


def measure(gallery: Gallery, recipe: str) -> None:
    searcher = gallery.searcher(recipe)
    vectors, calibration = np.asarray(searcher.embeddings.vectors), searcher.calibration
    names = gallery.corrections.people(searcher.embeddings.photo_ids, searcher.embeddings.people)
    people = np.unique(names, return_inverse=True)[1]

    def ours(some: FloatArray) -> IntArray:
        assert calibration is not None
        return group_faces(some, limit_of(calibration, len(some)))

    ways: dict[str, Group] = {"ours": ours, "DBSCAN": dbscan, "Chinese Whispers": chinese_whispers}
    rows = list(drawn(people))
    for name, group in ways.items():
        small = [score_grouping(people[some], group(vectors[some])) for some in rows]
        values = [score.bcubed_f for score in small]
        whole = score_grouping(people, group(vectors)) if name != "Chinese Whispers" else None
        said = (
            f"LFW: BCubed F {whole.bcubed_f:.3f} (precision {whole.bcubed_precision:.3f}, recall "
            f"{whole.bcubed_recall:.3f}), pairs {whole.pair_precision:.3f}/{whole.pair_recall:.3f}, V "
            f"{whole.v_measure:.3f}, {whole.groups:,} groups of {whole.people:,} people"
            if whole
            else "LFW: not tried, it compares all with all"
        )
        sys.stdout.write(
            f"{recipe} {name}: 20 galleries of 30: BCubed F {np.mean(values):.4f} (worst {min(values):.3f}); {said}\n"
        )


def main() -> None:
    gallery = open_gallery(Settings.from_env())
    for recipe in RECIPES:
        try:
            measure(gallery, recipe)
        except PipelineError as error:
            sys.stdout.write(f"{recipe}: {error}\n")


if __name__ == "__main__":
    main()
