"""Who it fails: error rates and distances by what photos are like (size, sharpness, light) and by who is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import PhotoError
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.types import FloatArray
from pipeline.evaluation.metrics import Bools, Floats
from pipeline.evaluation.ranking import Ranking, Subject
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.search.hints import look


def measure_photos(photos: Photos, faces: FloatArray, report: Report = silent) -> dict[str, Floats]:
    """Qualities by name, each (N,) and NaN where unknown, of all photos; `faces` (N, 15) as in `Embeddings.faces`.

    Where no face is known, sharpness and brightness are the whole photo's.
    """
    width, height = faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1]
    looks = np.full((len(photos), 2), np.nan)
    for row in tracked(range(len(photos)), "Looking at the photos", "photos", report):
        with suppress(PhotoError):  # nothing is known of a photo that cannot be read
            looks[row] = look(open_image(photos[row].source), faces[row, :4])
    return {
        "face size": np.sqrt(np.maximum(width * height, 0)).astype(np.float64),
        "detection confidence": faces[:, 4].astype(np.float64),
        "sharpness": looks[:, 0],
        "brightness": looks[:, 1],
    }


MATCH_SHARE = 1e-3  # of all pairs of different people, those that the limit of the groups lets pass
LIMIT_SEED = 4
PHOTO_COUNTS = (1, 2, 4, 10)  # from how many photos of a person a group starts
QUARTERS = ("lowest", "second", "third", "highest")


@dataclass(frozen=True)
class Group:
    """The photos of one group as queries; None where the group has no such pairs.

    `top1_error` of those with another photo of the person; `miss_rate` and `match_rate` of all pairs with them at the
    limit that lets one in a thousand pairs of different people pass; mean distances of the pairs of one person and of
    two.
    """

    attribute: str
    label: str
    photos: int
    top1_error: float | None
    miss_rate: float | None
    match_rate: float | None
    genuine_distance: float | None
    impostor_distance: float | None


def by_groups(subject: Subject, ranking: Ranking, qualities: Mapping[str, Floats]) -> tuple[Group, ...]:
    """People sorted by how many photos they have, and photos in four equal parts by each quality (N,)."""
    members = [*_by_count(subject)]
    for name, values in qualities.items():
        members += _quarters(name, values)
    return tuple(_group(subject, ranking, *names, member) for names, member in members)


Members = Iterator[tuple[tuple[str, str], Bools]]


def _by_count(subject: Subject) -> Members:
    counts = subject.others + 1
    for start, end in zip(PHOTO_COUNTS, [*PHOTO_COUNTS[1:], None], strict=True):
        label = f"{start} or more" if end is None else str(start) if end == start + 1 else f"{start} to {end - 1}"
        yield ("photos of the person", label), (counts >= start) & (counts < (end or np.inf))


def _quarters(name: str, values: Floats) -> Members:
    known = np.isfinite(values)
    if not known.any():
        return
    edges = np.quantile(values[known], [0, 0.25, 0.5, 0.75, 1])
    quarter = np.searchsorted(edges[1:-1], values, side="right")
    # A detector's confidences differ in the fifth digit only.
    written = [[f"{edge:.{digits}g}" for edge in edges] for digits in range(3, 8)]
    texts = next((each for each in written if len(set(each)) == len(each)), written[-1])
    for number, label in enumerate(QUARTERS):
        yield (name, f"{label} quarter ({texts[number]} to {texts[number + 1]})"), known & (quarter == number)


def _group(subject: Subject, ranking: Ranking, attribute: str, label: str, member: Bools) -> Group:
    rows = subject.rows[member]
    found = rows[rows >= 0]
    asked = member & (subject.others > 0)
    right = ranking.relevant[subject.rows[asked], :1].any(axis=1) & (subject.rows[asked] >= 0)
    return Group(
        attribute,
        label,
        int(member.sum()),
        1 - float(right.mean()) if len(right) else None,
        _mean(ranking.misses[found].astype(np.float64)),
        _mean(ranking.matches[found].astype(np.float64)),
        _mean(ranking.genuine[found].astype(np.float64)),
        _mean(ranking.impostor[found].astype(np.float64)),
    )


def _mean(values: Floats) -> float | None:
    """The mean of what is known; every photo counts alike, however many pairs it is in."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
