"""What a request may hold: a form with photos as files, or JSON with photos as base64; both with the same options."""

from __future__ import annotations

import json
import logging
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from pipeline.core.errors import PhotoError, SettingsError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.indexes.registry import INDEXES
from pipeline.page.server.envelope import Refused
from pipeline.page.server.guard import MAX_API_BODY, MAX_FIELD
from pipeline.page.server.mcp import decoded

FORM, JSON = "multipart/form-data", "application/json"
KEY = "X-Gallery"  # the header with a gallery's key: paths and queries reach logs
MAX_NAME = 200  # characters of a gallery's key or a photo's id
MAX_FIELDS = 20  # of a form; more than there are options
MAX_FACE = 10_000  # more than any photo shows
NO_FORM = "This is no form that can be read; send multipart/form-data with a boundary."
# By how Starlette begins its sentence: what is too much in a form that can be read otherwise.
TOO_MUCH = {
    "Too many files": "There are too many files in this form; send at most {0.max_files:,}.",
    "Too many fields": "There are too many fields in this form; send at most {0.max_fields:,}.",
    "Part exceeded": "A field of this form is too long; send at most {0.max_part_size:,} bytes, and photos as files.",
}
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # warns of each form that is none, and not by its id
FaceNumber: Any = Annotated[int, Field(ge=1, le=MAX_FACE)]
Recipe: Any = Literal[tuple(["", *RECIPES])]
Index: Any = Literal[tuple(INDEXES)]
_recipe: Any = Field("", description="Empty for the best one that is ready.")
_gallery: Any = Field("", max_length=MAX_NAME, description=f"Its key; else that of the header {KEY}, or the first.")
_index: Any = Field(DEFAULT_INDEX, description="How neighbours are found; `exact` compares with every photo.")
_k: Any = Field(DEFAULT_K, ge=1, le=MAX_K, description="How many hits.")
_pictures: Any = Field(False, description="Whether the answer has pictures.")
_face: Any = Field("largest", description="1, 2, ... by size; or `largest`, of those that are surely faces.")


class Options(BaseModel, extra="forbid"):
    """What every request may say besides its photos."""

    gallery: str = _gallery
    recipe: Recipe = _recipe


class OneFace(Options):
    """Options where one face is looked at."""

    face: FaceNumber | Literal["largest"] = _face

    @property
    def number(self) -> int:
        """The face's number as `ask` takes it."""
        return 0 if isinstance(self.face, str) else self.face


class SearchOptions(Options):
    """Those of a search."""

    index: Index = _index
    k: int = _k
    face: FaceNumber | Literal["largest", "all"] = Field(
        "largest", description="1, 2, ... by size, `largest`, or `all`."
    )
    pictures: bool = _pictures


class CompareOptions(BaseModel, extra="forbid"):
    """Those of a search by every recipe that is ready."""

    gallery: str = _gallery
    index: Index = _index
    k: int = _k
    face: FaceNumber | Literal["largest"] = _face
    pictures: bool = _pictures


class ExplainOptions(OneFace):
    """Those of an explanation."""

    photo_id: str = Field("", max_length=MAX_NAME, description="A hit's; empty for the nearest other photo.")
    pictures: bool = _pictures


class FacesOptions(Options):
    """Those of looking for faces."""

    vectors: bool = Field(False, description="Whether each face comes with its vector by the recipe.")


Chosen = TypeVar("Chosen", bound=BaseModel)


class _InMemory(MultiPartParser):
    """Writes nothing to the disk: the body is in memory already, and of a photo nothing may be left."""

    spool_max_size = MAX_API_BODY


