"""Galleries of visitors' own photos: every face, for whoever has the key, and gone when they are to go."""

from __future__ import annotations

import os
import reprlib
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import Busy, NotReady, SettingsError, Unknown
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.embeddings.map import open_map
from pipeline.galleries import own_gallery
from pipeline.galleries.galleries import Galleries, open_galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.own_gallery import BUSY, FULL, INDEXING, NO_FACES, OwnGallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.wording import state, told_line
from pipeline.photos.face_ids import face_id, photo_of
from pipeline.photos.images import open_image
from tests.fakes import SIDE, TinyEncoders, draw, portrait
from tests.waiting import until

SECONDS = 60
ROOT = Path(__file__).parents[2]
RECIPE = "mtcnn-reid"
# One model is enough here; all the others cost seconds each.
ONLY = {name: "Not here." for name in RECIPES if name != RECIPE}


class Encoders(TinyEncoders):
    """One model; `hold` is called before faces are looked for."""

    def __init__(self) -> None:
        super().__init__(ONLY)
        detect = self.detector.detect
        self.hold: Callable[[], object] = lambda: None

        def held(images: Sequence[Image.Image]) -> list[tuple[object, ...]]:
            self.hold()
            return detect(images)

        self.detector.detect = held  # type: ignore[method-assign, assignment]


@pytest.fixture
def encoders() -> Encoders:
    return Encoders()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the system's temporary one."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture
def own(encoders: Encoders, tmp_path: Path, temporary: Path) -> Iterator[OwnGalleries]:
    galleries = OwnGalleries(encoders, tmp_path / "kept")
    yield galleries
    galleries.close()


@pytest.fixture
def party(tmp_path: Path) -> list[Path]:
    """Three photos of two people each, one without a face, and a file that is no photo in their middle."""
    (tmp_path / "party").mkdir()
    for number in (0, 2, 4):
        photo = draw((number, 0, (10, 20, 40)), (number + 1, 1, (80, 20, 50)), size=(160, 100))
        photo.save(tmp_path / "party" / f"{number}.png")
    draw().save(tmp_path / "party" / "1.png")
    (tmp_path / "party" / "3.jpg").write_bytes(b"not a photo")
    return sorted((tmp_path / "party").iterdir())


def filled(own: OwnGalleries, photos: Sequence[Path]) -> tuple[str, OwnGallery]:
    key, gallery = own.create()
    gallery.add(photos, lambda: None)
    until(lambda: own.find(key) is None or not gallery.working)  # asked for meanwhile, as by a page that is open
    gallery.wait()
    assert gallery.problem == ""
    return key, gallery


def files_below(folder: Path) -> list[str]:
    """The names of the files below a folder, but for the lock that says the server lives."""
    return sorted(name for _, _, names in os.walk(folder) for name in names if not name.endswith(".lock"))


# Many visitors


MOST = 8  # photos in memory, of this test's


