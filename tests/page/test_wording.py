"""The page's words: what is said in every state, and that nothing foreign gets into the HTML unescaped."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.progress import Progress
from pipeline.core.recipes import DEFAULT, RECIPES
from pipeline.core.types import Answer, Face, Hit
from pipeline.core.verdicts import PersonVerdict, Verdict, Words
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation, Status
from pipeline.page.html.wording import (
    about,
    answer_line,
    caption,
    duration,
    every_line,
    gallery_label,
    header,
    hints,
    limit_line,
    link,
    missing_line,
    model_label,
    model_note,
    no_limit_line,
    notice,
    percent,
    person_line,
    progress_line,
)
from tests.fakes import TinyEncoders, draw, portrait

EVIL = "<b onclick='x'>&"
FACE = Face((0, 0, 10, 10), 0.99, ((1, 1),) * 5)


def answer(**changes: object) -> Answer:
    values = {
        "recipe": DEFAULT, "index": "annoy", "gallery": "lfw", "faces": (FACE,), "face": FACE, "crop": draw(),
        "hits": (Hit(1, "a/1", "A", 0.5), Hit(2, "a/2", "A", 0.75)),
        "timings_ms": {"detect": 30.4, "embed": 20.2, "search": 1.26, "total": 51.9},
    }  # fmt: skip
    return Answer(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1 s"), (0.4, "1 s"), (1.6, "2 s"), (89, "89 s"), (90, "2 min"), (150.1, "3 min"), (3600, "60 min")],
)
def test_a_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress("Indexing", "photos", 0, 13233, 0, 0.0), "Indexing: 0 of 13,233 photos"),
        (
            Progress("Indexing", "photos", 4000, 13233, 2000, 40.0),
            "Indexing: 4,000 of 13,233 photos · 50 photos/s · 3 min left",
        ),
        (Progress("Indexing", "photos", 30, 30, 30, 2.0), "Indexing: 30 of 30 photos · 15 photos/s · 1 s left"),
        (
            Progress("Downloading net.pt", "B", 25_000_000, 112_000_000, 25_000_000, 10.0),
            "Downloading net.pt: 25 of 112 MB · 2.5 MB/s · 35 s left",
        ),
    ],
)
def test_a_progress_line(progress: Progress, said: str) -> None:
    assert progress_line(progress) == said


def test_a_caption_has_rank_person_and_distance() -> None:
    said = caption(Hit(3, "Ada_0001", "Ada Lovelace", 0.876))
    for part in ("3", "Ada Lovelace", "0.88"):
        assert part in said
    assert "same photo" not in said
    assert EVIL in caption(Hit(1, "x", EVIL, 1.0)), "captions are shown as text, not as HTML"
    assert "the same photo" in caption(Hit(1, "Ada_0001", "Ada Lovelace", 0.004))


def test_a_caption_has_the_verdict_in_text() -> None:
    hit = Hit(3, "Ada_0001", "Ada Lovelace", 0.876, Verdict("likely", 0.934, 0.02))
    assert caption(hit) == "3 · Ada Lovelace\ndistance 0.88, likely"


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "under 1 %"), (0.0099, "under 1 %"), (0.014, "1 %"), (0.5, "50 %"), (0.99, "99 %"), (0.9999, "over 99 %")],
)
def test_no_percentage_claims_certainty(share: float, said: str) -> None:
    assert percent(share) == said


@pytest.mark.parametrize(
    ("words", "named", "said"),
    [
        ("very likely", True, "<span class='very-likely'>Very likely</span> <b>A</b>"),
        ("unclear", True, "<span class='unclear'>Perhaps</span> <b>A</b>"),
        ("likely", False, "<span class='likely'>Likely</span> the person <b>in A</b>"),
        ("unlikely", True, "<b>Probably nobody in this gallery</b> <span class='quiet'>most like A</span>"),
    ],
)
def test_the_answer_is_a_sentence_about_a_person(words: Words, named: bool, said: str) -> None:
    line = answer_line(answer(person=PersonVerdict("A", words, 0.9, 0.01, named)), 0.995)
    assert f"<p>{said}</p>" in line
    assert "90 % of searches like this one are right." in line.split("<details")[1], "in the fold"
    assert "Most similar: <b>A</b>" in answer_line(answer(), 0.995), "where nothing is known of distances"
    assert "Nothing was found" in answer_line(answer(hits=()), 0.995)
    assert person_line(answer()) == ""
    assert person_line(answer(person=PersonVerdict("A", words, 0.9, 0.01))) in (
        "Very likely A",
        "Perhaps A",
        "Likely A",
        "Probably nobody in this gallery",
    )


def test_the_answer_counts_the_persons_photos_where_the_gallery_does() -> None:
    assert "2 of 4 photos found</span>" in answer_line(answer(), 0.995, 4)
    same = (Hit(1, "a/1", "A", 0.0), Hit(2, "b/1", "B", 0.75))
    assert "1 of 1 photo found, your photo one of them</span>" in answer_line(answer(hits=same), 0.995, 1)
    assert "found" not in answer_line(answer(), 0.995)
    line = answer_line(answer(), 0.995, 4, "Baseline finds 1 of 4, Improved 2 of 4.")
    assert "<span class='quiet'>Baseline finds 1 of 4, Improved 2 of 4.</span>" in line
    assert "photos found" not in line, "the same is not said twice"


def test_a_models_label_says_what_is_not_simply_ready() -> None:
    label, summary = RECIPES[DEFAULT].label, RECIPES[DEFAULT].summary
    assert model_label(DEFAULT, Status("ready")) == f"{label} · {summary}"
    assert model_label(DEFAULT, Status("ready", custom_weights=True)) == f"{label} (custom weights) · {summary}"
    assert model_label(DEFAULT, Status("unavailable", "Gone.")) == f"{label} (unavailable) · {summary}"
    assert model_label(DEFAULT, Status("waiting")) == model_label(DEFAULT, Status("preparing"))
    for state in ("waiting", "preparing"):
        assert model_label(DEFAULT, Status(state)).startswith(f"{label} (")


def test_models_that_cannot_be_had_stand_with_their_reasons() -> None:
    line = missing_line({DEFAULT: EVIL})
    assert f"<li><b>{RECIPES[DEFAULT].label}</b> · &lt;b onclick=" in line
    assert missing_line({}) == ""


def test_a_models_note_gives_the_reason_escaped() -> None:
    assert RECIPES[DEFAULT].summary in model_note(DEFAULT, None, Status("ready"))
    assert "Unavailable" not in model_note(DEFAULT, None, Status("ready"))
    assert "(custom weights)." in model_note(DEFAULT, None, Status("ready", custom_weights=True))
    note = model_note(DEFAULT, None, Status("unavailable", EVIL))
    assert "Unavailable here" in note
    assert "&lt;b onclick=&#39;x&#39;&gt;&amp;" in note
    assert EVIL not in note


def test_who_stands_in_for_a_role_says_for_what() -> None:
    note = model_note("mini-whole", "baseline", Status("ready"))
    assert "Mini, whole photo stands in until ResNet-50 is ready." in note
    assert RECIPES["mini-whole"].summary not in note
    note = model_note("mini-whole", "baseline", Status("ready"), lacking=True)
    assert "ResNet-50 is not here (see More models); Mini, whole photo stands in." in note
    assert "stands in" not in model_note("resnet50", "baseline", Status("ready"))
    assert "Compact, under More models, names more people" in model_note("mtcnn-facenet", "improved", Status("ready"))
    assert "Compact" not in model_note("mtcnn-facenet", None, Status("ready"))
    assert "whole photo stands in" not in model_note("mini-whole", None, Status("ready")), "chosen by its own name"


def test_a_notice_is_escaped_and_announced() -> None:
    assert notice(EVIL) == "<p class='notice' role='alert'>&lt;b onclick=&#39;x&#39;&gt;&amp;</p>"


def test_the_answer_line_has_the_numbers() -> None:
    line = answer_line(answer(), 0.995)
    for part in (
        "52 ms",
        "finding the face 30",
        "embedding 20",
        "searching by annoy 1.3",
        "finds 99.5 % of the true 20",
    ):
        assert part in line
    assert "<details class='steps'><summary>52 ms</summary>" in line, "the steps are in a fold"


def test_the_line_of_several_answers_adds_up_what_each_took() -> None:
    line = every_line([answer(), answer(), answer()])
    assert "The nearest photos of <b>3 faces</b>, a row for each" in line
    assert "95 ms" in line, "30.4 once, 20.2 and 1.26 three times"
    assert "nearest photos of <b>1 face</b>," in every_line([answer()])


def test_hints_are_a_list_and_escaped() -> None:
    assert hints([]) == ""
    assert hints(["One.", EVIL]).count("<li>") == 2
    assert EVIL not in hints([EVIL])


def test_a_link_has_the_choices_and_is_escaped() -> None:
    assert "href='?gallery=main&amp;recipe=mtcnn-reid&amp;index=exact&amp;k=7'" in link(MAIN, "mtcnn-reid", "exact", 7)
    assert EVIL not in link(EVIL, EVIL, EVIL, EVIL)
    assert "'x'" not in link(EVIL, EVIL, EVIL, EVIL)


def test_without_a_face_the_answer_line_says_what_to_do() -> None:
    line = answer_line(answer(faces=(), face=None, crop=None, hits=()), 0.995)
    assert "No face was found" in line
    assert "whole photo" in line
    assert "role='alert'" in line


def test_the_answer_line_is_escaped() -> None:
    assert EVIL not in answer_line(answer(index=EVIL), 0.995)


# The header


def test_the_header_of_a_gallery_that_is_being_prepared(tiny: Gallery) -> None:
    preparation = Preparation(tiny)
    assert "Getting the gallery ready" in header(Galleries(preparation), MAIN)
    assert about(preparation).strip() == ""
    assert gallery_label(preparation) == "photos · soon"
    preparation._preparing([DEFAULT], Progress(EVIL, "photos", 5, 26, 5, 1.0))
    assert "5 of 26 photos · 5 photos/s · 4 s left" in header(Galleries(preparation), MAIN)
    assert EVIL not in header(Galleries(preparation), MAIN)
    assert RECIPES[DEFAULT].label in header(Galleries(preparation), MAIN)


def test_the_header_of_a_gallery_that_is_ready(tmp_path: Path) -> None:
    folder = tmp_path / "<b>x"
    (folder / "<i>Eve").mkdir(parents=True)
    portrait(0).save(folder / "<i>Eve" / "1.png")
    preparation = Preparation(Gallery(f"imagefolder:{folder}", TinyEncoders(), tmp_path / "index"))
    preparation.start()
    preparation.wait(60)
    assert "Gallery: <b>&lt;b&gt;x</b>, 1 photo" in about(preparation)
    assert gallery_label(preparation) == "<b>x · 1 photo", "shown as text, not as HTML"
    assert "class='state'" not in header(Galleries(preparation), MAIN)
    preparation._preparing(["resnet50"], Progress("Indexing", "photos", 0, 1, 0, 0))
    assert "0 of 1 photos" in header(Galleries(preparation), MAIN)
    assert "Getting the gallery ready" not in header(Galleries(preparation), MAIN)


def test_the_header_without_photos_names_the_problem(tmp_path: Path) -> None:
    preparation = Preparation(Gallery(f"imagefolder:{tmp_path / EVIL}", TinyEncoders(), tmp_path / "index"))
    preparation.start()
    preparation.wait(60)
    assert "There is no gallery to search: " in header(Galleries(preparation), MAIN)
    assert gallery_label(preparation).endswith(" · unavailable")
    assert "does not exist; correct the path." in header(Galleries(preparation), MAIN)
    assert EVIL not in header(Galleries(preparation), MAIN)


@pytest.mark.parametrize(
    ("alarms", "beyond", "said"),
    [
        (
            0.1,
            3,
            "<b>10 %</b> of searches for people who are not in this gallery would show a photo this near; 3 of 20",
        ),
        (
            0.001,
            1,
            "<b>under 1 %</b> of searches for people who are not in this gallery would show a photo this near; 1 of",
        ),
    ],
)
def test_what_a_limit_means(alarms: float, beyond: int, said: str) -> None:
    line = limit_line(alarms, beyond, 20)
    assert said in line
    assert f"20 results {'is' if beyond == 1 else 'are'} farther." in line


def test_why_there_is_no_limit() -> None:
    assert "distances were only measured on faces, not on whole photos." in no_limit_line(whole_photo=True)
    assert "distances were not measured for this model here." in no_limit_line(whole_photo=False)
