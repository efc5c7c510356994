"""One hit explained: which photo is taken where none is named, the figures, and the HTML of the pictures."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import SettingsError
from pipeline.core.types import Answer, Hit, Photo
from pipeline.galleries.gallery import Gallery
from pipeline.page.html.why import legend, strongest_place, why_html
from pipeline.search.explain import EMBEDDINGS, PLACES, Explanation, Heat, Why, nearest, why
from tests.fakes import FACELESS, portrait


def answer(*distances: float) -> Answer:
    hits = tuple(Hit(rank, f"photo {rank}", "Ada", distance) for rank, distance in enumerate(distances, start=1))
    return Answer("mtcnn-reid", "exact", "tiny", (), None, Image.new("RGB", (8, 8)), hits, {"total": 1})


def heat(colour: str, place: tuple[int, int], cost: float) -> Heat:
    """A crop of one colour with one patch that costs something, in all its pixels."""
    patches = np.zeros((PLACES, PLACES), np.float32)
    patches[place] = cost
    return Heat(Image.new("RGB", (16, 16), colour), patches, np.full((16, 16), cost, np.float32))


def explained(person: str = "Ada") -> Why:
    heats = heat("red", (0, 7), 0.25), heat("lime", (4, 3), -0.5)
    return Why("mtcnn-reid", Photo("Ada/2.png", person, b""), Explanation(0.875, 0.5, *heats), 12.34)


def test_the_nearest_is_not_the_photo_itself() -> None:
    assert nearest(answer(0.001, 0.01, 0.3, 0.4)) == "photo 3"
    assert nearest(answer(0.2)) == "photo 1"
    for nobody in (answer(), answer(0.001)):
        with pytest.raises(SettingsError, match="no other photo"):
            nearest(nobody)


def test_the_figures_are_plain_json() -> None:
    told = json.loads(json.dumps(explained().as_json()))
    assert (told["photo_id"], told["person"], told["recipe"]) == ("Ada/2.png", "Ada", "mtcnn-reid")
    assert (told["similarity"], told["distance"], told["strongest_drop"], told["ms"]) == (0.875, 0.5, 0.25, 12.3)
    assert (told["drops"]["query"][0][7], told["drops"]["hit"][4][3]) == (0.25, -0.5)
    assert sum(map(sum, told["drops"]["query"])) == 0.25
    assert told["patch"] == {"crop": 16, "side": 4, "at": [0, 2, 3, 5, 7, 9, 10, 12]}
    assert told["embeddings"] == EMBEDDINGS


def test_a_hit_of_the_gallery_is_explained(tiny: Gallery) -> None:
    for recipe in ("mtcnn-reid", "resnet50"):
        tiny.build([recipe])
        searcher = tiny.searcher(recipe)
        found = searcher.search(portrait(3, 1), 3, "exact")
        hit = found.hits[1]
        reason = why(searcher, found.crop, tiny.photos.found(hit.photo_id))  # type: ignore[arg-type]
        assert reason.recipe == recipe
        assert reason.explanation.distance == pytest.approx(hit.distance, abs=1e-4)
        assert reason.ms > 0
        assert reason.photo.person == hit.person == "Dimitri"
    with pytest.raises(SettingsError, match="skipped when the gallery was built"):
        why(tiny.searcher("mtcnn-reid"), found.crop, tiny.photos.found(FACELESS))  # type: ignore[arg-type]


def test_four_pictures_that_are_in_the_html_itself() -> None:
    html = why_html(explained())
    sources = re.findall(r"<img src='data:image/png;base64,([^']+)' alt='([^']+)'>", html)
    pictures = [Image.open(io.BytesIO(base64.b64decode(source))) for source, _ in sources]
    assert [picture.getpixel((3, 3)) for picture in pictures[:2]] == [(255, 0, 0), (0, 255, 0)]
    orange, blue = (picture.getpixel((3, 3)) for picture in pictures[2:])
    assert orange[0] > orange[2]
    assert blue[2] > blue[0]
    assert [alt for _, alt in sources] == [
        "Yours, as the network saw it",
        "Ada, as indexed",
        "What the match rests on in your photo: most at the upper right",
        "What the match rests on in Ada: nothing in particular",
    ]
    assert "file=" not in html


def test_the_legend_is_one_sentence_with_the_scale() -> None:
    told = legend(explained().explanation)
    assert told in why_html(explained())
    assert "the similarity, 0.88 where 1 is the same, by 0.50." in told
    assert len(re.findall(r"[.](?!\d)", told)) == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0, 0), "most at the upper left"),
        ((7, 4), "most at the lower middle"),
        ((3, 7), "most at the middle right"),
        ((4, 4), "most in the middle"),
    ],
)
def test_the_strongest_place_in_words(place: tuple[int, int], words: str) -> None:
    assert strongest_place(heat("red", place, 1).patches) == words


def test_names_are_escaped() -> None:
    assert "<b>" not in why_html(explained("<b>'"))
    assert "&lt;b&gt;&#39;, as indexed" in why_html(explained("<b>'"))
