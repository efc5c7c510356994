"""What a distance means: a verdict in words and a percentage, and how often a search for a stranger comes as near.

Two things are measured on LFW, for one recipe with one set of weights, and they are not the same:

* `probability`: of pairs of photos at this distance, the share that shows one person, where as many pairs show one
  person as two: a logistic on the distance, fitted to the 3,200 pairs of View 1. It is about two photos that somebody
  has put side by side. It is NOT the chance that a hit is right: a search compares with thousands of strangers and
  shows the most similar of them, so even a stranger's best hit may be closer than nearly all pairs of two people are.
* `false_alarms`: of searches for people who are not in a gallery of so many faces, the share with at least one hit so
  near. Searched for were LFW's people with one photo each, in random parts of the rest, from one face to all of them.

The words need both: see WORDS. A percentage is no proof; and LFW is of public figures of about 2002 to 2004.

The figures travel with the software in `calibrations.json`, by recipe and by the hash of its weights, so that a folder
of one's own photos gets verdicts too. FaceNet's were measured with a copy of the published network in fp16 with folded
batch norm, which reproduces facenet-pytorch's published distances to 0.002, and are taken for both files.
`python -m pipeline calibrate --json pipeline/search/calibrations.json` measures all of them again, on galleries of LFW
that are built; where the weights are others, a gallery of LFW is measured when it is built.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.files import read_sealed, sealed, write_json
from pipeline.core.recipes import Recipe
from pipeline.core.types import Limit, Verdict, Words

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("calibrations.json")
OWN = "calibrations.json"  # beside the galleries: what was measured with weights that the shipped file does not know
# Each word with the least probability and the most false alarms it may have; a hit gets the first that it reaches.
WORDS: tuple[tuple[Words, float, float], ...] = (
    ("very likely", 0.99, 0.01),
    ("likely", 0.9, 0.02),
    ("unclear", 0.5, 0.1),
)
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9, 0.99)  # of false alarms, whose distances are kept


@dataclass(frozen=True)
class Calibration:
    """One recipe's, with weights of one of these hashes, measured on the photos of `photos_revision`.

    `middle` is the distance at which as many pairs show one person as two, `width` how gradually that changes.
    `limits` (sizes, rates) holds for galleries of `sizes` faces the distances within which `rates` of the searches for
    strangers have a hit.
    """

    recipe: str
    version: int
    weights: tuple[str, ...]
    photos_revision: str
    middle: float
    width: float
    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    limits: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.middle) and self.width > 0):
            raise ValueError(f"a logistic cannot have the middle {self.middle} and the width {self.width}")
        if np.shape(self.limits) != (len(self.sizes), len(self.rates)) or not self.sizes:
            raise ValueError("the limits must be one row for each size and one column for each rate")

    def probability(self, distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Of pairs at these distances, half of all pairs being of one person, the share of one person."""
        said: npt.NDArray[np.float64] = 1 / (1 + np.exp((np.asarray(distance, np.float64) - self.middle) / self.width))
        return said

    def false_alarms(self, distance: float, faces: int) -> float:
        """Of searches for strangers in a gallery of so many faces, the share with a hit within this distance.

        From 0.001 to 0.99: beyond that it was not measured, and the nearer end is given.
        """
        return float(np.exp(np.interp(distance, self._distances(faces), np.log(self.rates))))

    def limit(self, false_alarms: float, faces: int) -> float:
        """The distance within which this share, 0.001 to 0.99, of the searches for strangers has a hit."""
        return float(np.interp(np.log(max(false_alarms, self.rates[0])), np.log(self.rates), self._distances(faces)))

    def verdict(self, distance: float, faces: int) -> Verdict:
        """What a hit at this distance, in a search of a gallery of so many faces, says of the two photos."""
        probability, alarms = float(self.probability(distance)), self.false_alarms(distance, faces)
        reached = (word for word, least, most in WORDS if probability >= least and alarms <= most * (1 + 1e-9))
        return Verdict(next(reached, "unlikely"), probability, alarms)

    def presence(self, faces: int) -> Limit:
        """The distance beyond which every hit is called unlikely, and the share of strangers' searches within it."""
        _, least, most = WORDS[-1]
        by_pairs = self.middle - self.width * math.log(least / (1 - least))
        distance = min(self.limit(most, faces), by_pairs)
        return Limit(distance, self.false_alarms(distance, faces))

    def _distances(self, faces: int) -> npt.NDArray[np.float64]:
        return _distances(self.limits, self.sizes, faces)

    def holds_for(self, recipe: Recipe, weights: str, photos_revision: str) -> bool:
        """Whether it was measured with this recipe and these weights.

        A layer that is fitted on each gallery makes other distances in each: there the photos must be the same too.
        """
        same = (self.recipe, self.version) == (recipe.name, recipe.version) and weights in self.weights
        return same and (recipe.layer != "pca" or self.photos_revision == photos_revision)

    def as_json(self) -> dict[str, Any]:
        """The calibration as plain JSON values."""
        rows = [list(row) for row in self.limits]
        lists = {name: list(getattr(self, name)) for name in ("weights", "rates", "sizes")}
        return {**asdict(self), **lists, "limits": rows}


