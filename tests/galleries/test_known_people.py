"""The people in a gallery of somebody's photos: found, named, merged, split, removed; and what outlives new photos."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter

from pipeline.core.errors import SettingsError, WeightsError
from pipeline.core.progress import Report
from pipeline.core.recipes import COMPACT, MINI, MINI_WHOLE
from pipeline.core.settings import SAMPLE
from pipeline.core.types import Answer
from pipeline.embeddings.corrections import NAME, Correction, Corrections
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.ask import Question, ask
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.known_people import KnownPeople
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.own_gallery import OwnGallery
from pipeline.galleries.people import NOBODY, corrected, find_people
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.people import faces_html, people_html
from pipeline.page.html.wording import answer_line
from pipeline.photos.sources import UNKNOWN
from pipeline.search.grouping import group_faces
from tests.waiting import until

COUNTS = {"01": 4, "02": 3, "03": 2, "04": 1}


def album(folder: Path, counts: dict[str, int], start: int = 0) -> list[Path]:
    """So many photos of each of the people who do not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for person, count in counts.items():
        photos = sorted((SAMPLE / f"Composite {person}").iterdir())[start : start + count]
        copies += [Path(shutil.copy(photo, folder / f"{person}-{photo.stem}.jpg")) for photo in photos]
    return copies


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnGalleries]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    own = OwnGalleries(StoredEncoders(WeightStore(None, tmp_path / "cache", {})), tmp_path / "kept")
    yield own
    own.close()


@pytest.fixture
def mine(own: OwnGalleries, tmp_path: Path) -> OwnGallery:
    """A gallery of ten photos of four people."""
    _, gallery = own.create()
    added(gallery, album(tmp_path / "album", COUNTS))
    return gallery


def added(gallery: OwnGallery, photos: list[Path]) -> None:
    gallery.add(photos, lambda: None)
    gallery.wait()
    assert not gallery.problem
    until(lambda: not gallery.busy)


def people_of(gallery: OwnGallery) -> KnownPeople:
    assert gallery.people
    return gallery.people


def summary(people: KnownPeople) -> list[tuple[str, str, int]]:
    """Of each person the name, whose faces they are, and how many."""
    return [
        (person.name, "+".join(sorted({face[:2] for face in person.faces})), len(person.faces))
        for person in people.people
    ]


FOUND = [("", "01", 4), ("", "02", 3), ("", "03", 2)]


def face_of(people: KnownPeople, composite: str) -> str:
    return next(person.faces[0] for person in people.people if person.faces[0].startswith(composite))


def test_people_are_found_named_and_found_again_after_photos_came(mine: OwnGallery, tmp_path: Path) -> None:
    people = people_of(mine)
    assert summary(people) == FOUND
    assert [face[:2] for face in people.unknown] == ["04"]
    people.name(face_of(people, "01"), "  Ada\nLovelace ")
    people.name(face_of(people, "02"), "Bruno")
    before = [("Ada Lovelace", "01", 4), ("Bruno", "02", 3), ("", "03", 2)]
    assert summary(people) == before
    added(mine, album(tmp_path / "more", {"01": 1, "02": 1, "03": 1, "04": 1}, start=4))
    assert summary(people_of(mine)) == [
        ("Ada Lovelace", "01", 5), ("Bruno", "02", 4), ("", "03", 3), ("", "04", 2),
    ]  # fmt: skip
    people_of(mine).undo()
    assert [name for name, *_ in summary(people_of(mine))] == ["Ada Lovelace", "", "", ""]


def test_names_are_in_the_answers_of_every_recipe(mine: OwnGallery, tmp_path: Path) -> None:
    people = people_of(mine)
    assert mine.preparation
    preparation = mine.preparation

    def asked(photo: Path) -> tuple[Answer, str]:
        """The answer, and the page's sentence; the gallery's files have no folder, and are called like themselves."""
        done = ask(Question(photo), lambda: preparation.searcher(""))
        return done.answers[0], answer_line(done.answers[0], 1.0, done.searcher.photos_of(done.answers[0].who))

    (query,) = album(tmp_path / "query", {"01": 1}, start=4)
    assert re.search(r"the person <b>in 01-\d</b>\s*</p>", asked(query)[1]), "nobody knows how many photos of whom"
    people.name(face_of(people, "01"), "Ada")
    answer, line = asked(query)
    assert "<b>Ada</b> <span class='quiet'>4 of 4 photos found" in line
    (other,) = album(tmp_path / "query", {"02": 1}, start=4)
    assert re.search(r"the person <b>in 02-\d</b>\s*</p>", asked(other)[1])
    assert [(hit.person, hit.named) for hit in answer.hits[:4]] == [("Ada", True)] * 4
    assert not any(hit.named for hit in answer.hits[4:])
    assert answer.who == "Ada"
    said = find_people(mine.preparation.gallery, MINI).as_json()
    assert [(person["person"], len(person["photos"])) for person in said["people"]] == [("Ada", 4), (2, 3), (3, 2)]


