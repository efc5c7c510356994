"""A folder of photos as a gallery: every face is a row, and the folder's name is that of one face of each photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.recipes import MINI
from pipeline.embeddings.corrections import NAME, Correction, Corrections
from pipeline.embeddings.map import well_known
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.faces import MtcnnDetector
from pipeline.encoder.look import TURNS
from pipeline.encoder.weights import WeightStore
from pipeline.evaluation.evaluate import Task, evaluate
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.wording import answer_line, person_line
from pipeline.page.presenter import searched
from pipeline.page.query import Request
from pipeline.photos.folders import labelled_photos, told_apart
from pipeline.photos.images import open_image
from pipeline.search.calibration import OWN, write_calibrations
from pipeline.search.explain import gallery_crop
from tests.encoder.test_look import PEOPLE as REAL_PEOPLE
from tests.encoder.test_look import portrait as real_portrait
from tests.encoder.test_look import scene, shown
from tests.fakes import PEOPLE, TinyEncoders, draw, known, portrait

RECIPE = "mtcnn-reid"
SIZE = (160, 100)
# In each of two photos in Ada's folder: Ada in the middle, Bruno at the left, and at the right who has no folder.
PARTY = ((1, (8, 30, 30)), (0, (55, 20, 50)), (3, (120, 30, 30)))


def party(variation: int) -> Image.Image:
    return draw(*((person, variation, place) for person, place in PARTY), size=SIZE)


def make_party(folder: Path) -> Path:
    """Two photos each of Ada, with two others beside her, of Bruno and of Clara."""
    for row, name in enumerate(("Ada", "Bruno", "Clara")):
        (folder / name).mkdir(parents=True)
        for variation in range(2):
            photo = party(variation) if name == "Ada" else portrait(row, variation)
            photo.save(folder / name / f"{variation}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_party(tmp_path / "photos")


@pytest.fixture
def gallery(folder: Path, tmp_path: Path) -> Gallery:
    index = tmp_path / "index"
    index.mkdir()
    write_calibrations(index / OWN, [known(RECIPE, "tiny-reid", (0.2, 0.5, 1.4), faces=10)])
    gallery = Gallery(f"imagefolder:{folder}", TinyEncoders(), index)
    gallery.build([RECIPE])
    return gallery


def test_the_folders_name_is_that_of_one_face_of_each_photo(gallery: Gallery) -> None:
    embeddings = gallery.searcher(RECIPE).embeddings
    assert list(zip(embeddings.photo_ids, embeddings.people, strict=True))[:4] == [
        ("Ada/0.png", "Ada"),
        ("Ada/0.png #2", "in a photo of Ada"),
        ("Ada/0.png #3", "in a photo of Ada"),
        ("Ada/1.png", "Ada"),
    ]
    assert [round(row[0]) for row in embeddings.faces[:3]] == [55, 8, 120], "the one in the middle is Ada"
    assert embeddings.named.tolist() == [True, False, False] * 2 + [True] * 4
    assert embeddings.manifest["counts"] == {"photos": 6, "no_face": 0, "unreadable": 0, "indexed": 10, "people": 3}
    assert [gallery.person(each) for each in ("Ada/0.png", "Ada/0.png #2")] == ["Ada", "in a photo of Ada"]


def test_whoever_is_in_two_photos_is_found_in_the_other(gallery: Gallery) -> None:
    for number, name in enumerate(("Ada/1.png #2", "Ada/1.png", "Ada/1.png #3")):
        person, place = PARTY[number]
        hits = gallery.searcher(RECIPE).search(draw((person, 0, place), size=SIZE), 10).hits
        assert name in [hit.photo_id for hit in hits[: 4 if person == 1 else 2]]


def test_a_face_without_a_name_is_said_to_be_in_somebodys_photo(gallery: Gallery, tmp_path: Path) -> None:
    searcher = gallery.searcher(RECIPE)
    answer = searcher.search(draw((3, 0, (120, 30, 30)), size=SIZE), 3)
    first, plain = answer.hits[0], answer.as_json()
    assert (first.person, first.named) == ("in a photo of Ada", False)
    assert plain["hits"][0]["named"] is False
    assert "named" not in searcher.search(portrait(1), 3).as_json()["hits"][0] or not answer.hits[0].named
    assert answer.person
    assert (answer.person.person, answer.person.named, answer.person.words) == (
        "in a photo of Ada",
        False,
        "likely",
    )
    assert person_line(answer) == "Likely the person in a photo of Ada"
    assert "Likely</span> the person <b>in a photo of Ada</b>" in answer_line(answer, 1.0)
    draw((3, 0, (120, 30, 30)), size=SIZE).save(tmp_path / "query.png")
    preparation = Preparation(gallery, maps=False)
    preparation.start([RECIPE])
    preparation.wait()
    page = searched(preparation, Request(str(tmp_path / "query.png"), "main", RECIPE))
    assert "<p class='who'>in a photo of Ada</p>" in page.results
    assert " found" not in page.sentence, "nobody knows how many photos there are of whom nobody named"


def test_who_has_a_name_somewhere_is_called_by_it_though_a_nameless_face_is_nearer(gallery: Gallery) -> None:
    answer = gallery.searcher(RECIPE).search(draw((1, 0, (8, 30, 30)), size=SIZE), 10)
    assert answer.hits[0].person == "in a photo of Ada"
    assert answer.person
    assert (answer.person.person, answer.person.named) == ("Bruno", True)
    assert gallery.searcher(RECIPE).photos_of(answer.who) == 2


def test_a_face_is_called_as_somebody_named_it(gallery: Gallery, tmp_path: Path) -> None:
    kept = gallery.index_root / gallery.photos.name / NAME
    Corrections((Correction("rename", "Ada/0.png #3", name="Dimitri"),)).save(kept)
    again = Gallery(f"imagefolder:{tmp_path / 'photos'}", gallery.encoders, gallery.index_root)
    first, second = again.searcher(RECIPE).search(draw((3, 0, (120, 30, 30)), size=SIZE), 2).hits
    assert (first.person, first.named) == ("Dimitri", True)
    assert (second.person, second.named) == ("in a photo of Ada", False)


def test_only_named_faces_are_people(gallery: Gallery) -> None:
    assert {person for person, _ in well_known(gallery.searcher(RECIPE).embeddings)} <= set(PEOPLE)


def test_it_is_evaluated_as_if_it_had_the_named_faces_alone(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    class OneFaceEach(Gallery):
        def _opened(self, report: object) -> object:  # type: ignore[override]
            return labelled_photos(folder, (told_apart(folder.name, str(folder.resolve())), folder.name))

    alone = OneFaceEach(str(folder), TinyEncoders(), tmp_path / "alone")
    alone.build([RECIPE])
    reports = []
    for each in (gallery, alone):
        report = evaluate([each.searcher(RECIPE)], Task(each.photos, None, ()), ["exact"])["recipes"][0]
        for name in ("seconds", "cost", "fingerprint", "verdicts", "grouping"):
            del report[name]
        reports.append(report)
    assert reports[0] == reports[1]
    assert reports[0]["embedded"] == 6


def test_a_gallery_of_one_face_each_is_built_again(folder: Path, tmp_path: Path) -> None:
    """As versions up to 0.9 built it: none of its photos counts as one whose faces are all known."""
    name = told_apart(folder.name, str(folder.resolve()))

    class Before(Gallery):
        def _opened(self, report: object) -> object:  # type: ignore[override]
            return labelled_photos(folder, (name, folder.name))

    before = Before(str(folder), TinyEncoders(), tmp_path / "index")
    before.build([RECIPE])
    assert len(before.searcher(RECIPE).embeddings) == 6
    now = Gallery(f"imagefolder:{folder}", TinyEncoders(), tmp_path / "index")
    assert now.folder(RECIPE) == before.folder(RECIPE)
    now.build([RECIPE])
    assert len(now.searcher(RECIPE).embeddings) == 10
    portrait(1, 3).save(folder / "Bruno" / "new.png")
    more = Gallery(f"imagefolder:{folder}", TinyEncoders(), tmp_path / "index")
    more.build([RECIPE])
    assert len(more.searcher(RECIPE).embeddings) == 11
    seen = more.encoders.detector.photos_seen  # type: ignore[attr-defined]
    assert seen == 1, "those that are known with all their faces are not looked at again"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Two photos of the same four people, and one of a fifth that lies, by the network in the package."""
    place, detector = tmp_path_factory.mktemp("real"), MtcnnDetector()
    (place / "photos").mkdir()
    for number in range(2):
        portraits = [real_portrait(person, detector, 90 + 20 * number) for person in REAL_PEOPLE[:4]]
        scene((1200, 800), portraits)[0].save(place / "photos" / f"group_{number}.png")
    lying = open_image(sorted(REAL_PEOPLE[4].iterdir())[0]).transpose(TURNS[90])
    lying.save(place / "photos" / "lying.png")
    encoders = StoredEncoders(WeightStore(None, place / "cache", {}))
    gallery = Gallery(f"imagefolder:{place / 'photos'}", encoders, place / "index")
    gallery.build([MINI])
    return gallery