@lru_cache  # every hit of an answer asks
def _distances(limits: tuple[tuple[float, ...], ...], sizes: tuple[int, ...], faces: int) -> npt.NDArray[np.float64]:
    """The distance of each rate in a gallery of so many faces: between two sizes, by the logarithm of the size.

    Beyond the largest that was measured it goes on as it went over the last factor of ten: an estimate.
    """
    table, known, size = np.array(limits), np.log(sizes), np.log(max(faces, 1))
    if size > known[-1]:
        tenth = max(int(np.searchsorted(known, known[-1] - np.log(10), side="right")) - 1, 0)
        falling = (table[-1] - table[tenth]) / max(known[-1] - known[tenth], 1)
        distances = np.maximum.accumulate(np.maximum(table[-1] + falling * (size - known[-1]), 0))
    else:
        distances = np.array([np.interp(size, known, column) for column in table.T])
    distances.flags.writeable = False
    return distances


def from_json(value: Mapping[str, Any]) -> Calibration:
    """The calibration that `as_json` gave; ValueError if that is none."""
    try:
        return Calibration(
            recipe=str(value["recipe"]),
            version=int(value["version"]),
            weights=tuple(value["weights"]),
            photos_revision=str(value["photos_revision"]),
            middle=float(value["middle"]),
            width=float(value["width"]),
            rates=tuple(map(float, value["rates"])),
            sizes=tuple(map(int, value["sizes"])),
            limits=tuple(tuple(map(float, row)) for row in value["limits"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no calibration: {error}") from error


def read_calibrations(path: Path) -> tuple[Calibration, ...]:
    """The calibrations in a file; none if it is not there. What was changed since it was written is not believed."""
    try:
        return tuple(from_json(each) for each in read_sealed(path)["calibrations"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        log.warning("%s is damaged, so answers may lack verdicts; run `python -m pipeline calibrate` to mend it.", path)
        return ()


def write_calibrations(path: Path, measured: Iterable[Calibration]) -> None:
    """Adds these to a file, in place of those for the same recipe and weights. Hashes that share one stay together."""
    new = {(each.recipe, each.weights[0]): each for each in measured}
    kept: list[Calibration] = []
    for old in read_calibrations(path):
        latest = next((new.pop(key) for key in list(new) if key[0] == old.recipe and key[1] in old.weights), None)
        kept.append(replace(latest, weights=old.weights) if latest else old)
    write_json(path, sealed({"calibrations": [each.as_json() for each in (*kept, *new.values())]}))


@cache
def shipped() -> tuple[Calibration, ...]:
    """Those that come with the software."""
    return read_calibrations(SHIPPED)


def find(known: Iterable[Calibration], recipe: Recipe, weights: str, photos_revision: str) -> Calibration | None:
    """The first that holds for this recipe with these weights on these photos."""
    return next((each for each in known if each.holds_for(recipe, weights, photos_revision)), None)
