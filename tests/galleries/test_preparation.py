"""The preparation behind the page: what can be ready gets ready; what cannot says why; nothing dies silently."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.errors import GalleryError, WeightsError
from pipeline.core.progress import Progress, Report, silent
from pipeline.core.recipes import BASELINE, DEFAULT, HEADED, IMPROVED, MINI, MINI_WHOLE, RECIPES, STAND_INS, UNASKED
from pipeline.core.types import FloatArray
from pipeline.embeddings import store
from pipeline.encoder.encoder import Encoder
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from tests.fakes import TinyEncoders, TinyNetwork, make_folder, portrait
from tests.waiting import until

SECONDS = 60


def finished(preparation: Preparation) -> Preparation:
    preparation.start()
    preparation.wait(SECONDS)
    assert not preparation.working
    return preparation


def states(preparation: Preparation) -> dict[str, str]:
    return {name: preparation.status(name).state for name in RECIPES}


@contextmanager
def default_being_prepared(preparation: Preparation, go_on: threading.Event) -> Iterator[None]:
    """The default's network, which waits for `go_on`, is at work in the block; after it everything is prepared."""
    try:
        preparation.start()
        until(lambda: preparation.status(DEFAULT).state == "preparing")
        yield
    finally:
        go_on.set()
    preparation.wait(SECONDS)


class Network(TinyNetwork):
    """A tiny network that first does something with its crops."""

    def __init__(self, dim: int, before: Callable[[Sequence[Image.Image]], None]) -> None:
        super().__init__(dim)
        self._before = before

    def embed(self, crops: Sequence[Image.Image]) -> FloatArray:
        self._before(crops)
        return super().embed(crops)


class Encoders(TinyEncoders):
    """Tiny encoders of which some have a network, or weights, of their own."""

    def __init__(self, **before: Callable[[Sequence[Image.Image]], None]) -> None:
        super().__init__()
        self.before = {name.replace("_", "-"): act for name, act in before.items()}
        self.lost: set[str] = set()

    def get(self, recipe: str, report: Report = silent) -> Encoder:
        if recipe in self.lost:
            raise WeightsError(f"The weights of {recipe} were lost on the way.")
        encoder = super().get(recipe, report)
        if recipe in self.before:
            encoder._network = Network(RECIPES[recipe].dim, self.before[recipe])
        return encoder


@pytest.fixture
def library_with(tiny_folder: Path, tmp_path: Path) -> Callable[[TinyEncoders], Gallery]:
    return lambda encoders: Gallery(f"imagefolder:{tiny_folder}", encoders, tmp_path / "index")


def test_three_get_ready_unasked(tiny: Gallery) -> None:
    preparation = Preparation(tiny)
    assert states(preparation) == {name: "waiting" if name in UNASKED else "unasked" for name in RECIPES}
    assert preparation.ready() == []
    assert not preparation.working
    finished(preparation)
    assert states(preparation) == {name: "ready" if name in UNASKED else "unasked" for name in RECIPES}
    assert preparation.ready() == list(UNASKED) == ["mtcnn-reid", "mtcnn-facenet", "resnet50"]
    assert preparation.problem == ""
    assert not any(preparation.status(name).custom_weights for name in RECIPES)
    for name in UNASKED:
        assert preparation.searcher(name).search(portrait(4), 1).hits[0].person == "Elif"


@pytest.mark.slow
def test_galleries_that_are_built_are_opened_not_built(tiny: Gallery, tiny_folder: Path) -> None:
    tiny.build(list(RECIPES))
    encoders = TinyEncoders()
    preparation = finished(Preparation(Gallery(f"imagefolder:{tiny_folder}", encoders, tiny.index_root)))
    assert set(preparation.ready()) == set(RECIPES), "also those that nobody asked for"
    assert encoders.detector.photos_seen == 0


