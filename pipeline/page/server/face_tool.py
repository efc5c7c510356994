"""The tool `search_face` for programs that speak the Model Context Protocol: what it takes, and what it answers."""

from __future__ import annotations

import base64
import binascii
import reprlib
from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import PhotoError, SettingsError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES
from pipeline.encoder.faces import numbered
from pipeline.galleries.galleries import Galleries
from pipeline.indexes.registry import INDEXES
from pipeline.photos.images import open_image

NAME = "search_face"
DESCRIPTION = (
    "Find the photos of this server's gallery whose face is most like a face in the given photo, nearest first. The "
    "distance is Euclidean between unit vectors, 0 (the same photo) to 2, and compares within one recipe only. A small "
    "distance is no proof of identity, and a search answers even where the gallery does not hold the person: see "
    "`verdict` and `probably_absent`. Without a face in the photo, `face` is null and `hits` is empty."
)
NOT_FETCHED = "The photo is taken as base64, not from an address; read the file and send what is in it."
NOT_BASE64 = "The photo is no base64; send the file's bytes as base64, or as a data URL (data:image/jpeg;base64,...)."
# The arguments, as JSON Schema has them; those without a default must be given.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "photo": {
        "type": "string",
        "description": "A photo with a face, JPEG, PNG or WebP: the file as base64, or as a data URL. No address.",
    },
    "recipe": {
        "type": "string",
        "enum": ["", *RECIPES],
        "default": "",
        "description": "The model to search with; empty for the best one that is ready.",
    },
    "index": {
        "type": "string",
        "enum": list(INDEXES),
        "default": DEFAULT_INDEX,
        "description": "How neighbours are found; `exact` compares with every photo.",
    },
    "k": {"type": "integer", "minimum": 1, "maximum": MAX_K, "default": DEFAULT_K, "description": "How many hits."},
    "face": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": "Which face of a photo with several: 1, 2, ... by size; 0 for the largest that is surely one.",
    },
    "gallery": {
        "type": "string",
        "default": "",
        "description": "The gallery's key, of those the endpoint /galleries lists; empty for the first that is ready.",
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": ARGUMENTS,
    "required": [name for name, about in ARGUMENTS.items() if "default" not in about],
    "additionalProperties": False,
}


def search_face(galleries: Galleries, given: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as `Answer.as_json` has it; `given` are arguments as `SCHEMA` has them.

    PhotoError if the photo is none, SettingsError or GalleryError where it cannot be searched so.
    """
    asked: dict[str, Any] = {name: about.get("default") for name, about in ARGUMENTS.items()} | dict(checked(given))
    image = open_image(decoded(asked["photo"]))
    background = galleries.get(asked["gallery"] or galleries.first())
    recipe = asked["recipe"] or next(iter(background.ready()), "")
    if not recipe:
        raise SettingsError("The gallery is not ready yet; ask again in a while.")
    searcher = background.searcher(recipe)
    return searcher.search(image, asked["k"], asked["index"], choose=numbered(asked["face"])).as_json()


def checked(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments if they fit `SCHEMA`; else SettingsError, which repeats nothing of a value: it may be megabytes."""
    if unknown := [name for name in given if name not in ARGUMENTS]:
        raise SettingsError(f"There is no argument {reprlib.repr(unknown[0])}; there are {', '.join(ARGUMENTS)}.")
    for name, about in ARGUMENTS.items():
        if name not in given and "default" not in about:
            raise SettingsError(f"The argument {name} is missing; give it.")
        if name in given and not _fits(given[name], about):
            raise SettingsError(f"The argument {name} cannot be that; {_remedy(about)}.")
    return given


def _fits(value: object, about: Mapping[str, Any]) -> bool:
    if about["type"] == "string":
        return isinstance(value, str) and value in about.get("enum", [value])
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and about["minimum"] <= value <= about.get("maximum", value)


def _remedy(about: Mapping[str, Any]) -> str:
    if "enum" in about:
        return f"choose one of {', '.join(filter(None, about['enum']))}"
    if about["type"] == "string":
        return "give a text"
    most = f"to {about['maximum']}" if "maximum" in about else "or more"
    return f"give a whole number, {about['minimum']} {most}"


def decoded(photo: str) -> bytes:
    """The bytes of a photo that is sent as base64 or as a data URL; PhotoError if it is neither."""
    head, comma, data = photo.partition(",") if photo.startswith("data:") else ("", "", photo)
    if "://" in photo[:16]:
        raise PhotoError(NOT_FETCHED)
    if comma and not head.endswith(";base64"):
        raise PhotoError(NOT_BASE64)
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PhotoError(NOT_BASE64) from error
