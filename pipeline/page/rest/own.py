"""Galleries of one's own photos by program: the same as of the tab "My photos", with the key in a header."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser
from starlette.responses import Response

from pipeline.core.errors import NotReady, SettingsError, UnderWay, Unknown
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.own_gallery import INDEXING, OwnGallery
from pipeline.page.rest import models
from pipeline.page.rest.asked import FORM, KEY, MAX_FIELDS, MAX_NAME, parsed, read_json, validated
from pipeline.page.rest.door import REFUSALS, Door
from pipeline.page.server.guard import MAX_FIELD
from pipeline.page.server.uploads import own_folder

MAX_FILES = 500  # of one request; each of more than a megabyte is an open file until it is over
OFF = "This server makes no galleries of visitors' photos; set FACESEARCH_OWN_PHOTOS=on where it runs."
GONE = "There is no gallery of your own with this key; send your photos again."
NO_FILES = "There are no photos in this request; send them as files called photos."
OTHERS = "There is more in this form than photos; send nothing but files called photos."
# By what it begins with, the ending of a file that has none: galleries look for photos by their endings.
BEGINNINGS = {
    ".jpg": rb"\xff\xd8",
    ".png": rb"\x89PNG",
    ".webp": rb"RIFF....WEBP",
    ".avif": rb"....ftypavi[fs]",
    ".heic": rb"....ftyp",
    ".gif": rb"GIF8",
    ".tif": rb"II[*+]\0|MM\0[*+]",
    ".bmp": rb"BM",
    ".zip": rb"PK",
}
Key = Annotated[str, Header(alias=KEY, max_length=MAX_NAME, description="The key that the first photos were given.")]
ACCEPTED = 202


class Removal(BaseModel, extra="forbid"):
    """Which photos to remove."""

    photos: list[Annotated[str, Field(max_length=MAX_NAME)]] = Field(
        min_length=1, max_length=MAX_FILES, description="Their names, as the gallery lists them."
    )


FILES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "photos": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "minItems": 1,
            "maxItems": MAX_FILES,
            "description": "Photos, or zips of photos.",
        }
    },
    "required": ["photos"],
    "additionalProperties": False,
}
SENT = {"requestBody": {"required": True, "content": {FORM: {"schema": FILES}}}}
CHOSEN = {"requestBody": {"required": True, "content": {"application/json": {"schema": Removal.model_json_schema()}}}}


def routes(galleries: Galleries, door: Door) -> APIRouter:
    """All of them."""
    own = _Own(galleries, door)
    router = APIRouter(tags=["own photos"], responses=REFUSALS)
    later: dict[str, Any] = {"status_code": ACCEPTED, "response_model": models.Own}
    router.add_api_route("/own/photos", own.add, methods=["POST"], openapi_extra=SENT, **later)
    router.add_api_route("/own/photos/remove", own.discard, methods=["POST"], openapi_extra=CHOSEN, **later)
    router.add_api_route("/own", own.show, methods=["GET"], response_model=models.Own)
    router.add_api_route("/own", own.remove, methods=["DELETE"], response_model=models.Removed)
    return router


class _Own:
    """What the routes do."""

    def __init__(self, galleries: Galleries, door: Door) -> None:
        self._galleries, self._door = galleries, door

    async def add(self, request: Request, key: Key = "") -> Response:
        """Add photos to your gallery; without a key to a new one, whose key is in the answer.

        They are indexed in the background: ask for the gallery until it is no longer `working`. It is deleted ten
        minutes after it was last asked for, and when the server stops.
        """
        own = self._own()
        if key:
            _found(own, key)
        folder = Path(mkdtemp(prefix="rest-", dir=own_folder()))
        try:
            files = await _received(request, folder)
            return await self._door.answered(partial(_add, own, key, files, folder), ACCEPTED, quick=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def show(self, key: Key = "") -> Response:
        """Where your gallery stands, and which photos are in it."""
        return await self._door.answered(lambda: _told(key, _found(self._own(), key)), quick=True)

    async def discard(self, request: Request, key: Key = "") -> Response:
        """Remove photos from your gallery; the last one takes the gallery with it."""
        gallery = _found(self._own(), key)
        removal = validated(Removal, await read_json(request))

        def discarded() -> dict[str, Any]:
            with _idle():
                gallery.discard(removal.photos)
            return _told(key, gallery)

        return await self._door.answered(discarded, ACCEPTED, quick=True)

    async def remove(self, key: Key = "") -> Response:
        """Delete your gallery: photos, pictures and vectors."""
        own = self._own()
        _found(own, key)

        def removed() -> dict[str, Any]:
            own.remove(key)
            return {"removed": True}

        return await self._door.answered(removed, quick=True)

    def _own(self) -> OwnGalleries:
        if self._galleries.own is None:
            raise Unknown(OFF)
        return self._galleries.own


def _found(own: OwnGalleries, key: str) -> OwnGallery:
    gallery = own.find(key)
    if gallery is None:
        raise Unknown(GONE)
    return gallery


@contextmanager
def _idle() -> Iterator[None]:
    """NotReady where something is under way, which the page can cancel and this cannot."""
    try:
        yield
    except UnderWay as error:
        raise NotReady(INDEXING) from error


def _add(own: OwnGalleries, key: str, files: Sequence[Path], folder: Path) -> dict[str, Any]:
    key, gallery = (key, _found(own, key)) if key else own.create()
    with _idle():
        gallery.add(files, partial(shutil.rmtree, folder, ignore_errors=True))
    return _told(key, gallery)


def _told(key: str, gallery: OwnGallery) -> dict[str, Any]:
    working, progress, told = gallery.working, gallery.progress, gallery.told
    last = None
    if told:
        left_out = [{"name": name, "reason": reason} for name, reason in told.taken.left_out]
        counts = {"photos": told.photos, "faces": told.faces, "faceless": told.faceless, "known": told.taken.known}
        last = counts | {"left_out": left_out}
    preparation = gallery.preparation
    shown = {"done": progress.done, "of": progress.total, "unit": progress.unit} if working and progress else None
    return {
        "key": key,
        "working": working,
        "progress": shown,
        "problem": gallery.problem,
        # Also while it is made anew without others, when its `photo_ids`, which can be searched in, are none.
        "photos": list(preparation.gallery.photos.photo_ids) if preparation else [],
        "told": last,
    }


async def _received(request: Request, folder: Path) -> list[Path]:
    """The files of a form, written to the folder under their own names; larger ones come by way of the disk."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise SettingsError(NO_FILES)
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD
    )
    form = await parsed(parser)
    try:
        files = [value for name, value in form.multi_items() if isinstance(value, UploadFile) and name == "photos"]
        if not files or len(files) < len(form.multi_items()):
            raise SettingsError(OTHERS if files else NO_FILES)
        return await run_in_threadpool(_written, files, folder)
    finally:
        await form.close()


def _written(files: Sequence[UploadFile], folder: Path) -> list[Path]:
    paths = []
    for number, file in enumerate(files):
        name = Path((file.filename or "").replace("\\", "/").replace("\0", "")).name[-MAX_NAME:].strip(". ")
        path = folder / str(number) / (name or "photo")
        path.parent.mkdir(mode=0o700)
        with path.open("xb") as stream:
            shutil.copyfileobj(file.file, stream)
        paths.append(path if path.suffix else path.rename(path.with_name(path.name + _ending(path))))
    return paths


def _ending(file: Path) -> str:
    """What its content says; empty where that is no photo and no zip."""
    with file.open("rb") as stream:
        start = stream.read(16)
    return next((ending for ending, begins in BEGINNINGS.items() if re.match(begins, start, re.DOTALL)), "")
