"""The command line: what it prints, its JSON, its exit codes, and one sentence on stderr for whatever is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline import __main__ as cli
from pipeline.cli import common
from pipeline.core.errors import WeightsError
from pipeline.core.progress import Progress, Report
from pipeline.core.recipes import DEFAULT, HEADED, IMPROVED, RECIPES
from pipeline.core.settings import VARIABLES
from pipeline.galleries import gallery as gallery_module
from pipeline.galleries.gallery import Gallery
from pipeline.search.calibration import OWN, write_calibrations
from tests.fakes import BROKEN, FACELESS, TinyEncoders, draw, known, portrait
from tests.search.test_searcher import ANSWER

ROOT = Path(__file__).parents[2]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def sentence(self) -> str:
        """The one line on stderr of a command that failed."""
        assert self.out == ""
        line, *more = self.err.strip().split("\n")
        assert not more
        assert "Traceback" not in line
        assert line.endswith(".")
        return line


Run = Callable[..., Said]


@pytest.fixture
def run(tiny: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the tiny gallery."""
    monkeypatch.setattr(gallery_module, "open_gallery", lambda settings: tiny)

    def command(*arguments: object) -> Said:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return command


@pytest.fixture
def query(tmp_path: Path) -> Path:
    """A photo of the gallery."""
    portrait(3, 1).save(tmp_path / "query.png")
    return tmp_path / "query.png"


def test_build_says_what_was_indexed_and_what_was_skipped(run: Run, tiny: Gallery) -> None:
    said = run("build")
    assert said.code == 0
    first, *skipped, last = said.out.strip().split("\n")
    assert first.startswith(
        f"{DEFAULT}: 24 of 26 photos of 6 people indexed, 1 without a face, 1 unreadable; Annoy recall@20 1.0 "
    )
    assert first.endswith(str(tiny.folder(DEFAULT)))
    assert skipped[0] == f"  skipped {FACELESS}: no face found"
    assert skipped[1].startswith(f"  skipped {BROKEN}: This file cannot be read as a photo")
    assert last.startswith("Done in ")
    assert "Indexing" in said.err
    assert "26/26" in said.err
    assert "Drawing maps: 100%" in said.err
    assert (tiny.folder(DEFAULT) / "map.npy").is_file()
    again = run("build")
    assert (again.code, again.err) == (0, "")
    assert again.out.split("\n")[:3] == said.out.split("\n")[:3]


@pytest.mark.slow
def test_build_takes_one_recipe_all_or_the_best_that_can_be_had(run: Run, tiny: Gallery) -> None:
    assert run("build", "--recipe", "resnet50").out.startswith("resnet50: 25 of 26 photos")
    assert not tiny.folder(DEFAULT).exists()
    tiny.encoders.unavailable[DEFAULT] = "Gone."
    assert run("build").out.startswith(f"{IMPROVED}: ")
    tiny.encoders.unavailable.clear()
    lines = run("build", "--recipe", "all").out.split("\n")
    assert [line.split(":")[0] for line in lines if "photos of" in line] == list(RECIPES)


