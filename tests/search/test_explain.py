"""Why this match: the map lights up where the similarity rests, in a network that is known, and on real photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.core.types import FloatArray
from pipeline.encoder.encoder import Encoder, open_encoder
from pipeline.encoder.weights import Weights, WeightStore
from pipeline.galleries.gallery import Gallery
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.search.explain import FOR, PLACES, Explanation, Heat, explain, gallery_crop, patch_corners, picture
from tests.conftest import REAL
from tests.fakes import FACELESS, SIDE, portrait

SIZE = 64
RECIPE = replace(RECIPES["resnet50"], size=SIZE, dim=3)


class OneCorner:
    """A network that looks at the upper left quarter only: its mean red and green, beside a number that never moves."""

    precision = "f32"

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        self.embedded += len(crops)
        corners = np.stack([np.asarray(crop, np.float32)[: SIZE // 2, : SIZE // 2] for crop in crops])
        means = corners.mean(axis=(1, 2)) / 255
        return np.concatenate([means[:, :2], np.full((len(crops), 1), 0.1, np.float32)], axis=1)


def encoder_of(network: OneCorner) -> Encoder:
    return Encoder(RECIPE, network, None, Weights("resnet50", (), "one-corner", False))


def crop(corner: tuple[int, int, int]) -> Image.Image:
    """A blue crop with a corner of this colour."""
    image = Image.new("RGB", (SIZE, SIZE), (0, 0, 255))
    image.paste(corner, (0, 0, SIZE // 2, SIZE // 2))
    return image


def test_the_map_lights_up_where_the_similarity_rests() -> None:
    network = OneCorner()
    explanation = explain(encoder_of(network), crop((255, 0, 0)), crop((250, 0, 0)))
    assert explanation.similarity == pytest.approx(1, abs=1e-3)
    assert explanation.distance == pytest.approx(np.sqrt(2 - 2 * explanation.similarity), abs=1e-3)
    assert explanation.distance > 0
    for heat in (explanation.query, explanation.hit):
        assert heat.drop.shape == (SIZE, SIZE)
        inside, beyond = heat.drop[4 : SIZE // 2 - 4, 4 : SIZE // 2 - 4], heat.drop[SIZE * 3 // 4 :, SIZE * 3 // 4 :]
        assert inside.min() > 0
        assert np.abs(beyond).max() < 1e-6
        # A patch of a quarter of the side reaches no further than that over the edge of the corner.
        assert np.abs(heat.drop[:, SIZE * 3 // 4 :]).max() < 1e-6
    assert network.embedded == 2 * (PLACES**2 + 1)


def test_the_patches_come_row_by_row() -> None:
    """A network that looks at the upper eighth only."""

    class Upper(OneCorner):
        def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
            return super().embed([each.crop((0, 0, SIZE, SIZE // 8)).resize((SIZE, SIZE)) for each in crops])

    red, blue = Image.new("RGB", (SIZE, SIZE), (255, 0, 0)), Image.new("RGB", (SIZE, SIZE), (0, 0, 255))
    blue.paste(red.crop((0, 0, SIZE, SIZE // 8)))
    costs = explain(encoder_of(Upper()), blue, red).query.patches
    assert np.abs(costs[0, :4]).min() > 1e-5
    assert np.abs(costs[3:]).max() < 1e-6


def test_each_map_is_of_its_own_crop() -> None:
    """Covering a red crop with its own red changes nothing, while the query's corner is one."""
    red = Image.new("RGB", (SIZE, SIZE), (255, 0, 0))
    explanation = explain(encoder_of(OneCorner()), crop((255, 0, 0)), red)
    assert explanation.query.drop[8:24, 8:24].min() > 1e-4
    assert np.abs(explanation.hit.drop).max() < 1e-6


def test_what_speaks_against_a_match_is_below_zero() -> None:
    """A green corner does not look like a red one; with its green covered by the crop's mean it does so more."""
    explanation = explain(encoder_of(OneCorner()), crop((255, 0, 0)), crop((100, 255, 0)))
    assert explanation.hit.drop[8:24, 8:24].max() < 0


