"""Searches, figures, fingerprints and galleries are what they were before the modules were moved into packages.

What they were stands in tests/golden. It was recorded by the functions below, run on the code as it was before the
move: `python -m tests.golden.record` writes it anew, which is right only where something was changed on purpose.

- search.json, figures.json: vectors drawn by numbers, in every index that needs no server and in every protocol.
- sample.json: photos of the people who do not exist, searched for with the network in the package.
- fingerprints.json: what decides whether a gallery on somebody's disk is still the right one.
- galleries.json and gallery/: three small galleries as they were built then, and what was found in them. They are to
  be opened as they lie there, and a gallery that is built today must be the same.

Names, ranks and hashes must be the same. Numbers may differ by rounding, for processors add up in different orders.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from pipeline.core.progress import Progress, Report
from pipeline.core.recipes import OPTIONS, PACKAGED, RECIPES, fingerprint, recipe_named
from pipeline.core.settings import EMBEDDED, Settings
from pipeline.core.types import Answer
from pipeline.embeddings.corrections import Corrections
from pipeline.evaluation.evaluate import Task, evaluate
from pipeline.evaluation.groups import by_groups
from pipeline.evaluation.metrics import resampled_people
from pipeline.evaluation.open_set import judge_verdicts
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.protocols import identify, judge_indexes, retrieve, search_people, split_accuracy
from pipeline.evaluation.ranking import Subject, impostor_limit, rank
from pipeline.evaluation.verification import verify
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.galleries.own_faces import OwnFaces
from pipeline.indexes.registry import available, build_index, open_index
from pipeline.photos.folders import labelled_photos, told_apart
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.photos.sources import open_photos
from pipeline.search.calibration import Calibration, Limits, PersonModel
from pipeline.search.searcher import Searcher
from tests.fakes import PEOPLE, TinyEncoders, draw, portrait

GOLDEN = Path(__file__).parent / "golden"
INDEXES = ("exact", "annoy", "knn", "kmeans")
# How far a number may be from what was recorded, by the nearest name above it that stands here; pixels for faces.
TOLERANCES = {
    "box": 0.5,
    "landmarks": 0.5,
    "sample": 1e-3,
    "pair_percent": 0.2,  # a change by rounding shows as 0.1
    "false_alarm_percent": 0.2,
    "person": 5e-3,  # by rounding in a fit one of 293 searches may be on the other side of a limit
    "recall_at_20": 1e-3,  # Annoy may lose a neighbour in 6,000 where its trees are split by rounding
}
ROUNDING = 1e-4

Values = dict[str, Any]


def differences(found: object, recorded: object, name: str = "", tolerance: float = ROUNDING) -> list[str]:
    """Where two plain values differ by more than rounding, one sentence each."""
    tolerance = TOLERANCES.get(name.rpartition("/")[2], tolerance)
    if isinstance(found, Mapping) and isinstance(recorded, Mapping):
        missing = [f"{name}/{key} is only in one of them" for key in found.keys() ^ recorded.keys()]
        both = [key for key in recorded if key in found]
        return missing + [
            line for key in both for line in differences(found[key], recorded[key], f"{name}/{key}", tolerance)
        ]
    if isinstance(found, list | tuple) and isinstance(recorded, list | tuple):
        if len(found) != len(recorded):
            return [f"{name} has {len(found)} entries and had {len(recorded)}"]
        pairs = enumerate(zip(found, recorded, strict=True))
        # A list's numbers are under its own name.
        return [f"{line} (number {number})" for number, each in pairs for line in differences(*each, name, tolerance)]
    if isinstance(found, float) and isinstance(recorded, float):
        return [] if found == pytest.approx(recorded, abs=tolerance, rel=0) else [f"{name} is {found}, was {recorded}"]
    same = type(found) is type(recorded) and found == recorded
    return [] if same else [f"{name} is {found!r}, was {recorded!r}"]


def recorded(name: str) -> Values:
    values: Values = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return values


@pytest.fixture(scope="module", autouse=True)
def no_optional_indexes() -> Iterator[None]:
    """Galleries with the same indexes wherever this runs."""
    with pytest.MonkeyPatch.context() as patch:
        for package in ("pymilvus", "faiss"):
            patch.setitem(sys.modules, package, None)
        yield


# Vectors drawn by numbers: searches and figures

SEVERAL, SINGLE = 100, 120  # people with several photos, and with one
PHOTOS = 420
DIM, NOISE, SEED = 32, 0.8, 0  # of this seed no two ranks that matter are nearer to each other than rounding
FACELESS = (17, 57, 97, 137, 177)
QUERIES, K = 12, 10


def fixed_people() -> np.ndarray:
    """Who each photo shows: those with several photos in any order, then those with one."""
    several = np.random.default_rng(SEED).integers(0, SEVERAL, PHOTOS - SINGLE)
    several[: 2 * SEVERAL] = np.repeat(np.arange(SEVERAL), 2)
    return np.concatenate([several, np.arange(SEVERAL, SEVERAL + SINGLE)])


def fixed_vectors(people: np.ndarray, seed: int) -> np.ndarray:
    """Unit vectors of photos of these people, whom it is not easy to tell apart."""
    middles = np.random.default_rng(SEED + 1).normal(size=(SEVERAL + SINGLE, DIM))
    vectors = middles[people] + NOISE * np.random.default_rng(seed).normal(size=(len(people), DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fixed_subject() -> Subject:
    """All photos, of which some have no face."""
    people, rows = fixed_people(), np.zeros(PHOTOS, np.int64)
    rows[list(FACELESS)] = -1
    rows[rows == 0] = np.arange(PHOTOS - len(FACELESS))
    names = tuple(f"Person {person:03d}" for person in people)
    ids = tuple(f"{name}/{number}" for number, name in enumerate(names))
    return Subject(fixed_vectors(people, SEED + 2)[rows >= 0], rows, people, ids, names)


def fixed_pairs(subject: Subject) -> Pairs:
    """Ten folds of 20 pairs of one person, some without a face, and 20 of photos that are nearly all of two."""
    random = np.random.default_rng(SEED + 3)
    firsts = 2 * random.integers(0, SEVERAL, 200)
    others = random.integers(2 * SEVERAL, PHOTOS, (200, 2))
    ends = np.stack([np.stack([firsts, firsts + 1], 1), others], 1).reshape(-1, 2)
    ids = tuple((subject.photo_ids[one], subject.photo_ids[other]) for one, other in ends.tolist())
    same = subject.people[ends[:, 0]] == subject.people[ends[:, 1]]
    return Pairs(ids, same, np.arange(400) // 40 + 1, "drawn")


FIXED_CALIBRATION = Calibration(
    recipe="fixed",
    version=1,
    weights=("weights",),
    photos_revision="photos",
    middle=1.05,
    width=0.05,
    hits=Limits(
        (0.001, 0.01, 0.1, 0.5, 0.99),
        (10, 100, 1000),
        ((0.8, 0.95, 1.05, 1.2, 1.4), (0.75, 0.85, 0.95, 1.05, 1.3), (0.7, 0.75, 0.85, 0.95, 1.1)),
    ),
    person=PersonModel((-20, 8, 2, 0.1, -0.2, 12), (-15, -0.5, 15), 1.4, Limits((0.01, 0.1), (100,), ((-2, 1),))),
)


def search_values(folder: Path) -> Values:
    """What every index finds, and what was measured of it when it was built."""
    vectors, values = fixed_subject().vectors, Values()
    queries = fixed_vectors(np.arange(QUERIES), SEED + 4)
    for name in INDEXES:
        facts = build_index(name, vectors, folder)
        found = open_index(name, vectors, folder, facts).search(queries, K)
        values[name] = {"facts": facts, "rows": found.rows.tolist(), "distances": found.distances.tolist()}
    return values


def figure_values(folder: Path) -> Values:
    """Every protocol."""
    subject = fixed_subject()
    pairs, limit = fixed_pairs(subject), impostor_limit(subject, 0.01, 4)
    ranking, drawn = rank(subject, limit), resampled_people(SEVERAL + SINGLE, 200, 5)
    indexes = {}
    for name in INDEXES:
        facts = build_index(name, subject.vectors, folder)
        indexes[name] = open_index(name, subject.vectors, folder, facts)
    open_set, verdicts = (
        identify(subject, ranking, drawn),
        judge_verdicts(subject, pairs, FIXED_CALIBRATION, Corrections(), drawn),
    )
    assert open_set is not None
    assert verdicts is not None
    people = search_people(subject, ranking, (*subject.photo_ids[:QUERIES], subject.photo_ids[FACELESS[0]]))
    return {
        "group limit": limit,
        "retrieval": asdict(retrieve(subject, ranking, drawn)[0]),
        "split": asdict(split_accuracy(subject, ranking, drawn)[0]),
        "verification": asdict(verify(subject, pairs, drawn)[0]),
        "open set": asdict(open_set),
        "verdicts": asdict(verdicts),
        "people": [asdict(person) for person in people],
        "indexes": [asdict(index) for index in judge_indexes(subject, indexes)[0]],
        "groups": [asdict(group) for group in by_groups(subject, ranking, {"number": np.arange(PHOTOS) ** 2.0})],
    }


def test_no_index_was_added_or_lost() -> None:
    assert tuple(available()) == INDEXES


def test_every_index_finds_what_it_found(tmp_path: Path) -> None:
    assert differences(search_values(tmp_path), recorded("search")) == []


def test_every_figure_is_what_it_was(tmp_path: Path) -> None:
    assert differences(figure_values(tmp_path), recorded("figures")) == []


# The people who do not exist, found by the network in the package

SAMPLE_QUERIES = (0, 33, 68, 107, 144, 199)


def told(answer: Answer) -> Values:
    """An answer as the page's API gives it, the numbers not rounded, without what differs by machine."""
    plain = answer.as_json()
    del plain["timings_ms"], plain["gallery"]
    hits = [{**hit, "distance": each.distance} for hit, each in zip(plain["hits"], answer.hits, strict=True)]
    return {**plain, "hits": hits}


