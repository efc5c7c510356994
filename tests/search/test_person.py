"""What a list says of the person it names first, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.search.person import FEATURES, LISTED, evidence

STRANGERS = 1.4


def shown(*names: str, distances: tuple[float, ...], photos: int, faces: int) -> dict[str, float]:
    """The evidence of one list, the people being letters."""
    people, apart = np.full((1, LISTED), -1), np.full((1, LISTED), np.inf)
    people[0, : len(names)] = [ord(name) for name in names]
    apart[0, : len(names)] = distances
    (row,) = evidence(people, apart, np.array([photos]), np.array([faces]), STRANGERS)
    return dict(zip(FEATURES, row.tolist(), strict=True))


def test_the_nearest_and_the_nearest_of_somebody_else() -> None:
    found = shown("A", "A", "B", "A", distances=(0.5, 0.6, 0.9, 1.0), photos=6, faces=100)
    assert found == pytest.approx(
        {"nearest": 0.5, "other": 0.9, "share": 3 / 6, "photos": np.log(6), "faces": np.log(100)}
    )


def test_the_share_is_of_what_the_list_can_hold() -> None:
    full = tuple(np.linspace(0.5, 1, LISTED).tolist())
    assert shown(*"A" * LISTED, distances=full, photos=530, faces=13_000)["share"] == 1
    assert shown(*"A" * (LISTED - 1), "B", distances=full, photos=530, faces=13_000)["share"] == 19 / 20


def test_who_is_not_listed_is_beyond_the_list_or_a_stranger() -> None:
    full = tuple(np.linspace(0.5, 1, LISTED).tolist())
    assert shown(*"A" * LISTED, distances=full, photos=530, faces=13_000)["other"] == 1
    assert shown("A", "A", distances=(0.5, 0.6), photos=2, faces=2)["other"] == STRANGERS
    assert shown("A", "A", distances=(0.5, 1.5), photos=2, faces=2)["other"] == 1.5
