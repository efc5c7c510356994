"""What the page shows of where its galleries stand: which can be chosen, what is still to come. No Gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.core.recipes import RECIPES
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.page.html import wording
from pipeline.page.roles import behind

Choices = list[tuple[str, str]]  # label and value


@dataclass(frozen=True)
class Standing:
    """What is shown: `key` and `recipe` are chosen, of `galleries` and `models`.

    `switch` is the label of the way to the page's own gallery, empty where that is chosen or not there yet; `retry`
    offers to try again what is missing; `polling` says that something will change; `can_answer` that the gallery can,
    with this recipe.
    """

    header: str
    about: str
    key: str
    recipe: str
    galleries: Choices
    models: Choices
    switch: str
    can_answer: bool
    retry: bool = False
    polling: bool = True


def standing(galleries: Galleries, own: str, key: str, recipe: str, role: str | None) -> Standing:
    """Where the gallery of this key stands, and what there is besides; `own` is the key of the visitor's own.

    With a `role` the recipe is the best that is ready for it, as long as one is.
    """
    preparation = galleries.get(key)
    usable = preparation.ready()
    keys = (*galleries.keys, *([own] if galleries.has(own) else []))
    offered = [name for name in RECIPES if name in preparation.gallery.offered]
    # What cannot be had stands last.
    offered.sort(key=lambda name: preparation.status(name).state == "unavailable")
    recipe = behind(role, usable) if role else recipe
    # Of a visitor's own photos nothing is prepared but what is there.
    if recipe not in offered or (usable and recipe not in usable and key not in galleries.keys):
        recipe = (usable or offered)[0]
    better = key in galleries.keys and key != MAIN and bool(galleries.main.ready())
    return Standing(
        header=wording.header(galleries, key),
        about=wording.about(preparation),
        key=key,
        recipe=recipe,
        galleries=labelled(galleries, keys),
        models=[(wording.model_label(name, preparation.status(name)), name) for name in offered],
        switch=wording.switch_label(galleries.main) if better else "",
        can_answer=recipe in usable,
    )


def polled(galleries: Galleries, own: str, chosen: tuple[str, str, str | None], answerable: str) -> Standing:
    """The same as time goes by; `chosen` are gallery, recipe and role; `answerable` is what could answer before."""
    ready = galleries.ready()
    key, recipe, role = chosen
    key = key if galleries.has(key) else MAIN
    # Somebody may have chosen what is not ready yet, and waits for it; who has chosen nothing gets what there is.
    if ready and not (answerable or galleries.is_ready(key)):
        key = ready[0]
    now = standing(galleries, own, key, recipe, role)
    stuck = bool(galleries.main.problem or galleries.get(key).missing())
    # Also while the way to another gallery is offered: an answer that comes late may offer it once too often.
    polling = galleries.working or is_own_working(galleries, own) or bool(now.switch)
    return replace(now, retry=stuck and not galleries.working, polling=polling)


def labelled(galleries: Galleries, keys: Sequence[str]) -> Choices:
    """Galleries as choices."""
    return [(wording.gallery_label(galleries.get(key)), key) for key in keys]


def is_own_working(galleries: Galleries, own: str) -> bool:
    """Whether something is being done with the visitor's own gallery."""
    gallery = galleries.own.find(own) if galleries.own else None
    return gallery is not None and gallery.busy
