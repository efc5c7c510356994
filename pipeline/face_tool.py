"""The tool `search_face` for programs that speak the Model Context Protocol: what it takes, and what it answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pipeline.errors import PhotoError, SettingsError
from pipeline.faces import numbered
from pipeline.galleries import Galleries
from pipeline.images import open_image
from pipeline.indexes import INDEXES
from pipeline.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K, RECIPES

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
    """The answer as `Answer.as_json` has it; `given` are arguments that fit `SCHEMA`.

    PhotoError if the photo is none, SettingsError or GalleryError where it cannot be searched so.
    """
    asked: dict[str, Any] = {name: about.get("default") for name, about in ARGUMENTS.items()} | dict(given)
    image = open_image(decoded(asked["photo"]))
    background = galleries.get(asked["gallery"] or galleries.first())
    recipe = asked["recipe"] or next(iter(background.ready()), "")
    if not recipe:
        raise SettingsError("The gallery is not ready yet; ask again in a while.")
    searcher = background.searcher(recipe)
    return searcher.search(image, asked["k"], asked["index"], choose=numbered(asked["face"])).as_json()


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
