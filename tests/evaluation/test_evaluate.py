"""The evaluation from the command to its files, in the tiny world; and galleries that it must not believe."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.core.errors import (
    GalleryDamaged,
    GalleryMissing,
    IndexUnavailable,
    PhotosError,
    SettingsError,
    WeightsError,
)
from pipeline.core.files import digest, sealed, write_json
from pipeline.core.processors import processor
from pipeline.core.progress import Progress, silent
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.core.types import Encoded, Face
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.faces import Choose
from pipeline.evaluation.evaluate import (
    CHECKED,
    NOTES,
    Task,
    _rounded,
    _steps,
    check_better_than_chance,
    check_vectors,
    evaluate,
)
from pipeline.evaluation.metrics import Estimate, Resampled
from pipeline.evaluation.pairs import VIEW_1, Pairs
from pipeline.evaluation.protocols import Retrieval
from pipeline.evaluation.verification import NOT_REFITTED, REFITTED, refitted
from pipeline.galleries import gallery as gallery_module
from pipeline.galleries import reports
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.reports import load_report, make_report, report_path, save_report
from pipeline.indexes.registry import available
from pipeline.page.tabs.evaluation import ABSENT, UNREADY, evaluation_tab
from tests.fakes import FACELESS, PEOPLE, PHOTOS_EACH, TinyEncoders, portrait

RECIPE = "mtcnn-reid"
REDUCED = f"{RECIPE}-5"
GAINED = {"b": 2.0, "a+flip": 3.0, "a+wide": 2.0}


def tiny_pairs() -> Pairs:
    """Two folds; in the second stands a photo without a face."""
    one_person = [(f"{name}/0.png", f"{name}/1.png") for name in PEOPLE]
    two_people = [(f"{name}/2.png", f"{other}/2.png") for name, other in pairwise(PEOPLE)]
    ids = [*one_person, ("Clara/0.png", FACELESS), *two_people]
    same = np.arange(len(ids)) <= len(PEOPLE)
    return Pairs(tuple(ids), same, np.arange(len(ids)) % 2 + 1, "the tiny world")


@pytest.fixture
def built(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> Gallery:
    """The tiny gallery with one recipe built, as the command line finds it."""
    tiny.build([RECIPE])
    monkeypatch.setattr(gallery_module, "open_gallery", lambda settings: tiny)
    monkeypatch.setattr(reports, "open_pairs", lambda *_: tiny_pairs())
    return tiny


def reopened(gallery: Gallery) -> Gallery:
    return Gallery(gallery._dataset, gallery.encoders, gallery.index_root)


def report_on(gallery: Gallery, *indexes: str) -> dict:
    task = Task(gallery.photos, tiny_pairs(), tuple(gallery.examples()))
    return evaluate([gallery.searcher(RECIPE)], task, indexes or None)


@pytest.mark.slow
def test_the_command_writes_figures_and_a_report(built: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    built.build(list(RECIPES))
    assert main(["evaluate"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    count = len(RECIPES)
    assert [line.split("`")[1] for line in lines[2 : 2 + count]] == list(RECIPES)
    assert lines[3 + count].startswith("| from | to | View 2 |")
    assert [line.split("`")[1] for line in lines[5 + count : 4 + 2 * count]] == list(RECIPES)[:-1]
    assert lines[5 + 2 * count].startswith("| recipe | finding the face | embedding it |")
    assert [line.split("`")[1] for line in lines[7 + 2 * count : -1]] == list(RECIPES)
    assert lines[0].startswith("| recipe | View 2 | ")
    assert lines[-1].startswith("Done in ")
    assert str(report_path(built)) in lines[-1]
    assert all(f"Measuring {name}" in said.err for name in RECIPES)
    report = load_report(built)
    assert report is not None
    assert [one["recipe"] for one in report["recipes"]] == list(RECIPES)
    assert [(step["from"], step["to"]) for step in report["steps"]] == list(pairwise(RECIPES))
    before, after = report["recipes"][:2]
    assert report["steps"][0]["top1"]["value"] == pytest.approx(
        after["retrieval"]["top1"]["value"] - before["retrieval"]["top1"]["value"], abs=2e-6
    )
    assert sum(isinstance(gain, dict) for step in report["steps"] for gain in step.values()) == 3 * (count - 1)
    page = report_path(built).with_suffix(".html").read_text()
    assert all(RECIPES[name].label in page for name in RECIPES)


def test_gains_are_corrected_for_how_many_there_are() -> None:
    """Two, three and two standard deviations: alone each would be below 5 %."""
    figures = {name: {"top1": Resampled(gain, np.array([gain - 1, gain + 1]))} for name, gain in GAINED.items()}
    steps = _steps({"a": {"top1": Resampled(0, np.zeros(2))}, **figures})
    assert [(step["from"], step["to"]) for step in steps] == [("a", "b"), ("a", "a+flip"), ("a", "a+wide")]
    assert [step["top1"]["value"] for step in steps] == list(GAINED.values())
    assert (steps[0]["top1"]["low"], steps[0]["top1"]["high"]) == pytest.approx((1.05, 2.95))
    assert [step["top1"]["p"] for step in steps] == pytest.approx([0.091, 0.0081, 0.091], rel=1e-3)


def test_what_a_report_holds(built: Gallery) -> None:
    report = report_on(built)
    json.dumps(report, allow_nan=False)
    assert (report["photos"], report["people"], report["gallery"]) == (26, 6, built.photos.name)
    assert report["photos_revision"] == built.photos.revision
    assert report["seeds"]["split"] == [0, 1, 2, 3, 4]
    assert report["versions"]["numpy"] == np.__version__
    assert report["processor"] == str(processor())
    assert any("VGGFace2" in note for note in report["notes"])
    (one,) = report["recipes"]
    manifest = built.searcher(RECIPE).embeddings.manifest
    assert (one["fingerprint"], one["weights"]) == (manifest["fingerprint"], manifest["weights"])
    assert (one["dim"], one["embedded"]) == (256, 24)
    # Of 26 queries the faceless and the broken one find nothing; people's colours are told apart for certain.
    assert one["retrieval"]["top1"]["value"] == pytest.approx(24 / 26, abs=1e-6)
    assert one["retrieval"]["queries"] == 26
    low, high = one["retrieval"]["top1"]["low"], one["retrieval"]["top1"]["high"]
    assert 0.8 <= low < 24 / 26 < high <= 1
    assert (one["verification"]["pairs"], one["verification"]["compared"]) == (12, 11)
    assert one["verification"]["false_misses"][0]["photo_ids"] == ["Clara/0.png", FACELESS]
    assert one["open_set"] is None  # everybody has several photos
    assert one["verdicts"] is None  # these weights were never calibrated
    assert one["grouping"] == {}  # so how near one person's faces are is not known
    assert [person["found"] for person in one["people"]] == [PHOTOS_EACH] * len(PEOPLE)
    assert [person["of"] for person in one["people"]] == [4, 4, 5, 5, 4, 4]
    assert {group["attribute"] for group in one["groups"]} == {
        "photos of the person", "face size", "detection confidence", "sharpness", "brightness",
    }  # fmt: skip
    assert [index["index"] for index in one["indexes"]] == available()


def test_a_report_is_plain_json_whatever_was_measured() -> None:
    measured = {"a": (1, 0.123456789, np.inf), "b": [{"c": float("nan")}, None, "text", True]}
    assert _rounded(measured) == {"a": [1, 0.123457, None], "b": [{"c": None}, None, "text", True]}


@pytest.mark.slow
def test_a_pca_judges_view_2_without_the_people_of_the_fold(built: Gallery) -> None:
    """Another photo of somebody changes the other fold, whose PCA is fitted on it, and not their own."""
    built.build([REDUCED])
    pairs = Pairs(
        tuple(
            both
            for one, other in [PEOPLE[:2], PEOPLE[2:4]]
            for both in [(f"{one}/0.png", f"{one}/1.png"), (f"{one}/0.png", f"{other}/0.png")]
        ),
        np.array([True, False] * 2),
        np.array([1, 1, 2, 2]),
        "here",
    )
    view_1 = Pairs(
        tuple((f"{name}/1.png", f"{name}/2.png") for name in PEOPLE), np.ones(6, bool), np.ones(6, np.int64), "here"
    )
    embeddings = built.searcher(REDUCED).embeddings
    before = refitted(embeddings, built.photos, pairs, view_1)
    assert before is not None
    changed = built.searcher(RECIPE).embeddings.photo_ids.index(f"{PEOPLE[0]}/2.png")

    def change(path: Path) -> None:
        vectors = np.load(path, allow_pickle=False)
        vectors[changed] = np.eye(256)[7]
        np.save(path, vectors, allow_pickle=False)

    rewrite(built, "vectors.npy", change)
    after = refitted(embeddings, built.photos, pairs, view_1)
    assert after is not None
    assert after[:2].tolist() == before[:2].tolist()
    assert (np.abs(after[2:] - before[2:]) > 1e-4).all()


@pytest.mark.slow
def test_the_report_says_what_a_pca_was_fitted_on(built: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def report_on_both() -> dict:
        return make_report(reopened(built), Settings(), [RECIPE, REDUCED], ["exact"], silent)

    built.build([REDUCED])
    report = report_on_both()
    assert report["notes"][-1] == REFITTED.format(REDUCED)
    assert "View 1&#39;s photos without the people" in save_report(built, report)[1].read_text()
    assert report_on(built)["notes"] == list(NOTES), "said only where there is a PCA"
    own = report["recipes"][1]["verification"]["accuracy"]["value"]
    gained = own - report["recipes"][0]["verification"]["accuracy"]["value"]
    assert report["steps"][0]["verification"]["value"] == pytest.approx(gained, abs=2e-6)

    def none_of_view_1(_: str, __: object, ___: Path, view: object = None) -> Pairs:
        if view is VIEW_1:
            raise PhotosError("Not to be had.")
        return tiny_pairs()

    monkeypatch.setattr(reports, "open_pairs", none_of_view_1)
    assert report_on_both()["notes"][-1] == NOT_REFITTED.format(REDUCED, RECIPE)
    task = Task(built.photos, tiny_pairs(), (), view_1=tiny_pairs())
    gallery = reopened(built)
    searcher = gallery.searcher(REDUCED)
    (built.folder(RECIPE) / "manifest.json").unlink()
    assert evaluate([searcher], task, ["exact"])["notes"][-1] == NOT_REFITTED.format(REDUCED, RECIPE)


def test_the_same_seeds_give_the_same_figures(built: Gallery) -> None:
    first, second = report_on(built), report_on(reopened(built))
    for report in (first, second):
        report["made"] = report["recipes"][0]["seconds"] = report["recipes"][0]["cost"] = None
    assert first == second


def test_only_what_is_asked_for(built: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built.build(["mtcnn-facenet"])
    places = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "b.html")]
    assert main(["evaluate", "--recipes", RECIPE, "--indexes", "annoy", *places]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert [one["recipe"] for one in report["recipes"]] == [RECIPE]
    assert [index["index"] for index in report["recipes"][0]["indexes"]] == ["exact", "annoy"]
    assert (tmp_path / "b.html").is_file()
    assert load_report(built) is None  # nothing was written where the page looks
    capsys.readouterr()
    assert main(["evaluate", "--indexes", "nothing"]) == 2
    assert "There is no index 'nothing'" in capsys.readouterr().err


def test_a_recipe_that_cannot_be_opened_is_left_out_with_its_reason(
    built: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built.build(["resnet50"])
    gallery, get = reopened(built), built.encoders.get

    def without_resnet(recipe: str, report: object = silent) -> object:
        if recipe == "resnet50":
            raise WeightsError("Gone.")
        return get(recipe)

    monkeypatch.setattr(gallery.encoders, "get", without_resnet)
    monkeypatch.setattr(gallery_module, "open_gallery", lambda settings: gallery)
    assert main(["evaluate", "--indexes", "exact"]) == 0
    assert "resnet50 is left out: Gone." in capsys.readouterr().err
    assert load_report(gallery)["left_out"] == {"resnet50": "Gone."}  # type: ignore[index]
    assert main(["evaluate", "--recipes", "resnet50"]) == 2
    assert capsys.readouterr().err.endswith("Gone.\n")


def test_an_index_that_cannot_be_asked_is_left_out_with_its_reason(
    built: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(*_: object) -> None:
        raise IndexUnavailable("Down.")

    monkeypatch.setattr(built.searcher(RECIPE).indexes["annoy"], "search", down)
    assert main(["evaluate", "--indexes", "annoy"]) == 0
    assert f"annoy of {RECIPE} is left out: Down." in capsys.readouterr().err


def test_nothing_built_is_one_sentence(tiny: Gallery) -> None:
    with pytest.raises(GalleryMissing, match="No gallery is built yet; run `python -m pipeline build`"):
        make_report(tiny, Settings(), None, None, silent)


def test_a_gallery_of_single_photos_cannot_be_evaluated(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for person in range(3):
        portrait(person).save(tmp_path / "photos" / f"{person}.png")
    gallery = Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "index")
    gallery.build([RECIPE])
    with pytest.raises(SettingsError, match="Nobody in this gallery has two photos"):
        make_report(gallery, Settings(), None, None, silent)


def test_progress_is_reported(built: Gallery) -> None:
    seen: list[Progress] = []
    make_report(built, Settings(), None, ["exact"], seen.append)
    assert list(dict.fromkeys(progress.task for progress in seen)) == ["Looking at the photos", f"Measuring {RECIPE}"]
    assert seen[-1].done == seen[-1].total == 24


def rewrite(gallery: Gallery, name: str, change: object) -> Gallery:
    """Changes a gallery's file as a faulty build would have written it: with the right hash in the manifest."""
    folder = gallery.folder(RECIPE)
    manifest = json.loads((folder / "manifest.json").read_text())
    change(folder / name)  # type: ignore[operator]
    manifest["files"][name] = digest(folder / name)
    write_json(folder / "manifest.json", sealed(manifest))
    return reopened(gallery)


