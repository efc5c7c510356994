"""What an answer says of hits and of the person they name: words, and the figures they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Words = Literal["very likely", "likely", "unclear", "unlikely"]
MIN_PROBABILITY = 0.001  # shown probabilities stay this far from 0 and 1: LFW has more photos with a wrong name


def _percent(probability: float) -> float:
    return round(100 * min(max(probability, MIN_PROBABILITY), 1 - MIN_PROBABILITY), 1)


@dataclass(frozen=True)
class Verdict:
    """Whether a hit shows the person searched for, from its distance (`calibration.py`).

    Attributes:
        words: the verdict.
        probability: that two photos at this distance show one person, where one person and two are equally likely.
        false_alarms: the false-alarm rate: the share of searches for people who are not in a gallery of this size that
            have a hit within this distance.
    """

    words: Words
    probability: float
    false_alarms: float

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {
            "same_person": self.words,
            "pair_percent": _percent(self.probability),
            "false_alarm_percent": round(100 * self.false_alarms, 1),
        }


@dataclass(frozen=True)
class PersonVerdict:
    """Whether the person that a search names first is right, by its whole list: in words, and two figures.

    Half of all searches being for people of the gallery, `probability` is the share of those like this one whose first
    name is right; `false_alarms` is the share of searches for strangers that look as sure. Not `named` where the
    gallery does not say who is in it: then it is about the nearest photo, and `person` is what that is called.
    """

    person: str
    words: Words
    probability: float
    false_alarms: float
    named: bool = True

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {
            "name": self.person,
            "is_right": self.words,
            "person_percent": _percent(self.probability),
            "false_alarm_percent": round(100 * self.false_alarms, 1),
            "named": self.named,
        }


@dataclass(frozen=True)
class Limit:
    """A distance, and its false-alarm rate: the share of searches for strangers that have a hit within it."""

    distance: float
    false_alarms: float

    def as_json(self) -> dict[str, Any]:
        """The limit as plain JSON values."""
        return {"distance": round(self.distance, 4), "false_alarm_percent": round(100 * self.false_alarms, 1)}
