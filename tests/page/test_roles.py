"""What stands behind the two positions of the page's switch."""

from __future__ import annotations

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import BASELINE, MINI, RECIPES
from pipeline.encoder.look import Look
from pipeline.galleries.galleries import MAIN
from pipeline.page.query import Request
from pipeline.page.roles import DEFAULT_ROLE, LABELS, ROLES, behind, role_of
from tests.fakes import draw


@pytest.mark.parametrize(
    ("role", "ready", "recipe"),
    [
        ("baseline", RECIPES, BASELINE),
        ("baseline", (MINI, "mini-whole"), "mini-whole"),
        ("improved", RECIPES, "mtcnn-facenet"),
        ("improved", (MINI, "mtcnn-reid"), "mtcnn-reid"),
        ("improved", (MINI,), MINI),
        ("improved", (BASELINE,), "mtcnn-facenet"),
        ("baseline", (), BASELINE),
    ],
)
def test_the_best_that_is_ready_and_else_the_one_that_is_meant(role: str, ready: tuple[str, ...], recipe: str) -> None:
    assert behind(role, ready) == recipe


def test_only_the_recipe_that_is_meant_moves_the_switch() -> None:
    assert {role_of(recipes[0]) for recipes in ROLES.values()} == set(ROLES) == set(LABELS)
    assert role_of("mini-whole") is role_of("mtcnn-reid") is None
    assert all(recipe in RECIPES for recipes in ROLES.values() for recipe in recipes)


def test_a_request_is_by_its_role_or_by_its_recipe() -> None:
    by_role = Request(None, MAIN, "mtcnn-facenet-128", role=DEFAULT_ROLE)
    assert by_role.by((MINI,)) == MINI
    assert Request(None, MAIN, "mtcnn-facenet-128").by((MINI,)) == "mtcnn-facenet-128"
    with pytest.raises(SettingsError, match="no position of the switch 'best'; choose one of baseline, improved"):
        Request(None, MAIN, MINI, role="best")


def test_a_look_is_for_the_very_photo() -> None:
    look = Look(draw(), ())
    assert Request("/a.png", MAIN, MINI, seen=("/a.png", look)).look is look
    other = Request("/b.png", MAIN, MINI, seen=("/a.png", look))
    assert (other.look, other.looked_at) == (None, False)
    by_whole = Request("/a.png", MAIN, MINI, seen=("/a.png", None))
    assert (by_whole.look, by_whole.looked_at) == (None, True)