def sample_values(folder: Path) -> Values:
    """The sample gallery's facts, and the first five hits for some of its photos."""
    gallery = open_gallery(Settings(dataset="sample", index=folder / "index", cache=folder / "cache"))
    gallery.build(PACKAGED)
    ids = json.dumps([gallery.photos.photo_ids, gallery.photos.people])
    values: Values = {"photos": hashlib.sha256(ids.encode()).hexdigest(), "name": gallery.photos.name}
    for recipe in PACKAGED:
        searcher = gallery.searcher(recipe)
        manifest = searcher.embeddings.manifest
        photos = [gallery.photos[row] for row in SAMPLE_QUERIES]
        values[recipe] = {
            "facts": {name: manifest[name] for name in ("gallery", "title", "weights", "counts", "skipped")},
            "answers": {photo.photo_id: told(searcher.search(open_image(photo.source), 5)) for photo in photos},
        }
    return {"sample": values}


def test_the_sample_gallery_is_searched_as_it_was(tmp_path: Path) -> None:
    assert differences(sample_values(tmp_path), recorded("sample")) == []


# What decides whether a gallery is still the right one

VARIANTS = ("mtcnn-reid-64", "mtcnn-facenet+flip-64", "mini-whole+flip", "mtcnn-mini+bicubic+flip+zoom+central")


