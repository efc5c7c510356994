"""What the REST interface answers, as its description has it: the dataclasses' own JSON, which the CLI prints too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Words = Literal["very likely", "likely", "unclear", "unlikely"]
Box = tuple[float, float, float, float]
Point = tuple[float, float]


class Model(BaseModel, extra="forbid"):
    """Holds what is listed, and nothing else."""


class Face(Model):
    """One detected face (`core.types.Face`)."""

    box: Box = Field(description="Left, top, right, bottom in pixels of the upright photo; may reach past its edges.")
    confidence: float
    landmarks: list[Point] = Field(description="Left eye, right eye, nose, left and right corner of the mouth.")


class Verdict(Model):
    """Whether two photos show one person (`core.verdicts.Verdict`)."""

    same_person: Words
    pair_percent: float = Field(description="Where one person and two are equally likely, how likely one is.")
    false_alarm_percent: float = Field(description="Searches for strangers with a hit as near, in per cent.")


class Person(Model):
    """Whether the person named first is right (`core.verdicts.PersonVerdict`)."""

    name: str
    is_right: Words
    person_percent: float
    false_alarm_percent: float
    named: bool = Field(description="Whether the gallery says who is in it.")


class Hit(Model):
    """One photo of the gallery (`core.types.Hit`)."""

    rank: int
    person: str
    photo_id: str
    distance: float = Field(description="Euclidean between unit vectors, 0 to 2; compares within one recipe only.")
    verdict: Verdict | None = Field(description="null where the recipe was never calibrated with these weights.")
    named: bool = Field(True, description="false: nobody named this face, and `person` says whose photo it is in.")
    picture: str | None = Field(None, description="Its address on this server, where pictures were asked for.")


class Limit(Model):
    """The distance beyond which every hit is called unlikely (`core.verdicts.Limit`)."""

    distance: float
    false_alarm_percent: float


class Timings(Model):
    """Milliseconds."""

    detect: float
    embed: float
    search: float
    total: float


class Answer(Model):
    """One search's answer (`core.types.Answer`)."""

    recipe: str
    index: str
    gallery: str
    faces: list[Face]
    face: Face | None = Field(description="The one that was searched with; null for a whole photo.")
    person: Person | None
    hits: list[Hit]
    limit: Limit | None
    probably_absent: bool
    timings_ms: Timings
    crop: str | None = Field(None, description="What was searched with, as a data URL, where pictures were asked for.")


class Answers(Model):
    """An answer for each face of the photo, the largest first."""

    answers: list[Answer]


class Comparison(Model):
    """The answers of all recipes that are ready (`search.comparison.Comparison`)."""

    answers: list[Answer]
    shared: dict[str, dict[str, int]]
    only: dict[str, list[str]]


class Drops(Model):
    """What covering each patch costs in similarity, row by row."""

    query: list[list[float]]
    hit: list[list[float]]


class Patch(Model):
    """Where the patches lie: sides of the crop and of a patch, and where rows and columns begin, in pixels."""

    crop: int
    side: int
    at: list[int]


class Pictures(Model):
    """Both crops and their maps, as data URLs."""

    query: str
    hit: str
    query_map: str
    hit_map: str


class Why(Model):
    """What a hit's similarity rests on (`search.explain.Why`)."""

    recipe: str
    photo_id: str
    person: str
    similarity: float
    distance: float
    strongest_drop: float
    drops: Drops
    patch: Patch
    embeddings: int
    ms: float
    pictures: Pictures | None = None


class Pair(Model):
    """Whether two photos show one person (`search.pair.Pair`)."""

    recipe: str
    distance: float
    verdict: Verdict | None = Field(description="null where the recipe was never calibrated with these weights.")
    faces: tuple[Face, Face] | None = Field(description="Of each photo the face; null by a recipe for whole photos.")


class Quality(Model):
    """What makes a face harder to find: its side in pixels, sharpness, brightness (0 to 255), and how it is turned."""

    side: float
    sharpness: float
    brightness: float
    turned: float | None = Field(description="0 looks at the camera, 1 has the nose before one eye; null: no telling.")
    tilted: float = Field(description="Degrees.")


class SeenFace(Face):
    """A face with its quality, and with its vector where that was asked for."""

    quality: Quality
    hints: list[str]
    vector: list[float] | None = None


class Faces(Model):
    """The faces of a photo, the largest first."""

    recipe: str
    width: int
    height: int
    turned: int = Field(description="By so many degrees counter-clockwise the photo was turned to find them.")
    faces: list[SeenFace]


class Recipe(Model):
    """A recipe and whether it can be searched with."""

    recipe: str
    label: str
    state: Literal["unasked", "waiting", "preparing", "ready", "unavailable"]
    reason: str
    photos: int
    dim: int
    indexes: dict[str, float] = Field(description="Each index with its recall@20 against exact search.")


class Gallery(Model):
    """What can be searched."""

    key: str
    gallery: str | None
    title: str | None
    photos: int
    people: int
    recipes: list[Recipe]


class Galleries(Model):
    """All galleries but visitors' own, the server's first."""

    galleries: list[Gallery]


class Group(Model):
    """One person: a name, or a number where the gallery has no names; the ids of faces, and of their photos."""

    person: str | int
    faces: list[str]
    photos: list[str]


class People(Model):
    """Who is in a gallery (`galleries.people.People`), whoever has most faces first; and faces that are seen once."""

    people: list[Group]
    unknown: list[str]


class Progress(Model):
    """How far indexing is."""

    done: int
    of: int
    unit: str


class LeftOut(Model):
    """A file that was not taken, and why."""

    name: str
    reason: str


class Told(Model):
    """What came of the photos that were added last."""

    photos: int
    faces: int
    faceless: int
    known: int = Field(description="Photos that were there already.")
    left_out: list[LeftOut]


class Own(Model):
    """A gallery of one's own photos."""

    key: str = Field(description="Whoever has it may search in the photos, and remove them.")
    working: bool = Field(description="Whether photos are being indexed; those that were there can be searched.")
    progress: Progress | None
    problem: str = Field(description="Why the photos that were added last are not in it; else empty.")
    photos: list[str] = Field(description="Those in it; after a removal none can be searched while `working`.")
    told: Told | None


class Removed(Model):
    """It is gone."""

    removed: Literal[True]


class Problem(Model):
    """Why there is no answer."""

    code: str = Field(description="A word for programs, one for each status.")
    message: str
    remedy: str
    request: str = Field(description="The request's id, as in the server's log.")


class Refusal(Model):
    """The envelope of every answer that is none."""

    error: Problem


class Health(Model):
    """Whether this server can answer (`galleries.Galleries.health`)."""

    status: Literal["ok", "degraded", "preparing", "unavailable"]
    version: str
    ready: dict[str, list[str]]
    building: dict[str, dict[str, Any]]
    degraded: dict[str, dict[str, str]]
    problem: str
