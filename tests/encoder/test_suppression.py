"""Non-maximum suppression: it keeps what torchvision's keeps, ties and borders included."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from pipeline.core.types import FloatArray
from pipeline.encoder.cascade import NonMaximumSuppression


def drawn(seed: int) -> FloatArray:
    """Corners and scores: on whole pixels, where overlaps are often exactly at the border, or anywhere; some alike."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 400))
    if seed % 2:
        start = random.integers(0, 60, (count, 2))
        boxes = np.hstack((start, start + random.integers(6, 30, (count, 1))))
    else:
        start = random.uniform(-20, 100, (count, 2))
        boxes = np.hstack((start, start + random.uniform(0, 50, (count, 2))))
    scores = random.choice(np.linspace(0.6, 1, 20), count) if seed % 3 == 0 else random.uniform(0.6, 1, count)
    return np.hstack((boxes, scores[:, None])).astype(np.float32)


def expected(boxes: FloatArray, overlap: float) -> list[int]:
    kept: list[int] = nms(torch.from_numpy(boxes[:, :4]), torch.from_numpy(boxes[:, 4]), overlap).tolist()
    return kept


@pytest.mark.parametrize("overlap", [0.5, 0.7])
def test_what_is_kept_is_what_torchvision_keeps(overlap: float) -> None:
    suppress = NonMaximumSuppression(overlap, 2)
    sets = [drawn(seed) for seed in range(100)]
    assert [rows.tolist() for rows in suppress(sets)] == [expected(boxes, overlap) for boxes in sets]


def test_a_box_that_overlaps_by_exactly_as_much_is_kept() -> None:
    boxes = np.array([[0, 0, 9, 9, 0.9], [3, 0, 12, 9, 0.8]], np.float32)  # 54 of 108 square pixels
    assert [rows.tolist() for rows in NonMaximumSuppression(0.5, 1)([boxes])] == [[0, 1]]
    assert [rows.tolist() for rows in NonMaximumSuppression(0.49, 1)([boxes])] == [[0]]


def test_threads_do_not_mix_up_their_boxes() -> None:
    suppress = NonMaximumSuppression(0.5, 2)
    sets = [drawn(seed) for seed in range(200)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda boxes: suppress([boxes])[0].tolist(), sets))
    assert together == [expected(boxes, 0.5) for boxes in sets]


def test_no_sets_are_none() -> None:
    assert NonMaximumSuppression(0.5, 1)([]) == []