def write_dataset(folder: Path) -> Path:
    """A dataset in the layout of the Hub's; its photos need not be any."""
    (folder / "data").mkdir(parents=True)
    images = [{"bytes": f"photo {number}".encode(), "path": f"Ada_Byron_000{number}.jpg"} for number in (1, 2, 3)]
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["Ada_Byron", "Bruno"])})
    data = datasets.Dataset.from_dict({"image": images, "label": [0, 0, 1]}, kinds)
    data.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


def revision(photos: Photos) -> Values:
    """What a gallery keeps of its photos."""
    return {"revision": photos.revision, "stamps": photos.stamps, "ids": photos.photo_ids, "people": photos.people}


def fingerprint_values(folder: Path) -> Values:
    """The fingerprints of recipes, and the revisions of every kind of photos but those from the Hub itself."""
    names = [*RECIPES, *(f"mtcnn-facenet+{option}" for option in OPTIONS), *VARIANTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        of_dataset = revision(open_photos(str(write_dataset(folder / "dataset"))))
    galleries = open_galleries(folder)
    return {
        "recipes": {name: fingerprint(recipe_named(name), "weights", "photos") for name in names},
        "photos": {"dataset": of_dataset, **{name: revision(each.photos) for name, each in galleries.items()}},
    }


def test_every_fingerprint_is_what_it_was(tmp_path: Path) -> None:
    assert differences(fingerprint_values(tmp_path), recorded("fingerprints")) == []


# Galleries that were built before

BUILT = (("folder", "mtcnn-reid"), ("folder", "mtcnn-reid-8"), ("own", "mtcnn-reid-8"))
DRAWN_AT = 1_700_000_000  # when the photos' files were written, in seconds
TOO_LARGE = 50_000  # bytes; such a file lies in tests/golden compressed


def draw_photos(folder: Path) -> None:
    """Two photos of each of six people, one with two faces and one without; the same files wherever this runs."""
    photos = {f"{name}/{number}": portrait(row, number) for row, name in enumerate(PEOPLE) for number in range(2)}
    photos |= {"Ada/two": draw((0, 2, (4, 20, 40)), (1, 2, (50, 24, 36))), "Clara/faceless": draw()}
    for name, photo in photos.items():
        path = folder / f"{name}.bmp"  # which has the same bytes by every version of Pillow
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path)
        os.utime(path, (DRAWN_AT, DRAWN_AT))


