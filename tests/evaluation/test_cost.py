"""What a photo costs: measured in turns, on the very encoders, with the first turn left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.core.types import Encoded
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.faces import Choose
from pipeline.evaluation.protocols import ROUNDS, measure_costs
from tests.fakes import TinyEncoders, portrait


def test_each_encoder_is_timed_in_turn_and_the_middle_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = TinyEncoders()
    pair, turns, encode = [encoders.get("mtcnn-reid"), encoders.get("resnet50")], list[str](), Encoder.encode
    times = {"mtcnn-reid": iter([900, 1, 2, 50, 4, 5]), "resnet50": iter([900, 7, 7, 7, 7, 99])}

    def timed(encoder: Encoder, images: list, choose: Choose) -> list[Encoded]:
        name = encoder.recipe.name
        turns.append(name)
        ms = next(times[name])
        return [replace(one, detect_ms=10.0 * ms, embed_ms=float(ms)) for one in encode(encoder, images, choose)]

    monkeypatch.setattr(Encoder, "encode", timed)
    one, other = measure_costs(pair, [portrait(0), portrait(1)])
    assert turns == ["mtcnn-reid", "resnet50"] * (1 + ROUNDS)
    assert (one.detect_ms, one.embed_ms) == (40, 4)
    assert (other.detect_ms, other.embed_ms) == (70, 7)