def test_what_is_chosen_is_prepared_and_nothing_else(tiny: Gallery) -> None:
    preparation = finished(Preparation(tiny))
    with pytest.raises(GalleryError, match="Mini is still being prepared; wait"):
        preparation.searcher(MINI)
    preparation.wait(SECONDS)
    assert preparation.searcher(MINI).search(portrait(4), 1).hits[0].person == "Elif"
    assert set(preparation.ready()) == {*UNASKED, MINI}


def test_what_is_chosen_while_others_are_prepared_comes_with_them(
    library_with: Callable[[TinyEncoders], Gallery],
) -> None:
    go_on = threading.Event()
    preparation = Preparation(library_with(Encoders(mtcnn_reid=lambda crops: assert_waited(go_on))))
    with default_being_prepared(preparation, go_on):
        for name in (MINI, MINI_WHOLE, MINI):
            with pytest.raises(GalleryError, match="is still being prepared; wait"):
                preparation.searcher(name)
        assert preparation.working
    assert set(preparation.ready()) == {*UNASKED, MINI, MINI_WHOLE}


def test_a_server_may_prepare_nothing_that_is_chosen(tiny: Gallery) -> None:
    preparation = finished(Preparation(tiny, on_demand=False))
    with pytest.raises(GalleryError, match="Mini is not prepared on this server; choose another model"):
        preparation.searcher(MINI)
    assert not preparation.working
    preparation.start([MINI])
    preparation.wait(SECONDS)
    assert preparation.searcher(MINI)


def test_what_cannot_be_had_has_a_stand_in_that_needs_no_download(
    library_with: Callable[[TinyEncoders], Gallery],
) -> None:
    absent = dict.fromkeys(UNASKED, "its host cannot be reached.")
    assert set(finished(Preparation(library_with(TinyEncoders(absent)))).ready()) == {MINI, MINI_WHOLE}


def test_what_is_stale_or_damaged_is_built_again(tiny: Gallery, tiny_folder: Path) -> None:
    tiny.build([DEFAULT])
    (tiny.folder(DEFAULT) / "vectors.npy").write_bytes(b"")
    preparation = finished(Preparation(tiny))
    assert preparation.ready() == list(UNASKED)
    assert len(preparation.searcher(DEFAULT).embeddings) == 24


def test_what_is_missing_is_told_but_for_a_head_that_was_never_trained(
    library_with: Callable[[TinyEncoders], Gallery],
) -> None:
    absent = {HEADED: "its head is not trained yet.", "mtcnn-reid": "its host cannot be reached."}
    preparation = Preparation(library_with(TinyEncoders(absent)))
    preparation.start(RECIPES)
    preparation.wait(SECONDS)
    assert preparation.missing() == {"mtcnn-reid": "its host cannot be reached."}
    assert preparation.under_way() == {}
    preparation._preparing(["resnet50"], Progress("Indexing", "photos", 1, 2, 1, 1.0))
    assert [(name, progress.done) for name, progress in preparation.under_way().items()] == [("resnet50", 1)]


def test_custom_weights_are_flagged(library_with: Callable[[TinyEncoders], Gallery]) -> None:
    preparation = finished(Preparation(library_with(TinyEncoders(custom=True))))
    assert all(preparation.status(name).custom_weights for name in UNASKED)


# Not everything can be had


@pytest.mark.parametrize("missing", [DEFAULT, "resnet50"])
def test_an_unavailable_recipe_leaves_the_others_working(
    library_with: Callable[[TinyEncoders], Gallery], missing: str
) -> None:
    encoders = TinyEncoders({missing: "Its host cannot be reached."})
    preparation = finished(Preparation(library_with(encoders)))
    assert preparation.status(missing).state == "unavailable"
    assert preparation.status(missing).reason == "Its host cannot be reached."
    assert set(preparation.ready()) == {*UNASKED, STAND_INS[missing]} - {missing}
    assert preparation.problem == ""
    with pytest.raises(GalleryError, match=r"cannot be used here: Its host cannot be reached\.$"):
        preparation.searcher(missing)
    encoders.unavailable.clear()
    assert set(finished(preparation).ready()) == {*UNASKED, STAND_INS[missing]}