class OneFaceEach(Gallery):
    """A folder's photos as those of datasets are, and as all were once: one face of each counts."""

    def _opened(self, report: Report) -> Photos:
        folder = Path(self._dataset)
        return labelled_photos(folder, (told_apart(folder.name, str(folder.resolve())), folder.name))


def open_galleries(folder: Path) -> dict[str, Gallery]:
    """A folder of photos of which one face each counts, and one of a visitor's own, where every face does."""
    for name in ("folder", "own"):
        if not (folder / name).exists():
            draw_photos(folder / name / "photos")
    return {
        "folder": OneFaceEach(str(folder / "folder" / "photos"), TinyEncoders(), folder / "folder" / "index"),
        "own": OwnFaces(folder / "own", TinyEncoders(), folder / "pictures"),
    }


def keep(embeddings: Path, golden: Path) -> None:
    """Copies a gallery's files into tests/golden."""
    shutil.copytree(embeddings, golden)
    for path in golden.iterdir():
        if path.stat().st_size > TOO_LARGE:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()


def put_back(golden: Path, embeddings: Path) -> None:
    """Copies a gallery's files out of tests/golden."""
    shutil.copytree(golden, embeddings)
    for path in embeddings.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def new_photo(person: int) -> Image.Image:
    """A photo of the person that is in no gallery."""
    return draw((person, 3, (40, 30, 44)), size=(120, 110))


def gallery_values(gallery: Gallery, searcher: Searcher) -> Values:
    """What is in a gallery's files, what each index finds in it, and how well it does."""
    embeddings = searcher.embeddings
    with np.load(embeddings.folder / "kmeans.npz", allow_pickle=False) as kept:
        arrays = {"vectors": embeddings.vectors, "faces": embeddings.faces, **kept}
    hits = {
        index: [
            [(hit.photo_id, hit.distance) for hit in searcher.search(new_photo(person), 4, index).hits]
            for person in range(len(PEOPLE))
        ]
        for index in INDEXES
    }
    return {
        "arrays": {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()},
        "collection": embeddings.collection(EMBEDDED).name,
        "answer": told(searcher.search(new_photo(0), 2)),
        "hits": hits,
        "report": report_values(gallery, searcher),
    }


