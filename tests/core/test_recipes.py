"""A fingerprint changes with whatever changes vectors and with nothing else; the recipes and their weights agree."""

from __future__ import annotations

import dataclasses
import re

import pytest
from torchvision.models import ResNet50_Weights

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import (
    BASELINE,
    DEFAULT,
    DEFAULT_K,
    HEADED,
    IMPROVED,
    MAX_K,
    OPTIONS,
    RECIPES,
    Recipe,
    fingerprint,
    recipe_named,
)
from pipeline.encoder.weights import PACKAGED as PACKAGED_WEIGHTS
from pipeline.encoder.weights import WEIGHT_FILES

RECIPE = Recipe(
    name="some", label="Some", summary="A recipe.", network="facenet", crop="box", size=160, margin=14, dim=512
)
CHANGED = {
    "name": "other",
    "network": "resnet50",
    "crop": "aligned",
    "size": 161,
    "margin": 15,
    "dim": 256,
    "version": 2,
    "base": "other",
    "layer": "pca",
    "flip": True,
    "resample": "bicubic",
    "zoom": 2,
    "choice": "central",
}
FOR_PEOPLE = ("label", "summary")


def test_every_field_is_either_for_people_or_tried_below() -> None:
    assert {field.name for field in dataclasses.fields(Recipe)} == {*CHANGED, *FOR_PEOPLE}


@pytest.mark.parametrize("field", CHANGED)
def test_the_fingerprint_changes_with_every_field_that_counts(field: str) -> None:
    other = dataclasses.replace(RECIPE, **{field: CHANGED[field]})
    assert fingerprint(other, "weights", "photos") != fingerprint(RECIPE, "weights", "photos")


@pytest.mark.parametrize("field", FOR_PEOPLE)
def test_the_fingerprint_does_not_change_with_what_is_for_people(field: str) -> None:
    other = dataclasses.replace(RECIPE, **{field: "Another wording."})
    assert fingerprint(other, "weights", "photos") == fingerprint(RECIPE, "weights", "photos")


def test_the_fingerprint_changes_with_weights_and_photos() -> None:
    prints = {fingerprint(RECIPE, weights, photos) for weights in ("a", "b", "ab") for photos in ("a", "b", "")}
    assert len(prints) == 9


def test_the_fingerprint_is_sixteen_hexadecimal_digits_the_same_in_every_process() -> None:
    # The digits are a promise to the galleries on people's disks: if they change, all of them are built anew.
    assert fingerprint(RECIPE, "weights", "photos") == "7af54dd76534a380"


def test_every_recipe_has_a_fingerprint_of_its_own() -> None:
    assert len({fingerprint(recipe, "", "") for recipe in RECIPES.values()}) == len(RECIPES)


def test_a_recipe_is_found_by_its_name() -> None:
    assert [recipe_named(name).name for name in RECIPES] == list(RECIPES)