def test_merging_splitting_and_taking_back(mine: OwnGallery) -> None:
    people = people_of(mine)
    people.merge(face_of(people, "01"), face_of(people, "02"))
    assert summary(people) == [("Somebody 1", "01+02", 7), ("", "03", 2)]
    people.name(face_of(people, "03"), "Clara")
    people.merge(face_of(people, "03"), people.people[0].faces[0])
    assert summary(people) == [("Clara", "01+02+03", 9)]
    people.undo()
    assert summary(people) == [("Somebody 1", "01+02", 7), ("Clara", "03", 2)]
    wrong = [face for face in people.people[0].faces if face.startswith("02")]
    people.split(wrong)
    assert summary(people) == [("Somebody 1", "01", 4), ("Somebody 2", "02", 3), ("Clara", "03", 2)]
    people.undo()
    people.undo()
    people.undo()
    assert summary(people) == FOUND
    assert not people.said


def test_one_face_that_is_split_off_takes_nobody_along_whatever_it_is_called(mine: OwnGallery) -> None:
    people = people_of(mine)
    face = face_of(people, "01")
    people.split([face])
    people.name(face, "Ada")
    assert summary(people) == [("", "01", 3), ("", "02", 3), ("", "03", 2), ("Ada", "01", 1)]


def test_who_is_no_person_and_a_face_that_is_somebody_elses(mine: OwnGallery) -> None:
    people = people_of(mine)
    first, *rest = people.of(face_of(people, "02")).faces
    people.drop([first])
    assert summary(people) == [("", "01", 4), ("", "02", 2), ("", "03", 2)]
    assert first in people.unknown
    people.remove(rest[0])
    assert summary(people) == [("", "01", 4), ("", "03", 2)]
    with pytest.raises(SettingsError, match="Choose a person first"):
        people.of(rest[0])
    people.split([first])
    assert ("Somebody 1", "02", 1) in summary(people), "what was dropped can be somebody again"


def test_what_makes_no_sense_is_said_in_a_sentence(mine: OwnGallery) -> None:
    people = people_of(mine)
    face = face_of(people, "01")
    for name in ("", " \n", "unknown", "a\x00b"):
        with pytest.raises(SettingsError, match="Type the person's name first"):
            people.name(face, name)
    with pytest.raises(SettingsError, match="one person already"):
        people.merge(face, people.of(face).faces[1])
    for faces in ([], ["nowhere.jpg"]):
        with pytest.raises(SettingsError, match="Choose the faces first"):
            people.split(faces)
    people.undo()  # there is nothing
    assert summary(people) == FOUND


def test_what_was_said_goes_with_the_photos_it_was_said_of(mine: OwnGallery, own: OwnGalleries, tmp_path: Path) -> None:
    people = people_of(mine)
    people.name(face_of(people, "02"), "Bruno")
    file = next(mine.folder.rglob("corrections.csv"))
    assert "Bruno" in file.read_text()
    mine.discard([photo for photo in mine.photo_ids if photo.startswith("02")])
    mine.wait()
    until(lambda: not mine.busy)
    assert "Bruno" not in file.read_text()
    assert summary(people_of(mine)) == [("", "01", 4), ("", "03", 2)]
    people_of(mine).name(face_of(people_of(mine), "01"), "Ada")
    (key,) = own._open
    own.remove(key)
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert mine.people is None


def test_the_names_are_there_after_a_restart(own: OwnGalleries, tmp_path: Path) -> None:
    key, gallery = own.create()
    added(gallery, album(tmp_path / "album", COUNTS))
    people_of(gallery).name(face_of(people_of(gallery), "01"), "Ada")
    own.keep(key, kept=True)
    own.close()
    again = OwnGalleries(own._encoders, tmp_path / "kept")
    gallery = again.find(key)
    assert gallery
    gallery.wait()
    assert summary(people_of(gallery))[0] == ("Ada", "01", 4)
    again.close()


