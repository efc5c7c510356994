"""What a photo costs, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.encoder.encoder import Encoder

ROUNDS = 5


@dataclass(frozen=True)
class Cost:
    """Milliseconds a photo takes in a batch: to find its faces, and to cut one out and embed it."""

    detect_ms: float
    embed_ms: float


def measure_costs(encoders: Sequence[Encoder], images: Sequence[Image.Image]) -> list[Cost]:
    """What these RGB images cost each encoder, the medians of five rounds; one before them is not counted."""
    times = np.empty((1 + ROUNDS, len(encoders), 2))
    for turn in range(1 + ROUNDS):
        for number, encoder in enumerate(encoders):
            first = encoder.encode(images, encoder.of_gallery)[0]
            times[turn, number] = first.detect_ms, first.embed_ms
    return [Cost(detect_ms, embed_ms) for detect_ms, embed_ms in np.median(times[1:], axis=0).tolist()]