@pytest.mark.parametrize(
    "order",
    [
        np.random.default_rng(0).permutation(24),
        np.roll(np.arange(24), 1),
        # A photo too many from the middle on: most vectors still stand for the right person.
        np.array([*range(13), 12, *range(13, 23)]),
    ],
    ids=["shuffled", "rolled", "shifted"],
)
def test_a_shuffled_gallery_is_caught(
    built: Gallery, order: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shuffle(path: Path) -> None:
        np.save(path, np.load(path, allow_pickle=False)[order], allow_pickle=False)

    gallery = rewrite(built, "vectors.npy", shuffle)
    monkeypatch.setattr(gallery_module, "open_gallery", lambda settings: gallery)
    assert main(["evaluate"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    sentence = said.err.splitlines()[-1]
    assert sentence.startswith(f"The vectors in {gallery.folder(RECIPE)} do not belong to its photos (")
    assert sentence.endswith("delete that folder and build it again.")
    assert load_report(gallery) is None


def test_names_given_to_the_wrong_photos_are_caught(built: Gallery) -> None:
    def misname(path: Path) -> None:
        photos = json.loads(path.read_text())
        photos["people"] = photos["people"][::-1]
        path.write_text(json.dumps(photos))

    with pytest.raises(GalleryDamaged, match="gives a photo another name than the dataset"):
        report_on(rewrite(built, "photos.json", misname))


def test_a_dataset_whose_names_mean_nothing_is_caught(tmp_path: Path) -> None:
    for number in range(24):  # the face is another one in every photo of a person
        folder = tmp_path / "photos" / f"person-{number // 4}"
        folder.mkdir(parents=True, exist_ok=True)
        portrait((number * 5) % 6, number // 6).save(folder / f"{number}.png")
    gallery = Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "index")
    gallery.build([RECIPE])
    with pytest.raises(GalleryDamaged, match=r"\(top-1 is 0.00% where guessing gives 13.04%\)"):
        report_on(gallery)


def test_the_check_takes_photos_from_both_ends_and_between(built: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher, asked = built.searcher(RECIPE), []
    encode = searcher.encoder.encode

    def asking(images: list[Image.Image], choose: Choose, *found: Sequence[tuple[Face, ...]]) -> list[Encoded]:
        asked.append(len(images))
        return encode(images, choose, *found)

    monkeypatch.setattr(searcher.encoder, "encode", asking)
    check_vectors(searcher, built.photos)
    assert asked == [1] * min(CHECKED, 24)


@pytest.mark.parametrize(
    ("top1", "queries", "chance", "believed"),
    # Five standard deviations of 1,000 guesses at 10 % are 4.7 %; of five guesses at 50 %, more than there is.
    [(0.05, 1000, 0.1, False), (0.147, 1000, 0.1, False), (0.148, 1000, 0.1, True), (0.0, 5, 0.5, True)],
)
def test_chance(top1: float, queries: int, chance: float, believed: bool) -> None:
    nothing = Estimate(0, 0, 0)
    figures = Retrieval(queries, Estimate(top1, 0, 1), nothing, nothing, nothing, 0, 0, chance, ())
    embeddings = Embeddings(Path("here"), np.empty((0, 2)), np.empty((0, 15)), (), (), (), {})
    if believed:
        check_better_than_chance(embeddings, figures)
    else:
        with pytest.raises(GalleryDamaged, match=r"The vectors in here .* where guessing gives 10.00%"):
            check_better_than_chance(embeddings, figures)


class References(HTMLParser):
    """Every address that a file refers to, and the text between its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "img":
            self.alternatives.append(values["alt"] or "")
        assert tag not in ("script", "link")


def test_the_report_is_one_file_that_needs_no_other(built: Gallery) -> None:
    report = report_on(built)
    evil = "<img src=http://x>"
    report["recipes"][0]["verification"]["false_misses"][0]["people"] = [evil, evil]
    _, path = save_report(built, report)
    text = path.read_text()
    found = References(text)
    assert found.addresses
    assert all(
        address.startswith(("data:image/jpeg;base64,", "data:image/svg+xml;base64,")) for address in found.addresses
    )
    assert all(found.alternatives)
    assert not re.search(r"url\(|@import", text)
    for said in ("True-accept", "Distances of pairs", "first n results", "24 of 26 found", "two people taken for one"):
        assert said in text
    assert "no face found" in text


def test_a_report_without_view_2(built: Gallery) -> None:
    task = Task(built.photos, None, tuple(built.examples()))
    report = evaluate([built.searcher(RECIPE)], task, ["exact"])
    assert report["pairs"] is report["recipes"][0]["verification"] is None
    text = save_report(built, report)[1].read_text()
    assert "(View 2)" not in text
    assert "<td>-</td>" in text


def test_the_pages_tab(built: Gallery) -> None:
    preparation = Preparation(built)
    assert evaluation_tab(preparation) == UNREADY
    preparation.start()
    preparation.wait()
    assert evaluation_tab(preparation) == ABSENT
    save_report(built, report_on(built))
    tab = evaluation_tab(preparation)
    assert f"<th scope='row'>{RECIPE}</th>" in tab
    assert tab.count("<img ") == 3
    assert "evaluation.html" in tab


@pytest.mark.parametrize("content", ["", "[]", '{"format": 0}', "{"])
def test_a_report_of_another_version_counts_as_absent(built: Gallery, content: str) -> None:
    report_path(built).write_text(content)
    assert load_report(built) is None
