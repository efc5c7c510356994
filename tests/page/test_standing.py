"""What the page shows of where galleries stand, while they are prepared and afterwards, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.recipes import RECIPES
from pipeline.core.settings import SAMPLE
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.preparation import Preparation
from pipeline.page.standing import is_own_working, polled, standing
from tests.fakes import TinyEncoders, portrait

RECIPE = "mtcnn-reid"


def prepared(gallery: Gallery, *recipes: str) -> Preparation:
    preparation = Preparation(gallery, maps=False)
    preparation.start(recipes)
    preparation.wait()
    return preparation


@pytest.fixture
def waiting(tiny: Gallery) -> Preparation:
    """The page's own gallery, of which nothing is ready yet."""
    return Preparation(tiny, maps=False)


@pytest.fixture
def stand_in(tmp_path: Path) -> Preparation:
    """A gallery of one photo that is ready in its place."""
    (tmp_path / "small" / "Gil").mkdir(parents=True)
    portrait(0).save(tmp_path / "small" / "Gil" / "1.png")
    return prepared(Gallery(f"imagefolder:{tmp_path / 'small'}", TinyEncoders(), tmp_path / "other"), RECIPE)


def test_while_nothing_is_ready(waiting: Preparation) -> None:
    now = polled(Galleries(waiting), "", (MAIN, "mtcnn-facenet", "improved"), "")
    assert "Getting the gallery ready" in now.header
    assert (now.key, now.recipe, now.can_answer) == (MAIN, "mtcnn-facenet", False)
    assert now.galleries == [("photos · soon", MAIN)]
    assert [name for _, name in now.models] == list(RECIPES)
    notes = {label.partition(" · ")[0].rpartition(" (")[2] for label, _ in now.models}
    assert notes == {"soon)", "not prepared yet)"}
    assert (now.main_button, now.retry) == ("", False)


def test_the_best_that_is_ready_stands_behind_a_role(tiny: Gallery) -> None:
    galleries = Galleries(prepared(tiny, RECIPE))
    now = polled(galleries, "", (MAIN, "mtcnn-facenet", "improved"), "")
    assert (now.key, now.recipe, now.can_answer, now.polling) == (MAIN, RECIPE, True, False)
    assert now.galleries == [("photos · 26 photos", MAIN)]
    assert next(label for label, name in now.models if name == RECIPE).startswith("Compact · ")


def test_a_chosen_model_for_which_waiting_does_not_help(tiny: Gallery) -> None:
    galleries = Galleries(prepared(tiny, RECIPE))
    now = polled(galleries, "", (MAIN, "mini-whole", None), "")
    assert (now.recipe, now.can_answer, now.idle) == ("mini-whole", False, "unasked")
    assert polled(galleries, "", (MAIN, RECIPE, None), "").idle == ""
    assert polled(galleries, "", (MAIN, "mtcnn-facenet", None), "").idle == "", "it is coming"


def test_who_has_chosen_nothing_gets_what_there_is(waiting: Preparation, stand_in: Preparation) -> None:
    now = polled(Galleries(waiting, stand_in), "", (MAIN, "mtcnn-facenet", "improved"), "")
    assert (now.key, now.recipe, now.can_answer) == (SAMPLE.name, RECIPE, True)
    assert len(now.galleries) == 2


def test_who_has_chosen_what_is_not_ready_waits_for_it(waiting: Preparation, stand_in: Preparation) -> None:
    now = polled(Galleries(waiting, stand_in), "", (MAIN, RECIPE, None), SAMPLE.name)
    assert (now.key, now.can_answer) == (MAIN, False)


def test_a_gallery_that_is_gone_or_invented_is_the_pages_own(waiting: Preparation) -> None:
    for key in ("own-gone", "nope", "['main']", ""):
        assert polled(Galleries(waiting), "", (key, "nope", None), "").key == MAIN


def test_the_way_to_the_pages_own_gallery_once_it_is_there(tiny: Gallery, stand_in: Preparation) -> None:
    galleries = Galleries(prepared(tiny, RECIPE), stand_in)
    now = polled(galleries, "", (SAMPLE.name, RECIPE, None), SAMPLE.name)
    assert (now.key, now.main_button) == (SAMPLE.name, "photos is ready: search it")
    assert now.polling, "an answer that comes late may offer it once too often"
    assert standing(galleries, "", MAIN, RECIPE, None).main_button == ""


def test_what_is_missing_can_be_tried_again_once_nothing_is_under_way(tmp_path: Path, tiny_folder: Path) -> None:
    lacking = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders({RECIPE: "Not here."}), tmp_path / "index")
    now = polled(Galleries(prepared(lacking, RECIPE, "resnet50")), "", (MAIN, RECIPE, None), "")
    assert (now.retry, now.recipe, now.can_answer) == (True, RECIPE, False), "who has chosen a model keeps it"
    assert now.idle == "unavailable"
    assert "<li><b>Compact</b> · Not here.</li>" in now.missing
    assert RECIPE in dict(map(reversed, now.models)), "and shown as chosen"
    other = standing(Galleries(prepared(lacking, RECIPE, "resnet50")), "", MAIN, "resnet50", None)
    assert RECIPE not in dict(map(reversed, other.models)), "what cannot be had is no choice"


def test_no_photos_at_all(tmp_path: Path) -> None:
    gone = Gallery(f"imagefolder:{tmp_path / 'gone'}", TinyEncoders(), tmp_path / "index")
    now = polled(Galleries(prepared(gone, *RECIPES)), "", (MAIN, RECIPE, None), "")
    assert "There is no gallery to search" in now.header
    assert (now.retry, now.can_answer, now.polling) == (True, False, False)


def test_a_visitors_own_gallery_is_a_choice_of_its_own(tiny: Gallery, tmp_path: Path) -> None:
    own = OwnGalleries(TinyEncoders(), tmp_path / "kept")
    galleries = Galleries(prepared(tiny, RECIPE), own=own)
    try:
        key, mine = own.create()
        assert not is_own_working(galleries, key)
        portrait(1).save(tmp_path / "mine.png")
        mine.add([tmp_path / "mine.png"], lambda: None)
        assert is_own_working(galleries, key) == mine.busy
        mine.wait()
        now = polled(galleries, key, (key, RECIPE, None), MAIN)
        assert (now.key, len(now.galleries), now.can_answer, now.main_button) == (key, 2, True, "")
        now = polled(galleries, key, (key, RECIPE, "baseline"), MAIN)
        assert (now.role, now.roles) == ("improved", [("Improved", "improved")]), "no position that leads nowhere"
        now = polled(galleries, key, (MAIN, RECIPE, "baseline"), MAIN)
        assert (now.role, [name for _, name in now.roles]) == ("baseline", ["baseline", "improved"])
        assert len(polled(galleries, "", (MAIN, RECIPE, None), MAIN).galleries) == 1, "and nobody else's"
    finally:
        own.close()