def report_values(gallery: Gallery, searcher: Searcher) -> Values | None:
    """The gallery's evaluation, without what differs by machine and place, and without wording.

    None where every face counts, which cannot be evaluated, and where there is a layer, to keep it short.
    """
    if gallery.photos.every_face or searcher.embeddings.layer:
        return None
    report = evaluate([searcher], Task(gallery.photos, None, tuple(gallery.examples())))
    for name in ("made", "versions", "processor", "gallery", "notes"):
        del report[name]
    for name in ("seconds", "cost", "label", "grouping"):  # the last came after these values were recorded
        del report["recipes"][0][name]
    return report


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file's time and hash."""
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.iterdir()
    }


@pytest.mark.parametrize(("kind", "recipe"), BUILT)
def test_a_gallery_of_before_is_opened_and_not_built_again(
    kind: str, recipe: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = open_galleries(tmp_path)[kind]
    put_back(GOLDEN / "gallery" / kind / recipe, gallery.folder(recipe))
    before, reports = state(gallery.folder(recipe)), list[Progress]()
    with caplog.at_level(logging.INFO):
        searcher = gallery.searcher(recipe)
        gallery.build([recipe], reports.append)
    assert reports == []
    assert caplog.messages == []
    assert gallery.encoders.detector.photos_seen == 0  # type: ignore[attr-defined]
    assert gallery.searcher(recipe) is searcher
    assert differences(gallery_values(gallery, searcher), recorded("galleries")[f"{kind} {recipe}"]) == []
    assert state(gallery.folder(recipe)) == before
    assert sorted(searcher.embeddings.manifest["files"]) == sorted(before.keys() - {"manifest.json"})


def lasting(folder: Path) -> Values:
    """A gallery's files by name, its photos and faces, and its manifest.

    Of that without the hashes of rounded numbers, place and time, the precisions (which those of then do not
    tell), and what recipes are called.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest.pop("precisions", None)
    order, manifest["files"] = list(manifest), list(manifest["files"])
    del manifest["gallery"], manifest["build_seconds"], manifest["sha256"]
    del manifest["recipe"]["label"], manifest["recipe"]["summary"]
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "manifest": manifest,
        "order": order,
        "photos": json.loads((folder / "photos.json").read_text(encoding="utf-8")),
        "faces": np.load(folder / "faces.npy").tolist(),
    }


@pytest.mark.parametrize("kind", ["folder", "own"])
def test_a_gallery_of_today_is_what_it_was_then(kind: str, tmp_path: Path) -> None:
    gallery = open_galleries(tmp_path)[kind]
    recipes = [recipe for each, recipe in BUILT if each == kind]
    gallery.build(recipes)
    for recipe in recipes:
        searcher, golden = gallery.searcher(recipe), tmp_path / "golden" / recipe
        put_back(GOLDEN / "gallery" / kind / recipe, golden)
        found, then = gallery_values(gallery, searcher), recorded("galleries")[f"{kind} {recipe}"]
        if kind == "folder":  # its name has a hash of its place
            found["collection"] = then["collection"]
        assert differences(found, then) == []
        assert differences(lasting(gallery.folder(recipe)), lasting(golden)) == []
        old, new = (np.load(folder / "vectors.npy") for folder in (golden, gallery.folder(recipe)))
        # A principal component may point the other way: what counts are distances.
        assert np.abs(new @ new.T - old @ old.T).max() < ROUNDING
        assert recipe_named(recipe).layer or np.abs(new - old).max() < ROUNDING


def test_a_gallery_lies_where_it_lay(tmp_path: Path) -> None:
    galleries = open_galleries(tmp_path)
    photos = str((tmp_path / "folder" / "photos").resolve())
    place = hashlib.sha256(photos.encode()).hexdigest()[:6]
    assert galleries["folder"].folder("mtcnn-reid") == tmp_path / f"folder/index/photos-{place}/mtcnn-reid"
    assert galleries["own"].folder("mtcnn-reid") == tmp_path / "own/index/own/mtcnn-reid"
