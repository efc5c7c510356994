"""What the browser sent: the choices and the photo of a search; and that photo with its faces framed."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from PIL import Image

from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.core.types import Answer, Box
from pipeline.encoder.faces import boxed
from pipeline.encoder.look import Look
from pipeline.galleries.ask import choice
from pipeline.galleries.galleries import MAIN
from pipeline.galleries.own_galleries import PREFIX
from pipeline.indexes.registry import INDEXES
from pipeline.page.roles import ROLES, behind
from pipeline.photos.images import shrunk

SHOWN_SIDE = 900  # pixels; the boxed photo is for looking at
PHOTOS, FACES = "photos", "faces"
Trail = tuple[tuple[str, object], ...]  # photos searched with before, and the number of the face


@dataclass(frozen=True)
class Request:
    """What a search depends on, and what the page shows; SettingsError for a choice that is none.

    With a `role` the recipe is the best that is ready for it, else `recipe`. `k` and `face` are as the browser sent
    them: `ask` judges them. `view` is PHOTOS or FACES; `own_limit` the distance that the visitor has set, with the
    gallery and the recipe that it is for. `answers` are shown, `seen` is how the photo of that path was looked at,
    `trail` the way back; `own` is the key of the visitor's own gallery, or empty.
    """

    photo: str | None
    gallery: str
    recipe: str
    role: str | None = None
    index: str = DEFAULT_INDEX
    k: object = DEFAULT_K
    face: object = 0
    view: str = PHOTOS
    by_person: bool = False
    own_limit: tuple[str, str, float] | None = None
    answers: tuple[Answer, ...] = ()
    seen: tuple[str, Look | None] | None = None
    trail: Trail = ()
    own: str = ""

    def __post_init__(self) -> None:
        choice(self.recipe, RECIPES, "recipe")
        if self.role is not None:
            choice(self.role, ROLES, "position of the switch")
        choice(self.index, INDEXES, "index")
        choice(self.view, (PHOTOS, FACES), "view")

    @property
    def looked_at(self) -> bool:
        """Whether the last search was with this very photo."""
        return self.seen is not None and self.seen[0] == self.photo

    @property
    def look(self) -> Look | None:
        """How this very photo was looked at before, if it was."""
        return self.seen[1] if self.seen and self.looked_at else None

    def by(self, ready: Collection[str]) -> str:
        """The recipe to search with, where these are ready."""
        return behind(self.role, ready) if self.role else self.recipe

    @property
    def linked(self) -> str:
        """The gallery's key as links have it: that of a visitor's own photos opens them, and is never part of one."""
        return MAIN if self.gallery.startswith(PREFIX) else self.gallery


def count_of(sent: object) -> object:
    """The number of results that a slider means by what was typed into it; what is no number at all `ask` refuses."""
    if sent is None:
        return DEFAULT_K
    if isinstance(sent, bool) or not isinstance(sent, int | float) or math.isnan(sent):
        return sent
    return round(min(max(sent, 1), MAX_K))


def path_of(sent: object) -> str | None:
    """Where a photo lies that Gradio has looked at: as it was sent, uploaded or one of the server's."""
    return sent["path"] if isinstance(sent, dict) else None


def name_of(sent: object) -> str:
    """What the browser calls a file that was uploaded: of one in a folder that was dropped, its path there."""
    name = sent.get("orig_name") if isinstance(sent, dict) else None
    return str(name or path_of(sent))


def framed(image: Image.Image, answer: Answer) -> Image.Image:
    """The photo with its faces framed, small enough to send; shrunk first, for a copy of a large one is large too."""
    scale, image = min(1.0, SHOWN_SIDE / max(image.size)), shrunk(image, SHOWN_SIDE)
    small = {face: replace(face, box=_scaled(face.box, scale)) for face in answer.faces}
    return boxed(image, tuple(small.values()), small[answer.face] if answer.face else None)


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = box
    return left * scale, top * scale, right * scale, bottom * scale
