"""The data that passes between stages, as frozen dataclasses that check themselves, and three protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.verdicts import Limit, PersonVerdict, Verdict

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Box = tuple[float, float, float, float]
Point = tuple[float, float]
Landmarks = tuple[Point, Point, Point, Point, Point]

# Two vectors of one photo differ by rounding alone: over 600 faces of LFW by at most 0.023, where one processor has
# bf16 and the other has not. Near-duplicates in LFW start at about 0.05.
SAME_PHOTO_DISTANCE = 0.03
MILVUS_KINDS = ("IVF_FLAT", "HNSW")  # the first is the default


@dataclass(frozen=True)
class Photo:
    """One photo of a gallery, not decoded: `source` is the file's bytes or its path."""

    photo_id: str
    person: str
    source: bytes | Path


@dataclass(frozen=True)
class Face:
    """One detected face, in pixels of the photo it was found in.

    `box` is (left, top, right, bottom) and may reach past the photo's edges; `confidence` is 0 to 1; `landmarks`
    are left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them.
    """

    box: Box
    confidence: float
    landmarks: Landmarks

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not (right > left and bottom > top):
            raise ValueError(f"a face's box needs an area, not {self.box}")
        if len(self.landmarks) != 5:
            raise ValueError(f"a face has five landmarks, not {len(self.landmarks)}")

    @property
    def area(self) -> float:
        """Box area in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    def as_json(self) -> dict[str, Any]:
        """The face as plain JSON values, rounded to what the detector can tell."""
        return {
            "box": [round(value, 1) for value in self.box],
            "confidence": round(self.confidence, 4),
            "landmarks": [[round(x, 1), round(y, 1)] for x, y in self.landmarks],
        }


@dataclass(frozen=True)
class Encoded:
    """The encoder's result for one photo.

    Attributes:
        faces: all faces found.
        face: the one chosen; None where none was found, or the whole photo was embedded.
        crop: the input of the network; None where no face was found.
        vector: the embedding, (d,), of unit length; None where no face was found.
        detect_ms: this photo's share of its batch, in milliseconds.
        embed_ms: the same of cutting out and embedding.
    """

    faces: tuple[Face, ...]
    face: Face | None
    crop: Image.Image | None
    vector: FloatArray | None
    detect_ms: float
    embed_ms: float

    def __post_init__(self) -> None:
        if (self.crop is None) != (self.vector is None):
            raise ValueError("a crop and its vector come together or not at all")
        if self.face is not None and self.face not in self.faces:
            raise ValueError("the chosen face must be one of the faces found")
        if self.vector is not None and abs(float(np.linalg.norm(self.vector)) - 1) > 1e-3:
            raise ValueError("an embedding must have unit length")


@dataclass(frozen=True)
class Neighbours:
    """An index's answers to q queries: the gallery's `rows` (q, k) and their `distances` (q, k), nearest first."""

    rows: IntArray
    distances: FloatArray

    def __post_init__(self) -> None:
        if self.rows.shape != self.distances.shape or self.rows.ndim != 2:
            raise ValueError(f"rows {self.rows.shape} and distances {self.distances.shape} must both be (q, k)")
        if self.distances.size and np.any(np.diff(self.distances, axis=1) < 0):
            raise ValueError("neighbours must come nearest first")


@dataclass(frozen=True)
class Collection:
    """What a vector database stores of a gallery besides its vectors, and where.

    Attributes:
        uri: of a server or a file; empty for a file in the gallery's folder.
        token: the server's.
        name: of the collection.
        photo_ids: labels of the rows, as `people`.
        kind: the type of its index.
        former: the full name of the collection with the gallery's previous state, whose unchanged rows are reused.
    """

    uri: str = field(default="", repr=False)  # may hold a password, like the token
    token: str = field(default="", repr=False)
    name: str = "gallery"
    photo_ids: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    kind: str = MILVUS_KINDS[0]
    former: str = ""

    def __post_init__(self) -> None:
        if len(self.photo_ids) != len(self.people):
            raise ValueError("photo ids and people must be of the same length")


UNNAMED = Collection()


@dataclass(frozen=True)
class Hit:
    """One photo of the gallery that a search found; `distance` is Euclidean between unit vectors, 0 to 2.

    `verdict` is None where the recipe with these weights has not been calibrated. A face that nobody named, in a photo
    that is named after somebody else, is not `named`: `person` says whose photo it is in.
    """

    rank: int
    photo_id: str
    person: str
    distance: float
    verdict: Verdict | None = None
    named: bool = True

    @property
    def is_query(self) -> bool:
        """Whether this is the photo that was searched with."""
        return self.distance < SAME_PHOTO_DISTANCE

    def as_json(self) -> dict[str, Any]:
        """The hit as plain JSON values."""
        return {
            "rank": self.rank,
            "person": self.person,
            "photo_id": self.photo_id,
            "distance": round(self.distance, 4),
            "verdict": self.verdict.as_json() if self.verdict else None,
            **({} if self.named else {"named": False}),
        }


@dataclass(frozen=True)
class Answer:
    """The answer to one search: the faces of the photo, and the hits, nearest first; without a face none.

    `person` is the verdict; beyond the `limit` every hit is called unlikely. Both are None where the recipe with these
    weights has not been calibrated.
    """

    recipe: str
    index: str
    gallery: str
    faces: tuple[Face, ...]
    face: Face | None
    crop: Image.Image | None
    hits: tuple[Hit, ...]
    timings_ms: dict[str, float]
    limit: Limit | None = None
    person: PersonVerdict | None = None

    def __post_init__(self) -> None:
        if [hit.rank for hit in self.hits] != list(range(1, len(self.hits) + 1)):
            raise ValueError("hits must be ranked 1, 2, 3, ...")
        if self.hits and self.crop is None:
            raise ValueError("hits without a crop that was searched with")

    @property
    def who(self) -> str:
        """Whom it names first; empty without hits."""
        return self.person.person if self.person else self.hits[0].person if self.hits else ""

    @property
    def found_face(self) -> bool:
        """Whether there was a face, or a whole photo, to search with."""
        return self.crop is not None

    @property
    def face_number(self) -> int | None:
        """The number of the face searched with, from 1; None for a whole photo or without a face."""
        return self.faces.index(self.face) + 1 if self.face else None

    @property
    def probably_absent(self) -> bool:
        """Whether the person is probably not in the gallery: even the first name is unlikely."""
        return self.person is not None and self.person.words == "unlikely"

    def as_json(self) -> dict[str, Any]:
        """The answer as plain JSON values: the same from the command line and from the page's API."""
        return {
            "recipe": self.recipe,
            "index": self.index,
            "gallery": self.gallery,
            "faces": [face.as_json() for face in self.faces],
            "face": self.face.as_json() if self.face else None,
            "person": self.person.as_json() if self.person else None,
            "hits": [hit.as_json() for hit in self.hits],
            "limit": self.limit.as_json() if self.limit else None,
            "probably_absent": self.probably_absent,
            "timings_ms": {step: round(ms, 1) for step, ms in self.timings_ms.items()},
        }


class Detector(Protocol):
    """Finds faces."""

    def detect(self, images: Sequence[Image.Image], *, for_one: bool = False) -> list[tuple[Face, ...]]:
        """All faces of each RGB image, in that image's pixels; an empty tuple where there is none.

        `for_one` wants only the face that a photo is indexed by, a large one near the centre; others may be missing.
        """
        ...


class Network(Protocol):
    """Turns crops into vectors; `precision` is that of its multiplications, such as `bf16`."""

    precision: str

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        """Raw embeddings (n, d) of n square RGB crops of the recipe's size; not yet of unit length."""
        ...


class VectorIndex(Protocol):
    """Finds the nearest of a gallery's vectors."""

    def __len__(self) -> int:
        """The number of its vectors."""
        ...

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query; `vectors` is (d,) or (q, d), k is capped at the index's size."""
        ...