@pytest.mark.parametrize("name", ["", "facenet", "MTCNN-FaceNet", "facenet-64", "mtcnn-reid-", "mtcnn-reid-64x"])
def test_an_unknown_recipe_is_answered_with_the_choices(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe_named(name)
    assert str(caught.value) == (
        f"There is no recipe {name!r}; choose one of resnet50, resnet50-8192, mtcnn-resnet50, mtcnn-facenet, "
        "mtcnn-facenet-128, mtcnn-reid, mtcnn-mini, mini-whole."
    )


def test_any_recipe_can_be_reduced_by_its_name() -> None:
    recipe = recipe_named("mtcnn-reid-64")
    assert (recipe.name, recipe.dim, recipe.base, recipe.layer) == ("mtcnn-reid-64", 64, "mtcnn-reid", "pca")
    assert "64" in recipe.label
    same = dataclasses.asdict(RECIPES["mtcnn-reid"]) | dataclasses.asdict(recipe)
    assert {key for key, value in dataclasses.asdict(RECIPES["mtcnn-reid"]).items() if same[key] != value} == {
        "name", "label", "summary", "dim", "base", "layer",
    }  # fmt: skip
    assert recipe_named("mtcnn-facenet-128") is RECIPES["mtcnn-facenet-128"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("mtcnn-reid-257", "choose 2 to 256."),
        ("mtcnn-reid-1", "choose 2 to 256."),
        ("mtcnn-facenet-9999", "choose 2 to 512."),
        ("mtcnn-facenet+flip-513", "choose 2 to 512."),
        ("mtcnn-facenet-128-64", "reduce mtcnn-facenet instead."),
        ("resnet50-8192-64", "reduce resnet50 instead."),
    ],
)
def test_a_reduction_that_is_none_is_refused(name: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe_named(name)
    base, _, dim = name.rpartition("-")
    assert str(caught.value) == f"{base} cannot be reduced to {dim} dimensions; {remedy}"


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_the_recipe_and_says_so(option: str) -> None:
    plain, recipe = RECIPES["mtcnn-facenet"], recipe_named(f"mtcnn-facenet+{option}")
    assert (recipe.name, recipe.label) == (f"mtcnn-facenet+{option}", f"Improved, {option}")
    assert OPTIONS[option].summary in recipe.summary
    assert (
        dataclasses.replace(recipe, name=plain.name, label=plain.label, summary=plain.summary)
        == dataclasses.replace(plain, **OPTIONS[option].fields)
        != plain
    )


def test_options_add_up_and_can_be_reduced() -> None:
    recipe = recipe_named("mtcnn-facenet+aligned+flip-128")
    assert (recipe.crop, recipe.flip, recipe.dim, recipe.layer) == ("aligned", True, 128, "pca")
    assert recipe.base == "mtcnn-facenet+aligned+flip"
    assert recipe_named("resnet50+flip").flip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mtcnn-reid+smile", "There is no option 'smile'; choose of aligned, "),
        ("mtcnn-reid+", "There is no option ''; choose of aligned, "),
        ("mtcnn-reid+flip+bicubic", "Give the options of a recipe once each and in this order: aligned, "),
        ("mtcnn-reid+flip+flip", "Give the options of a recipe once each and in this order: aligned, "),
        ("resnet50+aligned", "resnet50 looks for no face, so flip is all that can be tried; choose another recipe."),
        ("mtcnn-facenet-128+flip", "mtcnn-facenet-128 takes no options; give them to mtcnn-facenet."),
        ("mtcnn-facenet+tight+wide", "The option wide sets what another one has set; leave one of them out."),
        ("vgg+flip", "There is no recipe 'vgg+flip'; choose one of "),
        ("vgg+flip-64", "There is no recipe 'vgg+flip'; choose one of "),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe_named(name)
    assert str(caught.value).startswith(sentence)


def test_only_the_baselines_look_for_no_face() -> None:
    assert [name for name, recipe in RECIPES.items() if not recipe.finds_faces] == [BASELINE, HEADED, "mini-whole"]


def test_a_recipe_with_a_last_layer_stands_on_one_without() -> None:
    for recipe in RECIPES.values():
        assert (recipe.base == "") == (recipe.layer == "")
        if recipe.base:
            assert RECIPES[recipe.base].base == ""
            assert (recipe.network, recipe.crop, recipe.size) == (
                RECIPES[recipe.base].network, RECIPES[recipe.base].crop, RECIPES[recipe.base].size,
            )  # fmt: skip
    assert RECIPES[HEADED].layer == "head"


def test_the_defaults_are_recipes_and_within_limits() -> None:
    assert {BASELINE, DEFAULT, IMPROVED} <= set(RECIPES)
    assert 1 <= DEFAULT_K <= MAX_K


def test_every_recipe_has_weights_to_be_had() -> None:
    assert {recipe.network for recipe in RECIPES.values()} == {*WEIGHT_FILES, *PACKAGED_WEIGHTS}


def test_the_resnet50_weights_are_torchvisions_v1() -> None:
    (wanted,) = WEIGHT_FILES["resnet50"]
    assert wanted.url == ResNet50_Weights.IMAGENET1K_V1.url
    prefix = re.fullmatch(r"resnet50-([0-9a-f]{8})\.pth", wanted.name)
    assert prefix is not None
    assert wanted.hash.startswith(f"sha256:{prefix[1]}")


@pytest.mark.parametrize("network", WEIGHT_FILES)
def test_every_weight_file_is_pinned_by_a_whole_hash(network: str) -> None:
    digits = {"sha256": 64, "sha384": 96}
    for wanted in WEIGHT_FILES[network]:
        algorithm, value = wanted.hash.split(":")
        assert re.fullmatch(f"[0-9a-f]{{{digits[algorithm]}}}", value)
        assert wanted.url.startswith("https://")
