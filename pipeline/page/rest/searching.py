"""The routes that take photos: search, compare, explain, verify, faces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from PIL import Image
from starlette.responses import Response

from pipeline.core.errors import PhotoError, SettingsError
from pipeline.core.recipes import RECIPES
from pipeline.core.types import Answer
from pipeline.encoder.faces import numbered
from pipeline.galleries.ask import Question, Which, ask, ask_all
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.grid import served
from pipeline.page.rest import models
from pipeline.page.rest.asked import CompareOptions, ExplainOptions, FacesOptions, OneFace, SearchOptions, body, taken
from pipeline.page.rest.door import REFUSALS, SEARCHES, Door
from pipeline.page.server.envelope import Refused
from pipeline.photos.images import open_image
from pipeline.photos.pictures import bytes_of
from pipeline.search.explain import nearest, why
from pipeline.search.hints import hints, quality
from pipeline.search.pair import compare_pair
from pipeline.search.searcher import MOST_FACES, Searcher

NO_FACE = "No face was found in this photo; send another, or name a recipe for whole photos."
NO_FACE_IN = "No face was found in the {}; send another, or name a recipe for whole photos."
BLIND = "{} sees the whole photo and looks for no face; name another recipe."
DIGITS = 6  # of a vector's numbers: float32 has no more


def routes(galleries: Galleries, door: Door) -> APIRouter:
    """All of them."""
    router = APIRouter(tags=[SEARCHES], responses=REFUSALS)

    @router.post("/search", response_model=models.Answer | models.Answers, openapi_extra=body(SearchOptions, ["photo"]))
    async def search(request: Request) -> Response:
        """Find the photos of the gallery whose face is most like a face of this photo, nearest first.

        `face` = `all` answers for every face: `answers`.
        """
        options, (photo,) = await taken(request, SearchOptions, ["photo"])
        return await door.answered(partial(_search, galleries, options, photo, _root(request)))

    @router.post("/compare", response_model=models.Comparison, openapi_extra=body(CompareOptions, ["photo"]))
    async def compare(request: Request) -> Response:
        """Search with every recipe that is ready: their answers, how many photos each two share, and each one's own."""
        options, (photo,) = await taken(request, CompareOptions, ["photo"])
        return await door.answered(partial(_compare, galleries, options, photo, _root(request)))

    @router.post("/explain", response_model=models.Why, openapi_extra=body(ExplainOptions, ["photo"]))
    async def explain(request: Request) -> Response:
        """Which places of both crops a hit's similarity rests on."""
        options, (photo,) = await taken(request, ExplainOptions, ["photo"])
        return await door.answered(partial(_explain, galleries, options, photo))

    @router.post("/verify", response_model=models.Pair, openapi_extra=body(OneFace, ["photo", "other"]))
    async def verify(request: Request) -> Response:
        """Whether two photos show one person: the distance, the probability, and what that is called.

        `face` is that of the photo; of the other it is the largest.
        """
        options, photos = await taken(request, OneFace, ["photo", "other"])
        return await door.answered(partial(_verify, galleries, options, photos))

    @router.post("/faces", response_model=models.Faces, openapi_extra=body(FacesOptions, ["photo"]))
    async def faces(request: Request) -> Response:
        """The faces of a photo: boxes, landmarks, quality, and each one's vector where that is asked for."""
        options, (photo,) = await taken(request, FacesOptions, ["photo"])
        return await door.answered(partial(_faces, galleries, options, photo))

    return router


def _search(galleries: Galleries, options: SearchOptions, photo: bytes, root: str) -> dict[str, Any]:
    preparation = galleries.get(options.gallery)
    face = {"all": Which.EVERY_FACE, "largest": 0}.get(str(options.face), options.face)
    found = ask(Question(photo, options.index, options.k, face), partial(preparation.searcher, options.recipe))
    answers = [_told(preparation, answer, root if options.pictures else None) for answer in found.answers]
    if not found.answers[0].found_face:
        raise Refused(422, NO_FACE)
    return {"answers": answers} if options.face == "all" else answers[0]


