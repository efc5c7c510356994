"""A PCA on few faces makes strangers the same: below ten faces a dimension it is refused, whoever asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import __main__ as cli
from pipeline.cli.doctor import embeddings
from pipeline.core.errors import GalleryError, GalleryTooSmall
from pipeline.core.recipes import RECIPES, recipe_named
from pipeline.encoder import layer
from pipeline.encoder.layer import fit_pca, why_too_few
from pipeline.galleries import gallery as gallery_module
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_faces import OwnFaces
from pipeline.galleries.preparation import Preparation
from tests.conftest import FACES_PER_DIMENSION
from tests.fakes import TinyEncoders, draw, make_people

pytestmark = pytest.mark.usefixtures("as_many_faces_as_needed")
REDUCED, BASE = "mtcnn-facenet-128", "mtcnn-facenet"
SENTENCE = (
    "mtcnn-facenet-128 needs 1,280 faces or more, 10 for each of its 128 dimensions, and there are 24: its distances "
    "would call strangers the same; use mtcnn-facenet, or 2 dimensions at most."
)


@pytest.fixture
def people(tmp_path: Path) -> Gallery:
    """Twenty-four photos with a face each."""
    return Gallery(f"imagefolder:{make_people(tmp_path / 'photos')}", TinyEncoders(), tmp_path / "index")


@pytest.fixture
def barely(tiny: Gallery) -> Gallery:
    """Photos enough for 2.5 dimensions, and 24 faces."""
    return tiny


def test_the_rule_is_ten_faces_a_dimension() -> None:
    assert FACES_PER_DIMENSION == 10
    recipe = recipe_named("mtcnn-reid-64")
    assert why_too_few(640, recipe) is None
    assert why_too_few(639, recipe) is not None
    assert why_too_few(24, RECIPES[REDUCED]) == SENTENCE
    assert str(why_too_few(19, recipe)).endswith("; use mtcnn-reid.")
    assert why_too_few(0, RECIPES[BASE]) is None


def test_what_it_is_for() -> None:
    """Strangers among few faces: with two of them, all are at distance 0 or 2 of each other."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(1300, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strangers = vectors[1280:]
    for faces, nearest in ((2, 0.0), (1280, 0.5)):
        reduced = fit_pca(vectors[:faces], 128).apply(strangers)
        distances = np.linalg.norm(reduced[:, None] - reduced[None], axis=2)[np.triu_indices(len(strangers), 1)]
        assert (distances.min() < 1e-3) == (nearest == 0.0)
        assert distances.min() >= nearest


def test_a_build_refuses_before_it_embeds(people: Gallery) -> None:
    with pytest.raises(GalleryTooSmall) as caught:
        people.build([BASE, REDUCED])
    assert str(caught.value) == SENTENCE
    assert not people.folder(BASE).exists()
    people.build(["mtcnn-reid-2"])
    assert people.searcher("mtcnn-reid-2").embeddings.vectors.shape == (24, 2)


def test_photos_without_a_face_do_not_count(barely: Gallery, tiny_folder: Path) -> None:
    for number in range(10):
        draw().save(tiny_folder / f"faceless {number}.png")
    with pytest.raises(GalleryTooSmall, match="and there are 24"):
        barely.build(["mtcnn-reid-3", "mtcnn-reid", "resnet50"])
    assert len(barely.searcher("mtcnn-reid").embeddings) == 24, "all the others are built"
    assert len(barely.searcher("resnet50").embeddings) == 35


def test_one_that_was_built_before_is_not_searched(
    people: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(layer, "FACES_PER_DIMENSION", 0)
        people.build([REDUCED])
    people = Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "index")
    with pytest.raises(GalleryTooSmall):
        people.searcher(REDUCED)
    assert people.default_recipe() == BASE


@pytest.mark.slow
def test_the_page_offers_the_others_and_is_not_degraded(people: Gallery) -> None:
    preparation = Preparation(people, maps=False)
    preparation.start(RECIPES)
    preparation.wait()
    assert preparation.ready() == [name for name in preparation.ready() if name != REDUCED]
    assert len(preparation.ready()) == len(RECIPES) - 1
    assert preparation.status(REDUCED).reason == SENTENCE
    assert preparation.missing() == {}


@pytest.mark.slow
def test_the_page_offers_the_others_where_photos_show_too_few_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "FACES_PER_DIMENSION", 0.2)  # 25.6 faces, of 26 photos
    (tmp_path / "photos").mkdir()
    make_people(tmp_path / "photos" / "people")
    for name in ("one", "two"):
        draw().save(tmp_path / "photos" / f"{name}.png")
    preparation = Preparation(Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "i"), maps=False)
    preparation.start(RECIPES)
    preparation.wait()
    assert len(preparation.ready()) == len(RECIPES) - 1
    assert "and there are 24" in preparation.status(REDUCED).reason


def test_my_photos_do_not_have_it(tmp_path: Path) -> None:
    make_people(tmp_path / "photos")
    own = OwnFaces(tmp_path, TinyEncoders(), tmp_path / "pictures")
    assert own.offered
    assert not [name for name in own.offered if RECIPES[name].layer == "pca"]
    with pytest.raises(GalleryError, match="128-d is not offered for this gallery; choose another model"):
        Preparation(own).searcher(REDUCED)


@pytest.mark.slow
def test_the_command_line_leaves_it_out_and_the_doctor_says_why(
    people: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery_module, "open_gallery", lambda settings: people)
    assert cli.main(["build", "--recipe", "all"]) == 0
    assert f"{REDUCED} is left out: {SENTENCE}" in capsys.readouterr().err
    assert cli.main(["build", "--recipe", "mtcnn-reid", "--dim", "64"]) == 2
    assert "mtcnn-reid-64 needs 640 faces" in capsys.readouterr().err
    (said,) = (finding for finding in embeddings(people) if REDUCED in finding.what)
    assert (said.level, said.remedy) == ("ok", SENTENCE)