async def taken(request: Request, options: type[Chosen], photos: Sequence[str]) -> tuple[Chosen, list[bytes]]:
    """The options and the photos of a request; Refused or SettingsError says in a sentence what is wrong with it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        texts, sent = await _form(request, photos)
        fields = {name: _value(options, name, text) for name, text in texts.items()}
    elif kind == JSON:
        fields, sent = await _json(request, photos)
    else:
        raise Refused(415, f"The photo comes as {FORM} or in {JSON}; name one of them as Content-Type.")
    missing = [name for name in photos if name not in sent]
    if missing:
        raise SettingsError(f"The {missing[0]} is missing; send it as a file of a form, or as base64 in JSON.")
    if "gallery" in options.model_fields:
        fields.setdefault("gallery", request.headers.get(KEY, ""))
    return validated(options, fields), [sent[name] for name in photos]


def _value(options: type[BaseModel], name: str, text: str) -> str | int | bool:
    """What a field of a form means: in JSON it would be a text, a number, or true or false."""
    known = options.model_fields.get(name)
    if known is None or known.annotation is str:
        return text
    if re.fullmatch(r"-?\d+", text, re.ASCII):  # of no more digits than a field has bytes, which Python takes
        return int(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def validated(options: type[Chosen], fields: Mapping[str, Any]) -> Chosen:
    """The options; SettingsError with one sentence, which repeats nothing of a value: it may be megabytes."""
    try:
        return options.model_validate(fields, strict=True)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = reprlib.repr(str(wrong["loc"][0]) if wrong["loc"] else "body")
        if wrong["type"] == "extra_forbidden":
            raise SettingsError(f"There is no field {name}; there are {', '.join(options.model_fields)}.") from error
        raise SettingsError(f"The field {name} cannot be that: {wrong['msg']}; correct it.") from error


async def _form(request: Request, photos: Sequence[str]) -> tuple[dict[str, str], dict[str, bytes]]:
    parser = _InMemory(
        request.headers, request.stream(), max_files=len(photos), max_fields=MAX_FIELDS, max_part_size=MAX_FIELD
    )
    form = await parsed(parser)
    try:
        names = [name for name, _ in form.multi_items()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingsError(f"The field {reprlib.repr(twice)} is there more than once; send it once.")
        files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        if set(files) - set(photos):
            raise SettingsError(f"There is no file {reprlib.repr(min(files))}; there are {', '.join(photos)}.")
        return fields, {name: await file.read() for name, file in files.items()}
    finally:
        await form.close()


async def parsed(parser: MultiPartParser) -> FormData:
    """The form; SettingsError where it is none, or has more than the parser takes."""
    try:
        return await parser.parse()
    except (MultiPartException, ClientDisconnect, KeyError, ValueError, UnicodeError) as error:
        said = next((said for start, said in TOO_MUCH.items() if str(error).startswith(start)), NO_FORM)
        raise SettingsError(said.format(parser)) from error


async def read_json(request: Request) -> dict[str, Any]:
    """The object that a request holds; SettingsError where it is none."""
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise SettingsError("This is no JSON; send an object.") from error
    if not isinstance(fields, dict):
        raise SettingsError("This is no JSON object; send one.")
    return fields


async def _json(request: Request, photos: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    fields = await read_json(request)
    sent = {}
    for name in photos:
        if name in fields:
            value = fields.pop(name)
            if not isinstance(value, str):
                raise SettingsError(f"The field {name} must be a text; send the file's bytes as base64.")
            try:
                sent[name] = decoded(value)
            except PhotoError as error:
                raise SettingsError(str(error)) from error
    return fields, sent


def body(options: type[BaseModel], photos: Sequence[str]) -> dict[str, Any]:
    """The request's description for OpenAPI: both kinds of body, and the header."""
    schema = options.model_json_schema()

    def kind(**photo: str) -> dict[str, Any]:
        properties = {name: {"type": "string"} | photo for name in photos} | schema["properties"]
        whole = {"type": "object", "properties": properties, "required": list(photos), "additionalProperties": False}
        return {"schema": whole}

    as_file = kind(format="binary", description="JPEG, HEIC, PNG, WebP, AVIF, GIF, BMP or TIFF.")
    as_text = kind(format="byte", description="The file as base64, or as a data URL.")
    about = "The gallery's key, where the field `gallery` is not sent."
    header = {"name": KEY, "in": "header", "description": about, "schema": {"type": "string"}}
    return {"parameters": [header], "requestBody": {"required": True, "content": {FORM: as_file, JSON: as_text}}}
