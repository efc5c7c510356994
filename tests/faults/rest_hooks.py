"""Loaded by schemathesis: some of the photos that it sends are photos, so that routes come to an answer."""

from __future__ import annotations

import base64

import schemathesis
from hypothesis import strategies

from pipeline.core.settings import SAMPLE
from pipeline.photos.images import open_image
from tests.fakes import draw, portrait
from tests.faults.corpus import encode

# Of the tiny world, of the sample, and one without a face.
PHOTOS = [encode(portrait(2)), encode(open_image(SAMPLE / "Composite 01" / "1.jpg")), encode(draw())]
_photos = strategies.sampled_from(PHOTOS)


@schemathesis.hook
def filter_body(context: object, body: object) -> bool:
    """Leaves out lists of one element or none: a form says the same with and without, so they are not wrong in it."""
    values = body.values() if isinstance(body, dict) else ()
    return not any(isinstance(value, list) and len(value) < 2 for value in values)


schemathesis.openapi.format("binary", strategies.one_of(_photos, _photos, strategies.binary(max_size=200)))
schemathesis.openapi.format("byte", _photos.map(lambda photo: base64.b64encode(photo).decode()))
