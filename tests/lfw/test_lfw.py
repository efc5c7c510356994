"""The whole of LFW with real weights: builds every recipe that can be had, and searches for the ten people.

With `-s` it prints the table in README. Galleries are built in FACESEARCH_INDEX (default `index`) and found there the
next time.
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
from pipeline.evaluation.tables import headline, markdown
from pipeline.galleries.gallery import EXAMPLES, Gallery, open_gallery
from pipeline.galleries.reports import make_report
from pipeline.indexes.registry import available
from pipeline.photos.images import open_image

# The first test waits for the build of every recipe: a quarter of an hour on two cores, more on a busy machine.
pytestmark = [pytest.mark.lfw, pytest.mark.timeout(4500)]

# Of 60. The whole photo finds settings and the face finds people: the ancestors' argument, in four numbers.
FOUND_AT_LEAST = {
    "resnet50": 10,
    "resnet50-8192": 12,
    "mtcnn-resnet50": 10,
    "mtcnn-facenet": 60,
    "mtcnn-facenet-128": 59,
    "mtcnn-reid": 60,
    "mtcnn-mini": 60,
    "mini-whole": 18,
}
FOUND_AT_MOST = dict.fromkeys(RECIPES, 60) | {
    "resnet50": 20,
    "resnet50-8192": 24,
    "mtcnn-resnet50": 25,
    "mini-whole": 30,
}


@pytest.fixture(scope="session")
def lfw(real: Settings) -> Gallery:
    """All of LFW, built for every recipe whose weights are on this disk, its head trained if it has one."""
    gallery = open_gallery(real)
    if len(gallery.photos) != 13_233:
        pytest.skip(f"needs all of LFW, and this dataset has {len(gallery.photos):,} photos")
    here = [name for name in RECIPES if gallery.encoders.on_disk(name)]
    if not here:
        pytest.skip("needs weights: set FACESEARCH_MODELS to a folder with them")
    if "resnet50" in here and HEADED not in here:
        _, curve = train_and_keep_head(gallery, HEADED, DEFAULT_EPOCHS)
        # By chance it would be 1 of 1,680, and the people with most photos are 6 %.
        assert curve[-1].held_out_accuracy > 0.15
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


def test_every_photo_is_indexed_or_named(lfw: Gallery, recipe: str) -> None:
    manifest = lfw.searcher(recipe).embeddings.manifest
    counts = manifest["counts"]
    assert counts["photos"] == 13_233
    assert counts["people"] == 5_749
    assert counts["unreadable"] == 0
    assert counts["no_face"] <= (5 if RECIPES[recipe].finds_faces else 0)
    assert len(manifest["skipped"]) == counts["no_face"] == 13_233 - counts["indexed"]
    assert all(skipped["photo_id"] and skipped["reason"] for skipped in manifest["skipped"])
    assert manifest["indexes"]["annoy"]["recall_at_20"] >= 0.99


@pytest.mark.parametrize("index", available())
def test_the_ten_people_are_found(lfw: Gallery, recipe: str, index: str) -> None:
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
    if index == "kmeans":  # it looks into one of six clusters only, and where their borders run is chance
        assert FOUND_AT_LEAST[recipe] * 0.5 <= found <= FOUND_AT_MOST[recipe]
    else:
        assert FOUND_AT_LEAST[recipe] <= found <= FOUND_AT_MOST[recipe]


# What was measured outside this project with the same weights, as View 2, 80/20, top-1, recall@20 and mAP@R. Less is a
# fault in the road from photo to vector.
AT_LEAST = {
    "mtcnn-reid": (0.994, 0.640, 0.990, 0.991, 0.975),
    "mtcnn-facenet": (0.992, 0.627, 0.972, 0.980, 0.925),
    # Trained here, on these very photos without their names: less is a fault of it or of the road.
    "mtcnn-mini": (0.990, 0.635, 0.982, 0.986, 0.955),
}


@pytest.fixture(scope="session")
def evaluation(lfw: Gallery, real: Settings) -> dict[str, dict[str, Any]]:
    """The evaluation of every recipe, by name."""
    started = time.perf_counter()
    here = [name for name in RECIPES if lfw.encoders.on_disk(name)]
    report = make_report(lfw, real, here, ["annoy", "kmeans"], silent)
    sys.stdout.write(f"\n{markdown(headline(report))}\n{time.perf_counter() - started:.0f} s")
    return {one["recipe"]: one for one in report["recipes"]}


def test_the_evaluation_reaches_what_was_measured_elsewhere(evaluation: dict[str, dict[str, Any]], recipe: str) -> None:
    one = evaluation[recipe]
    found = one["retrieval"]
    figures = [
        one["split"]["accuracy"]["value"],
        *(found[name]["value"] for name in ("top1", "recall_at_20", "map_at_r")),
    ]
    assert FOUND_AT_LEAST[recipe] <= sum(person["found"] for person in one["people"]) <= FOUND_AT_MOST[recipe]
    assert found["queries"] == 9_164
    assert found["precision_ceiling"] == pytest.approx(0.503, abs=0.001)
    assert all(0.63 < ceiling < 0.70 for ceiling in one["split"]["ceilings"])
    assert {index["index"] for index in one["indexes"]} == {"exact", "annoy", "kmeans"}
    assert all(index["recall_at_20"] >= 0.98 for index in one["indexes"] if index["index"] != "kmeans")
    if one["verification"] is None:
        pytest.skip("needs protocol/pairs.txt in the folder that FACESEARCH_DATASET names")
    # Marilyn_Monroe_0001, in whom MTCNN finds no face, is in one pair.
    assert one["verification"]["compared"] == 6000 - RECIPES[recipe].finds_faces
    figures.insert(0, one["verification"]["accuracy"]["value"])
    assert all(figure >= floor for figure, floor in zip(figures, AT_LEAST.get(recipe, (0,) * 5), strict=True)), figures


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
def three_parts(real: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a gallery of LFW's first photos, and beside it, in `undisturbed`, that gallery built once."""
    gallery = open_gallery(real)
    if not gallery.encoders.on_disk("mtcnn-reid"):
        pytest.skip("needs the weights of face-reidentification-retail-0095: set FACESEARCH_MODELS to their folder")
    place = tmp_path_factory.mktemp("three-parts")
    (place / "photos").mkdir()
    for row in range(THREE_PARTS):
        photo = gallery.photos[row]
        (place / "photos" / f"{photo.photo_id}.jpg").write_bytes(bytes(photo.source))
    environment = os.environ | {"FACESEARCH_DATASET": f"imagefolder:{place / 'photos'}"}
    if real.models:
        environment["FACESEARCH_MODELS"] = str(real.models)
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


def test_the_command_line_answers_in_json(lfw: Gallery, real: Settings, tmp_path: Path) -> None:
    recipe = next(name for name in ("mtcnn-reid", *RECIPES) if lfw.encoders.on_disk(name))
    row = lfw.photos.row_of("Calista_Flockhart_0001")
    assert row is not None
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(bytes(lfw.photos[row].source))
    environment = {
        "FACESEARCH_DATASET": real.dataset,
        "FACESEARCH_INDEX": str(real.index),
        "FACESEARCH_CACHE": str(real.cache),
    }
    if real.models:
        environment["FACESEARCH_MODELS"] = str(real.models)
    command = [sys.executable, "-m", "pipeline", "search", str(photo), "--recipe", recipe, "--k", "6", "--json"]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout)
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5, 6]
    assert [hit["person"] for hit in answer["hits"]] == ["Calista Flockhart"] * 6
    assert answer["hits"][0]["photo_id"] == "Calista_Flockhart_0001"
    assert answer["hits"][0]["distance"] < SAME_PHOTO_DISTANCE
