"""LFW with real weights: builds every recipe that can be had, and searches for the ten people.

A part of LFW, as `conftest.py` has it; with `--all` all of it, and with `-s` the table in README is printed then. Among
fewer people everybody is found more often: each form has bounds of its own, as they were measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.train import train_and_keep_head
from pipeline.core.progress import silent
from pipeline.core.recipes import DEFAULT_EPOCHS, HEADED, RECIPES
from pipeline.core.settings import Settings
from pipeline.core.types import SAME_PHOTO_DISTANCE
from pipeline.embeddings.store import PART_SIZE
from pipeline.evaluation.evaluate import Task, evaluate
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.tables import headline, markdown
from pipeline.galleries.gallery import EXAMPLES, Gallery
from pipeline.galleries.reports import make_report
from pipeline.indexes.registry import available
from pipeline.photos.images import open_image

# The first test waits for the build of every recipe: of all of LFW a quarter of an hour on two cores, more on a busy
# machine.
pytestmark = [pytest.mark.lfw, pytest.mark.timeout(4500)]

# Of 60, on all of LFW and on the part. The whole photo finds settings and the face finds people: the ancestors'
# argument, in four numbers.
FOUND_AT_LEAST = {
    "resnet50": (10, 14),
    "resnet50-8192": (12, 15),
    "mtcnn-resnet50": (10, 18),
    "mtcnn-facenet": (60, 59),
    "mtcnn-facenet-128": (59, 59),
    "mtcnn-reid": (60, 59),
    "mtcnn-mini": (60, 59),
    "mini-whole": (18, 24),
}
FOUND_AT_MOST = dict.fromkeys(RECIPES, (60, 60)) | {
    "resnet50": (20, 24),
    "resnet50-8192": (24, 28),
    "mtcnn-resnet50": (25, 30),
    "mini-whole": (30, 36),
}


@pytest.fixture(scope="session")
def lfw(gallery: Gallery, full: bool) -> Gallery:
    """LFW, built for every recipe whose weights are on this disk, its head trained if it has one."""
    assert len(gallery.photos) == (13_233 if full else 2_430)
    here = [name for name in RECIPES if gallery.encoders.on_disk(name)]
    if not here:
        pytest.skip("needs weights: set FACESEARCH_MODELS to a folder with them")
    if "resnet50" in here and HEADED not in here:
        _, facts, _ = train_and_keep_head(gallery, HEADED, DEFAULT_EPOCHS)
        # By chance it would be 1 of 1,680, and the people with most photos are 6 %; in the part 1 of 329, and 8 %.
        assert float(facts["test_accuracy"]) > 0.15
        here.append(HEADED)
    gallery.build(here)
    return gallery


@pytest.fixture(params=list(RECIPES))
def recipe(request: pytest.FixtureRequest, lfw: Gallery) -> str:
    """Each recipe in turn."""
    name: str = request.param
    if not lfw.encoders.on_disk(name):
        pytest.skip(f"needs the weights of {RECIPES[name].network} on this disk")
    return name


@pytest.fixture
def bounds(recipe: str, full: bool) -> tuple[int, int]:
    """How many of the 60 the recipe finds, at least and at most."""
    return FOUND_AT_LEAST[recipe][not full], FOUND_AT_MOST[recipe][not full]


def test_every_photo_is_indexed_or_named(lfw: Gallery, recipe: str, full: bool) -> None:
    manifest = lfw.searcher(recipe).embeddings.manifest
    counts = manifest["counts"]
    assert (counts["photos"], counts["people"]) == ((13_233, 5_749) if full else (2_430, 851))
    assert counts["unreadable"] == 0
    assert counts["no_face"] <= (5 if RECIPES[recipe].finds_faces else 0)
    assert len(manifest["skipped"]) == counts["no_face"] == counts["photos"] - counts["indexed"]
    assert all(skipped["photo_id"] and skipped["reason"] for skipped in manifest["skipped"])
    assert manifest["indexes"]["annoy"]["recall_at_20"] >= 0.99


@pytest.mark.parametrize("index", available())
def test_the_ten_people_are_found(lfw: Gallery, recipe: str, index: str, bounds: tuple[int, int]) -> None:
    searcher = lfw.searcher(recipe)
    found, steps = 0, {"detect": 0.0, "embed": 0.0, "search": 0.0}
    for example in EXAMPLES:
        row = lfw.photos.row_of(example)
        assert row is not None
        answer = searcher.search(open_image(lfw.photos[row].source), 20, index)
        assert answer.hits[0].photo_id == example
        assert answer.hits[0].is_query
        found += sum(hit.person == lfw.photos.people[row] for hit in answer.hits)
        steps = {step: steps[step] + answer.timings_ms[step] / len(EXAMPLES) for step in steps}
    times = " ".join(f"{step} {ms:5.1f} ms" for step, ms in steps.items())
    sys.stdout.write(f"\n{recipe:<16} {index:<6} found {found:2} of 60  {times}")
    at_least, at_most = bounds
    if index == "kmeans":  # it looks into one of six clusters only, and where their borders run is chance
        at_least *= 0.5
    assert at_least <= found <= at_most


# View 2, 80/20, top-1, recall@20 and mAP@R. Of all of LFW it is what was measured outside this project with the same
# weights, and less is a fault in the road from photo to vector; of the part it is what that road gives.
AT_LEAST = {
    "mtcnn-reid": (0.994, 0.640, 0.990, 0.991, 0.975),
    "mtcnn-facenet": (0.992, 0.627, 0.972, 0.980, 0.925),
    # Trained here, on these very photos without their names: less is a fault of it or of the road.
    "mtcnn-mini": (0.990, 0.635, 0.982, 0.986, 0.955),
}
OF_THE_PART_AT_LEAST = {
    "mtcnn-reid": (0.993, 0.700, 0.992, 0.996, 0.984),
    "mtcnn-facenet": (0.993, 0.694, 0.984, 0.990, 0.955),
    "mtcnn-mini": (0.993, 0.702, 0.989, 0.992, 0.975),
}


@pytest.fixture(scope="session")
def evaluation(lfw: Gallery, settings: Settings, pairs: Pairs, full: bool) -> dict[str, dict[str, Any]]:
    """The evaluation of every recipe, by name."""
    started = time.perf_counter()
    here, indexes = [name for name in RECIPES if lfw.encoders.on_disk(name)], ["annoy", "kmeans"]
    if full:
        report = make_report(lfw, settings, here, indexes, silent)
    else:  # the same, with those pairs that are there
        task = Task(lfw.photos, pairs, tuple(lfw.examples()), lfw.corrections)
        report = evaluate([lfw.searcher(name) for name in here], task, indexes)
    sys.stdout.write(f"\n{markdown(headline(report))}\n{time.perf_counter() - started:.0f} s")
    return {one["recipe"]: one for one in report["recipes"]}


def test_the_evaluation_reaches_what_was_measured(
    evaluation: dict[str, dict[str, Any]], recipe: str, bounds: tuple[int, int], full: bool
) -> None:
    one = evaluation[recipe]
    found = one["retrieval"]
    figures = [
        one["verification"]["accuracy"]["value"],
        one["split"]["accuracy"]["value"],
        *(found[name]["value"] for name in ("top1", "recall_at_20", "map_at_r")),
    ]
    at_least, at_most = bounds
    assert at_least <= sum(person["found"] for person in one["people"]) <= at_most
    assert found["queries"] == (9_164 if full else 1_908)
    assert found["precision_ceiling"] == pytest.approx(0.503 if full else 0.526, abs=0.001)
    lowest, highest = (0.63, 0.70) if full else (0.69, 0.76)
    assert all(lowest < ceiling < highest for ceiling in one["split"]["ceilings"]), one["split"]["ceilings"]
    assert {index["index"] for index in one["indexes"]} == {"exact", "annoy", "kmeans"}
    assert all(index["recall_at_20"] >= 0.98 for index in one["indexes"] if index["index"] != "kmeans")
    # Marilyn_Monroe_0001, in whom MTCNN finds no face, is in one pair, which the part is without.
    assert one["verification"]["compared"] == (6000 - RECIPES[recipe].finds_faces if full else 1200)
    floors = (AT_LEAST if full else OF_THE_PART_AT_LEAST).get(recipe, (0,) * 5)
    assert all(figure >= floor for figure, floor in zip(figures, floors, strict=True)), figures


# On all of LFW: DIR at FAR 1 and 0.1 % with corrected names, at 0.1 % without twins, at 1 % with names as they are; the
# right name likely or better for 200 people who are there. Four strangers decide at 0.1 %.
VERDICT_AT_LEAST = {
    "mtcnn-reid": (0.96, 0.83, 0.91, 0.83, 0.97),
    "mtcnn-facenet": (0.87, 0.74, 0.76, 0.79, 0.90),
}


@pytest.mark.parametrize("name", list(VERDICT_AT_LEAST))
def test_who_it_is(evaluation: dict[str, dict[str, Any]], name: str, full: bool) -> None:
    if name not in evaluation or not full:
        pytest.skip("needs all of LFW (--all), and the recipe's weights on this disk")
    person = evaluation[name]["verdicts"]["person"]
    figures = (
        person["corrected"]["at_1e2"]["value"],
        person["corrected"]["at_1e3"]["value"],
        person["without_apart"]["at_1e3"]["value"],
        person["as_they_are"]["at_1e2"]["value"],
        person["asked"]["right"]["value"],
    )
    assert all(figure >= floor for figure, floor in zip(figures, VERDICT_AT_LEAST[name], strict=True)), figures
    assert person["asked"]["named"]["value"] <= 0.02
    assert person["reliability"]["error"] <= 0.03
    assert {part["people"] for part in person["parts"]} >= {0, 100, 1_000, 5_000}
    assert all(part["error"] <= (0.03 if part["people"] == 0 else 0.06) for part in person["parts"]), person["parts"]


def test_each_step_is_better_than_the_one_before(evaluation: dict[str, dict[str, Any]]) -> None:
    steps = ("resnet50", "mtcnn-resnet50", "mtcnn-facenet")
    if missing := [step for step in steps if step not in evaluation]:
        pytest.skip(f"needs the weights of {', '.join(missing)} on this disk")
    estimates = [evaluation[step]["split"]["accuracy"] for step in steps]
    assert all(worse["value"] < better["value"] for worse, better in pairwise(estimates))


BUILD = (sys.executable, "-m", "pipeline", "build", "--recipe", "mtcnn-reid")
THREE_PARTS = 3 * PART_SIZE
SHARDS = ("0/2", "1/2")


@pytest.fixture(scope="module")
def three_parts(gallery: Gallery, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a gallery of LFW's first photos, and beside it, in `undisturbed`, that gallery built once."""
    if not gallery.encoders.on_disk("mtcnn-reid"):
        pytest.skip("needs the weights of face-reidentification-retail-0095: set FACESEARCH_MODELS to their folder")
    place = tmp_path_factory.mktemp("three-parts")
    (place / "photos").mkdir()
    for row in range(THREE_PARTS):
        photo = gallery.photos[row]
        (place / "photos" / f"{photo.photo_id}.jpg").write_bytes(bytes(photo.source))
    environment = os.environ | {"FACESEARCH_DATASET": f"imagefolder:{place / 'photos'}"}
    if settings.models:
        environment["FACESEARCH_MODELS"] = str(settings.models)
    environment["UNDISTURBED"] = str(place / "undisturbed")
    build(environment, place / "undisturbed")
    return environment


