"""The two positions of the page's switch: what stands behind each is the best of its recipes that is ready."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipeline.core.recipes import BASELINE, COMPACT, IMPROVED, MINI, MINI_WHOLE

ROLES: Mapping[str, tuple[str, ...]] = {
    "baseline": (BASELINE, MINI_WHOLE),
    "improved": (IMPROVED, COMPACT, MINI),
}
LABELS = {"baseline": "Baseline", "improved": "Improved"}
DEFAULT_ROLE = "improved"


def behind(role: str, ready: Collection[str]) -> str:
    """The best recipe of a role that is ready; where none is, the one that the role is meant for."""
    recipes = ROLES[role]
    return next((name for name in recipes if name in ready), recipes[0])


def role_of(recipe: str) -> str | None:
    """The role that a recipe is meant for; None for one that stands in, or that nobody sees in the switch."""
    return next((role for role, recipes in ROLES.items() if recipe == recipes[0]), None)
