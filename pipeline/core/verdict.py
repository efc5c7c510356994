"""What a search says of a hit, and of the answer as a whole. How they come about: `calibration.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Words = Literal["very likely", "likely", "unclear", "unlikely"]
LEAST = 0.001  # nothing is said to be surer than this: LFW has more photos with a wrong name


@dataclass(frozen=True)
class Verdict:
    """Whether a hit shows the person searched for: in words, and in the two figures they rest on (`calibration.py`).

    `probability` is about two photos side by side, of which one person is as likely as two; `false_alarms` is the
    share of searches for strangers that have a hit so near, in a gallery of this size.
    """

    words: Words
    probability: float
    false_alarms: float

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {
            "same_person": self.words,
            "pair_percent": round(100 * min(max(self.probability, LEAST), 1 - LEAST), 1),
            "false_alarm_percent": round(100 * self.false_alarms, 1),
        }


@dataclass(frozen=True)
class Limit:
    """A distance, and the share of searches for strangers that have a hit within it: its `false_alarms`."""

    distance: float
    false_alarms: float

    def as_json(self) -> dict[str, Any]:
        """The limit as plain JSON values."""
        return {"distance": round(self.distance, 4), "false_alarm_percent": round(100 * self.false_alarms, 1)}