def test_a_head_that_is_not_trained_is_named_and_left_out_of_all(
    run: Run, tiny: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.encoders.unavailable[HEADED] = "Train it first."
    said = run("build", "--recipe", "all")
    assert said.code == 0
    assert said.err.startswith(f"{HEADED} is left out: Train it first.\n")
    assert not tiny.folder(HEADED).exists()
    assert [line.split(":")[0] for line in said.out.split("\n") if "photos of" in line] == [
        name for name in RECIPES if name != HEADED
    ]


@pytest.mark.slow
def test_train_head_prints_its_curve_and_the_recipe_uses_the_head(run: Run, tiny: Gallery, query: Path) -> None:
    run("build", "--recipe", HEADED)
    before = tiny.encoders.get(HEADED).weights
    said = run("train-head", "--epochs", 3)
    assert said.code == 0
    lines = said.out.rstrip().split("\n")
    assert "validation" in lines[0]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert all("%" in line for line in lines[1:4])
    assert lines[4].startswith("Epoch ")
    assert lines[4].endswith(f" is kept in {HEADED}.safetensors.")
    assert re.fullmatch(r"It names \d+\.\d% of \d photos rightly that had no part in the choice\.", lines[5])
    assert "Training the head" in said.err
    head = tiny.encoders.heads[HEADED]
    assert head.facts["backbone"] == tiny.searcher("resnet50").embeddings.manifest["weights"]["sha256"]
    assert tiny.encoders.get(HEADED).weights != before
    assert run("build", "--recipe", HEADED).out.startswith(f"{HEADED}: 25 of 26 photos")
    assert run("search", query, "--recipe", HEADED, "--k", 1).out.split("\n")[1].split()[:3] == [
        "1",
        "0.0000",
        "Dimitri",
    ]


def test_any_recipe_can_be_reduced(run: Run, tiny: Gallery, query: Path) -> None:
    assert run("search", query, "--recipe", "mtcnn-reid", "--dim", 5).code == 2
    assert run("build", "--recipe", "mtcnn-reid", "--dim", 5).out.startswith("mtcnn-reid-5: 24 of 26 photos")
    assert tiny.searcher("mtcnn-reid-5").embeddings.vectors.shape == (24, 5)
    said = run("search", query, "--recipe", "mtcnn-reid", "--dim", 5, "--k", 3)
    assert said.out.startswith("mtcnn-reid-5 on photos-")
    assert [line.split()[2] for line in said.out.rstrip().split("\n")[1:-1]] == ["Dimitri"] * 3
    said = run("build", "--recipe", "mtcnn-reid", "--dim", 257)
    assert (said.code, said.sentence) == (2, "mtcnn-reid cannot be reduced to 257 dimensions; choose 2 to 256.")


def test_any_recipe_can_be_had_with_options_and_several_are_built_in_one_pass(
    run: Run, tiny: Gallery, query: Path
) -> None:
    detector = tiny.encoders.detector
    names = ["mtcnn-reid", "mtcnn-reid+flip", "mtcnn-facenet+aligned+flip-5"]
    said = run("build", "--recipe", *names)
    assert [line.split(":")[0] for line in said.out.split("\n") if "24 of 26 photos" in line] == names
    assert detector.photos_seen == 25, "each photo that can be read is looked at once for all"
    said = run("search", query, "--recipe", "mtcnn-reid+flip", "--k", 1)
    assert said.out.startswith("mtcnn-reid+flip on photos-")
    said = run("evaluate", "--recipes", "mtcnn-reid", "mtcnn-reid+flip")
    assert said.out.count("| `mtcnn-reid+flip` |") == 2, "in the headline and in what it costs"
    assert "| `mtcnn-reid` | mtcnn-reid+flip |" in said.out


def test_a_recipe_or_an_option_that_is_none_is_one_sentence(run: Run, query: Path) -> None:
    for command in (("build",), ("search", query), ("bench-indexes",)):
        said = run(*command, "--recipe", "vgg")
        assert said.code == 2
        assert said.sentence.startswith("There is no recipe 'vgg'; choose")
        said = run(*command, "--recipe", "mtcnn-reid+smile")
        assert said.sentence.startswith("There is no option 'smile'; choose")


def test_search_as_json_is_the_contract(run: Run, query: Path) -> None:
    run("build")
    said = run("search", query, "--json", "--k", 3)
    assert (said.code, said.err) == (0, "")
    value = json.loads(said.out)
    assert set(value) == ANSWER
    assert [set(face) for face in value["faces"]] == [{"box", "confidence", "landmarks"}]
    assert [hit["rank"] for hit in value["hits"]] == [1, 2, 3]
    assert value["hits"][0] == {
        "rank": 1,
        "person": "Dimitri",
        "photo_id": "Dimitri/1.png",
        "distance": 0.0,
        "verdict": None,
    }
    assert set(value["timings_ms"]) == {"detect", "embed", "search", "total"}
    assert (value["recipe"], value["index"]) == (DEFAULT, "exact")


@pytest.mark.slow
def test_search_prints_a_table(run: Run, query: Path) -> None:
    run("build", "--recipe", "all")
    said = run("search", query, "--k", "2", "--index", "exact", "--recipe", "mtcnn-reid")
    assert said.code == 0
    top, first, second, last = said.out.rstrip().split("\n")
    assert top.startswith("mtcnn-reid on photos-")
    assert " by exact: " in top
    assert first.split() == ["1", "0.0000", "Dimitri", "Dimitri/1.png", "the", "same", "photo"]
    assert second.split()[0] == "2"
    assert "Dimitri" in second
    assert "same photo" not in second
    assert last.startswith("No verdicts: these weights were never calibrated")


def test_search_tells_of_several_faces(run: Run, tmp_path: Path) -> None:
    run("build")
    draw((0, 0, (4, 30, 20)), (1, 0, (40, 20, 50))).save(tmp_path / "two.png")
    said = run("search", tmp_path / "two.png")
    assert "by exact, face 2 of 2: " in said.out
    assert len(said.out.rstrip().split("\n")) == 22, "twenty hits unless told otherwise"
    assert "Bruno" in said.out.split("\n")[1]
    other = run("search", tmp_path / "two.png", "--face", "1")
    assert "by exact, face 1 of 2: " in other.out
    assert "Ada" in other.out.split("\n")[1]
    missing = run("search", tmp_path / "two.png", "--face", "3")
    assert missing.code == 2
    assert "shows 2 faces, so there is no face 3" in missing.err


def test_search_without_a_face_exits_with_1(run: Run, tmp_path: Path) -> None:
    run("build")
    draw().save(tmp_path / "grey.png")
    said = run("search", tmp_path / "grey.png")
    assert (said.code, said.err) == (1, "")
    assert said.out == (
        "No face was found in this photo; try another, or search with the whole photo (--whole-photo).\n"
    )
    said = run("search", tmp_path / "grey.png", "--json")
    assert said.code == 1
    assert json.loads(said.out)["hits"] == []
    said = run("search", tmp_path / "grey.png", "--whole-photo", "--k", 4)
    assert said.code == 0
    assert len(said.out.rstrip().split("\n")) == 6


def test_search_prints_verdicts_and_whether_the_person_is_there(run: Run, tiny: Gallery, tmp_path: Path) -> None:
    write_calibrations(tiny.index_root / OWN, [known(DEFAULT, "tiny-reid", (0.01, 0.02, 0.03))])
    run("build")
    portrait(0).save(tmp_path / "known.png")
    draw((0, 1.5, (50, 30, 60)), size=(160, 120)).save(tmp_path / "other.png")
    said = run("search", tmp_path / "known.png", "--k", 2)
    _, first, second, last = said.out.rstrip().split("\n")
    assert first.split()[:4] == ["1", "0.0000", "likely", "Ada"]
    assert second.split()[2] == "unlikely"
    assert last == (
        "Ada: likely. Of searches like this one, half of all being for people of the gallery, 99.9 % are right; 1.0 % "
        "of searches for strangers look as sure."
    )
    said = run("search", tmp_path / "other.png", "--k", 1)
    assert ": unlikely. Of searches like this one" in said.out


def test_explain_draws_a_picture(run: Run, query: Path, tmp_path: Path) -> None:
    run("build")
    out = tmp_path / "why.png"
    said = run("explain", query, "--hit", "Dimitri/2.png", "--out", out)
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(rf"Similarity \d\.\d\d\d with Dimitri/2\.png, 130 embeddings in \d+ ms; {out}\.\n", said.out)
    with Image.open(out) as drawn:
        assert drawn.size[1] > drawn.size[0] / 2 > 300
    assert "with Dimitri/" in run("explain", query, "--out", out).out
    assert "with Dimitri/1.png" not in run("explain", query, "--out", out).out, "the photo itself explains nothing"


def test_explain_prints_json(run: Run, query: Path, tmp_path: Path) -> None:
    run("build")
    told = json.loads(run("explain", query, "--hit", "Dimitri/2.png", "--json").out)
    assert (told["recipe"], told["photo_id"], told["person"]) == (DEFAULT, "Dimitri/2.png", "Dimitri")
    assert told["distance"] == pytest.approx((2 - 2 * told["similarity"]) ** 0.5, abs=0.01)
    assert [len(told["drops"][name]) for name in ("query", "hit")] == [8, 8]
    assert {len(row) for rows in told["drops"].values() for row in rows} == {8}
    assert told["strongest_drop"] == max(drop for rows in told["drops"].values() for row in rows for drop in row)
    patch = told["patch"]
    assert (patch["at"][0], patch["at"][-1] + patch["side"], len(patch["at"])) == (0, patch["crop"], 8)
    assert not (Path.cwd() / "why.png").exists(), "a picture is drawn only where one is asked for"
    out = tmp_path / "also.png"
    assert run("explain", query, "--json", "--out", out).code == 0
    assert out.is_file()


def test_explain_takes_the_face_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    run("build")
    draw((5, 0, (10, 20, 40)), (1, 0, (80, 20, 60)), size=(160, 100)).save(tmp_path / "two.png")
    people = [
        json.loads(run("explain", tmp_path / "two.png", "--json", *face).out)["person"]
        for face in ([], ["--face", 1], ["--face", 2])
    ]
    assert people == ["Bruno", "Farid", "Bruno"]
    assert "no face 3" in run("explain", tmp_path / "two.png", "--face", 3).sentence


def test_what_explain_cannot_do(run: Run, query: Path, tmp_path: Path) -> None:
    run("build")
    draw().save(tmp_path / "grey.png")
    said = run("explain", tmp_path / "grey.png", "--hit", "Ada/0.png")
    assert (said.code, said.out) == (1, "No face was found in this photo.\n")
    assert json.loads(run("explain", tmp_path / "grey.png", "--json").out)["faces"] == []
    assert run("explain", query, "--hit", "Nobody").sentence == "There is no photo 'Nobody' in this gallery."
    assert "skipped when the gallery was built" in run("explain", query, "--hit", FACELESS).sentence
    assert "name a file ending in .png" in run("explain", query, "--out", tmp_path / "why.xyz").sentence


def test_calibrate_needs_lfw(run: Run) -> None:
    run("build")
    said = run("calibrate")
    assert said.code == 2
    assert said.sentence.startswith("Calibrating needs a gallery of all of LFW, and this is none;")


# What is wrong


def test_a_photo_that_is_not_there_or_is_none(run: Run, tmp_path: Path) -> None:
    run("build")
    missing = "There is no file missing.png; correct the path."
    damaged = "This file cannot be read as a photo; use an undamaged JPEG, HEIC, PNG, WebP or AVIF."
    for name, content, sentence in (
        ("missing.png", None, missing),
        ("text.jpg", b"hello", damaged),
        ("empty.jpg", b"", damaged),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        said = run("search", tmp_path / name)
        assert said.code == 2
        assert said.sentence == sentence


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "file:///tmp/a.jpg", "data:image/jpeg;base64,AAAA"])
def test_an_address_is_no_photo(run: Run, address: str) -> None:
    said = run("search", address)
    assert said.code == 2
    assert said.sentence == "Photos are taken as files, not from addresses; download the photo first."


