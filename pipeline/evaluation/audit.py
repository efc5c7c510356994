"""The audit: mistakes in a gallery's names that two networks agree on, and pictures that two names share.

A closeness of two photos is 1 where they are the same, and 0 at the distance at which as many pairs show one person as
two, by the network's calibration: so that networks can be compared. A person's photos are clustered by average
linkage, a pair being as close as the network says that thinks it closer: what stays apart is apart for every network.
Two people's clusters are as close as the network says that thinks them less close. Where they match, whole people are
one person under two names, and a part of somebody's photos shows another person than it says. A part that matches
nobody may be another person of the same name.

The limits were measured on LFW (README.md in this package).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.errors import PhotoError, SettingsError
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.types import FloatArray, IntArray
from pipeline.embeddings.corrections import Correction, Corrections
from pipeline.embeddings.store import Embeddings
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.photos.sources import UNKNOWN
from pipeline.search.calibration import Calibration

PARTED = 0.0  # a person's photos fall into parts below this, which are compared with other people's one by one
APART = -0.075  # a part that is nobody else's is another person of the same name below this; sunglasses reach -0.07
SAME = 0.2  # clusters of two photos or more are one person's; strangers of LFW reach 0.19
SAME_ONE = 0.265  # where one of them is a single photo; of LFW's 87 million pairs, strangers reach 0.25
SAME_NAMED = 0.16  # where the names are alike too, or a person's photos are in parts anyway
ALIKE = 0.8  # `difflib`'s ratio
SAME_PICTURE = 0.96  # correlation of pixels; other pairs of LFW reach 0.944
PIXELS = 32  # a side
CHUNK = 512  # photos compared with all others at a time


@dataclass(frozen=True)
class View:
    """How one network sees the photos: unit vectors (n, d), and what its distances mean."""

    vectors: FloatArray
    calibration: Calibration

    def closeness(self, rows: IntArray, others: IntArray) -> FloatArray:
        """Of each of some rows to each of others."""
        distance = np.sqrt(np.maximum(2 - 2 * (self.vectors[rows] @ self.vectors[others].T), 0))
        found: FloatArray = 1 - distance / self.calibration.middle
        return found


@dataclass(frozen=True)
class Names:
    """The photos that are audited, who each shows, and the pairs of people and the photos already decided about."""

    photo_ids: tuple[str, ...]
    people: tuple[str, ...]
    decided_people: frozenset[frozenset[str]] = field(default=frozenset(), repr=False)
    decided_photos: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Finding:
    """A mistake to look at: the correction it suggests, how sure it is, 0 to 1, and the people of both photos."""

    correction: Correction
    sure: float
    people: tuple[str, str]

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON values: the columns of a file of corrections, and two more."""
        return {**asdict(self.correction), "sure": round(self.sure, 3), "people": list(self.people)}


def names_of(all_embeddings: Sequence[Embeddings], photos: Photos, corrections: Corrections) -> Names:
    """The photos that every network has a vector of, with their corrected names; dropped ones have none.

    SettingsError if these are photos of fewer than two people.
    """
    named = dict(zip(photos.photo_ids, corrections.people(photos.photo_ids, photos.people), strict=True))
    every = set.intersection(*(set(embeddings.photo_ids) for embeddings in all_embeddings))
    kept = tuple(each for each in photos.photo_ids if each in every and named[each] != UNKNOWN)
    if not photos.named or len({named[each] for each in kept}) < 2:
        raise SettingsError("This gallery has no names to audit; put each person's photos into a folder of their own.")
    rows = [row for row in corrections.rows if row.status]
    return Names(
        kept,
        tuple(named[each] for each in kept),
        frozenset(frozenset((named[row.photo], named[row.other])) for row in rows if row.kind in ("merge", "apart")),
        frozenset(row.photo for row in rows if row.kind not in ("merge", "apart")),
    )


def view_of(embeddings: Embeddings, names: Names, calibration: Calibration) -> View:
    """How one network sees these photos."""
    row_of = {photo_id: row for row, photo_id in enumerate(embeddings.photo_ids)}
    return View(np.asarray(embeddings.vectors)[[row_of[each] for each in names.photo_ids]], calibration)


def audit(views: Sequence[View], names: Names, pictures: Sequence[tuple[int, int]] = ()) -> list[Finding]:
    """What is wrong with these names by all the views, the surest first; `pictures` are rows of the same picture."""
    clusters, main = _clusters(views, names)
    findings, explained = list[Finding](), set[int]()
    for sure, one, other in sorted(_matches(views, names, clusters, pictures), reverse=True):
        part, whole = (one, other) if len(clusters[one]) <= len(clusters[other]) else (other, one)
        if part not in main and whole in main:
            part, whole = whole, part
        shared = any({*pair} & {*clusters[one]} and {*pair} & {*clusters[other]} for pair in pictures)
        alike = _alike(names.people[clusters[one][0]], names.people[clusters[other][0]])
        single, parted = len(clusters[part]) == 1, part in main
        easier = alike or not {one, other}.isdisjoint({*main, *main.values()})
        if sure < (-np.inf if shared else SAME_NAMED if easier else SAME_ONE if single else SAME):
            continue
        reason = "the same picture" if shared else "one person by every network"
        kind = "rename" if parted else "merge"
        if not parted or part not in explained:
            findings += _findings(kind, views, names, (clusters[part], clusters[whole]), (sure, reason))
        explained.add(part)
    for part in main.keys() - explained:
        both = clusters[part], clusters[main[part]]
        sure = -float(np.max([view.closeness(*both) for view in views], axis=0).mean())
        if sure >= -APART:
            findings += _findings("split", views, names, both, (sure, "another person by every network"))
    return sorted(findings, key=lambda found: -found.sure)