def test_a_blurred_photo_is_not_the_one_that_is_shown(own: OwnGalleries, tmp_path: Path) -> None:
    photos = album(tmp_path / "album", {"01": 4})
    _, gallery = own.create()
    added(gallery, photos)
    best = tmp_path / "album" / people_of(gallery).people[0].faces[0]
    with Image.open(best) as photo:
        photo.filter(ImageFilter.GaussianBlur(3)).save(best)
    _, again = own.create()
    added(again, photos)
    faces = people_of(again).people[0].faces
    assert best.name in faces
    assert faces[0] != best.name


def test_the_mean_of_a_persons_faces(mine: OwnGallery) -> None:
    people = people_of(mine)
    face = face_of(people, "01")
    assert mine.preparation
    searcher = mine.preparation.searcher(MINI)
    vectors = [searcher.embeddings.vectors[searcher.embeddings.photo_ids.index(each)] for each in people.of(face).faces]
    mean = sum(vectors) / len(vectors)
    assert people.vector(face) @ mean == pytest.approx(sum(mean**2) ** 0.5, abs=1e-5)


def test_corrections_of_groups() -> None:
    groups = [["a", "b", "c"], ["d", "e"], ["f"]]
    called: dict[str, str] = {}

    def who(*rows: Correction) -> list[str | int]:
        return list(corrected(groups, Corrections(rows), called).values())

    assert who() == [0, 0, 0, 1, 1, 2]
    named = Correction("rename", "a", name="Ann")
    assert who(named) == ["Ann", "Ann", "Ann", 1, 1, 2], "whoever joins a group is called as it is"
    assert who(named, Correction("drop", "a")) == [UNKNOWN, 0, 0, 1, 1, 2]
    assert who(Correction("drop", "a"), named) == ["Ann", "Ann", "Ann", 1, 1, 2], "the later one counts"
    assert who(named, Correction("split", "b", name="Ben")) == ["Ann", "Ben", "Ann", 1, 1, 2]
    assert who(Correction("split", "b", name="Ben")) == [0, "Ben", 0, 1, 1, 2], "the others are not called so"
    assert who(named, Correction("rename", "d", name="Ann")) == ["Ann"] * 5 + [2]
    assert who(Correction("rename", "f", name=NOBODY))[5] == NOBODY
    assert who(Correction("rename", "f", name="Ann", status="rejected"))[5] == 2
    called |= {"a": "Ann", "b": "Ann", "d": "Ann", "e": "2019", "f": "2019"}
    assert who() == ["Ann"] * 3 + [1] * 2 + [2], "whoever is most of a folder is called as it"
    assert who(Correction("rename", "a", name="Anne")) == ["Anne"] * 3 + [1] * 2 + [2], "what was said counts"
    assert who(Correction("split", "f", name="Eve")) == ["Ann"] * 3 + ["2019"] * 2 + ["Eve"]


@pytest.fixture
def family(tmp_path: Path) -> Preparation:
    """A page's folder of photos, of which two are in a folder called Ada."""
    album(tmp_path / "family", {"01": 2, "02": 3, "03": 2})
    album(tmp_path / "family" / "Ada", {"01": 2}, start=2)
    return prepared(tmp_path)


def unprepared(place: Path) -> Preparation:
    encoders = StoredEncoders(WeightStore(None, place / "cache", {}))
    return Preparation(Gallery(f"imagefolder:{place / 'family'}", encoders, place / "index"), maps=False)


def prepared(place: Path) -> Preparation:
    preparation = unprepared(place)
    preparation.start([MINI])
    preparation.wait()
    return preparation


def test_people_are_known_before_another_recipe_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    album(tmp_path / "family", {"01": 2, "02": 2})
    preparation = unprepared(tmp_path)
    known, build = {}, preparation.gallery.build

    def built(recipes: Sequence[str], report: Report) -> None:
        known[recipes[0]] = preparation.people is not None
        build(recipes, report)

    monkeypatch.setattr(preparation.gallery, "build", built)
    preparation.start([MINI, MINI_WHOLE])
    preparation.wait()
    assert known == {MINI: False, MINI_WHOLE: True}


def test_people_wait_for_a_better_network_that_is_coming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was offline at an earlier start has the mini network's vectors already."""
    album(tmp_path / "family", {"01": 2, "02": 2})
    prepared(tmp_path)
    again = unprepared(tmp_path)
    monkeypatch.setattr(again.gallery, "why_unavailable", lambda recipe: None)
    seen = []

    def get(recipe: str, report: object = None) -> object:
        if recipe == COMPACT:
            seen.append(again.people)
            raise WeightsError("These weights cannot be had.")
        return encoder(recipe)

    encoder = again.gallery.encoders.get
    monkeypatch.setattr(again.gallery.encoders, "get", get)
    again.start([COMPACT])
    again.wait()
    assert seen == [None]
    assert again.people is not None
    assert again.people.recipe == MINI


