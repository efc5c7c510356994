"""Why this match, as HTML: both crops as the network saw them, and below each what the match rests on, in colour.

The pictures are in the HTML itself: a visitor's face is written to no file for it.
"""

from __future__ import annotations

import numpy as np

from pipeline.core.types import FloatArray
from pipeline.page.html.grid import served
from pipeline.page.html.sources import TEMPLATES
from pipeline.photos.pictures import bytes_of
from pipeline.search.explain import NEGLIGIBLE, PLACES, Explanation, Why

LOOKING = "<p class='quiet looking' role='status'>Looking at what this match rests on…</p>"


def why_html(why: Why) -> str:
    """The four pictures with their legend."""
    explanation = why.explanation
    heats, person = (explanation.query, explanation.hit), why.photo.person
    titles = ("Yours, as the network saw it", f"{person}, as indexed")
    crops = [(title, served(bytes_of(heat.crop, "PNG"))) for title, heat in zip(titles, heats, strict=True)]
    maps = [
        (whose, served(bytes_of(overlay, "PNG")), strongest_place(heat.patches))
        for whose, overlay, heat in zip(("your photo", person), explanation.overlays(), heats, strict=True)
    ]
    return TEMPLATES("why", crops=crops, maps=maps, legend=legend(explanation))


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
