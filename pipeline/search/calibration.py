"""What a search's results mean: of one hit, and of the person that the list names first.

Three things are measured on LFW, for one recipe with one set of weights, and they are not the same:

* `probability`: of pairs of photos at this distance, the share that shows one person, where as many pairs show one
  person as two: a logistic on the distance, fitted to the 3,200 pairs of View 1. It is about two photos that somebody
  has put side by side, and NOT the chance that a hit is right: a search compares with thousands of strangers.
* `hits.false_alarms`: of searches for people who are not in a gallery of so many faces, the share with at least one
  hit so near. Searched for were LFW's people with one photo, in random parts of the rest, from one face to all.
* `person`: of searches whose list looks like this one (`person.py`), half of them for people of the gallery, the share
  whose first name is right; and of searches for strangers the share that looks as sure. Fitted to searches of all of
  LFW and of parts of it, from one person to 3,000. This is what an answer says; the hits' figures are about each alone.

The words need a probability and a limit on false alarms: see WORDS. No figure is a proof; LFW is of public figures of
about 2002 to 2004, its mistakes corrected (`embeddings/lfw_errata.csv`).

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
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from pipeline.core.files import read_sealed, sealed, write_json
from pipeline.core.recipes import Recipe
from pipeline.core.types import Hit
from pipeline.core.verdicts import Limit, PersonVerdict, Verdict, Words
from pipeline.search.person import FEATURES, NAMELESS, Floats

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("calibrations.json")
OWN = "calibrations.json"  # beside the galleries: what was measured with weights that the shipped file does not know
# Each word with the least probability and the most false alarms it may have; the first that is reached is given.
WORDS: tuple[tuple[Words, float, float], ...] = (
    ("very likely", 0.95, 0.002),
    ("likely", 0.66, 0.01),
    ("unclear", 0.33, 0.1),
)
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9, 0.99)  # of false alarms, whose values are kept


def word(probability: float, false_alarms: float) -> Words:
    """The first of WORDS that both figures reach, else unlikely."""
    reached = (name for name, least, most in WORDS if probability >= least and false_alarms <= most * (1 + 1e-9))
    return next(reached, "unlikely")


@dataclass(frozen=True)
class Limits:
    """How near searches for strangers come: by gallery `sizes` in faces the `values` (sizes, rates) that `rates` reach.

    A value is a distance, or a doubt (`PersonModel`): the smaller, the surer.
    """

    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if np.shape(self.values) != (len(self.sizes), len(self.rates)) or not self.sizes:
            raise ValueError("the limits must be one row for each size and one column for each rate")

    def false_alarms(self, value: float, faces: int) -> float:
        """Of searches for strangers in a gallery of so many faces, the share that comes within this value.

        From 0.001 to 0.99: beyond that it was not measured, and the nearer end is given.
        """
        return float(np.exp(np.interp(value, _values(self.values, self.sizes, faces), np.log(self.rates))))

    def value(self, false_alarms: float, faces: int) -> float:
        """The value within which this share, 0.001 to 0.99, of the searches for strangers comes."""
        logarithm = np.log(max(false_alarms, self.rates[0]))
        return float(np.interp(logarithm, np.log(self.rates), _values(self.values, self.sizes, faces)))


@lru_cache  # every hit of an answer asks
def _values(values: tuple[tuple[float, ...], ...], sizes: tuple[int, ...], faces: int) -> Floats:
    """The value of each rate in a gallery of so many faces: between two sizes, by the logarithm of the size.

    Beyond the largest that was measured it goes on as it went over the last factor of ten: an estimate.
    """
    table, known, size = np.array(values), np.log(sizes), np.log(max(faces, 1))
    if size > known[-1]:
        tenth = max(int(np.searchsorted(known, known[-1] - np.log(10), side="right")) - 1, 0)
        falling = (table[-1] - table[tenth]) / max(known[-1] - known[tenth], 1)
        between = np.maximum.accumulate(table[-1] + falling * (size - known[-1]))
    else:
        between = np.array([np.interp(size, known, column) for column in table.T])
    between.flags.writeable = False
    return between


@dataclass(frozen=True)
class PersonModel:
    """A logistic on what a list shows: `weights` of FEATURES and a constant; `nameless` of NAMELESS and a constant.

    The latter is for galleries that do not say who is in them. A doubt is the logarithm of the odds against the person,
    and `doubts` are its limits. `strangers` is the median distance of two people.
    """

    weights: tuple[float, ...]
    nameless: tuple[float, ...]
    strangers: float
    doubts: Limits

    def __post_init__(self) -> None:
        if (len(self.weights), len(self.nameless)) != (len(FEATURES) + 1, len(NAMELESS) + 1):
            raise ValueError("a logistic needs a weight for each feature, and a constant")

    def doubt(self, evidence: Floats, *, named: bool = True) -> Floats:
        """The logarithm of the odds against the first person of each list, from its evidence (q, FEATURES)."""
        columns = slice(None) if named else [FEATURES.index(name) for name in NAMELESS]
        *weights, constant = self.weights if named else self.nameless
        doubts: Floats = -(evidence[:, columns] @ np.array(weights) + constant)
        return doubts


@dataclass(frozen=True)
class Calibration:
    """One recipe's, with weights of one of these hashes, measured on the photos of `photos_revision`.

    `middle` is the distance at which as many pairs show one person as two, `width` how gradually that changes. `hits`
    are the limits of distances.
    """

    recipe: str
    version: int
    weights: tuple[str, ...]
    photos_revision: str
    middle: float
    width: float
    hits: Limits
    person: PersonModel

    def __post_init__(self) -> None:
        if not (math.isfinite(self.middle) and self.width > 0):
            raise ValueError(f"a logistic cannot have the middle {self.middle} and the width {self.width}")

    def probability(self, distance: npt.ArrayLike) -> Floats:
        """Of pairs at these distances, half of all pairs being of one person, the share of one person."""
        return logistic((self.middle - np.asarray(distance, np.float64)) / self.width)

    def verdict(self, distance: float, faces: int) -> Verdict:
        """What a hit at this distance, in a search of a gallery of so many faces, says of the two photos."""
        probability, alarms = float(self.probability(distance)), self.hits.false_alarms(distance, faces)
        return Verdict(word(probability, alarms), probability, alarms)

    def presence(self, faces: int) -> Limit:
        """The distance beyond which a hit by itself is called unlikely, and the share of strangers' searches within."""
        _, least, most = WORDS[-1]
        by_pairs = self.middle - self.width * math.log(least / (1 - least))
        distance = min(self.hits.value(most, faces), by_pairs)
        return Limit(distance, self.hits.false_alarms(distance, faces))

    def limit(self, nearest: float, faces: int, words: Words) -> Limit:
        """`presence`, moved so far that the nearest hit is within it unless its person is unlikely."""
        distance = self.presence(faces).distance
        distance = min(distance, float(np.nextafter(nearest, 0))) if words == "unlikely" else max(distance, nearest)
        return Limit(distance, self.hits.false_alarms(distance, faces))

    def verdict_beside(self, person: PersonVerdict, hit: Hit, faces: int) -> Verdict:
        """What a hit says, in view of its whole list: the first is as sure as its person, and no other one surer."""
        alone = self.verdict(hit.distance, faces)
        less_sure = max(alone.words, person.words, key=get_args(Words).index)
        return replace(alone, words=person.words if hit.rank == 1 else less_sure)

    def judge(self, person: str, evidence: Floats, faces: int, *, named: bool) -> PersonVerdict:
        """What the evidence (1, FEATURES) of a search of a gallery of so many faces says of the person named first."""
        doubt = self.person.doubt(evidence, named=named)
        probability = float(logistic(-doubt)[0])
        distance = float(evidence[0, FEATURES.index("nearest")])
        alarms = self.person.doubts.false_alarms(doubt[0], faces) if named else self.hits.false_alarms(distance, faces)
        return PersonVerdict(person, word(probability, alarms), probability, alarms, named)

    def holds_for(self, recipe: Recipe, weights: str, photos_revision: str) -> bool:
        """Whether it was measured with this recipe and these weights.

        A layer that is fitted on each gallery makes other distances in each: there the photos must be the same too.
        """
        same = (self.recipe, self.version) == (recipe.name, recipe.version) and weights in self.weights
        return same and (recipe.layer != "pca" or self.photos_revision == photos_revision)

    def as_json(self) -> dict[str, Any]:
        """The calibration as plain JSON values."""
        return asdict(self)


