"""A gallery's map, beside its vectors: `map.npy`, and `map.json`, which says of which vectors it is.

It stands outside the manifest: a map that is missing, damaged or of other vectors is drawn anew, the gallery stays.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.files import digest, read_sealed, replacing, sealed, write_json
from pipeline.core.types import FloatArray
from pipeline.embeddings.projection import kept, project
from pipeline.embeddings.store import Gallery

POINTS, FACTS = "map.npy", "map.json"
FORMAT = 1  # another one where maps are drawn otherwise
COLOURED = 12  # people with a colour of their own: more cannot be told apart
ENOUGH = 3  # photos that make a group

log = logging.getLogger(__name__)
_drawing = threading.Lock()  # one takes all the cores there are


@dataclass(frozen=True)
class GalleryMap:
    """The `points` (n, 2) of a gallery's rows, from -1 to 1.

    `kept` is the share of a row's ten nearest that are among the ten nearest of its point; None for a few photos.
    """

    points: FloatArray
    kept: float | None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2 or not np.all(np.abs(self.points) <= 1.001):
            raise ValueError(f"a map needs points (n, 2) from -1 to 1, not {self.points.shape}")
        if not (self.kept is None or (isinstance(self.kept, float) and 0 <= self.kept <= 1)):
            raise ValueError(f"a share is a number from 0 to 1, not {self.kept!r}")


def open_map(gallery: Gallery) -> GalleryMap:
    """The gallery's map as it was drawn once; drawn now if it was not, which takes a minute for 13,000 photos."""
    found = load_map(gallery)
    if found is not None:
        return found
    with _drawing:
        return load_map(gallery) or _drawn(gallery)


def load_map(gallery: Gallery) -> GalleryMap | None:
    """The map that is beside the gallery's vectors; None if there is none of just these vectors."""
    try:
        facts = read_sealed(gallery.folder / FACTS)
        expected = {"format": FORMAT, "vectors": _vectors(gallery), "points": digest(gallery.folder / POINTS)}
        if {name: facts[name] for name in expected} != expected:
            return None
        drawn = GalleryMap(np.load(gallery.folder / POINTS, allow_pickle=False), facts["kept"])
        return drawn if len(drawn.points) == len(gallery) else None
    except (OSError, ValueError, KeyError, EOFError):  # whatever it is, no map
        return None


def well_known(gallery: Gallery) -> list[tuple[str, int]]:
    """The people to be told apart on the map, with their number of photos: those with the most, the most first."""
    counts = sorted(Counter(gallery.people).items(), key=lambda each: (-each[1], each[0]))
    return [(person, count) for person, count in counts[:COLOURED] if count >= ENOUGH]


def _drawn(gallery: Gallery) -> GalleryMap:
    vectors = np.asarray(gallery.vectors)
    points = project(vectors)
    drawn = GalleryMap(points, kept(vectors, points))
    try:
        _keep(gallery, drawn)
    except OSError as error:  # a full disk, or a visitor's gallery that was removed meanwhile
        log.warning("The map of %s is not kept: %s", gallery.manifest["recipe"]["name"], os.strerror(error.errno or 0))
    return drawn


def _keep(gallery: Gallery, drawn: GalleryMap) -> None:
    folder: Path = gallery.folder
    folder.stat()  # writing would make the folder anew
    with replacing(folder / POINTS) as beside, beside.open("wb") as stream:
        np.save(stream, drawn.points, allow_pickle=False)
    facts = {"format": FORMAT, "vectors": _vectors(gallery), "points": digest(folder / POINTS), "kept": drawn.kept}
    write_json(folder / FACTS, sealed(facts))


def _vectors(gallery: Gallery) -> str:
    """The hash of the gallery's vectors, as its manifest has it."""
    return str(gallery.manifest["files"]["vectors.npy"])
