"""Benchmark of the pipeline from photo to vector against facenet-pytorch's README.

FaceNet has random weights, on which its speed does not depend, so no download is needed.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from PIL import Image
from torch import Tensor, nn

from pipeline.bench.parity import alike, as_faces
from pipeline.bench.timing import Clock, Milliseconds
from pipeline.core.errors import PhotoError, PhotosError
from pipeline.core.progress import Report, silent, tracked
from pipeline.core.recipes import COMPACT, MINI, recipe_named
from pipeline.core.types import Face
from pipeline.embeddings.embed import BATCH
from pipeline.encoder.cascade import PRECISION
from pipeline.encoder.encoder import Encoder, Encoders
from pipeline.encoder.faces import MtcnnDetector, centred, cut_all
from pipeline.encoder.graphs import INT8
from pipeline.encoder.networks import NETWORKS, OpenvinoNetwork, in_int8
from pipeline.encoder.torch_networks import SIDES, as_graph, native_bf16
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos

ROUNDS = 5  # interleaved, so that a busy moment of the machine affects every variant
THEIR_BATCH = 32
RATE_SIDE = 1024  # of the matrices by whose product the processor's rate is measured
LOOP, BATCHED, OURS = "README's loop", "its own batches", "ours"

Variant = Callable[[Sequence[Image.Image]], tuple[Milliseconds, list[list[Face]]]]


@dataclass(frozen=True)
class SpeedFigures:
    """The figures of all variants.

    Attributes:
        photos: how many were measured.
        milliseconds: a photo, by variant and step; medians over the rounds.
        alike: share of the photos with the same faces as in facenet-pytorch's loop.
        faceless_theirs: photos without a face in that loop.
        faceless_ours: photos without a face here.
        macs: multiply-adds a photo, of detection and of embedding.
        rate_gmacs: measured rate of the processor, in 10^9 multiply-adds a second, by precision.
        floor_ms: milliseconds that these multiply-adds take at this rate, at least.
        precisions: of the networks, by name; of facenet-pytorch's together.
    """

    photos: int
    milliseconds: dict[str, Milliseconds]
    alike: float
    faceless_theirs: int
    faceless_ours: int
    macs: dict[str, float]
    rate_gmacs: dict[str, float]
    floor_ms: dict[str, float]
    precisions: dict[str, str]


def bench_speed(photos: Photos, encoders: Encoders, count: int, report: Report = silent) -> SpeedFigures:
    """Measures every variant on `count` photos spread over the gallery, in turns."""
    count = min(count, len(photos))
    rows = np.linspace(0, len(photos) - 1, count).astype(int).tolist()
    images, decode_ms = _decoded(photos, rows)
    theirs, facenet = MTCNN(), InceptionResnetV1(pretrained=None, classify=False).eval()
    network = _our_facenet()
    compact = [encoders.get(name) for name in (COMPACT, MINI) if encoders.on_disk(name)]
    variants: dict[str, Variant] = {
        LOOP: lambda some: _loop(some, theirs, facenet),
        BATCHED: lambda some: _batches(some, theirs, facenet),
        OURS: _our_variant(network, compact),
    }
    for variant in variants.values():
        variant(images[:2])
    times: dict[str, list[Milliseconds]] = {name: [] for name in variants}
    found: dict[str, list[list[Face]]] = {name: [] for name in variants}
    turns = min(ROUNDS, len(images))
    for turn, name in tracked(list(product(range(turns), variants)), "Measuring", "steps", report):
        took, faces = variants[name](images[turn::turns])
        times[name].append({step: ms / len(images[turn::turns]) for step, ms in took.items()})
        found[name] += faces
    milliseconds = {name: _medians(rounds) for name, rounds in times.items()}
    milliseconds[OURS] = {"decode": decode_ms, **milliseconds[OURS]}
    same = [alike(one, other) for one, other in zip(found[LOOP], found[OURS], strict=True)]
    macs = _multiplications(images[: 4 * turns], theirs, facenet)
    rate = {name: _rate(kind) for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    fastest = max(rate.values()) if native_bf16() else rate["fp32"]
    return SpeedFigures(
        len(images),
        milliseconds,
        sum(same) / len(same),
        sum(not faces for faces in found[LOOP]),
        sum(not faces for faces in found[OURS]),
        macs,
        rate,
        {"detect": macs["detect"] / rate["fp32"] / 1e6, "embed": macs["embed"] / fastest / 1e6},
        {
            **{"facenet-pytorch": "f32", "mtcnn": PRECISION, "facenet": network.precision},
            **{network: precision for encoder in compact for network, precision in encoder.precisions.items()},
        },
    )


def _decoded(photos: Photos, rows: Sequence[int]) -> tuple[list[Image.Image], float]:
    images, times = [], []
    for row in rows:
        started = time.perf_counter()
        try:
            images.append(open_image(photos[row].source))
        except PhotoError:
            continue
        times.append((time.perf_counter() - started) * 1000)
    if not images:
        raise PhotosError("None of the photos can be read; set FACESEARCH_DATASET to others.")
    return images, float(np.median(times))


def _loop(
    images: Sequence[Image.Image], mtcnn: MTCNN, facenet: InceptionResnetV1
) -> tuple[Milliseconds, list[list[Face]]]:
    """The loop of facenet-pytorch's README: one photo at a time."""
    clock, found = Clock(), []
    for image in images:
        with clock.step("detect"):
            boxes, scores, points = mtcnn.detect(image, landmarks=True)
        with clock.step("crop"):  # `mtcnn(image)` is these two
            crop = mtcnn.extract(image, boxes, None)
        if crop is not None:
            with clock.step("embed"):
                facenet(crop.unsqueeze(0))
        found.append(as_faces(boxes, scores, points))
    return clock.ms, found