def _compare(galleries: Galleries, options: CompareOptions, photo: bytes, root: str) -> dict[str, Any]:
    preparation = galleries.get(options.gallery)
    face = 0 if options.face == "largest" else options.face
    found = ask_all(Question(photo, options.index, options.k, face), partial(_ready, preparation))
    if not any(answer.found_face for answer in found.answers):
        raise Refused(422, NO_FACE)
    answers = [_told(preparation, answer, root if options.pictures else None) for answer in found.answers]
    return found.as_json() | {"answers": answers}


def _ready(preparation: Preparation) -> Sequence[Searcher]:
    preparation.recipe("")  # an error where there is none
    return preparation.searchers()


def _told(preparation: Preparation, answer: Answer, root: str | None) -> dict[str, Any]:
    """The answer, with pictures where they were asked for: their addresses below `root`."""
    told = answer.as_json()
    if root is not None:
        told["crop"] = served(bytes_of(answer.crop, "PNG")) if answer.crop else None
        for hit in told["hits"]:
            picture = served(preparation.gallery.pictures.thumbnail(hit["photo_id"]))
            hit["picture"] = picture if picture.startswith("data:") else f"{root}/{picture}"
    return told


def _explain(galleries: Galleries, options: ExplainOptions, photo: bytes) -> dict[str, Any]:
    preparation = galleries.get(options.gallery)
    found = ask(Question(photo, "exact", face=options.number), partial(preparation.searcher, options.recipe))
    (answer,) = found.answers
    if answer.crop is None:
        raise Refused(422, NO_FACE)
    reason = why(found.searcher, answer.crop, preparation.gallery.photos.found(options.photo_id or nearest(answer)))
    heats = reason.explanation
    shown = dict(zip(("query_map", "hit_map"), heats.overlays(), strict=True))
    pictures = {"query": heats.query.crop, "hit": heats.hit.crop} | shown
    drawn = {name: served(bytes_of(picture, "PNG")) for name, picture in pictures.items()} if options.pictures else None
    return reason.as_json() | {"pictures": drawn}


def _verify(galleries: Galleries, options: OneFace, photos: Sequence[bytes]) -> dict[str, Any]:
    searcher = galleries.get(options.gallery).searcher(options.recipe)
    one, other = (_opened(photo, name) for photo, name in zip(photos, ("photo", "other"), strict=True))
    pair = compare_pair(searcher, (one, other), (numbered(options.number), numbered(0)))
    if pair.faces and None in pair.faces:
        raise Refused(422, NO_FACE_IN.format(("photo", "other")[pair.faces.index(None)]))
    return pair.as_json()


def _opened(photo: bytes, name: str) -> Image.Image:
    try:
        return open_image(photo)
    except PhotoError as error:
        raise type(error)(f"{name}: {error}") from error


def _faces(galleries: Galleries, options: FacesOptions, photo: bytes) -> dict[str, Any]:
    preparation = galleries.get(options.gallery)
    searcher = preparation.searcher(options.recipe)
    if not searcher.encoder.recipe.finds_faces:
        raise SettingsError(BLIND.format(RECIPES[searcher.encoder.recipe.name].label))
    seen = searcher.look(open_image(photo))
    faces = [
        face.as_json() | {"quality": quality(seen.image, face), "hints": hints(seen.image, face)} for face in seen.faces
    ]
    if options.vectors:
        for number, face in enumerate(faces[:MOST_FACES], start=1):
            (encoded,) = searcher.encoder.encode([seen.image], numbered(number), [seen.faces])
            if encoded.vector is not None:
                face["vector"] = [round(value, DIGITS) for value in encoded.vector.tolist()]
    size = {"width": seen.image.width, "height": seen.image.height}
    return {"recipe": searcher.encoder.recipe.name} | size | {"turned": seen.turned, "faces": faces}


def _root(request: Request) -> str:
    """The path of the server's root, as the visitor has it."""
    return str(request.scope.get("app_root_path", "")).rstrip("/")
