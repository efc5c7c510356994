"""The encoder: one result per photo, in order; who has no face has no vector, and nobody else is touched by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.core.geometry import unit_rows
from pipeline.core.recipes import RECIPES, recipe_named
from pipeline.core.types import FloatArray
from pipeline.encoder.encoder import Encoder, open_encoder
from pipeline.encoder.faces import MtcnnDetector, cut, largest
from pipeline.encoder.weights import Weights
from tests.fakes import TinyDetector, TinyEncoders, TinyNetwork, draw, portrait

FACE_RECIPES = [name for name, recipe in RECIPES.items() if recipe.finds_faces]
GREY = draw()


def encoder_of(recipe: str) -> tuple[Encoder, TinyDetector]:
    encoders = TinyEncoders()
    return encoders.get(recipe), encoders.detector


@pytest.mark.parametrize("recipe", FACE_RECIPES)
def test_a_photo_without_a_face_gives_nothing_in_its_own_place_only(recipe: str) -> None:
    encoder, _ = encoder_of(recipe)
    photos = [portrait(0), portrait(1), GREY, portrait(2), GREY, portrait(3)]
    encoded = encoder.encode(photos)
    assert [one.vector is None for one in encoded] == [False, False, True, False, True, False]
    for place in (2, 4):
        assert (encoded[place].faces, encoded[place].face, encoded[place].crop) == ((), None, None)
    for place in (0, 1, 3, 5):
        (alone,) = encoder.encode([photos[place]])
        np.testing.assert_allclose(encoded[place].vector, alone.vector, atol=1e-5)
        assert encoded[place].face == alone.face


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_order_is_kept_and_vectors_have_the_recipes_length_and_unit_norm(recipe: str) -> None:
    encoder, _ = encoder_of(recipe)
    photos = [portrait(person) for person in (3, 0, 5, 1, 4, 2)]
    forward, backward = encoder.encode(photos), encoder.encode(photos[::-1])
    for one, other in zip(forward, backward[::-1], strict=True):
        below = RECIPES[recipe].layer == "pca"  # which a gallery brings
        assert one.vector.shape == (RECIPES[RECIPES[recipe].base if below else recipe].dim,)
        assert one.vector.dtype == np.float32
        assert float(np.linalg.norm(one.vector)) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)
    vectors = np.stack([one.vector for one in forward])
    assert np.min(np.linalg.norm(vectors[:, None] - vectors[None], axis=2) + np.eye(6)) > 0.01, "all different"


def test_the_crop_is_the_one_the_network_saw() -> None:
    seen: list[Image.Image] = []

    class Watching(TinyNetwork):
        def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
            seen.extend(crops)
            return super().embed(crops)

    recipe = recipe_named("mtcnn-facenet")
    encoder = Encoder(recipe, Watching(recipe.dim), TinyDetector(), Weights("facenet", (), "", False))
    encoded = encoder.encode([portrait(0), GREY, portrait(1)])
    assert seen == [encoded[0].crop, encoded[2].crop]
    assert encoded[0].crop.tobytes() == cut(portrait(0), encoded[0].face, recipe).tobytes()


def test_with_flip_a_photo_and_its_mirror_image_are_the_same() -> None:
    (encoder, _), (plain, _) = encoder_of("resnet50+flip"), encoder_of("resnet50")
    photo = portrait(0)
    photo.paste((255, 255, 0), (30, 26, 40, 36))  # else a tiny face is its own mirror image
    mirrored = ImageOps.mirror(photo)
    one, other = encoder.encode([photo, mirrored])
    np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)
    parts = [each.vector for each in plain.encode([photo, mirrored])]
    assert np.linalg.norm(parts[0] - parts[1]) > 0.1
    np.testing.assert_allclose(one.vector, unit_rows(parts[0] + parts[1])[0], atol=1e-5)


def test_the_recipe_says_which_face_of_a_gallery_photo_is_taken() -> None:
    photo = draw((0, 0, (2, 20, 50)), (1, 0, (56, 44, 8)))
    for recipe, left in (("mtcnn-facenet", 2), ("mtcnn-facenet+central", 56)):
        encoder, _ = encoder_of(recipe)
        (encoded,) = encoder.encode([photo], encoder.of_gallery)
        assert encoded.face.box[0] == left


@pytest.mark.parametrize("recipe", RECIPES)
def test_choosing_none_embeds_the_whole_photo(recipe: str) -> None:
    encoder, detector = encoder_of(recipe)
    encoded = encoder.encode([portrait(0), GREY], choose=None)
    assert detector.photos_seen == 0
    for photo, one in zip([portrait(0), GREY], encoded, strict=True):
        assert (one.faces, one.face) == ((), None)
        assert one.crop.tobytes() == cut(photo, None, RECIPES[recipe]).tobytes()
        assert one.vector is not None


def test_faces_that_are_known_spare_the_detector() -> None:
    encoder, detector = encoder_of("mtcnn-facenet")
    photos = [portrait(0), GREY, portrait(1)]
    found = detector.detect(photos)
    assert detector.photos_seen == 3
    given = encoder.encode(photos, found=found)
    assert detector.photos_seen == 3
    searched = encoder.encode(photos)
    assert detector.photos_seen == 6
    assert [one.face for one in given] == [one.face for one in searched]
    np.testing.assert_array_equal(given[2].vector, searched[2].vector)


def test_the_whole_photo_recipe_never_detects() -> None:
    encoder, detector = encoder_of("resnet50")
    assert encoder.detector is None
    encoded = encoder.encode([portrait(0), GREY], choose=largest)
    assert detector.photos_seen == 0
    assert [one.faces for one in encoded] == [(), ()]
    assert all(one.vector is not None and one.face is None for one in encoded)


def test_the_face_is_the_one_that_choose_takes_and_all_are_kept() -> None:
    encoder, _ = encoder_of("mtcnn-facenet")
    photo = draw((0, 0, (4, 30, 20)), (1, 0, (40, 20, 50)))
    (by_size,) = encoder.encode([photo], choose=largest)
    assert len(by_size.faces) == 2
    assert by_size.face.box == (40, 20, 90, 70)
    (first,) = encoder.encode([photo], choose=lambda faces, size: faces[0])
    assert first.face.box == (4, 30, 24, 50)
    assert np.linalg.norm(first.vector - by_size.vector) > 0.1


def test_nothing_gives_nothing() -> None:
    for recipe in RECIPES:
        assert encoder_of(recipe)[0].encode([]) == []
    (faceless,) = encoder_of("mtcnn-facenet")[0].encode([GREY])
    assert faceless.vector is None


def test_times_are_shares_of_the_batch() -> None:
    encoder, _ = encoder_of("mtcnn-facenet")
    encoded = encoder.encode([portrait(0), GREY])
    assert encoded[0].detect_ms == encoded[1].detect_ms > 0
    assert encoded[0].embed_ms == encoded[1].embed_ms > 0


def test_open_encoder_shares_a_detector_and_gives_none_to_the_whole_photo_recipe(reid_weights: Weights) -> None:
    recipe = recipe_named("mtcnn-reid")
    shared = MtcnnDetector()
    assert open_encoder(recipe, reid_weights, shared).detector is shared
    own = open_encoder(recipe, reid_weights).detector
    assert isinstance(own, MtcnnDetector)
    assert own is not shared
    assert open_encoder(replace(recipe, crop="whole"), reid_weights, shared).detector is None
