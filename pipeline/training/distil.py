"""Training this project's compact network by knowledge distillation: it learns to give its teacher's embeddings.

The teacher was trained on other photos; the student is trained on LFW's, without their names. A fifth of the people can
be held out, to evaluate the student on people it was not trained on.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.files import replacing
from pipeline.core.geometry import unit_rows
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import STEPS, Recipe
from pipeline.core.types import FloatArray, IntArray, Network
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.faces import cut
from pipeline.encoder.mini import MINI
from pipeline.encoder.torch_networks import native_bf16
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Bools
from pipeline.evaluation.pairs import Pairs
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.training.augmentation import Pixels, Views
from pipeline.training.mini_net import MiniNet
from pipeline.training.teacher import pruned

HELD_OUT = 0.2  # of the people
SEED = 5
BATCH = 64
CHECKPOINT_STEPS = 50
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
WARM_UP = 0.05  # of the steps
MAX_GRADIENT_NORM = 1.0
DIGEST_BYTES = hashlib.sha256().digest_size
PRUNING_VIEWS = 200  # by which the teacher's channels are ranked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The trained network, and the mean cosine to the teacher's vectors at each checkpoint."""

    network: MiniNet
    curve: tuple[float, ...]


def held_out_people(people: tuple[str, ...]) -> frozenset[str]:
    """The names of the fifth of these people that is held out, the same every time."""
    names = np.unique(np.array(people))
    return frozenset(np.random.default_rng(SEED).permutation(names)[: round(HELD_OUT * len(names))].tolist())


def held_out_rows(embeddings: Embeddings, photos: Photos) -> IntArray:
    """The embeddings' rows of the people held out."""
    people = held_out_people(photos.people)
    return np.flatnonzero([person in people for person in embeddings.people])


def open_views(folder: Path, embeddings: Embeddings, photos: Photos) -> tuple[Views, Views]:
    """The views of the people trained on in any case, and of those who may be held out; see `Views.make`."""
    apart = held_out_rows(embeddings, photos)
    shown = np.setdiff1d(np.arange(len(embeddings)), apart)
    return Views(folder, "shown", shown), Views(folder, "held-out", apart)


def distil(
    teacher: MiniNet, parts: tuple[Views, ...], state: Path, steps: int = STEPS, report: Report = silent
) -> Trained:
    """Trains the student; on a GPU if there is one.

    The same views, steps and number of threads give the same network up to rounding.

    Args:
        teacher: as `read_teacher` gives it; the student starts as its pruned copy.
        parts: views that are made already.
        state: the file of the checkpoints; a training that was interrupted continues from it.
        steps: of the optimizer, in all.
        report: receives the progress.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batches = _Batches(parts)
    of = [str(MINI), steps, [len(part) for part in parts]]
    kept = _load_state(state, of, device)
    fresh = MiniNet(MINI) if kept else pruned(teacher, MINI, batches.pixels(batches.numbers(0, PRUNING_VIEWS))[0])
    network = fresh.train().to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP)
    keeping: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    done, curve, some = 0, [], []
    if kept:
        done, curve = kept["steps"], kept["curve"]
        for name, part in keeping.items():
            part.load_state_dict(kept[name])
    for step in tracked(range(done, steps), "Training", "steps", report, done=done):
        pixels, wanted = batches.pixels(batches.numbers(step + 1, BATCH), step)
        alike = _step(network, pixels.to(device), wanted.to(device), optimizer)
        schedule.step()
        some.append(alike)
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == steps:
            curve.append(round(float(np.mean(some)), 4))
            some = []
            parts_now = {name: part.state_dict() for name, part in keeping.items()}
            _save_state(state, {**parts_now, "of": of, "steps": step + 1, "curve": curve})
    return Trained(network.eval().cpu(), tuple(curve))


def _save_state(state: Path, value: dict[str, Any]) -> None:
    """Writes the state after its digest, because torch reads damaged numbers without an error."""
    stream = io.BytesIO()
    torch.save(value, stream)
    with replacing(state) as beside:
        beside.write_bytes(hashlib.sha256(stream.getbuffer()).digest() + stream.getbuffer())


def _load_state(state: Path, of: list[Any], device: str) -> dict[str, Any] | None:
    """The checkpoint of this very training; None if there is none, or the file is damaged or of another training."""
    if not state.is_file():
        return None
    content = state.read_bytes()
    written, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() == written:
        with suppress(Exception):  # torch raises errors of any kind for a file that is no checkpoint
            value: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
            if value["of"] == of:
                return value
    log.warning("%s is damaged, or of another training; this one starts again.", state.name)
    return None


def _step(network: MiniNet, pixels: Tensor, wanted: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """One step; returns the mean cosine before it."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda or native_bf16()):
        vectors = network(pixels)
    loss = 1 - functional.cosine_similarity(vectors.float(), wanted).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    return 1 - float(loss.detach())


