"""The gallery: the default that can be had, searchers opened once, examples, photos as files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import GalleryMissing, PhotosError, SettingsError
from pipeline.core.recipes import DEFAULT, IMPROVED, IN_ORDER, MINI, RECIPES
from pipeline.core.settings import Settings
from pipeline.evaluation.pairs import VIEW_1, Pairs
from pipeline.galleries import gallery as gallery_module
from pipeline.galleries.gallery import EXAMPLES, Gallery, open_gallery
from pipeline.search.calibration import OWN, read_calibrations
from tests.fakes import PEOPLE, TinyEncoders, draw, make_folder, portrait

RECIPE = "mtcnn-reid"


def test_the_default_recipe_is_the_best_that_can_be_had(tiny_folder: Path, tmp_path: Path) -> None:
    def gallery(unavailable: dict[str, str]) -> Gallery:
        return Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(unavailable), tmp_path)

    assert gallery({}).default_recipe() == DEFAULT
    assert gallery({IMPROVED: "gone"}).default_recipe() == DEFAULT
    assert gallery({DEFAULT: "gone"}).default_recipe() == IMPROVED
    assert DEFAULT != IMPROVED


def test_the_default_is_what_is_built_and_ready(tiny: Gallery, tiny_folder: Path) -> None:
    tiny.build([MINI])
    assert tiny.default_recipe() == MINI
    assert tiny.recipe_to_build() == DEFAULT
    tiny.build([DEFAULT])
    assert tiny.default_recipe() == DEFAULT
    without_weights = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders({DEFAULT: "gone"}), tiny.index_root)
    assert without_weights.default_recipe() == MINI
    (tiny.folder(DEFAULT) / "vectors.npy").write_bytes(b"damaged")
    assert Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tiny.index_root).default_recipe() == MINI


def test_the_default_of_photos_that_are_gone_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PhotosError, match="does not exist"):
        Gallery(f"imagefolder:{tmp_path / 'gone'}", TinyEncoders(), tmp_path / "index").default_recipe()
    assert caplog.text == ""


def test_all_recipes_are_prepared_the_default_first() -> None:
    assert IN_ORDER[0] == DEFAULT
    assert sorted(IN_ORDER) == sorted(RECIPES)


def test_a_searcher_is_there_once_its_gallery_is_built_and_is_opened_once(tiny: Gallery) -> None:
    with pytest.raises(GalleryMissing):
        tiny.searcher(DEFAULT)
    assert not tiny.index_root.exists(), "asking builds nothing"
    tiny.build([DEFAULT])
    assert tiny.searcher(DEFAULT) is tiny.searcher(DEFAULT)
    assert tiny.searcher(DEFAULT).embeddings.folder == tiny.folder(DEFAULT)
    with pytest.raises(GalleryMissing):
        tiny.searcher(IMPROVED)


def test_a_gallery_that_another_process_built_is_found(tiny: Gallery, tiny_folder: Path) -> None:
    Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tiny.index_root).build([DEFAULT])
    assert len(tiny.searcher(DEFAULT).embeddings) == 24


def test_photos_that_were_not_there_are_looked_for_again(tmp_path: Path) -> None:
    gallery = Gallery(f"imagefolder:{tmp_path / 'photos'}", TinyEncoders(), tmp_path / "index")
    with pytest.raises(PhotosError, match="does not exist"):
        _ = gallery.photos
    make_folder(tmp_path / "photos")
    assert len(gallery.photos) == 26
    assert gallery.photos is gallery.photos


def test_a_recipe_there_is_not_is_refused(tiny: Gallery) -> None:
    with pytest.raises(SettingsError, match="mtcnn-reid"):
        tiny.searcher("vgg")


# Examples


def test_examples_are_the_first_photos_of_people(tiny: Gallery) -> None:
    assert tiny.examples() == [f"{name}/0.png" for name in PEOPLE]


def test_ten_examples_are_enough(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(15):
        draw().save(folder / f"{number:02}.png")
    gallery = Gallery(f"imagefolder:{folder}", TinyEncoders(), tmp_path / "index")
    assert gallery.examples() == [f"{number:02}.png" for number in range(10)]


def test_examples_of_lfw_are_the_ten_that_the_ancestors_searched_for(real: Settings) -> None:
    gallery = open_gallery(real)
    assert gallery.examples() == list(EXAMPLES)
    assert gallery.person(EXAMPLES[0]) == "Albert Costa"


# Photos as files


def test_a_picture_that_is_made_needs_no_photo(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    box = (0.0, 0.0, 20.0, 20.0)
    thumbnail, face = tiny.pictures.thumbnail("Ada/0.png"), tiny.pictures.face("Ada/0.png", box)
    monkeypatch.setattr(tiny.photos, "_read", None)
    assert (tiny.pictures.thumbnail("Ada/0.png"), tiny.pictures.face("Ada/0.png", box)) == (thumbnail, face)
    with pytest.raises(TypeError):
        tiny.pictures.thumbnail("Ada/1.png")
    thumbnail.with_name(thumbnail.name).write_bytes(b"")
    with pytest.raises(TypeError):
        tiny.pictures.thumbnail("Ada/0.png")


def test_a_thumbnail_is_a_small_jpeg_of_the_photo(tiny: Gallery, tiny_folder: Path) -> None:
    Image.new("RGB", (2000, 1000), "red").save(tiny_folder / "Ada" / "large.png")
    with Image.open(tiny.pictures.thumbnail("Ada/large.png")) as image:
        assert (image.format, image.size) == ("JPEG", (320, 160))
        red, green, blue = image.getpixel((100, 100))
    assert red > 240 > 20 > max(green, blue)
    assert tiny.pictures.thumbnail("Ada/large.png").parent == tiny.thumbnails_root / tiny.photos.name
    assert tiny.pictures.thumbnail("Ada/0.png") != tiny.pictures.thumbnail("Ada/1.png")
    assert "Ada" not in tiny.pictures.thumbnail("Ada/0.png").name


def test_an_original_is_the_photo_pixel_for_pixel(tiny: Gallery) -> None:
    with Image.open(tiny.pictures.original("Bruno/3.png")) as image:
        assert image.convert("RGB").tobytes() == portrait(1, 3).tobytes()


def test_the_person_is_the_photos(tiny: Gallery) -> None:
    assert tiny.person("Elif/2.png") == "Elif"


def test_a_photo_there_is_not_is_refused(tiny: Gallery) -> None:
    for asked in (tiny.pictures.thumbnail, tiny.pictures.original, tiny.person):
        for photo_id in ("Ada/9.png", "", "../../etc/passwd"):
            with pytest.raises(SettingsError, match="no photo"):
                asked(photo_id)


def test_open_gallery_loads_nothing_yet(tmp_path: Path) -> None:
    gallery = open_gallery(Settings(dataset=str(tmp_path / "nowhere"), index=tmp_path / "index", cache=tmp_path / "c"))
    assert gallery.index_root == tmp_path / "index"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PhotosError):
        _ = gallery.photos


def view_1(people: int = 6) -> Pairs:
    """Pairs of the tiny world in place of LFW's."""
    names = PEOPLE[:people]
    alike = [(f"{name}/0.png", f"{name}/1.png") for name in names]
    ids = alike + [(f"{name}/2.png", f"{other}/3.png") for name, other in pairwise(names)]
    return Pairs(tuple(ids), np.arange(len(ids)) < people, np.ones(len(ids), np.int64), "here")


