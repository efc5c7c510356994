"""A gallery's map as HTML: a canvas that `page/map.js` draws on, with all it needs to know, and a legend in words."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress
from typing import Any

import numpy as np

from pipeline.core.recipes import recipe_named
from pipeline.core.types import Answer, FloatArray, Hit
from pipeline.embeddings.map import GalleryMap, well_known
from pipeline.embeddings.store import Embeddings
from pipeline.page.html.sources import TEMPLATES
from pipeline.page.html.wording import counted

STEPS = 65_535  # of a coordinate: more than there are pixels
COLOURS = 6  # that are told apart with any kind of sight; after them they come again in another shape


@dataclass(frozen=True)
class Shown:
    """What is on the map: the gallery of this title and key, its map, and the answers that are lit up on it."""

    embeddings: Embeddings
    title: str
    key: str
    drawn: GalleryMap
    answers: tuple[Answer, ...] = ()

    @cached_property
    def found(self) -> list[list[tuple[int, Hit]]]:
        """Each answer's hits with their rows, as far as they are still in the gallery."""
        rows = {photo_id: row for row, photo_id in enumerate(self.embeddings.photo_ids)}
        return [[(rows[hit.photo_id], hit) for hit in answer.hits if hit.photo_id in rows] for answer in self.answers]

    @cached_property
    def people(self) -> dict[str, int]:
        """Everyone in the gallery, numbered."""
        return {person: number for number, person in enumerate(dict.fromkeys(self.embeddings.people))}

    @cached_property
    def known(self) -> list[tuple[str, int]]:
        """Who has a colour, with their number of photos."""
        return well_known(self.embeddings)

    @property
    def tied(self) -> bool:
        """Whether somebody without a colour has as many photos as the last who has one."""
        named = compress(self.embeddings.people, self.embeddings.named)
        least = self.known[-1][1] if self.known else 0
        return sum(count == least for count in Counter(named).values()) > sum(count == least for _, count in self.known)


def map_html(shown: Shown) -> str:
    """The map with its legend."""
    what = "photo" if shown.embeddings.named.all() else "face"
    return TEMPLATES(
        "map",
        data=json.dumps(_data(shown), ensure_ascii=False),
        title=shown.title,
        model=recipe_named(shown.embeddings.manifest["recipe"]["name"]).label,
        what=what,
        photos=counted(len(shown.embeddings), what),
        searched=bool(_queries(shown)),
        people=[(shown.people[person], person, count) for person, count in shown.known],
        everyone=len(shown.known) == len(shown.people),
        tied=shown.tied,
        colours=COLOURS,
        kept=shown.drawn.kept,
    )


def _data(shown: Shown) -> dict[str, Any]:
    """What the drawing needs. Points and people are by row, little-endian in base64."""
    embeddings = shown.embeddings
    people = shown.people
    return {
        "gallery": shown.key,
        "recipe": embeddings.manifest["recipe"]["name"],
        "fingerprint": embeddings.manifest["fingerprint"],
        "points": _packed(_steps(shown.drawn.points), "<u2"),
        "person": _packed(np.array([people[person] for person in embeddings.people]), "<u4"),
        "people": list(people),
        "known": [people[person] for person, _ in shown.known],
        "hits": _hits(shown),
        "queries": _queries(shown),
    }


def _steps(points: FloatArray) -> FloatArray:
    """Points from -1 to 1 as steps from 0, downwards."""
    steps: FloatArray = np.clip((points * (1, -1) + 1) / 2 * STEPS, 0, STEPS).round()
    return steps


def _packed(numbers: np.ndarray[Any, Any], kind: str) -> str:
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()


def _hits(shown: Shown) -> list[dict[str, Any]]:
    """The photos that were found, each once, with what is said of it."""
    said: dict[int, str] = {}
    for row, hit in chain.from_iterable(shown.found):
        said.setdefault(row, f"result {hit.rank}, distance {hit.distance:.2f}")
    return [{"row": row, "said": words} for row, words in said.items()]


def _queries(shown: Shown) -> list[dict[str, Any]]:
    """Where the visitor's faces go, with their names: each to its nearest photo, for which see `projection.py`."""
    queries = []
    for answer, found in zip(shown.answers, shown.found, strict=True):
        if found:
            x, y = _steps(shown.drawn.points[[found[0][0]]])[0].tolist()
            several = len(shown.answers) > 1
            queries.append({"x": x, "y": y, "name": f"Face {answer.face_number}" if several else "Your photo"})
    return queries


def found_in(answers: Sequence[Answer], embeddings: Embeddings) -> tuple[Answer, ...]:
    """Those of the answers that came out of this gallery."""
    of_it = (embeddings.manifest["gallery"], embeddings.manifest["recipe"]["name"])
    return tuple(answer for answer in answers if (answer.gallery, answer.recipe) == of_it)
