"""The routes without a photo: what can be searched, and who is in it."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from pipeline.galleries.galleries import Galleries
from pipeline.galleries.people import People, Person, find_people
from pipeline.page.rest import models
from pipeline.page.rest.asked import KEY, MAX_NAME
from pipeline.page.rest.door import REFUSALS, Door
from pipeline.page.server.endpoints import gallery

Key = Annotated[
    str, Header(alias=KEY, max_length=MAX_NAME, description="The gallery's key; empty for the first that is ready.")
]
Name = Annotated[str, Query(max_length=MAX_NAME, description="A recipe; empty for the best one that is ready.")]


def routes(galleries: Galleries, door: Door) -> APIRouter:
    """Both."""
    router = APIRouter(tags=["galleries"], responses=REFUSALS)

    @router.get("/galleries", response_model=models.Galleries)
    async def list_galleries() -> Response:
        """What can be searched: the galleries, and every recipe with its state and its indexes' recall@20."""
        return await door.answered(
            lambda: {"galleries": [gallery(key, galleries.get(key)) for key in galleries.keys]}, quick=True
        )

    @router.get("/people", response_model=models.People)
    async def list_people(key: Key = "", recipe: Name = "") -> Response:
        """Who is in a gallery: by its names; of somebody's photos by grouping their faces."""
        return await door.answered(partial(people_of, galleries, key, recipe))

    return router


def people_of(galleries: Galleries, key: str, recipe: str = "") -> dict[str, Any]:
    """As `People` has it; NotReady where the gallery cannot be searched yet."""
    preparation = galleries.get(key)
    searcher = preparation.searcher(recipe)
    if people := preparation.people:
        return People(people.people, people.unknown).as_json()
    if not preparation.gallery.photos.named:
        return find_people(preparation.gallery, searcher.encoder.recipe.name).as_json()
    by_name: dict[str, list[str]] = defaultdict(list)
    unknown: list[str] = []
    for row, (name, face) in enumerate(zip(searcher.people, searcher.embeddings.photo_ids, strict=True)):
        (unknown if row in searcher.unnamed else by_name[name]).append(face)
    named = sorted(by_name.items(), key=lambda each: (-len(each[1]), each[0]))
    return People(tuple(Person(name, tuple(faces)) for name, faces in named), tuple(unknown)).as_json()