def build(environment: dict[str, str], index: Path, *options: str) -> str:
    """Runs the build command to its end and returns what it said on stderr."""
    place = environment | {"FACESEARCH_INDEX": str(index)}
    return subprocess.run([*BUILD, *options], env=place, capture_output=True, text=True, check=True).stderr


def assert_same_bytes(one: Path, other: Path) -> None:
    for name in ("vectors.npy", "faces.npy", "photos.json", "annoy.ann"):
        (first,), (second,) = list(one.rglob(name)), list(other.rglob(name))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_killed_build_goes_on_to_the_same_vectors(three_parts: dict[str, str], tmp_path: Path) -> None:
    killed = subprocess.Popen(BUILD, env=three_parts | {"FACESEARCH_INDEX": str(tmp_path)}, stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob("00000.npz")):
        assert killed.poll() is None, "the build ended before it could be killed"
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -9
    assert not list(tmp_path.rglob("manifest.json"))
    said = build(three_parts, tmp_path)
    assert f"{PART_SIZE}/{THREE_PARTS}" in said  # the progress starts where the killed build stopped
    assert_same_bytes(Path(three_parts["UNDISTURBED"]), tmp_path)


def test_two_shards_at_once_merge_to_the_bytes_of_a_single_build(three_parts: dict[str, str], tmp_path: Path) -> None:
    place = three_parts | {"FACESEARCH_INDEX": str(tmp_path)}
    shards = [subprocess.Popen([*BUILD, "--shard", shard], env=place, stderr=subprocess.DEVNULL) for shard in SHARDS]
    assert [shard.wait() for shard in shards] == [0, 0]
    assert not list(tmp_path.rglob("manifest.json"))
    said = build(three_parts, tmp_path)
    assert f"{THREE_PARTS}/{THREE_PARTS}" in said  # there is nothing left to embed
    assert_same_bytes(Path(three_parts["UNDISTURBED"]), tmp_path)


def test_the_command_line_answers_in_json(lfw: Gallery, settings: Settings, tmp_path: Path) -> None:
    recipe = next(name for name in ("mtcnn-reid", *RECIPES) if lfw.encoders.on_disk(name))
    row = lfw.photos.row_of("Calista_Flockhart_0001")
    assert row is not None
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(bytes(lfw.photos[row].source))
    environment = {
        "FACESEARCH_DATASET": settings.dataset,
        "FACESEARCH_INDEX": str(settings.index),
        "FACESEARCH_CACHE": str(settings.cache),
    }
    if settings.models:
        environment["FACESEARCH_MODELS"] = str(settings.models)
    command = [sys.executable, "-m", "pipeline", "search", str(photo), "--recipe", recipe, "--k", "6", "--json"]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout)
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5, 6]
    assert [hit["person"] for hit in answer["hits"]] == ["Calista Flockhart"] * 6
    assert answer["hits"][0]["photo_id"] == "Calista_Flockhart_0001"
    assert answer["hits"][0]["distance"] < SAME_PHOTO_DISTANCE