def _clusters(views: Sequence[View], names: Names) -> tuple[list[IntArray], dict[int, int]]:
    """Every person's photos in clusters, and for each cluster that is a smaller part of them the largest one."""
    from sklearn.cluster import AgglomerativeClustering

    rows_of: dict[str, list[int]] = {}
    for row, person in enumerate(names.people):
        rows_of.setdefault(person, []).append(row)
    clusters, main = list[IntArray](), dict[int, int]()
    for rows in map(np.array, rows_of.values()):
        parts = [rows]
        if len(rows) > 1:
            near = np.max([view.closeness(rows, rows) for view in views], axis=0)
            parted = AgglomerativeClustering(
                n_clusters=None, distance_threshold=near.max() - PARTED, linkage="average", metric="precomputed"
            ).fit_predict(near.max() - near)
            parts = sorted((rows[parted == number] for number in range(parted.max() + 1)), key=len, reverse=True)
        main |= {len(clusters) + number: len(clusters) for number in range(1, len(parts))}
        clusters += parts
    return clusters, main


def _matches(
    views: Sequence[View], names: Names, clusters: Sequence[IntArray], pictures: Sequence[tuple[int, int]]
) -> Iterator[tuple[float, int, int]]:
    """Pairs of clusters of two people that may be one, each with how sure that is."""
    everyone, cluster_of = np.arange(len(names.people)), np.empty(len(names.people), np.int64)
    for number, cluster in enumerate(clusters):
        cluster_of[cluster] = number
    _, people = np.unique(names.people, return_inverse=True)
    near = {tuple(sorted((int(cluster_of[one]), int(cluster_of[other])))) for one, other in pictures}
    for start in range(0, len(everyone), CHUNK):
        chunk = everyone[start : start + CHUNK]
        least = np.min([view.closeness(chunk, everyone) for view in views], axis=0)
        ones, others = np.nonzero((least >= SAME_NAMED) & (people[chunk][:, None] != people))
        pairs = np.sort(np.stack([cluster_of[chunk[ones]], cluster_of[others]], axis=1), axis=1)
        near |= {(one, other) for one, other in np.unique(pairs, axis=0).tolist()}
    for one, other in near:
        both = names.people[clusters[one][0]], names.people[clusters[other][0]]
        if frozenset(both) not in names.decided_people:
            nearest = np.min([view.closeness(clusters[one], clusters[other]) for view in views], axis=0)
            yield (
                float(nearest.max() if _alike(*both) else min(nearest.max(axis=axis).mean() for axis in (0, 1))),
                one,
                other,
            )


def _alike(first: str, second: str) -> bool:
    """Whether two names may be one person's: turned round, spelt otherwise, or a shorter form."""
    ones, others = (re.findall(r"\w+", name.lower()) for name in (first, second))
    ratios = (SequenceMatcher(None, "".join(order(ones)), "".join(order(others))).ratio() for order in (list, sorted))
    return {*ones} <= {*others} or {*others} <= {*ones} or max(ratios) >= ALIKE


def _findings(
    kind: str, views: Sequence[View], names: Names, both: tuple[IntArray, IntArray], why: tuple[float, str]
) -> Iterator[Finding]:
    """One for each photo of a part, or for two whole people one, with the photo of the other that is nearest."""
    near = np.min([view.closeness(*both) for view in views], axis=0)
    people = names.people[both[0][0]], names.people[both[1][0]]
    rows = range(len(near)) if kind != "merge" else [int(near.max(axis=1).argmax())]
    for row in rows:
        photo, other = names.photo_ids[both[0][row]], names.photo_ids[both[1][near[row].argmax()]]
        if kind == "merge" or photo not in names.decided_photos:
            name = {"merge": "", "rename": people[1], "split": f"{people[0]} (2)"}[kind]
            yield Finding(Correction(kind, photo, other, name, "", why[1], "audit"), why[0], people)


def same_pictures(photos: Photos, names: Names, report: Report = silent) -> list[tuple[int, int]]:
    """Pairs of rows with two names whose pictures, made small and grey, are the same."""
    _, people = np.unique(names.people, return_inverse=True)
    pixels = np.zeros((len(people), PIXELS**2), np.float32)
    for row, photo_id in enumerate(tracked(names.photo_ids, "Comparing pictures", "photos", report)):
        try:
            image = open_image(photos.found(photo_id).source, side=PIXELS).convert("L")
        except PhotoError:  # gone since it was embedded
            continue
        pixels[row] = np.asarray(image.resize((PIXELS, PIXELS), Image.Resampling.BOX), np.float32).ravel()
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1)
    found = list[tuple[int, int]]()
    for start in range(0, len(people), CHUNK):
        alike = (pixels[start : start + CHUNK] @ pixels.T >= SAME_PICTURE) & (
            people[start : start + CHUNK, None] != people
        )
        found += [(start + one, other) for one, other in np.argwhere(alike).tolist() if start + one < other]
    return found
