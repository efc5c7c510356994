"""One photo's answers by several recipes, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.core.types import Answer


@dataclass(frozen=True)
class Comparison:
    """The answers of different recipes to one photo, by the same index, each with the same number of hits at most."""

    answers: tuple[Answer, ...]

    def __post_init__(self) -> None:
        if len({answer.recipe for answer in self.answers}) != len(self.answers):
            raise ValueError("each recipe is compared once")

    def found(self, recipe: str) -> frozenset[str]:
        """The ids of the photos that the recipe found."""
        return frozenset(hit.photo_id for answer in self.answers if answer.recipe == recipe for hit in answer.hits)

    def shared(self, one: str, other: str) -> int:
        """How many photos both recipes found."""
        return len(self.found(one) & self.found(other))

    def only(self, recipe: str) -> frozenset[str]:
        """The ids of the photos that no other recipe found."""
        others = [self.found(answer.recipe) for answer in self.answers if answer.recipe != recipe]
        return self.found(recipe).difference(*others)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: the answers as `search` gives them, photos in common by pair, and each one's own."""
        recipes = [answer.recipe for answer in self.answers]
        return {
            "answers": [answer.as_json() for answer in self.answers],
            "shared": {one: {other: self.shared(one, other) for other in recipes} for one in recipes},
            "only": {
                answer.recipe: [hit.photo_id for hit in answer.hits if hit.photo_id in self.only(answer.recipe)]
                for answer in self.answers
            },
        }
