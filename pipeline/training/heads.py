"""Training a head: a dense layer of ReLU units on a recipe's vectors, with a softmax classifier over the people.

One of the earlier projects did this with a ResNet-50. The activations of the dense layer are the embedding; the
classifier is discarded. Its input is the gallery's vectors, so the backbone runs over the photos only once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.core.errors import GalleryError
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import DEFAULT_EPOCHS
from pipeline.core.types import IntArray
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.layer import Layer
from pipeline.encoder.torch_networks import native_bf16

BATCH = 256
HELD_OUT = 0.2  # of each person's photos, but never the last; half of them for validation, half for the test
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
DROPOUT = 0.5
SMOOTHING = 0.1
SEED = 1


@dataclass(frozen=True)
class Epoch:
    """One point of the training curve: the mean loss, and the accuracy on the photos trained on and for validation."""

    number: int
    loss: float
    training_accuracy: float
    validation_accuracy: float


def best_epoch(curve: Sequence[Epoch]) -> Epoch:
    """The epoch with the highest accuracy on the photos for validation; of equals, the last."""
    return max(curve, key=lambda epoch: (epoch.validation_accuracy, epoch.number))


def train_head(
    embeddings: Embeddings, units: int, report: Report = silent, epochs: int = DEFAULT_EPOCHS
) -> tuple[Layer, list[Epoch]]:
    """Trains on the people with at least two photos, of which a fifth of each person's is held out.

    Args:
        embeddings: the vectors that the head stands on.
        units: the dimension of the new embedding.
        report: receives the progress.
        epochs: passes over the photos.

    Returns:
        The layer of the epoch with the highest accuracy on the photos for validation, and the training curve. The
        layer's facts have its accuracy on the test's photos, which had no part in the choice.

    Raises:
        GalleryError: nobody has two photos.
    """
    people = [person if named else "" for person, named in zip(embeddings.people, embeddings.named, strict=True)]
    rows, labels, held_out = _split(people)
    if not held_out.any():
        raise GalleryError("Nobody in this gallery has two photos; a head needs people to tell apart.")
    torch.manual_seed(SEED)
    # The components of unit vectors are small; training works on values around 1, and the factor joins the weight.
    scale = float(np.sqrt(embeddings.vectors.shape[1]))
    inputs, targets = torch.from_numpy(embeddings.vectors[rows]) * scale, torch.from_numpy(labels)
    seen, validation, test = map(torch.from_numpy, (np.flatnonzero(~held_out), *_halves(np.flatnonzero(held_out))))
    dense = nn.Linear(inputs.shape[1], units)
    model = nn.Sequential(dense, nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(units, int(labels.max()) + 1))
    steps = epochs * -(-len(seen) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    curve: list[Epoch] = []
    best: Layer | None = None
    for number in tracked(range(1, epochs + 1), "Training the head", "epochs", report):
        loss = _epoch(model, inputs[seen], targets[seen], (optimizer, schedule))
        accuracies = [_accuracy(model, inputs[part], targets[part]) for part in (seen, validation)]
        curve.append(Epoch(number, round(loss, 4), *(round(value, 4) for value in accuracies)))
        if best_epoch(curve) is curve[-1]:
            weight, bias = dense.weight.detach().numpy() * scale, dense.bias.detach().numpy().copy()
            facts = {
                "epoch": str(number),
                "validation_accuracy": str(curve[-1].validation_accuracy),
                "test_accuracy": f"{_accuracy(model, inputs[test], targets[test]):.4f}",
                "test_photos": str(len(test)),
            }
            best = Layer(np.ascontiguousarray(weight, np.float32), bias, rectified=True, facts=facts)
    assert best is not None
    return best, curve


def _split(people: Sequence[str]) -> tuple[IntArray, IntArray, np.ndarray]:
    """Rows of the people with at least two photos, their labels from 0, and a mask of the photos held out; all (m,).

    An empty name is nobody's.
    """
    counts = Counter(people)
    rows = np.array([row for row, person in enumerate(people) if person and counts[person] > 1], np.int64)
    names = [people[row] for row in rows]
    _, labels = np.unique(names, return_inverse=True)
    held_out = np.zeros(len(rows), bool)
    random = np.random.default_rng(SEED)
    for label in range(int(labels.max()) + 1 if len(labels) else 0):
        mine = random.permutation(np.flatnonzero(labels == label))
        # A fifth of two to four photos is less than one: one is then held out with that probability.
        share = HELD_OUT * len(mine)
        held_out[mine[: min(int(share + random.random()), len(mine) - 1)]] = True
    return rows, labels.astype(np.int64), held_out


def _halves(held_out: IntArray) -> tuple[IntArray, IntArray]:
    """The photos held out, shuffled: those that the epoch is chosen by, and those that only the test sees."""
    shuffled = np.random.default_rng(SEED).permutation(held_out)
    middle = -(-len(held_out) // 2)
    return shuffled[:middle], shuffled[middle:]


def _epoch(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    steering: tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler],
) -> float:
    """One pass in random order; returns the mean loss."""
    optimizer, schedule = steering
    model.train()
    total = 0.0
    for batch in torch.split(torch.randperm(len(inputs)), BATCH):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bf16()):
            named = model(inputs[batch])
        loss = nn.functional.cross_entropy(named.float(), targets[batch], label_smoothing=SMOOTHING)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(batch)
    return total / len(inputs)


@torch.inference_mode()
def _accuracy(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """The share of photos classified as their person."""
    model.eval()
    pairs = zip(torch.split(inputs, BATCH), torch.split(targets, BATCH), strict=True)
    return sum(int((model(part).argmax(1) == names).sum()) for part, names in pairs) / max(len(inputs), 1)
