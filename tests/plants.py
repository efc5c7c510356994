"""Mistakes planted in a gallery's names at known places, and whether an audit found them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.evaluation.audit import Finding, Names

MIN_PHOTOS = 4  # of a person in whom a mistake is planted: fewer can be told apart by nobody
KINDS = ("exchange", "split", "merge")


@dataclass(frozen=True)
class Plant:
    """A mistake: two photos exchanged, half of a person's photos under a new name, or two people under one name.

    `photos` are those of either side.
    """

    kind: str
    photos: tuple[frozenset[str], frozenset[str]]

    def is_found(self, findings: Iterable[Finding]) -> bool:
        """Whether both photos are called wrong, both names one person, or one side's photos another person's."""
        rows = [finding.correction for finding in findings]
        first, second = self.photos
        if self.kind == "split":
            pairs = [{row.photo, row.other} for row in rows if row.kind == "merge"]
            return any(first & pair and second & pair for pair in pairs)
        wrong = {row.photo for row in rows if row.kind in ("rename", "split")}
        shares = sorted(len(side & wrong) / len(side) for side in self.photos)
        return shares == [1, 1] if self.kind == "exchange" else shares[1] >= 0.5 > shares[0]


def plant(names: Names, count: int, seed: int) -> tuple[Names, list[Plant]]:
    """The names with so many mistakes, a third of each kind, in people of whom no two have to do with one another."""
    rows_of: dict[str, list[int]] = {}
    for row, person in enumerate(names.people):
        rows_of.setdefault(person, []).append(row)
    rng = np.random.default_rng(seed)
    drawn = iter(rng.permutation([person for person, rows in rows_of.items() if len(rows) >= MIN_PHOTOS]).tolist())
    people, plants = list(names.people), list[Plant]()
    for number in range(count):
        kind, person = KINDS[number % len(KINDS)], next(drawn)
        ones = rows_of[person]
        if kind == "split":
            ones, others = ones[: len(ones) // 2], ones[len(ones) // 2 :]
            _rename(people, others, f"Somebody {number}")
        else:
            other = next(drawn)
            others = rows_of[other]
            if kind == "exchange":
                ones, others = [int(rng.choice(ones))], [int(rng.choice(others))]
                _rename(people, ones, other)
            _rename(people, others, person)
        sides = (frozenset(names.photo_ids[row] for row in rows) for rows in (ones, others))
        plants.append(Plant(kind, (next(sides), next(sides))))
    return replace(names, people=tuple(people)), plants


def _rename(people: list[str], rows: Sequence[int], name: str) -> None:
    for row in rows:
        people[row] = name