def counted(preparation: Preparation) -> list[tuple[str, int]]:
    assert preparation.people
    return [(person.name, len(person.faces)) for person in preparation.people.people]


def test_people_in_a_folder_of_photos_are_called_as_their_folders_until_somebody_says_otherwise(
    family: Preparation, tmp_path: Path
) -> None:
    assert counted(family) == [("Ada", 4), ("", 3), ("", 2)]
    people = family.people
    assert people
    people.name(face_of(people, "02"), "Bruno")
    (query,) = album(tmp_path / "query", {"02": 1}, start=4)
    answer = ask(Question(query), lambda: family.searcher("")).answers[0]
    assert [(hit.person, hit.named) for hit in answer.hits[:3]] == [("Bruno", True)] * 3
    album(tmp_path / "family", {"02": 1}, start=3)
    again = prepared(tmp_path)
    assert counted(again) == [("Ada", 4), ("Bruno", 4), ("", 2)]
    loose = [photo for photo in again.gallery.photos.photo_ids if photo.startswith("01")]
    assert [again.searcher("").people[again.searcher("").embeddings.photo_ids.index(each)] for each in loose] == [
        "Ada", "Ada",
    ]  # fmt: skip


def test_what_an_audit_says_is_not_taken_back_on_the_page(family: Preparation) -> None:
    people = family.people
    assert people
    audited = Correction("rename", face_of(people, "03"), name="Clara", source="audit")
    Corrections((audited,)).save(family.gallery.index_root / family.gallery.photos.name / NAME)
    people.name(face_of(people, "02"), "Bruno")
    assert counted(family) == [("Ada", 4), ("Bruno", 3), ("Clara", 2)]
    people.undo()
    assert counted(family) == [("Ada", 4), ("", 3), ("Clara", 2)]
    assert not people.said
    people.undo()
    assert counted(family) == [("Ada", 4), ("", 3), ("Clara", 2)]


def test_who_is_no_person_is_nobody_in_answers_and_figures(family: Preparation) -> None:
    people, searcher = family.people, family.searcher("")
    assert people
    statue, other = face_of(people, "02"), face_of(people, "03")
    people.remove(statue)
    people.drop([other])
    unnamed = [searcher.embeddings.photo_ids[row] for row in family.searcher("").unnamed]
    assert {statue, other} <= set(unnamed)
    dropped = family.gallery.corrections.dropped
    assert {statue, other} <= dropped
    people.split([other])
    assert other not in family.gallery.corrections.dropped


def test_people_whom_an_audit_made_one_stay_one(tmp_path: Path) -> None:
    album(tmp_path / "family" / "Ada", {"01": 2})
    album(tmp_path / "family" / "Ada L", {"01": 3}, start=2)
    family = prepared(tmp_path)
    one, other = (
        next(each for each in family.gallery.photos.photo_ids if each.startswith(name)) for name in ("Ada/", "Ada L/")
    )
    rows = (Correction("merge", other, other=one, source="audit"),)
    Corrections(rows).save(family.gallery.index_root / family.gallery.photos.name / NAME)
    again = prepared(tmp_path)
    assert counted(again) == [("Ada", 5)]
    assert set(again.searcher("").people) == {"Ada"}


def test_a_photo_that_is_gone_costs_its_picture_only(family: Preparation, tmp_path: Path) -> None:
    people = family.people
    assert people
    gone = people.of(face_of(people, "02")).faces[0]
    shutil.rmtree(tmp_path / "index" / "thumbnails")
    (tmp_path / "family" / gone).unlink()
    again = KnownPeople(family.gallery, MINI)
    again.draw()
    assert counted(family) == [(person.name, len(person.faces)) for person in again.people]
    assert again.picture(gone) is None
    assert gone not in people_html(again, 60)
    assert gone not in faces_html(again, again.of(face_of(again, "02")).faces, 60)


def test_telling_people_apart_can_be_stopped_and_begun_again(
    family: Preparation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before, family.people = counted(family), None

    def stopped_meanwhile(*arguments: Any) -> Any:  # noqa: ANN401
        family._stopping.set()
        return group_faces(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.galleries.people.group_faces", stopped_meanwhile)
        family.start([])
        family.wait()
    assert family.people is None
    assert family.ready() == [MINI], "searches go on"
    assert not caplog.messages, "nothing failed"
    family.start([])
    family.wait()
    assert counted(family) == before
    assert family.grouping is not None
    assert family.grouping.done == family.grouping.total == len(family.searcher("").embeddings)