def test_a_gallery_of_lfw_is_calibrated_when_it_is_built(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(gallery_module, "open_pairs", lambda *request: asked.append(request[-1]) or view_1())
    tiny.build([RECIPE])
    searcher = tiny.searcher(RECIPE)
    assert searcher.calibration is not None
    assert searcher.embeddings.manifest["calibration"] == searcher.calibration.as_json()
    assert searcher.calibration.weights == ("tiny-reid",)
    assert asked == [VIEW_1]
    tiny.build([RECIPE])
    assert len(asked) == 1, "what is known is not measured again"
    assert tiny.searcher(RECIPE).search(portrait(0), 1).hits[0].verdict is not None
    (kept,) = read_calibrations(tiny.index_root / OWN)
    assert kept == searcher.calibration


def test_what_was_measured_on_lfw_serves_another_gallery(
    tiny: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(gallery_module, "open_pairs", lambda *_: view_1())
        tiny.build([RECIPE])
    other = Gallery(f"imagefolder:{make_folder(tmp_path / 'mine')}", TinyEncoders(), tiny.index_root)
    other.build([RECIPE])
    assert "calibration" not in other.searcher(RECIPE).embeddings.manifest
    assert other.searcher(RECIPE).calibration == tiny.searcher(RECIPE).calibration


def test_without_pairs_a_gallery_is_built_all_the_same(
    tiny: Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable(*_: object) -> None:
        raise PhotosError("Nowhere.")

    monkeypatch.setattr(gallery_module, "open_pairs", unreachable)
    tiny.build([RECIPE])
    assert tiny.searcher(RECIPE).calibration is None
    assert f"Answers of {RECIPE} come without verdicts: Nowhere." in caplog.text


def test_calibrating_again_is_used_at_once(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "open_pairs", lambda *_: view_1())
    tiny.build([RECIPE])
    before = tiny.searcher(RECIPE).calibration
    monkeypatch.setattr(gallery_module, "open_pairs", lambda *_: view_1(3))
    (after,) = tiny.calibrate([RECIPE])
    assert tiny.searcher(RECIPE).calibration == after != before