def test_photos_of_all_visitors_are_decoded_one_batch_at_a_time(
    own: OwnGalleries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there were visitors, at 36 MB for each of 16 photos of 12 megapixels."""
    most, lock = 0, threading.Lock()
    alive: weakref.WeakValueDictionary[int, Image.Image] = weakref.WeakValueDictionary()

    def counted(source: bytes | Path, *, side: int = 0) -> Image.Image:
        nonlocal most
        image = open_image(source, side=side)
        with lock:
            alive[id(image)] = image
            most = max(most, len(alive))
        time.sleep(0.005)
        return image

    for module in ("galleries.uploads", "embeddings.embed"):
        monkeypatch.setattr(f"pipeline.{module}.open_image", counted)
    monkeypatch.setattr("pipeline.embeddings.embed.BATCH_PIXELS", (MOST - 1) * SIDE**2)
    for number in range(12):
        portrait(number % 6, number % 4).save(tmp_path / f"{number}.png")
    visitors = [own.create()[1] for _ in range(4)]
    for mine in visitors:
        mine.add(sorted(tmp_path.glob("*.png")), lambda: None)
    for mine in visitors:
        mine.wait()
        assert (mine.problem, len(mine.photo_ids)) == ("", 12)
    assert most <= MOST


def test_so_many_drop_at_the_same_time_and_no_more(
    own: OwnGalleries, encoders: Encoders, party: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_gallery, "TAKING", threading.BoundedSemaphore(2))
    may_go_on = threading.Event()
    encoders.hold = lambda: may_go_on.wait(SECONDS)
    first, second, third = (own.create()[1] for _ in range(3))
    first.add(party, lambda: None)
    with pytest.raises(SettingsError, match=BUSY):
        first.add(party, lambda: None)
    second.add(party, lambda: None)
    with pytest.raises(Busy, match=FULL):
        third.add(party, lambda: None)
    may_go_on.set()
    first.wait()
    third.add(party, lambda: None)
    third.wait()
    assert third.photo_ids


# Every face


def test_ids_of_faces() -> None:
    assert [face_id("a/1.jpg", number) for number in (1, 2, 12)] == ["a/1.jpg", "a/1.jpg #2", "a/1.jpg #12"]
    assert [photo_of(name) for name in ("a/1.jpg", "a/1.jpg #2", "a #3/1.jpg #12", "a #3/1.jpg")] == [
        "a/1.jpg",
        "a/1.jpg",
        "a #3/1.jpg",
        "a #3/1.jpg",
    ]


def test_every_face_of_every_photo_is_found(own: OwnGalleries, party: list[Path]) -> None:
    _, mine = filled(own, party)
    assert mine.preparation is not None
    embeddings, gallery = mine.preparation.searcher(RECIPE).embeddings, mine.preparation.gallery
    assert embeddings.photo_ids == ("0.png", "0.png #2", "2.png", "2.png #2", "4.png", "4.png #2")
    assert embeddings.people == ("0", "0", "2", "2", "4", "4")
    assert embeddings.box("2.png") == (10, 20, 50, 60)
    assert embeddings.box("2.png #2") == (80, 20, 130, 70)
    for person in range(6):
        face = draw((person, person % 2, (20, 20, 40 + 10 * (person % 2))))
        (nearest,) = mine.preparation.searcher(RECIPE).search(face, 1, "exact").hits
        assert nearest.photo_id == embeddings.photo_ids[person]
    assert gallery.pictures.size("4.png #2") == (160, 100)
    assert gallery.pictures.original("4.png #2").read_bytes() == party[-1].read_bytes()
    assert gallery.pictures.thumbnail("4.png #2") == gallery.pictures.thumbnail("4.png")
    for unknown in ("4.png #x", "9.png #2", "#2"):
        with pytest.raises(SettingsError, match="no photo"):
            gallery.pictures.thumbnail(unknown)
    assert mine.told is not None
    assert told_line(mine.told) == (
        "6 faces in 4 photos can be searched. In 1 photo no face was found. 1 file left out: no photo that can be read."
    )


def test_people_are_the_photos_folders(own: OwnGalleries, tmp_path: Path) -> None:
    import zipfile

    portrait(0).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "trip/Ann/a.png")
        archive.write(tmp_path / "a.png", "b.png")
    _, mine = filled(own, [tmp_path / "all.zip"])
    assert mine.preparation is not None
    assert dict(zip(mine.photo_ids, mine.preparation.gallery.photos.people, strict=True)) == {
        "Ann/a.png": "Ann",
        "b.png": "b",
    }


def test_photos_that_come_later_are_the_only_ones_looked_at(
    own: OwnGalleries, party: list[Path], encoders: Encoders
) -> None:
    _, mine = filled(own, party[:1])
    assert mine.preparation is not None
    before = np.array(mine.preparation.searcher(RECIPE).embeddings.vectors)
    until(lambda: not mine.busy)
    encoders.detector.photos_seen = 0
    mine.add(party, lambda: None)
    mine.wait()
    assert mine.problem == ""
    embeddings = mine.preparation.searcher(RECIPE).embeddings
    assert embeddings.photo_ids == ("0.png", "0.png #2", "2.png", "2.png #2", "4.png", "4.png #2")
    np.testing.assert_array_equal(embeddings.vectors[:2], before)
    assert encoders.detector.photos_seen == 3
    assert mine.told is not None
    assert "1 photo was there already." in told_line(mine.told)


def test_photos_are_removed_with_all_that_was_made_of_them(own: OwnGalleries, party: list[Path]) -> None:
    _, mine = filled(own, party)
    assert mine.preparation is not None
    picture = mine.preparation.gallery.pictures.thumbnail("2.png")
    assert picture.is_file()
    mine.discard(["2.png", "1.png"])
    mine.wait()
    assert mine.photo_ids == ("0.png", "4.png")
    assert mine.preparation.searcher(RECIPE).embeddings.photo_ids == ("0.png", "0.png #2", "4.png", "4.png #2")
    assert not picture.exists()
    assert files_below(mine.folder / "photos") == ["0.png", "4.png"]
    with pytest.raises(SettingsError, match="No photo was chosen"):
        mine.discard(["2.png"])
    mine.discard(["0.png", "4.png"])
    assert not mine.folder.exists()
    assert mine.preparation is None


def test_while_its_first_photos_are_indexed_a_gallery_is_there_and_not_ready(
    own: OwnGalleries, party: list[Path], encoders: Encoders, tiny: Gallery
) -> None:
    galleries = Galleries(Preparation(tiny), own=own)
    reached, go_on = threading.Event(), threading.Event()
    encoders.hold = lambda: (reached.set(), go_on.wait(SECONDS))
    key, mine = own.create()
    with pytest.raises(Unknown, match="There are no photos in this gallery"):
        galleries.get(key)
    mine.add(party, lambda: None)
    assert reached.wait(SECONDS)
    with pytest.raises(NotReady, match=INDEXING):
        galleries.get(key)
    assert not galleries.has(key)
    go_on.set()
    mine.wait()
    assert galleries.has(key)
    assert galleries.get(key) is mine.preparation


def test_a_gallery_whose_first_photos_were_none_says_so(own: OwnGalleries, party: list[Path], tiny: Gallery) -> None:
    key, mine = own.create()
    mine.add([party[3]], lambda: None)
    mine.wait()
    with pytest.raises(Unknown, match="None of these files can be read as a photo"):
        Galleries(Preparation(tiny), own=own).get(key)


# Nothing half done


def test_cancelling_the_first_drop_leaves_nothing(
    own: OwnGalleries, party: list[Path], encoders: Encoders, temporary: Path
) -> None:
    reached, go_on, done = threading.Event(), threading.Event(), threading.Event()
    encoders.hold = lambda: (reached.set(), go_on.wait(SECONDS))
    _, mine = own.create()
    mine.add(party, done.set)
    assert reached.wait(SECONDS)
    with pytest.raises(SettingsError) as caught:
        mine.add(party, lambda: None)
    assert str(caught.value) == BUSY
    assert mine.working
    assert mine.progress is not None
    assert "Indexing: 0 of 4 photos" in state(mine)
    assert not done.is_set()
    mine._stopping.set()
    go_on.set()
    mine.cancel()
    assert done.is_set()
    assert files_below(temporary) == []
    assert (mine.preparation, mine.problem, state(mine)) == (None, "", "")


def test_cancelling_a_later_drop_leaves_what_was_there(
    own: OwnGalleries, party: list[Path], encoders: Encoders
) -> None:
    _, mine = filled(own, party[:1])
    reached, go_on = threading.Event(), threading.Event()
    until(lambda: not mine.busy)
    encoders.hold = lambda: (reached.set(), go_on.wait(SECONDS))
    mine.add(party[2:], lambda: None)
    assert reached.wait(SECONDS)
    assert mine.preparation is not None
    assert len(mine.preparation.searcher(RECIPE).embeddings) == 2, "it can be searched meanwhile"
    mine._stopping.set()
    go_on.set()
    mine.cancel()
    assert mine.photo_ids == ("0.png",)
    assert files_below(mine.folder / "photos") == ["0.png"]
    assert not list(mine.folder.rglob("parts-*"))
    assert not (mine.folder / "incoming").exists()
    until(lambda: not mine.busy)
    assert mine.preparation.ready() == [RECIPE]


def test_photos_without_faces_are_not_kept(own: OwnGalleries, party: list[Path], temporary: Path) -> None:
    _, mine = own.create()
    mine.add([party[1]], lambda: None)
    mine.wait()
    assert mine.problem == NO_FACES
    assert NO_FACES in state(mine)
    assert files_below(temporary) == []


def test_without_a_model_it_says_so(tmp_path: Path, temporary: Path, party: list[Path]) -> None:
    own = OwnGalleries(TinyEncoders(dict.fromkeys(RECIPES, "Not here.")), tmp_path / "kept")
    _, mine = own.create()
    mine.add(party, lambda: None)
    mine.wait()
    assert mine.problem == "There is no model here to find faces with; wait until one is ready, then try again."
    assert files_below(temporary) == []


def test_what_was_not_foreseen_is_a_sentence_too(
    own: OwnGalleries, party: list[Path], monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("never")

    monkeypatch.setattr(own_gallery, "take", broken)
    _, mine = own.create()
    mine.add(party, lambda: None)
    mine.wait()
    assert mine.problem == "Taking in your photos failed unexpectedly; see the log, then try again."
    assert files_below(temporary) == []


# Whose they are, and how long


def test_a_gallery_is_found_by_its_key_alone(own: OwnGalleries, party: list[Path], tmp_path: Path) -> None:
    key, mine = filled(own, party)
    galleries = Galleries(open_galleries(Settings("sample", index=tmp_path / "index")).main, own=own)
    assert galleries.get(key) is mine.preparation
    assert galleries.named(mine.name) is mine.preparation
    assert galleries.is_ready(key)
    assert galleries.keys == ("main",)
    assert key not in str(galleries.health())
    assert len(key) >= 32
    assert key.removeprefix("own-") not in str(mine.folder)
    assert galleries.get("") is galleries.main, "and not the visitor's"
    assert own.find("") is None
    for guess in ("own-", mine.name, key[:-1], "../kept"):
        assert own.find(guess) is None
        with pytest.raises(SettingsError) as caught:
            galleries.get(guess)
        assert "own-" not in str(caught.value).replace(reprlib.repr(guess), "")
    assert mine.preparation is not None
    assert galleries.is_picture(mine.preparation.gallery.pictures.thumbnail("0.png"))
    assert not galleries.is_picture(party[0])
    assert own.create()[0] != key


def test_it_is_removed_whole(own: OwnGalleries, party: list[Path], temporary: Path) -> None:
    key, _ = filled(own, party)
    assert "vectors.npy" in files_below(temporary)
    own.remove(key)
    assert files_below(temporary) == []
    assert own.find(key) is None


def test_a_kept_one_outlives_the_server_and_can_be_given_up(
    own: OwnGalleries, party: list[Path], tmp_path: Path, temporary: Path, encoders: Encoders
) -> None:
    key, mine = filled(own, party)
    own.keep(key, kept=True)
    mine.wait()
    assert mine.preparation is not None
    assert mine.preparation.ready() == [RECIPE]
    assert files_below(temporary) == []
    own.close()
    encoders.detector.photos_seen = 0
    after = OwnGalleries(encoders, tmp_path / "kept")
    again = after.find(key)
    assert again is not None
    again.wait()
    assert again.kept
    assert again.photo_ids == ("0.png", "1.png", "2.png", "4.png")
    assert encoders.detector.photos_seen == 0, "opened, not built again"
    after.keep(key, kept=False)
    assert files_below(tmp_path / "kept") == []
    again.wait()
    assert again.photo_ids == ("0.png", "1.png", "2.png", "4.png")
    after.close()
    assert files_below(temporary) == []


@pytest.mark.slow
def test_it_goes_when_nobody_has_asked_for_it_for_a_while(own: OwnGalleries, party: list[Path]) -> None:
    own.grace = 2.0
    key, mine = filled(own, party)
    for _ in range(15):  # for longer than the grace: as a page does that is open, and one whose connection was cut
        time.sleep(0.2)
        assert own.find(key) is mine
    time.sleep(1)
    assert mine.folder.exists()
    until(lambda: not mine.folder.exists())
    assert own.find(key) is None
    until(lambda: not own._open)


@pytest.mark.slow
def test_a_kept_one_does_not_go_while_nobody_asks_for_it(own: OwnGalleries, party: list[Path]) -> None:
    own.grace = 2.0
    key, mine = filled(own, party)
    own.keep(key, kept=True)
    time.sleep(3)
    assert own.find(key) is mine


def modes_below(folder: Path) -> dict[str, set[int]]:
    """The permissions of the folders and of the files below a folder, itself included."""
    paths = [folder, *folder.rglob("*")]
    return {
        kind: {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir() == (kind == "folders")}
        for kind in ("folders", "files")
    }


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_only_this_account_can_read_them_whatever_the_umask(
    own: OwnGalleries, party: list[Path], tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        key, mine = filled(own, party)
        own.keep(key, kept=True)
        mine.wait()
        until(lambda: not mine.busy)
        assert mine.preparation is not None
        for picture in (mine.preparation.gallery.pictures.thumbnail, mine.preparation.gallery.pictures.original):
            picture("0.png")
        open_map(mine.preparation.searcher(RECIPE).embeddings)
        assert modes_below(tmp_path / "kept") == {"folders": {0o700}, "files": {0o600}}
    finally:
        os.umask(before)


def test_what_a_former_version_kept_becomes_private(
    own: OwnGalleries, party: list[Path], tmp_path: Path, encoders: Encoders
) -> None:
    key, mine = filled(own, party)
    own.keep(key, kept=True)
    mine.wait()
    own.close()
    for path in (tmp_path / "kept", *(tmp_path / "kept").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    after = OwnGalleries(encoders, tmp_path / "kept")
    after.start()
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700, "nobody gets into it any more"
    again = after.find(key)
    assert again is not None
    again.wait()
    assert modes_below(tmp_path / "kept") == {"folders": {0o700}, "files": {0o600}}
    after.close()


STOPPED = """
import sys, tempfile
from pathlib import Path
tempfile.tempdir = sys.argv[1]
from pipeline.galleries.own_galleries import OwnGalleries
from tests.fakes import TinyEncoders, portrait
portrait(0).save(Path(sys.argv[1]) / "photo.png")
_, mine = OwnGalleries(TinyEncoders(), Path(sys.argv[1]) / "kept").create()
mine.add([Path(sys.argv[1]) / "photo.png"], lambda: None)
while not list(Path(sys.argv[1]).rglob("photos/photo.png")): pass
"""


def test_a_server_that_stops_takes_them_along(temporary: Path) -> None:
    subprocess.run([sys.executable, "-c", STOPPED, str(temporary)], cwd=ROOT, check=True, timeout=SECONDS)
    assert files_below(temporary) == ["photo.png"]


def test_on_a_space_it_is_off_unless_switched_on() -> None:
    assert Settings.from_env({}).own_photos
    assert not Settings.from_env({"SPACE_ID": "user/name"}).own_photos
    assert Settings.from_env({"SPACE_ID": "user/name", "FACESEARCH_OWN_PHOTOS": "On"}).own_photos
    assert not Settings.from_env({"FACESEARCH_OWN_PHOTOS": "off"}).own_photos
    with pytest.raises(SettingsError, match="FACESEARCH_OWN_PHOTOS is 'maybe'; write on or off"):
        Settings.from_env({"FACESEARCH_OWN_PHOTOS": "maybe"})
    assert open_galleries(Settings("sample", own_photos=False)).own is None
    assert open_galleries(Settings("sample")).own is not None
