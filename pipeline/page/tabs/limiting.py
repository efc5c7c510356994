"""The limit that a visitor sets: results beyond it turn grey, and a sentence says how often strangers come as near."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import RECIPES
from pipeline.core.types import Answer
from pipeline.galleries.preparation import Background
from pipeline.page.html import wording
from pipeline.page.parts import FARTHEST, Changes, Parts, Request


def distance_of(value: object) -> float:
    """A distance as the browser sent it; SettingsError if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FARTHEST:
        raise SettingsError(f"The distance must be a number from 0 to {FARTHEST}.")
    return float(value)


def limit_of(answers: Sequence[Answer], request: Request) -> float | None:
    """The distance beyond which results are grey: the visitor's own as long as it is for this gallery and recipe.

    Else the one beyond which every hit is called unlikely. None where nothing is known of the answers' distances.
    """
    if not answers or answers[0].limit is None:
        return None
    if request.own_limit is not None and request.own_limit[:2] == (answers[0].gallery, answers[0].recipe):
        return request.own_limit[2]
    return answers[0].limit.distance


def limit_line(background: Background, answers: Sequence[Answer], request: Request) -> str:
    """What the limit means, in one sentence; or in a few words why there is none."""
    distances = [hit.distance for answer in answers for hit in answer.hits]
    if not distances:
        return ""
    limit, searcher = limit_of(answers, request), background.searcher(answers[0].recipe)
    if limit is None or searcher.calibration is None:
        whole = answers[0].face is None and RECIPES[answers[0].recipe].finds_faces
        return wording.no_limit_line(whole_photo=whole)
    beyond = sum(distance > limit for distance in distances)
    return wording.limit_line(searcher.calibration.false_alarms(limit, len(searcher.gallery)), beyond, len(distances))


def limited(parts: Parts, answers: Sequence[Answer], request: Request) -> Changes:
    """The slider where the answers' distances mean something, at the limit, with its sentence."""
    explore, limit = parts.explore, limit_of(answers, request)
    known = limit is not None and any(answer.hits for answer in answers)
    changes: Changes = {
        explore.limit_box: gr.update(visible=known),
        explore.limit_note: limit_line(parts.galleries.get(request.gallery), answers, request),
    }
    # Always the bare value: see `as_sent`.
    return changes | ({explore.limit: round(min(limit, FARTHEST), 2)} if limit is not None else {})
