"""Where the galleries' pictures are served: by addresses that tell nothing of the server's folders, from no list."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from pipeline.core.errors import PipelineError
from pipeline.core.folders import PERSONAL
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.own_galleries import picture_token
from pipeline.photos.pictures import SMALL

PICTURE = re.compile(r"[0-9a-f]{20}[\w.-]*")
FOR_GOOD = "private, max-age=31536000, immutable"  # a picture's name changes with its photo


def pictures_route(galleries: Galleries) -> Route:
    """Sends pictures that were made already, or smaller ones of them.

    Those of visitors' own galleries are in no browser's cache.
    """

    def send(request: Request) -> Response:
        token, name = request.path_params["token"], request.path_params["name"]
        own = {picture_token(gallery): gallery for gallery in (galleries.own.names if galleries.own else [])}
        try:
            pictures = galleries.named(own.get(token, token)).gallery.pictures
        except PipelineError:
            return Response(status_code=404)
        if PERSONAL.fullmatch(token) or not PICTURE.fullmatch(name):
            return Response(status_code=404)
        file = pictures.small(name) if name.endswith(SMALL) else pictures.folder / name
        if file is None or not file.is_file():
            return Response(status_code=404)
        return FileResponse(file, headers={"cache-control": "no-store" if token in own else FOR_GOOD})

    return Route("/pictures/{token}/{name}", send)
