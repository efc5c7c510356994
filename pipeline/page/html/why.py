"""Why this match, as HTML: both crops as the network saw them, and below each what the match rests on, in colour.

The pictures are in the HTML itself: a visitor's face is written to no file for it.
"""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from pipeline.core.types import FloatArray
from pipeline.search.explain import NEGLIGIBLE, PLACES, Explanation, Why

LOOKING = "<p class='quiet looking' role='status'>Looking at what this match rests on…</p>"


def why_html(why: Why) -> str:
    """The four pictures with their legend."""
    explanation = why.explanation
    of_query, of_hit = explanation.overlays()
    person = escape(why.photo.person)
    return (
        "<section class='why' aria-label='Why this match'><div class='pair'>"
        f"{_side('Yours, as the network saw it', explanation.query.crop)}"
        f"{_side(f'{person}, as indexed', explanation.hit.crop)}"
        f"{_map('your photo', of_query, explanation.query.patches)}"
        f"{_map(person, of_hit, explanation.hit.patches)}"
        f"</div><p class='quiet'>{legend(explanation)}</p></section>"
    )


def legend(explanation: Explanation) -> str:
    """What the colours mean, in one sentence."""
    return (
        "Where it is orange, covering that place makes the two less alike, so the match rests on it; where it is blue, "
        f"covering it makes them more alike; the strongest colour changes the similarity, {explanation.similarity:.2f} "
        f"where 1 is the same, by {explanation.strongest:.2f}."
    )


def strongest_place(patches: FloatArray) -> str:
    """Where the patch lies whose covering costs most, in words."""
    if patches.max() < NEGLIGIBLE:
        return "nothing in particular"
    row, column = (int(each) * 3 // PLACES for each in np.unravel_index(patches.argmax(), patches.shape))
    down, across = ("upper", "middle", "lower")[row], ("left", "middle", "right")[column]
    if (down, across) == ("middle", "middle"):
        return "most in the middle"
    return f"most at the {down} {across}"


def _side(title: str, crop: Image.Image) -> str:
    return f"<figure><figcaption>{title}</figcaption><img src='{_inline(crop)}' alt='{title}'></figure>"


def _map(whose: str, overlay: Image.Image, patches: FloatArray) -> str:
    said = f"What the match rests on in {whose}: {strongest_place(patches)}"
    return f"<figure><img src='{_inline(overlay)}' alt='{said}'></figure>"


def _inline(picture: Image.Image) -> str:
    """The picture as an address that holds all of it, without loss."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