def logistic(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    spread: Floats = np.exp(-np.logaddexp(0, -values))
    return spread


def from_json(value: Mapping[str, Any]) -> Calibration:
    """The calibration that `as_json` gave; ValueError if that is none."""
    try:
        person = value["person"]
        return Calibration(
            recipe=str(value["recipe"]),
            version=int(value["version"]),
            weights=tuple(value["weights"]),
            photos_revision=str(value["photos_revision"]),
            middle=float(value["middle"]),
            width=float(value["width"]),
            hits=_limits(value["hits"]),
            person=PersonModel(
                tuple(map(float, person["weights"])),
                tuple(map(float, person["nameless"])),
                float(person["strangers"]),
                _limits(person["doubts"]),
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no calibration: {error}") from error


def _limits(value: Mapping[str, Any]) -> Limits:
    return Limits(
        rates=tuple(map(float, value["rates"])),
        sizes=tuple(map(int, value["sizes"])),
        values=tuple(tuple(map(float, row)) for row in value["values"]),
    )


def read_calibrations(path: Path) -> tuple[Calibration, ...]:
    """The calibrations in a file; none if it is not there. What was changed since it was written is not believed."""
    try:
        return tuple(from_json(each) for each in read_sealed(path)["calibrations"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        log.warning(
            "%s is damaged or of an earlier version, so answers may lack verdicts; run `python -m pipeline calibrate`.",
            path,
        )
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