def test_each_of_four_people_is_found_in_both_photos_whoever_asks(real: Gallery) -> None:
    searcher = real.searcher(MINI)
    assert len(searcher.embeddings) == 9
    for name in ("group_0.png", "group_1.png"):
        answers = searcher.search_every_face(open_image(real.photos.found(name).source), 3, "exact")
        assert len(answers) == 4
        for answer in answers:
            assert {hit.photo_id.split(" ")[0] for hit in answer.hits[:2]} == {"group_0.png", "group_1.png"}


def test_the_face_of_a_photo_that_lies_is_found_and_framed_where_it_lies(real: Gallery) -> None:
    searcher = real.searcher(MINI)
    straight = open_image(sorted(REAL_PEOPLE[4].iterdir())[0])
    (answer,) = searcher.search_every_face(straight, 1, "exact")
    assert answer.hits[0].photo_id == "lying.png"
    assert answer.hits[0].distance < 0.1
    photo, box = real.photos.found("lying.png"), searcher.embeddings.box("lying.png")
    assert answer.face
    assert box
    left, top, right, bottom = answer.face.box  # which a quarter turn to the left takes to (top, width - right)
    np.testing.assert_allclose(box, (top, straight.width - right, bottom, straight.width - left), atol=3)
    crop = np.asarray(gallery_crop(searcher, photo), int)
    assert answer.crop
    assert np.abs(crop - np.asarray(answer.crop, int)).mean() < 5, "what was seen of it is shown upright"


def test_the_middle_of_a_small_crowd_is_not_whose_photo_it_is(tmp_path: Path) -> None:
    """Of a large photo the name is that of a face which one look shows, not of one that only its tiles show."""
    detector = MtcnnDetector()
    photo = Image.new("RGB", (4000, 3000), (120, 130, 140))
    large, small = (
        real_portrait(person, detector, width) for person, width in zip(REAL_PEOPLE, (700, 34), strict=False)
    )
    photo.paste(large, (40, 40))
    photo.paste(small, ((photo.width - small.width) // 2, (photo.height - small.height) // 2))
    (tmp_path / "photos" / "Ann").mkdir(parents=True)
    photo.save(tmp_path / "photos" / "Ann" / "1.png")
    encoders = StoredEncoders(WeightStore(None, tmp_path / "cache", {}))
    gallery = Gallery(f"imagefolder:{tmp_path / 'photos'}", encoders, tmp_path / "index")
    gallery.build([MINI])
    first, second = (gallery.searcher(MINI).embeddings.face(row) for row in range(2))
    assert first
    assert second
    assert first.area > second.area
    assert shown((second,), photo.width // 2, photo.height // 2)