def test_a_folder_is_no_photo(run: Run, tiny_folder: Path) -> None:
    said = run("search", tiny_folder)
    assert said.code == 2
    assert said.sentence == (
        "photos is a folder; name a photo in it, or have all of it as a gallery: FACESEARCH_DATASET=imagefolder:PATH."
    )


@pytest.mark.parametrize("k", [0, -3, 101])
def test_a_k_that_cannot_be(run: Run, query: Path, k: int) -> None:
    said = run("search", query, f"--k={k}")
    assert said.code == 2
    assert said.sentence == f"The number of results is {k}; choose 1 to 100."


def test_an_index_there_is_not(run: Run, query: Path) -> None:
    said = run("search", query, "--index", "nothing")
    assert said.code == 2
    assert said.sentence == "There is no index 'nothing'; choose one of exact, annoy, faiss, knn, kmeans, milvus."


def test_a_gallery_that_is_not_built(run: Run, query: Path) -> None:
    said = run("search", query)
    assert said.code == 2
    assert f"run `python -m pipeline build --recipe {DEFAULT}`" in said.sentence


def test_weights_that_cannot_be_had(run: Run, tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(recipe: str, report: Report) -> None:
        raise WeightsError("The weights were lost.")

    monkeypatch.setattr(tiny.encoders, "get", lost)
    said = run("build")
    assert said.code == 2
    assert said.sentence == "The weights were lost."


def test_a_build_that_is_interrupted_exits_as_shells_expect(
    run: Run, tiny: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(recipes: list[str], report: Report) -> None:
        report(Progress("Indexing", "photos", 3, 26, 3, 1.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny, "build", interrupt)
    said = run("build")
    assert said.code == 130
    assert said.err.rstrip().endswith("\nInterrupted; what was done is kept.")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["build", "--recipe"], ["search"], ["search", "x", "--k=a"]])
def test_a_command_that_cannot_be_read_exits_with_2(run: Run, arguments: list[str]) -> None:
    said = run(*arguments)
    assert said.code == 2
    assert said.sentence.endswith("--help`.")


@pytest.mark.parametrize("command", [["evaluate", "--json"], ["audit", "--csv"], ["explain", "x", "--out"]])
def test_where_nothing_can_be_written_is_said_before_any_work(run: Run, command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "below"):
        assert run(*command, place).sentence == f"{place} cannot be written; name a file in a folder that can be."


def test_a_disk_that_is_full_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        said = run("info")
    assert (said.code, said.sentence.startswith("What was to be printed cannot be written (No space left")) == (2, True)


def test_what_is_no_table_is_not_accepted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello\n")
    assert "is no table of corrections" in run("audit", "--accept", tmp_path / "note.txt").sentence


def test_a_recipe_that_is_named_twice_is_built_once(run: Run) -> None:
    lines = run("build", "--recipe", DEFAULT, DEFAULT).out.split("\n")
    assert len([line for line in lines if line.startswith(f"{DEFAULT}: ")]) == 1


def test_as_a_program_it_prints_one_sentence_too(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-m", "pipeline"]
    done = subprocess.run(
        [*command, "search", str(tmp_path / "missing.png")], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert Said(2, done.stdout, done.stderr).sentence == "There is no file missing.png; correct the path."
    environment["FACESEARCH_MODELS"] = str(tmp_path / "nowhere")
    done = subprocess.run([*command, "info"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert Said(2, done.stdout, done.stderr).sentence.startswith("FACESEARCH_MODELS names")


# Information


def test_info_says_what_is_here(run: Run, tiny: Gallery) -> None:
    run("build")
    tiny.encoders.unavailable["resnet50"] = "Its host cannot be reached."
    said = run("info")
    assert (said.code, said.err) == (0, "")
    lines = said.out.split("\n")
    assert lines[0] == "gallery  photos: 26 photos, 6 people"
    assert str(tiny.index_root) in lines[1]
    recipes = {line.split()[1]: line for line in lines if line.startswith("recipe")}
    assert list(recipes) == list(RECIPES)
    assert recipes[DEFAULT].endswith(": ready")
    assert recipes["resnet50"].endswith("unavailable: Its host cannot be reached.")
    assert "No gallery is built in" in recipes[IMPROVED]
    assert {line.split()[1] for line in lines if line.startswith("setting")} == set(VARIABLES)


def test_info_says_what_is_set_but_no_secret(run: Run, tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESEARCH_RATE", "7")
    monkeypatch.setenv("FACESEARCH_MILVUS_TOKEN", "root:secret")
    monkeypatch.setenv("FACESEARCH_MILVUS_URI", "http://root:secret@localhost:19530")
    said = run("info").out
    assert "setting  FACESEARCH_RATE = 7\n" in said
    assert "setting  FACESEARCH_MCP = (not set)\n" in said
    assert "setting  FACESEARCH_MILVUS_TOKEN = (set, not shown)\n" in said
    assert "secret" not in said


@pytest.mark.parametrize("command", [["train-head", "--epochs"], ["distil", "--steps"], ["bench", "--photos"]])
@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many"])
def test_a_number_of_times_is_a_whole_number_from_1(
    command: list[str], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, number]) == 2
    assert f"{number!r} is not a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("faces", [0, 1, 2, 3])
def test_a_gallery_of_hardly_any_faces(
    faces: int, run: Run, query: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "few" / "Ada"
    folder.mkdir(parents=True)
    for number in range(faces):
        portrait(0, number).save(folder / f"{number}.png")
    for number in range(2):
        draw().save(folder / f"faceless{number}.png")
    few = Gallery(f"imagefolder:{tmp_path / 'few'}", TinyEncoders(), tmp_path / "few index")
    monkeypatch.setattr(gallery_module, "open_gallery", lambda settings: few)
    assert run("build", "--recipe", "mtcnn-reid").code == 0
    searched, evaluated = run("search", query, "--recipe", "mtcnn-reid"), run("evaluate", "--recipes", "mtcnn-reid")
    assert searched.code == 0
    assert ("This gallery has no face to compare with" in searched.out) is (faces == 0)
    assert evaluated.code == (2 if faces < 2 else 0), evaluated.err
    assert ("Fewer than 2 photos have a face" in evaluated.err) is (faces < 2)


# Progress bars


def test_a_progress_bar_that_goes_on_starts_where_the_build_does(capsys: pytest.CaptureFixture[str]) -> None:
    bars = common.ProgressBars()
    bars(Progress("Downloading x.pt", "B", 0, 2_000_000, 0, 0.0))
    bars(Progress("Downloading x.pt", "B", 2_000_000, 2_000_000, 2_000_000, 1.0))
    bars(Progress("Indexing", "photos", 20, 26, 0, 0.0))
    bars(Progress("Indexing", "photos", 26, 26, 6, 1.0))
    bars.close()
    bars.close()
    said = capsys.readouterr().err
    assert "2.00M/2.00M" in said
    assert "20/26" in said
    assert "26/26" in said
    assert said.index("2.00M/2.00M") < said.index("20/26")