@torch.no_grad()
def _batches(
    images: Sequence[Image.Image], mtcnn: MTCNN, facenet: InceptionResnetV1
) -> tuple[Milliseconds, list[list[Face]]]:
    """facenet-pytorch's own batches, of photos of one size."""
    clock = Clock()
    found: dict[int, list[Face]] = {}
    same_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        same_size[image.size].append(place)
    for places in same_size.values():
        for start in range(0, len(places), THEIR_BATCH):
            batch = places[start : start + THEIR_BATCH]
            some = [images[place] for place in batch]
            with clock.step("detect"):
                boxes, scores, points = mtcnn.detect(some, landmarks=True)
            with clock.step("crop"):
                crops = [crop for crop in mtcnn.extract(some, boxes, None) if crop is not None]
            if crops:
                with clock.step("embed"):
                    facenet(torch.stack(crops))
            found |= {place: as_faces(boxes[i], scores[i], points[i]) for i, place in enumerate(batch)}
    return clock.ms, [found[place] for place in range(len(images))]


def _our_facenet() -> OpenvinoNetwork:
    """FaceNet with random weights, in the precision that it has here."""
    graph = as_graph(InceptionResnetV1(pretrained=None, classify=False), SIDES["facenet"])
    kind = NETWORKS["facenet"]
    return OpenvinoNetwork(in_int8(graph, kind) if kind.precision == INT8 else graph, kind)


def _our_variant(network: OpenvinoNetwork, compact: Sequence[Encoder]) -> Variant:
    """This project's pipeline step by step: FaceNet, and the small networks."""
    recipe, detector = recipe_named("mtcnn-facenet"), MtcnnDetector()

    def variant(images: Sequence[Image.Image]) -> tuple[Milliseconds, list[list[Face]]]:
        clock, found = Clock(), []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            with clock.step("detect"):
                faces = detector.detect(batch)
            with clock.step("detect for one"):  # as galleries are built of which each photo shows one person
                detector.detect(batch, for_one=True)
            chosen = [centred(several, image.size) for several, image in zip(faces, batch, strict=True)]
            with clock.step("crop"):
                pairs = [(image, face) for image, face in zip(batch, chosen, strict=True) if face]
                crops = cut_all([image for image, _ in pairs], [face for _, face in pairs], recipe)
            if crops:
                with clock.step("embed"):
                    vectors = network.embed(crops)
                with clock.step("write"), tempfile.TemporaryDirectory() as folder:
                    np.save(Path(folder) / "vectors.npy", vectors)
            for encoder in compact:
                took = encoder.encode(batch, found=faces)
                clock.ms[f"crop and embed, {encoder.recipe.name}"] += sum(one.embed_ms for one in took)
            found += [list(several) for several in faces]
        return clock.ms, found

    return variant


def _medians(rounds: Sequence[Milliseconds]) -> Milliseconds:
    return {step: float(np.median([one.get(step, 0.0) for one in rounds])) for step in rounds[0]}


def _multiplications(images: Sequence[Image.Image], mtcnn: MTCNN, facenet: InceptionResnetV1) -> dict[str, float]:
    """Multiply-adds a photo: of MTCNN's networks on all their inputs, and of FaceNet on one crop."""
    counted = 0.0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        assert isinstance(layer.weight, Tensor)
        counted += output.numel() * layer.weight[0].numel()

    layers = [one for net in (mtcnn, facenet) for one in net.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        for image in images:
            mtcnn.detect(image)
        detecting, counted = counted / len(images), 0.0
        facenet(torch.zeros(1, 3, 160, 160))
    for hook in hooks:
        hook.remove()
    return {"detect": detecting, "embed": counted}


def _rate(kind: torch.dtype) -> float:
    """The processor's rate in matrix products of this type, in 10^9 multiply-adds a second: the best of ten."""
    one, times = torch.ones(RATE_SIDE, RATE_SIDE, dtype=kind), []
    for _ in range(10):
        started = time.perf_counter()
        one @ one
        times.append(time.perf_counter() - started)
    return float(RATE_SIDE**3 / min(times) / 1e9)
