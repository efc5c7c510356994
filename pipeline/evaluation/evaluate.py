"""The evaluation: every protocol on every gallery that is built, as one report of plain values.

What is measured here is what is on disk; photos are embedded anew only to check that the vectors are theirs.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import pairwise
from typing import Any, cast

import numpy as np
from PIL import Image

from pipeline.core.errors import GalleryDamaged, SettingsError
from pipeline.core.processors import processor
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import recipe_named
from pipeline.core.types import SAME_PHOTO_DISTANCE, FloatArray, Photo, VectorIndex
from pipeline.embeddings.corrections import Corrections
from pipeline.embeddings.embed import BATCH
from pipeline.embeddings.store import FACE_COLUMNS, Embeddings
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.look import look
from pipeline.evaluation import groups, metrics, protocols
from pipeline.evaluation.calibrate import corrected_people
from pipeline.evaluation.grouping import judge_grouping
from pipeline.evaluation.groups import measure_photos
from pipeline.evaluation.metrics import Floats, Resampled
from pipeline.evaluation.open_set import judge_verdicts
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.protocols import Retrieval
from pipeline.evaluation.ranking import Subject, impostor_limit, rank, subject_of
from pipeline.evaluation.verification import NOT_REFITTED, REFITTED, refitted, verify
from pipeline.indexes.registry import why_unavailable
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.search.searcher import Searcher

LEAST_FACES = 2  # a query, and somebody to find


FORMAT = 3
RESAMPLES, RESAMPLE_SEED = 1000, 5
CHECKED, CHECK_SEED = 24, 6  # photos embedded anew: a tenth of them displaced is found 92 times in 100
MIN_CONFIDENCE = 5  # standard deviations that top-1 must be above chance
DIGITS = 6
PACKAGES = ("numpy", "scikit-learn", "torch", "torchvision", "facenet-pytorch", "openvino", "annoy", "pillow")
# 80/20 accuracy of the projects this one descends from, and what they found of Albert Costa's six photos.
ANCESTORS = {"resnet50": (0.09, 1), "mtcnn-resnet50": (0.1265, 3), "mtcnn-facenet": (0.622, 6)}
NOTES = (
    "About 594 of LFW's people are also in VGGFace2, on which FaceNet was trained; it may know them.",
    "Some of LFW's photos bear a wrong name and some people have two, so no model can be right about all of them; the "
    "open set, which rests on the closest 40 strangers, suffers most.",
    "Intervals hold 95 % of 1,000 bootstrap resamples of people with all their photos.",
)


Results = Mapping[str, Resampled]  # by protocol, of one recipe


@dataclass(frozen=True)
class Task:
    """What galleries are evaluated on: their photos, LFW's pairs where it is LFW, and the people to search for.

    By `corrections` only verdicts about people and groups of faces are judged; all else is on the names as they are.
    `view_1` are the pairs that a PCA is fitted on where `pairs` are judged.
    """

    photos: Photos
    pairs: Pairs | None
    examples: tuple[str, ...]
    corrections: Corrections = field(default_factory=Corrections)
    view_1: Pairs | None = None


def evaluate(
    searchers: Iterable[Searcher], task: Task, indexes: Iterable[str] | None = None, report: Report = silent
) -> dict[str, Any]:
    """The report on these galleries of one dataset, with these indexes or all that they have.

    GalleryDamaged if a gallery's vectors are not those of its photos.
    """
    opened = list(searchers)
    if len(set(task.photos.people)) == len(task.photos):
        raise SettingsError("Nobody in this gallery has two photos, so there is nothing to evaluate; add photos to it.")
    if few := [each.encoder.recipe.name for each in opened if each.embeddings.named.sum() < LEAST_FACES]:
        raise SettingsError(
            f"Fewer than {LEAST_FACES} photos have a face by {', '.join(few)}; add photos that show one."
        )
    costs = protocols.measure_costs([each.encoder for each in opened], _spread(opened[0].embeddings, task.photos))
    drawn = metrics.resampled_people(len(set(task.photos.people)), RESAMPLES, RESAMPLE_SEED)
    qualities = measure_photos(task.photos, _faces(task.photos, [each.embeddings for each in opened]), report)
    recipes, outcomes, notes = [], dict[str, Results](), list(NOTES)
    for searcher, cost in zip(opened, costs, strict=True):
        measured, note = _view_2_distances(searcher, task)
        notes += note
        figures, came_out = _evaluate_one(searcher, task, indexes, (drawn, qualities, measured), report)
        recipes.append(figures | {"cost": asdict(cost)})
        outcomes[figures["recipe"]] = came_out
    return cast(dict[str, Any], _rounded({**_facts(task, notes), "recipes": recipes, "steps": _steps(outcomes)}))


def _steps(outcomes: Mapping[str, Results]) -> list[dict[str, Any]]:
    """What each recipe has over the one it is an option of, or over the one before it, on the same pairs and queries.

    The p-values are corrected together: among many gains, chance makes some look real.
    """
    plain = {name: name.partition("+")[0] for name in outcomes}
    compared = [
        (plain[name] if plain[name] != name and plain[name] in outcomes else before, name)
        for before, name in pairwise(outcomes)
    ]
    gains = [figure.less(outcomes[before][of]) for before, after in compared for of, figure in outcomes[after].items()]
    p_values = metrics.holm([gain.p_value for gain in gains])
    told = iter([asdict(gain.estimate) | {"p": p_value} for gain, p_value in zip(gains, p_values, strict=True)])
    return [{"from": before, "to": after, **{of: next(told) for of in outcomes[after]}} for before, after in compared]


def _evaluate_one(
    searcher: Searcher,
    task: Task,
    indexes: Iterable[str] | None,
    shared: tuple[Floats, Mapping[str, Floats], Floats | None],
    report: Report,
) -> tuple[dict[str, Any], Results]:
    started, (drawn, qualities, measured), embeddings = time.perf_counter(), shared, searcher.embeddings
    check_vectors(searcher, task.photos)
    subject = subject_of(embeddings, task.photos)
    limit = impostor_limit(subject, groups.MATCH_SHARE, groups.LIMIT_SEED)
    task_name = f"Measuring {embeddings.manifest['recipe']['name']}"
    ranking = rank(subject, limit, lambda progress: report(replace(progress, task=task_name)))
    retrieval, top1 = protocols.retrieve(subject, ranking, drawn)
    check_better_than_chance(embeddings, retrieval)
    split, named = protocols.split_accuracy(subject, ranking, drawn)
    verified = verify(subject, task.pairs, drawn, measured) if task.pairs else None
    verdicts = judge_verdicts(subject, task.pairs, searcher.calibration, task.corrections, drawn)
    open_set = protocols.identify(subject, ranking, drawn)
    people = corrected_people(subject, task.corrections)[0]
    grouped = judge_grouping(subject.vectors, people, searcher.calibration)
    judged, unavailable = protocols.judge_indexes(subject, _chosen(searcher, indexes))
    figures = {
        **_recipe_facts(embeddings, subject),
        "verification": asdict(verified[0]) if verified else None,
        "verdicts": asdict(verdicts) if verdicts else None,
        "split": asdict(split),
        "people": [asdict(each) for each in protocols.search_people(subject, ranking, task.examples)],
        "retrieval": asdict(retrieval),
        "open_set": asdict(open_set) if open_set else None,
        "grouping": {of: asdict(score) for of, score in grouped.items()},
        "indexes": [asdict(each) for each in judged],
        "indexes_left_out": unavailable,
        "groups": [asdict(each) for each in groups.by_groups(subject, ranking, qualities)],
        "group_limit": limit,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return figures, {**({"verification": verified[1]} if verified else {}), "split": named, "top1": top1}


def _view_2_distances(searcher: Searcher, task: Task) -> tuple[Floats | None, list[str]]:
    """What View 2 is judged by where it is not the gallery's own distances, and the note that says so."""
    recipe = searcher.encoder.recipe
    if not task.pairs or recipe.layer != "pca":
        return None, []
    measured = refitted(searcher.embeddings, task.photos, task.pairs, task.view_1)
    return measured, [(NOT_REFITTED if measured is None else REFITTED).format(recipe.name, recipe.base)]


