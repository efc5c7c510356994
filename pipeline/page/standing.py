"""Which galleries and models the page offers, and what is still being prepared. Does not import Gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.core.recipes import RECIPES
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.page.html import wording
from pipeline.page.roles import DEFAULT_ROLE, LABELS, ROLES, behind

Choices = list[tuple[str, str]]  # label and value


@dataclass(frozen=True)
class Standing:
    """What is offered: `key` is the chosen one of `galleries`, `role` of `roles`, the switch's positions, if it is one
    of them, `recipe` of `models`. HTML are `header`, `about`, `missing` (the models that cannot be had) and `note`.

    `main_button` labels the button to the main gallery, and is empty unless another shared gallery is open and the main
    one is ready. `retry`: offer to try failed parts again. `polling`: ask again soon. `can_answer`: the recipe is ready
    in this gallery. `idle`: its state where waiting for it does not help, as others of the gallery are ready: it is to
    be asked for, or there is a reason.
    """

    header: str
    about: str
    key: str
    recipe: str
    role: str | None
    galleries: Choices
    roles: Choices
    models: Choices
    missing: str
    note: str
    main_button: str
    can_answer: bool
    idle: str
    retry: bool = False
    polling: bool = True


def standing(galleries: Galleries, own: str, key: str, recipe: str, role: str | None) -> Standing:
    """What to offer when the gallery `key` is open; `own` is the key of the gallery of the visitor's photos.

    `role`, baseline or improved, is the switch's position and picks its best ready recipe; with None `recipe` stays. A
    position none of whose recipes the gallery offers is no choice there.
    """
    preparation = galleries.get(key)
    usable = preparation.ready()
    keys = (*galleries.keys, *([own] if galleries.has(own) else []))
    statuses = {name: preparation.status(name) for name in RECIPES if name in preparation.gallery.offered}
    offered = list(statuses)
    roles = [(label, name) for name, label in LABELS.items() if set(ROLES[name]).intersection(offered)]
    if role and role not in (name for _, name in roles):
        role = DEFAULT_ROLE
    recipe = behind(role, usable) if role else recipe
    is_own = key not in galleries.keys
    # Nothing more gets prepared for a visitor's gallery, so a recipe that is not ready now is replaced.
    if recipe not in offered or (usable and recipe not in usable and is_own):
        recipe = (usable or offered)[0]
    state = preparation.status(recipe).state
    offers_main = not is_own and key != MAIN and bool(galleries.main.ready())
    return Standing(
        header=wording.header(galleries, key),
        about=wording.about(preparation),
        key=key,
        recipe=recipe,
        role=role if role and behind(role, usable) == recipe else None,
        roles=roles,
        galleries=labelled(galleries, keys),
        # What cannot be had is no choice, unless it was chosen: a link may have done so.
        models=[
            (wording.model_label(name, status), name)
            for name, status in statuses.items()
            if status.state != "unavailable" or name == recipe
        ],
        missing=wording.missing_line(
            {name: status.reason for name, status in statuses.items() if status.state == "unavailable"}
        ),
        note=wording.note_of(preparation, recipe, role),
        main_button=wording.switch_label(galleries.main) if offers_main else "",
        can_answer=state == "ready",
        idle=state if usable and state in ("unasked", "unavailable") else "",
    )


def polled(galleries: Galleries, own: str, chosen: tuple[str, str, str | None], answerable: str) -> Standing:
    """What to offer at a poll. `chosen`: gallery, recipe, role; `answerable`: empty if nothing could answer before."""
    ready = galleries.ready()
    key, recipe, role = chosen
    key = key if galleries.has(key) else MAIN
    # If nothing could answer before and this gallery still cannot, take the first that can; else keep the choice.
    if ready and not (answerable or galleries.is_ready(key)):
        key = ready[0]
    now = standing(galleries, own, key, recipe, role)
    stuck = bool(galleries.main.problem or galleries.get(key).missing())
    # Also while the button is offered: a late poll may bring it back after a click, and the next one removes it.
    polling = galleries.working or is_own_working(galleries, own) or bool(now.main_button)
    return replace(now, retry=stuck and not galleries.working, polling=polling)


def labelled(galleries: Galleries, keys: Sequence[str]) -> Choices:
    """Galleries as choices."""
    return [(wording.gallery_label(galleries.get(key)), key) for key in keys]


def is_own_working(galleries: Galleries, own: str) -> bool:
    """Whether something is being done with the visitor's own gallery."""
    gallery = galleries.own.find(own) if galleries.own else None
    return gallery is not None and gallery.busy
