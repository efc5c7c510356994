"""`audit` from the command to its files and back: with the two networks that come along, on photos of the sample."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline import __main__ as cli
from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE, Settings
from pipeline.embeddings.corrections import NAME, Corrections
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.reports import load_audit
from pipeline.page.tabs.evaluation import evaluation_tab

pytestmark = pytest.mark.slow

RECIPES = (MINI, "mini-whole")
TWICE = "Composite 02/9.jpg"  # a photo of the first person, saved again under another name


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gallery:
    """Three people of the sample, one picture of whom bears two names, built with both networks."""
    photos = tmp_path / "photos"
    for number in range(1, 4):
        shutil.copytree(SAMPLE / f"Composite 0{number}", photos / f"Composite 0{number}")
    Image.open(photos / "Composite 01" / "1.jpg").save(photos / TWICE, quality=70)
    monkeypatch.setenv("FACESEARCH_DATASET", f"imagefolder:{photos}")
    monkeypatch.setenv("FACESEARCH_INDEX", str(tmp_path / "index"))
    gallery = open_gallery(Settings.from_env())
    gallery.build(RECIPES)
    return gallery


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in ("audit", *arguments)])


def test_a_picture_under_two_names_is_listed_reviewed_and_corrected(
    sample: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--recipes", *RECIPES) == 0
    folder = sample.index_root / sample.photos.name
    made = json.loads((folder / "audit.json").read_text())
    listed = next(finding for finding in made["findings"] if TWICE in (finding["photo"], finding["other"]))
    assert listed["reason"] == "the same picture"
    assert (folder / "audit.html").read_text().count("<figure>") == len(made["findings"])
    assert TWICE in capsys.readouterr().out
    assert load_audit(sample) is not None

    assert (folder / "audit.csv").read_bytes().startswith(b"\xef\xbb\xbf"), "by which Excel knows that it is UTF-8"
    with (folder / "audit.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["status"] for row in rows} == {""}
    for row in rows:  # as somebody does in a spreadsheet
        row["status"] = "rejected"
        if TWICE in (row["photo"], row["other"]):
            row |= {"status": "accepted", "kind": "rename", "photo": TWICE, "name": "Composite 01"}
    with (tmp_path / "reviewed.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    before = [searcher.embeddings.manifest["fingerprint"] for searcher in map(sample.searcher, RECIPES)]
    assert run("--accept", tmp_path / "reviewed.csv") == 0
    corrections = Corrections.load(folder / NAME)
    named = dict(
        zip(sample.photos.photo_ids, corrections.people(sample.photos.photo_ids, sample.photos.people), strict=True)
    )
    assert named[TWICE] == "Composite 01"

    assert run("--recipes", *RECIPES) == 0
    again = json.loads((folder / "audit.json").read_text())
    assert again["findings"] == []
    assert again["corrections"] != made["corrections"]
    reopened = open_gallery(Settings.from_env())
    assert [reopened.searcher(recipe).embeddings.manifest["fingerprint"] for recipe in RECIPES] == before
    assert run("--recipes", *RECIPES, "--uncorrected", "--json", tmp_path / "all.json") == 0
    assert json.loads((tmp_path / "all.json").read_text())["findings"] == made["findings"]


def test_the_page_shows_the_audit(sample: Gallery) -> None:
    assert run("--recipes", *RECIPES) == 0
    preparation = Preparation(sample)
    preparation.start(RECIPES)
    preparation.wait(60)
    assert TWICE in evaluation_tab(preparation)


def test_one_network_is_not_enough(sample: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--recipes", MINI) == 2
    assert capsys.readouterr().err.startswith("An audit needs 2 networks that agree; build ")
    assert run() == 2  # of those that audit unasked only one is built
    assert run("--recipes", MINI, "nobody") == 2


def test_a_table_that_is_not_there_or_no_table_is_said(sample: Gallery, tmp_path: Path) -> None:
    assert run("--accept", tmp_path / "nothing.csv") == 2
    (tmp_path / "wrong.csv").write_text("kind,photo,status\nswap,a,accepted\n")
    assert run("--accept", tmp_path / "wrong.csv") == 2