def check_vectors(searcher: Searcher, photos: Photos) -> None:
    """GalleryDamaged if names are not the photos', or photos embedded anew are far from the vectors kept for them."""
    embeddings = searcher.embeddings
    for face, person in zip(embeddings.photo_ids, embeddings.people, strict=True):
        if photos.row_of(face) is None or photos.person(face) != person:
            raise _not_its_own(embeddings, "it gives a photo another name than the dataset does")
    named = np.flatnonzero(embeddings.named)
    drawn = np.random.default_rng(CHECK_SEED).permutation(named)[:CHECKED]
    wrong = []
    for row in sorted({*named[[0, -1]].tolist(), *drawn.tolist()}):  # a shift in the middle shows at the ends
        vector = _embedded_anew(searcher.encoder, photos.found(embeddings.photo_ids[row]), every_face=photos.every_face)
        if vector is None or float(np.linalg.norm(vector - embeddings.vectors[row])) > SAME_PHOTO_DISTANCE:
            wrong.append(embeddings.photo_ids[row])
    if wrong:
        raise _not_its_own(embeddings, f"{wrong[0]} embedded anew is another vector than the one kept for it")


def _embedded_anew(encoder: Encoder, photo: Photo, *, every_face: bool) -> FloatArray | None:
    """The vector by which a gallery has the photo, or the face that has its name."""
    image = open_image(photo.source)
    if encoder.detector is None:
        return encoder.encode([image])[0].vector
    if not every_face:
        found = encoder.detector.detect([image], for_one=encoder.for_one)
        return encoder.encode([image], encoder.of_gallery, found)[0].vector
    seen = look(image, encoder.detector)
    face = seen.indexed_by(encoder.of_gallery)
    return encoder.encode([seen.image], encoder.of_gallery, [(face,) if face else ()])[0].vector


