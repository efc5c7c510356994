"""Composite people: made of six who look alike, laid landmark on landmark; the sample gallery is what it should be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import SettingsError
from pipeline.core.geometry import unit_rows
from pipeline.core.recipes import recipe_named
from pipeline.core.settings import SAMPLE
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.encoder import open_encoder
from pipeline.encoder.weights import Weights
from pipeline.photos.images import open_image
from pipeline.photos.sources import open_photos
from pipeline.training.sample import LANDMARKS, MADE_OF, PEOPLE, PHOTOS_EACH, SIDE, _warped, portrait, similar_people


def gallery_of(people: int, looks: int) -> Embeddings:
    """So many people with six photos each, in turn of so many looks, and as many with only four photos."""
    random = np.random.default_rng(0)
    faces = random.standard_normal((looks, 64))
    rows, names = [], []
    for person in range(2 * people):
        for _ in range(6 if person < people else 4):
            rows.append(faces[person % looks] + 0.3 * random.standard_normal(64))
            names.append(f"{person}")
    ids = tuple(map(str, range(len(rows))))
    return Embeddings(Path(), unit_rows(np.array(rows)), np.zeros((len(rows), 15)), ids, tuple(names), ids, {})


def test_each_six_look_alike_and_nobody_is_in_two_of_them() -> None:
    embeddings = gallery_of(PEOPLE * MADE_OF, PEOPLE)
    groups = similar_people(embeddings)
    assert [group.shape for group in groups] == [(MADE_OF, PHOTOS_EACH)] * PEOPLE
    used = Counter(embeddings.people[row] for group in groups for row in group.ravel())
    assert set(used.values()) == {PHOTOS_EACH}
    for group in groups:
        people = [{embeddings.people[row] for row in rows} for rows in group]
        assert [len(names) for names in people] == [1] * MADE_OF, "a row of the group is one person's"
        assert len({int(name) % PEOPLE for names in people for name in names}) == 1, "all six have one look"


def test_a_gallery_of_too_few_people_is_refused() -> None:
    with pytest.raises(SettingsError, match="Composites need 240 people with 5 photos each, and this gallery has 239"):
        similar_people(gallery_of(PEOPLE * MADE_OF - 1, 40))


def test_a_photo_is_laid_landmark_on_landmark() -> None:
    colours = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
    turn = 1.7 * np.exp(0.4j)
    places = (np.array(LANDMARKS) @ (1, 1j) - 0.5 - 0.5j) * turn * 100 + 130 + 110j
    down, across = np.mgrid[:220, :260] + 0.5
    pixels = np.zeros((220, 260, 3), np.uint8)
    for place, colour in zip(places, colours, strict=True):
        pixels[np.hypot(across - place.real, down - place.imag) < 5] = colour
    laid = _warped(Image.fromarray(pixels), np.stack([places.real, places.imag], axis=1))
    assert laid.shape == (SIDE, SIDE, 3)
    down, across = np.mgrid[:SIDE, :SIDE] + 0.5
    for (x, y), colour in zip(LANDMARKS, colours, strict=True):
        like = np.maximum(0, 1 - np.abs(laid - colour).sum(axis=2) / 200)
        found = (across * like).sum() / like.sum(), (down * like).sum() / like.sum()
        assert found == pytest.approx((x * SIDE, y * SIDE), abs=0.75)


def test_a_portrait_varies_with_its_seed_and_shows_the_face_and_no_more_of_the_photos() -> None:
    average = np.full((SIDE, SIDE, 3), (200.0, 40.0, 40.0))
    one, again, other = (np.asarray(portrait(average, seed), float) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 5
    for photo in (one, other):
        middle, corner = photo[SIDE // 2, SIDE // 2], photo[3, 3]
        assert middle[0] > 4 * middle[1], "the face"
        assert corner.max() - corner.min() < 80, "a plain wall, nothing of the red"


def test_the_sample_is_small_and_complete() -> None:
    photos = open_photos("sample")
    assert (photos.name, photos.title) == ("sample", "Sample")
    assert Counter(Counter(photos.people).values()) == {PHOTOS_EACH: PEOPLE}
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 1.5e6
    assert {open_image(photos[row].source).size for row in range(len(photos))} == {(SIDE, SIDE)}


def test_every_composite_person_has_a_face_and_is_nearest_to_its_own(reid_weights: Weights) -> None:
    photos = open_photos("sample")
    encoded = open_encoder(recipe_named("mtcnn-reid"), reid_weights).encode(
        [open_image(photos[row].source) for row in range(len(photos))]
    )
    assert [len(one.faces) for one in encoded] == [1] * len(photos)
    vectors = np.stack([one.vector for one in encoded])
    similarity, people = vectors @ vectors.T, np.array(photos.people)
    np.fill_diagonal(similarity, -1)
    nearest = np.argsort(-similarity, axis=1)[:, : PHOTOS_EACH - 1]
    assert (people[nearest] == people[:, None]).all()