class _Batches:
    """Batches of views. They depend on the step alone, so that a training that continues gets the same ones."""

    def __init__(self, parts: tuple[Views, ...]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def numbers(self, step: int, count: int) -> IntArray:
        """The numbers of the views in a step's batch."""
        return np.random.default_rng((SEED, step)).choice(self._ends[-1], count, replace=False)

    def pixels(self, numbers: IntArray, step: int | None = None) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, side, side) from -1 to 1 and the teacher's vectors; with a step, half of them mirrored."""
        crops, vectors = (np.concatenate(arrays) for arrays in zip(*self._of_parts(numbers), strict=True))
        if step is not None:
            mirrored = np.random.default_rng((SEED, step, 1)).random(len(crops)) < 0.5
            crops[mirrored] = crops[mirrored, :, ::-1]
        return network_input(crops), torch.from_numpy(vectors)

    def _of_parts(self, numbers: IntArray) -> Iterator[tuple[Pixels, np.ndarray]]:
        for part, end in zip(self._parts, self._ends, strict=True):
            mine = numbers[(numbers < end) & (numbers >= end - len(part))] - (end - len(part))
            if len(mine):
                yield part[mine]


def network_input(crops: Pixels) -> Tensor:
    """Pixels (n, 3, side, side) from -1 to 1 of crops (n, side, side, 3) of 0 to 255, channels last in memory."""
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


FOLDS = 10
PAIRS_SEED = 3
EMBED_BATCH = 32


@dataclass(frozen=True)
class HeldOut:
    """The evaluation on the people held out.

    `student` and `teacher` are verification accuracies over the pairs as in LFW's View 2: the threshold is chosen on
    nine folds and applied to the tenth. `cosine` is the mean between both networks' vectors of one photo.
    """

    people: int
    pairs: int
    student: float
    teacher: float
    cosine: float


def judge(network: Network, recipe: Recipe, embeddings: Embeddings, photos: Photos, view_2: Pairs) -> HeldOut:
    """Evaluates the student and its teacher on pairs of the people held out.

    Genuine pairs are those of View 2 whose person was held out; as many impostor pairs are drawn, because View 2 has
    few of which both people were.

    Args:
        network: the student.
        recipe: by which its crops are cut out.
        embeddings: the teacher's.
        photos: the gallery's.
        view_2: LFW's pairs.
    """
    rows = held_out_rows(embeddings, photos)
    crops = []
    for row in rows.tolist():
        photo = photos.found(embeddings.photo_ids[row])
        crops.append(cut(open_image(photo.source), embeddings.face(row), recipe))
    embedded = [network.embed(crops[start : start + EMBED_BATCH]) for start in range(0, len(crops), EMBED_BATCH)]
    student, teacher = unit_rows(np.concatenate(embedded)), np.asarray(embeddings.vectors[rows])
    ends, same = _pairs(embeddings, rows, view_2)
    return HeldOut(
        people=len(held_out_people(photos.people)),
        pairs=len(ends),
        student=_accuracy(student, ends, same),
        teacher=_accuracy(teacher, ends, same),
        cosine=round(float((student * teacher).sum(axis=1).mean()), 4),
    )


def _pairs(embeddings: Embeddings, rows: IntArray, view_2: Pairs) -> tuple[IntArray, Bools]:
    """Pairs as positions in `rows`, (n, 2), genuine and impostor in turn, and which are genuine, (n,)."""
    place = {embeddings.photo_ids[row]: number for number, row in enumerate(rows.tolist())}
    both = zip(view_2.photo_ids, view_2.same.tolist(), strict=True)
    genuine = [(place[one], place[other]) for (one, other), same in both if same and one in place and other in place]
    people = [embeddings.people[row] for row in rows.tolist()]
    random, impostor = np.random.default_rng(PAIRS_SEED), list[tuple[int, int]]()
    while len(impostor) < len(genuine):
        first, second = random.integers(len(rows), size=2).tolist()
        if people[first] != people[second]:
            impostor.append((first, second))
    ends = np.array([pair for pairs in zip(genuine, impostor, strict=True) for pair in pairs], np.int64).reshape(-1, 2)
    return ends, np.arange(len(ends)) % 2 == 0


def _accuracy(vectors: FloatArray, ends: IntArray, same: Bools) -> float:
    measured = np.linalg.norm(vectors[ends[:, 0]] - vectors[ends[:, 1]], axis=1).astype(np.float64)
    folds = np.arange(len(ends)) * FOLDS // max(len(ends), 1)
    return round(float(metrics.fold_accuracies(measured, same, folds)[0].mean()), 4)
