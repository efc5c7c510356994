"""The recipes: every pipeline from photo to vector that can be chosen, as data. Nothing else lists them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pipeline.core.errors import SettingsError

Crop = Literal["whole", "box", "aligned"]
NetworkName = Literal["resnet50", "facenet", "reid", "mini"]
LayerKind = Literal["", "pca", "head"]
Resample = Literal["bilinear", "bicubic"]
Choice = Literal["large", "central"]


@dataclass(frozen=True)
class Recipe:
    """One pipeline from photo to vector.

    Attributes:
        name: by which it is chosen.
        label: its short name on the page.
        summary: one sentence.
        network: that embeds the crop.
        crop: the whole photo, resized to a square; the face's box with `margin`; or the face aligned by its landmarks.
        size: side of the square crop, in pixels.
        margin: how much of the side is outside the face's box, half on each side, in pixels of the crop.
        dim: dimension of the vector.
        version: incremented when the code of a recipe changes its vectors.
        base: the recipe whose vectors go through one more `layer`; empty for none.
        layer: PCA fitted on the gallery, or a head trained on its people.
        flip: whether the vector of the mirrored crop is added.
        resample: interpolation of the crop.
        zoom: factor by which photos are enlarged before detection.
        choice: of a gallery photo's faces: a large one near the centre, or the one nearest to the centre.
    """

    name: str
    label: str
    summary: str
    network: NetworkName
    crop: Crop
    size: int
    margin: int
    dim: int
    version: int = 1
    base: str = ""
    layer: LayerKind = ""
    flip: bool = False
    resample: Resample = "bilinear"
    zoom: int = 1
    choice: Choice = "large"

    @property
    def finds_faces(self) -> bool:
        """Whether the recipe detects faces."""
        return self.crop != "whole"


_RESNET50 = Recipe(
    name="resnet50",
    label="Baseline",
    summary="ResNet-50 on the whole photo; no face is looked for.",
    network="resnet50",
    crop="whole",
    size=224,
    margin=0,
    dim=2048,
    version=2,  # since OpenVINO runs it
)
_MTCNN_RESNET50 = replace(
    _RESNET50,
    name="mtcnn-resnet50",
    label="MTCNN + ResNet-50",
    summary="The same ResNet-50 on the face that MTCNN found.",
    crop="box",
    margin=20,  # FaceNet's 14 of 160 px, in proportion
)
_FACENET = Recipe(
    name="mtcnn-facenet",
    label="Improved",
    summary="FaceNet on the face that MTCNN found.",
    network="facenet",
    crop="box",
    size=160,
    margin=14,  # facenet-pytorch's LFW recipe
    dim=512,
    version=2,  # since OpenVINO runs it
)
_REID = Recipe(
    name="mtcnn-reid",
    label="Compact",
    summary="A small network on the face, aligned by landmarks; names the most people rightly.",
    network="reid",
    crop="aligned",
    size=128,
    margin=0,
    dim=256,
    version=2,  # since it runs in bf16
)
_MINI = Recipe(
    name="mtcnn-mini",
    label="Mini",
    summary="This project's own small network on the aligned face; needs no download.",
    network="mini",
    crop="aligned",
    size=112,
    margin=0,
    dim=256,
)
_MINI_WHOLE = replace(
    _MINI,
    name="mini-whole",
    label="Mini, whole photo",
    summary="The same network on the whole photo; no face is looked for.",
    crop="whole",
)


def reduced(base: Recipe, dim: int) -> Recipe:
    """The recipe that projects the vectors of `base`, less their mean, on their first `dim` principal components.

    SettingsError if `base` has fewer dimensions, or a layer already.
    """
    if base.base or not 2 <= dim <= base.dim:
        raise SettingsError(
            f"{base.name} cannot be reduced to {dim} dimensions; "
            + (f"reduce {base.base} instead." if base.base else f"choose 2 to {base.dim}.")
        )
    return replace(
        base,
        name=f"{base.name}-{dim}",
        label=f"{base.label}, {dim}-d",
        summary=f"{base.summary.rstrip('.')}; reduced to {dim} numbers.",
        dim=dim,
        base=base.name,
        layer="pca",
    )


_RESNET50_8192 = replace(
    _RESNET50,
    name="resnet50-8192",
    label="Baseline, trained",
    summary="ResNet-50 with a layer trained on this gallery's people.",
    dim=8192,
    base="resnet50",
    layer="head",
)
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _RESNET50,
        _RESNET50_8192,
        _MTCNN_RESNET50,
        _FACENET,
        reduced(_FACENET, 128),
        _REID,
        _MINI,
        _MINI_WHOLE,
    )
}
BASELINE = "resnet50"
IMPROVED = "mtcnn-facenet"
COMPACT = "mtcnn-reid"
MINI = "mtcnn-mini"
MINI_WHOLE = "mini-whole"
# Used where none is asked for, the best by this project's own evaluation first; the last needs no download.
PREFERRED = (COMPACT, IMPROVED, MINI)
DEFAULT = PREFERRED[0]
# Every recipe, in the order in which they are prepared.
IN_ORDER = (*PREFERRED, *(name for name in RECIPES if name not in PREFERRED))
# Those for a gallery of faces: they find faces, and none is fitted on the gallery, which may have too few for that.
OF_FACES = tuple(name for name in IN_ORDER if RECIPES[name].finds_faces and RECIPES[name].layer != "pca")
# Prepared unasked, in this order; and what is prepared in place of one that cannot be had.
UNASKED = (COMPACT, IMPROVED, BASELINE)
STAND_INS = {COMPACT: MINI, BASELINE: MINI_WHOLE}
# Those whose weights come with this package.
PACKAGED = (MINI, MINI_WHOLE)

# The one whose head is trained here, and for how many passes over the photos.
HEADED = "resnet50-8192"
DEFAULT_EPOCHS = 20
# How long the network that comes with this package was trained.
STEPS = 900

# Never wrong; and of those that come with the requirements and miss hardly anything, none is faster (`bench --growth`).
DEFAULT_INDEX = "exact"
DEFAULT_K = 20
MAX_K = 100


@dataclass(frozen=True)
class Option:
    """An option of any recipe that detects faces: the fields of the recipe that it changes."""

    summary: str
    fields: Mapping[str, Any]


# In the order in which they stand in a recipe's name. Gains and costs: pipeline/evaluation/README.md, but for `tight`.
OPTIONS: dict[str, Option] = {
    "aligned": Option("turned and scaled by five landmarks", {"crop": "aligned", "margin": 0}),
    "tight": Option("without a margin", {"margin": 0}),
    "wide": Option("with a margin of a quarter", {"margin": 40}),
    "bicubic": Option("cut out with bicubic interpolation", {"resample": "bicubic"}),
    "flip": Option("averaged with the vector of its mirror image", {"flip": True}),
    "zoom": Option("found in the photo at twice its size", {"zoom": 2}),
    "central": Option("the face in the middle, whatever its size", {"choice": "central"}),
}


def with_options(base: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these options; SettingsError if one does not exist or does not apply."""
    for name in names:
        if name not in OPTIONS:
            raise SettingsError(f"There is no option {name!r}; choose of {', '.join(OPTIONS)}.")
    if list(names) != [name for name in OPTIONS if name in names]:
        raise SettingsError(f"Give the options of a recipe once each and in this order: {', '.join(OPTIONS)}.")
    if base.base:
        raise SettingsError(f"{base.name} takes no options; give them to {base.base}.")
    if not base.finds_faces and set(names) != {"flip"}:
        raise SettingsError(f"{base.name} looks for no face, so flip is all that can be tried; choose another recipe.")
    changes: dict[str, Any] = {}
    for name in names:
        if changes.keys() & OPTIONS[name].fields.keys():
            raise SettingsError(f"The option {name} sets what another one has set; leave one of them out.")
        changes |= OPTIONS[name].fields
    return replace(
        base,
        name="+".join((base.name, *names)),
        label=", ".join((base.label, *names)),
        summary=f"{base.summary.rstrip('.')}; {'; '.join(OPTIONS[name].summary for name in names)}.",
        **changes,
    )


def recipe_named(name: str) -> Recipe:
    """The recipe of that name, with options or reduced: `mtcnn-reid-64`, `mtcnn-facenet+flip`, `mtcnn-reid+flip-64`.

    SettingsError names the choices.
    """
    if name in RECIPES:
        return RECIPES[name]
    reduction = re.fullmatch(r"(.+)-(\d{1,4})", name)
    if reduction and (reduction[1] in RECIPES or "+" in reduction[1]):
        return reduced(recipe_named(reduction[1]), int(reduction[2]))
    base, plus, options = name.partition("+")
    if plus and base in RECIPES:
        return with_options(RECIPES[base], options.split("+"))
    raise SettingsError(f"There is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")


def fingerprint(recipe: Recipe, weights_sha256: str, photos_revision: str) -> str:
    """A digest of everything that a gallery's vectors depend on, as 16 hexadecimal digits.

    Label and summary do not count, and neither do fields at their default, such as options that are not used.
    """
    values = {field.name: (getattr(recipe, field.name), field.default) for field in fields(recipe)}
    counting = {
        name: value
        for name, (value, unused) in values.items()
        if name not in ("label", "summary") and (name == "version" or value != unused)
    }
    facts = json.dumps([counting, weights_sha256, photos_revision], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