@pytest.mark.parametrize("missing", [DEFAULT, "resnet50"])
def test_weights_lost_on_the_way_leave_the_others_working(
    library_with: Callable[[TinyEncoders], Gallery], missing: str
) -> None:
    encoders = Encoders()
    encoders.lost = {missing}
    preparation = finished(Preparation(library_with(encoders)))
    assert preparation.status(missing).reason == f"The weights of {missing} were lost on the way."
    assert set(preparation.ready()) == {*UNASKED, STAND_INS[missing]} - {missing}
    encoders.lost = set()
    assert set(finished(preparation).ready()) == {*UNASKED, STAND_INS[missing]}


def test_nothing_is_available(library_with: Callable[[TinyEncoders], Gallery]) -> None:
    preparation = finished(Preparation(library_with(TinyEncoders(dict.fromkeys(RECIPES, "Gone.")))))
    assert states(preparation) == {
        name: "unavailable" if name in (*UNASKED, *STAND_INS.values()) else "unasked" for name in RECIPES
    }
    assert preparation.ready() == []


def test_missing_photos_are_a_problem_until_they_are_there(tmp_path: Path) -> None:
    preparation = Preparation(Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "index"))
    finished(preparation)
    assert "does not exist; correct the path." in preparation.problem
    assert {preparation.status(name).state for name in UNASKED} == {"unavailable"}
    assert preparation.status(DEFAULT).reason == preparation.problem
    make_folder(tmp_path / "photos")
    finished(preparation)
    assert preparation.problem == ""
    assert preparation.ready() == list(UNASKED)


# Something unexpected


def fail(crops: Sequence[Image.Image]) -> None:
    raise RuntimeError("out of something")


def test_an_unexpected_error_ends_in_a_sentence(
    library_with: Callable[[TinyEncoders], Gallery], caplog: pytest.LogCaptureFixture
) -> None:
    encoders = Encoders(mtcnn_reid=fail)
    preparation = finished(Preparation(library_with(encoders)))
    assert preparation.ready() == []
    assert preparation.problem.startswith("Preparing the galleries failed unexpectedly")
    assert "out of something" not in preparation.problem
    assert preparation.status(IMPROVED).reason == preparation.problem
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "out of something" in str(record.exc_info)
    encoders.before.clear()
    preparation.gallery.encoders._opened.clear()
    assert finished(preparation).ready() == list(UNASKED)


def test_an_unexpected_error_takes_nothing_from_what_is_ready(
    library_with: Callable[[TinyEncoders], Gallery],
) -> None:
    preparation = finished(Preparation(library_with(Encoders(resnet50=fail))))
    assert preparation.ready() == [DEFAULT, IMPROVED]
    assert preparation.problem == "", "there is a gallery to search in"
    assert preparation.status("resnet50").state == "unavailable"
    assert preparation.status("resnet50").reason.startswith("Preparing the galleries failed unexpectedly")
    assert preparation.searcher(DEFAULT).search(portrait(1), 1).hits[0].person == "Bruno"


# Meanwhile