def test_the_patches_cover_every_pixel_and_go_no_further() -> None:
    for size in (64, 128, 160, 224):
        seen = np.zeros((size, size), int)
        for left, top in patch_corners(size).tolist():
            assert min(left, top) >= 0
            assert max(left, top) + size // 4 <= size
            seen[top : top + size // 4, left : left + size // 4] += 1
        assert seen.min() >= 1


def test_colours_and_one_scale_for_both() -> None:
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    strong, weak = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    strong[0, 0], strong[3, 3], weak[0, 0] = 0.4, -0.4, 0.1
    patches = np.zeros((PLACES, PLACES), np.float32)
    explanation = Explanation(0.5, 1, Heat(grey, patches, strong), Heat(grey, patches, weak))
    assert explanation.strongest == pytest.approx(0.4)
    first, second = explanation.overlays()
    assert first.getpixel((1, 1)) == (100, 100, 100)
    assert first.getpixel((0, 0))[0] > 200 > 50 > first.getpixel((0, 0))[2]
    assert first.getpixel((3, 3))[2] > 150 > 50 > first.getpixel((3, 3))[0]
    orange = [np.abs(np.subtract(each.getpixel((0, 0)), FOR)).sum() for each in (first, second)]
    assert orange[0] < orange[1]
    nothing = Heat(grey, patches, np.full((4, 4), 1e-7, np.float32))
    assert Explanation(1, 0, nothing, nothing).overlays()[0].getpixel((0, 0)) == (100, 100, 100)
    with pytest.raises(ValueError, match="does not lie on a crop"):
        Heat(grey, patches, np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match="8 x 8 patches"):
        Heat(grey, patches[1:], strong)


def test_the_picture_holds_both_crops_and_both_maps() -> None:
    explanation = explain(encoder_of(OneCorner()), crop((255, 0, 0)), crop((250, 0, 0)))
    drawn = picture(explanation, ("mine", "A very long name " * 9), "resnet50")
    colours = [drawn.getpixel(place) for place in ((30, 40), (400, 40), (30, 400), (400, 400))]
    assert colours[0][0] > 240
    assert colours[1][0] > 240
    assert colours[2] != colours[0]
    assert drawn.getpixel((drawn.width - 2, 10)) == (255, 255, 255), "the long name is cut"


def test_a_hits_crop_is_what_the_network_saw(tiny: Gallery) -> None:
    tiny.build(["mtcnn-reid", "resnet50"])
    for recipe in ("mtcnn-reid", "resnet50"):
        searcher = tiny.searcher(recipe)
        seen = searcher.search(portrait(3, 1), 1).crop
        assert np.array_equal(gallery_crop(searcher, tiny.photos.found("Dimitri/1.png")), seen)
    with pytest.raises(SettingsError, match="skipped when the gallery was built"):
        gallery_crop(tiny.searcher("mtcnn-reid"), tiny.photos.found(FACELESS))
    assert gallery_crop(tiny.searcher("resnet50"), tiny.photos.found(FACELESS)).size == (224, 224)
    assert SIDE != 224


# Real photos


def beyond_the_face(drop: FloatArray, share: float) -> float:
    """How much of what speaks for the match lies outside the middle part of the photo, where LFW has the face."""
    side = len(drop)
    edge = round(side * (1 - share) / 2)
    gains = np.maximum(drop, 0)
    return float(1 - gains[edge : side - edge, edge : side - edge].sum() / gains.sum())


def test_with_whole_photos_the_background_counts(lfw: Photos, real: Settings) -> None:
    store = WeightStore(REAL.models, REAL.cache, dict(REAL.custom_weights))
    weights = store.find("resnet50")
    if weights is None:
        pytest.skip("needs the weights of ResNet-50: set FACESEARCH_RESNET50_WEIGHTS to them")
    encoder = open_encoder(RECIPES["resnet50"], weights)
    rows = [lfw.row_of(f"Albert_Costa_000{number}") for number in (1, 2)]
    crops = [encoder.encode([open_image(lfw[row].source)])[0].crop for row in rows if row is not None]
    explanation = explain(encoder, crops[0], crops[1])  # type: ignore[arg-type]
    # The face takes about 0.4 of the side of an LFW photo.
    assert beyond_the_face(explanation.query.drop, 0.45) > 0.3
    assert beyond_the_face(explanation.hit.drop, 0.45) > 0.3


def test_with_aligned_faces_the_face_counts(lfw: Photos, reid_weights: Weights) -> None:
    encoder = open_encoder(RECIPES["mtcnn-reid"], reid_weights)
    rows = [lfw.row_of(f"Albert_Costa_000{number}") for number in (1, 2)]
    crops = [encoder.encode([open_image(lfw[row].source)])[0].crop for row in rows if row is not None]
    explanation = explain(encoder, crops[0], crops[1])  # type: ignore[arg-type]
    for heat in (explanation.query, explanation.hit):
        side = len(heat.drop)
        assert heat.drop[side // 4 : -side // 4, side // 4 : -side // 4].mean() > 2 * heat.drop.mean() > 0