def check_better_than_chance(embeddings: Embeddings, retrieval: Retrieval) -> None:
    """GalleryDamaged if the nearest photo shows the right person no more often than any photo would."""
    chance = retrieval.chance
    needed = chance + MIN_CONFIDENCE * float(np.sqrt(chance * (1 - chance) / retrieval.queries))
    if needed < 1 and retrieval.top1.value < needed:  # a handful of photos proves nothing either way
        raise _not_its_own(embeddings, f"top-1 is {retrieval.top1.value:.2%} where guessing gives {chance:.2%}")


def _not_its_own(embeddings: Embeddings, evidence: str) -> GalleryDamaged:
    return GalleryDamaged(
        f"The vectors in {embeddings.folder} do not belong to its photos ({evidence}); delete that folder and build it "
        "again."
    )


def _chosen(searcher: Searcher, wanted: Iterable[str] | None) -> dict[str, VectorIndex]:
    """The gallery's indexes that are asked for, and always the exact one."""
    for name in wanted or ():
        if (reason := why_unavailable(name)) is not None:
            raise SettingsError(reason)
        if name not in searcher.indexes:
            raise SettingsError(
                f"The index {name} is not built for {searcher.embeddings.folder}; build that gallery again."
            )
    names = searcher.indexes if wanted is None else ["exact", *(name for name in wanted if name != "exact")]
    return {name: searcher.indexes[name] for name in names}


def _spread(embeddings: Embeddings, photos: Photos) -> list[Image.Image]:
    """Photos from all over the gallery, as many as are embedded at a time when it is built."""
    rows = np.linspace(0, len(embeddings) - 1, min(BATCH, len(embeddings))).round().astype(int).tolist()
    return [open_image(photos[cast(int, photos.row_of(embeddings.photo_ids[row]))].source) for row in rows]


def _faces(photos: Photos, all_embeddings: Iterable[Embeddings]) -> FloatArray:
    """The face of each photo, (N, 15), from the first gallery that knows it; NaN where none does."""
    faces = np.full((len(photos), FACE_COLUMNS), np.nan, np.float32)
    for embeddings in all_embeddings:
        rows = [photos.row_of(photo_id) for photo_id in embeddings.photo_ids]
        for row, face in zip(rows, embeddings.faces, strict=True):
            if row is not None and np.isnan(faces[row, 0]):
                faces[row] = face
    return faces


def _facts(task: Task, notes: Sequence[str]) -> dict[str, Any]:
    photos = task.photos
    return {
        "format": FORMAT,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gallery": photos.name,
        "title": photos.title,
        "photos_revision": photos.revision,
        "photos": len(photos),
        "people": len(set(photos.people)),
        "pairs": {"source": task.pairs.source, "count": len(task.pairs)} if task.pairs else None,
        "confidence": metrics.CONFIDENCE,
        "resamples": RESAMPLES,
        "seeds": {
            "bootstrap": RESAMPLE_SEED,
            "split": protocols.SPLIT_SEEDS,
            "indexes": protocols.INDEX_SEED,
            "group_limit": groups.LIMIT_SEED,
            "check": CHECK_SEED,
        },
        "processor": str(processor()),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "notes": notes,
    }


def _recipe_facts(embeddings: Embeddings, subject: Subject) -> dict[str, Any]:
    manifest = embeddings.manifest
    name = manifest["recipe"]["name"]
    accuracy, found = ANCESTORS.get(name, (None, None))
    return {
        "recipe": name,
        "label": recipe_named(name).label,
        "fingerprint": manifest["fingerprint"],
        "weights": manifest["weights"],
        "dim": subject.vectors.shape[1],
        "embedded": len(subject.vectors),
        "ancestors": {"split": accuracy, "albert_costa": found},
    }


def _rounded(value: object) -> object:
    """Plain JSON values, the floats to six digits: more is noise."""
    if isinstance(value, float):
        return round(value, DIGITS) if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