def test_meanwhile_progress_is_seen_and_what_is_ready_can_be_searched(
    library_with: Callable[[TinyEncoders], Gallery],
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(crops: Sequence[Image.Image]) -> None:
        reached.set()
        assert go_on.wait(SECONDS)

    preparation = Preparation(library_with(Encoders(resnet50=hold)))
    try:
        preparation.start()
        assert reached.wait(SECONDS)
        first = preparation._thread
        preparation.start()  # a second visitor's page must not start a second preparation
        assert preparation._thread is first
        assert preparation.working
        assert preparation.ready() == [DEFAULT, IMPROVED]
        assert preparation.searcher(DEFAULT).search(portrait(5), 1).hits[0].person == "Farid"
        assert preparation.status(BASELINE).state == "preparing"
        assert preparation.status(BASELINE).progress.done == 0
        assert preparation.status(BASELINE).progress.total == 26
        with pytest.raises(GalleryError, match="is still being prepared; wait"):
            preparation.searcher(BASELINE)
        preparation.wait(0.01)
        assert preparation.working
    finally:
        go_on.set()
    preparation.wait(SECONDS)
    assert preparation.ready() == list(UNASKED)


def test_the_first_thing_that_is_seen_is_progress_of_the_default(
    library_with: Callable[[TinyEncoders], Gallery],
) -> None:
    go_on = threading.Event()
    preparation = Preparation(library_with(Encoders(mtcnn_reid=lambda crops: assert_waited(go_on))))
    with default_being_prepared(preparation, go_on):
        assert [preparation.status(name).state for name in UNASKED] == ["preparing", "waiting", "waiting"]
        assert preparation.problem == ""
        with pytest.raises(GalleryError, match="is still being prepared"):
            preparation.searcher("resnet50")
    assert preparation.ready() == list(UNASKED)


def test_what_is_tried_again_counts_as_waiting_meanwhile(library_with: Callable[[TinyEncoders], Gallery]) -> None:
    go_on = threading.Event()
    encoders = Encoders(mtcnn_reid=lambda crops: assert_waited(go_on))
    encoders.unavailable = dict.fromkeys(RECIPES, "Gone.")
    preparation = finished(Preparation(library_with(encoders)))
    assert {preparation.status(name).state for name in UNASKED} == {"unavailable"}
    encoders.unavailable = {}
    with default_being_prepared(preparation, go_on):
        assert {preparation.status(name).state for name in (IMPROVED, BASELINE)} == {"waiting"}
    assert set(preparation.ready()) == {*UNASKED, MINI, MINI_WHOLE}


def assert_waited(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def test_waiting_before_anything_was_started_returns(tiny: Gallery) -> None:
    preparation = Preparation(tiny)
    preparation.wait()
    with pytest.raises(GalleryError, match="is still being prepared"):
        preparation.searcher(DEFAULT)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often vectors were hashed, and copied to be mapped."""
    counts: Counter[str] = Counter()
    for name in ("digest", "apart"):
        real = getattr(store, name)

        def counted(path: Path, *, name: str = name, real: Callable[[Path], object] = real) -> object:
            counts[name] += path.name == "vectors.npy"
            return real(path)

        monkeypatch.setattr(store, name, counted)
    return counts


def test_a_gallery_is_opened_once_a_start(tiny: Gallery, tiny_folder: Path, opened: Counter[str]) -> None:
    """Three times after a build, of which each hashed every file and copied the vectors."""
    preparation = Preparation(tiny, maps=False)
    preparation.start([DEFAULT])
    preparation.wait()
    assert preparation.ready() == [DEFAULT]
    assert opened == {"digest": 2, "apart": 1}, "once when it is sealed"
    opened.clear()
    again = Preparation(Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tiny.index_root), maps=False)
    again.start([DEFAULT])
    again.wait()
    assert again.ready() == [DEFAULT]
    assert opened == {"digest": 1, "apart": 1}


def test_that_nobody_is_told_apart_is_said_once_of_each_recipe(tiny: Gallery, caplog: pytest.LogCaptureFixture) -> None:
    """What distances of the tiny networks mean is not known."""
    preparation = finished(Preparation(tiny))
    said = [message.split(": ")[0] for message in caplog.messages if message.startswith("Nobody is told apart")]
    assert len(said) > 1
    assert len(said) == len(set(said))
    finished(preparation)
    again = [message for message in caplog.messages if message.startswith("Nobody is told apart")]
    assert len(again) == 2 * len(said), "who starts again has it tried again"
