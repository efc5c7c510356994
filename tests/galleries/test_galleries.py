"""Several galleries on one page: there is always the best that can be searched, and nothing waits for a download."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import NotReady, SettingsError
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import MINI_WHOLE, PACKAGED, UNASKED
from pipeline.core.settings import SAMPLE, Settings
from pipeline.galleries.galleries import MAIN, Galleries, open_galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from tests.fakes import TinyEncoders, make_folder
from tests.waiting import until

SECONDS = 60


class Slow(Gallery):
    """A gallery whose recipes are built only once `may` is set; `reached` says that they are to be."""

    def __init__(self, folder: Path, index: Path) -> None:
        super().__init__(f"imagefolder:{folder}", TinyEncoders(), index)
        self.reached, self.may = threading.Event(), threading.Event()

    def build(self, recipes: object, report: Report = silent) -> None:
        self.reached.set()
        assert self.may.wait(SECONDS)
        super().build(recipes, report)  # type: ignore[arg-type]


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: make_folder(tmp_path / name)


@pytest.mark.slow
def test_the_sample_serves_until_the_pages_own_gallery_is_there(folders: Callable[[str], Path], tmp_path: Path) -> None:
    main = Slow(folders("mine"), tmp_path / "index")
    sample = Gallery(f"imagefolder:{folders('others')}", TinyEncoders(), tmp_path / "index")
    galleries = Galleries(Preparation(main), Preparation(sample))
    assert galleries.keys == (MAIN, SAMPLE.name)
    assert (galleries.first(), galleries.ready()) == (MAIN, ())
    galleries.start()
    assert main.reached.wait(SECONDS)
    assert (galleries.first(), galleries.ready()) == (SAMPLE.name, (SAMPLE.name,))
    assert set(galleries.get(SAMPLE.name).ready()) == set(PACKAGED), "what needs a download waits its turn"
    assert galleries.working
    assert galleries.health()["status"] == "ok"
    galleries.start()  # while it is under way, nothing
    main.may.set()
    galleries.wait(SECONDS)
    assert (galleries.first(), galleries.ready()) == (MAIN, (MAIN, SAMPLE.name))
    assert set(galleries.get(SAMPLE.name).ready()) == {*UNASKED, *PACKAGED}
    assert not galleries.working


@pytest.mark.slow
def test_where_the_photos_cannot_be_had_the_sample_stays_and_the_problem_is_told(
    folders: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main = Preparation(Gallery(f"imagefolder:{tmp_path / 'later'}", TinyEncoders(), tmp_path / "index"))
    sample = Preparation(Gallery(f"imagefolder:{folders('others')}", TinyEncoders(), tmp_path / "index"))
    galleries = Galleries(main, sample)
    galleries.start()
    galleries.wait(SECONDS)
    told = galleries.health()
    assert (told["status"], set(told["ready"])) == ("degraded", {SAMPLE.name})
    assert "does not exist" in told["problem"]
    assert told["problem"] in caplog.messages, "who runs the page may have no browser open"
    assert galleries.first() == SAMPLE.name
    make_folder(tmp_path / "later")
    galleries.start()  # a second try
    galleries.wait(SECONDS)
    assert (galleries.first(), galleries.health()["problem"]) == (MAIN, "")


def test_a_gallery_is_found_by_its_key_and_by_the_name_in_its_answers(tiny: Gallery) -> None:
    galleries = Galleries(Preparation(tiny))
    with pytest.raises(SettingsError, match="There is no gallery 'lfw'; choose one of main"):
        galleries.get("lfw")
    with pytest.raises(SettingsError, match="is not here any more; search again"):
        galleries.named("photos")
    galleries.start()
    galleries.wait(SECONDS)
    assert galleries.named(tiny.photos.name) is galleries.get(MAIN) is galleries.main


def test_alone_the_sample_is_the_pages_own(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path, index=tmp_path / "index")
    assert open_galleries(settings).keys == (MAIN, SAMPLE.name)
    alone = open_galleries(Settings(dataset=SAMPLE.name, cache=tmp_path, index=tmp_path / "index"))
    assert alone.keys == (MAIN,)
    assert alone.main.gallery.title == "Sample"
    copy = open_galleries(Settings(dataset="/a/copy/of/lfw/", cache=tmp_path, index=tmp_path / "index"))
    assert copy.main.gallery.title == "LFW", "before its photos are there"


def test_what_a_visitor_chooses_before_is_not_all_that_is_prepared(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    first, second = Slow(folders("first"), tmp_path / "index"), Slow(folders("second"), tmp_path / "index")
    main, sample = Preparation(first, maps=False), Preparation(second, maps=False)
    galleries = Galleries(main, sample)
    galleries.start()
    assert second.reached.wait(SECONDS)
    with pytest.raises(NotReady):
        main.searcher(MINI_WHOLE)
    assert first.reached.wait(SECONDS)
    second.may.set()
    until(lambda: set(PACKAGED) <= set(sample.ready()))
    first.may.set()
    galleries.wait(SECONDS)
    assert {MINI_WHOLE, *UNASKED} <= set(main.ready())
