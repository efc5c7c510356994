"""Galleries' folders: no two datasets share one, none lies where something else does, those of before are opened."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import datasets
import pytest

from pipeline.core.settings import SAMPLE, Settings
from pipeline.embeddings import publish as publishing
from pipeline.galleries.galleries import open_galleries
from pipeline.galleries.gallery import Gallery
from pipeline.photos import sources
from pipeline.photos.folders import slug
from pipeline.photos.photos import Photos
from pipeline.photos.sources import LFW, open_photos
from tests.embeddings.test_publish import REPO, hub  # noqa: F401
from tests.fake_hub import Hub
from tests.fakes import TinyEncoders
from tests.photos.test_sources import ROWS, hub_cache, snapshot, write_dataset

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # of the Hub's client
WHOLE = "mini-whole"  # which looks for no faces, of which these photos have none


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def opened(dataset: object, index: Path) -> Gallery:
    return Gallery(str(dataset), TinyEncoders(), index)


def built(dataset: object, index: Path) -> Gallery:
    gallery = opened(dataset, index)
    gallery.build([WHOLE])
    return gallery


def embedded(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many photos building the gallery embeds."""
    encoder, count = gallery.encoders.get(WHOLE), 0
    embed = encoder.embed

    def counting(crops: list[object]) -> object:
        nonlocal count
        count += len(crops)
        return embed(crops)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "embed", counting)
    gallery.build([WHOLE])
    return count


@pytest.mark.parametrize("name", ["thumbnails", "own", "sample", "lfw"])
def test_a_dataset_called_as_something_else_there_has_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    index = tmp_path / "index"
    gallery = built(write_dataset(tmp_path / name), index)
    assert gallery.folder(WHOLE).parent.name.startswith(f"{name}-")
    assert not (index / name).exists()
    assert not any(path.is_relative_to(gallery.thumbnails_root) for path in index.rglob("vectors.npy"))


def test_folders_of_one_name_do_not_share_a_gallery(tmp_path: Path) -> None:
    index = tmp_path / "index"
    one = built(write_dataset(tmp_path / "a" / "photos"), index)
    other = built(write_dataset(tmp_path / "b" / "photos", ROWS[:2]), index)
    as_folder = open_photos(f"imagefolder:{SAMPLE.parent / 'sample'}").name
    assert len({one.photos.name, other.photos.name, as_folder}) == 3
    assert len(opened(tmp_path / "a" / "photos", index).searcher(WHOLE).embeddings) == 3
    assert len(opened(tmp_path / "b" / "photos", index).searcher(WHOLE).embeddings) == 2


def test_a_folder_opened_in_two_ways_has_two_galleries(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "photos")
    shutil.copy(next(SAMPLE.rglob("*.jpg")), folder / "one.jpg")
    assert sources.told_apart("photos", f"dataset {folder}") != open_photos(f"imagefolder:{folder}").name


def test_repositories_that_read_alike_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_cache(tmp_path)))
    names = []
    for repo in ("a/b-c", "a-b/c", "a_b/c", "A/b-c", "user/faces"):
        write_dataset(snapshot(tmp_path, repo))
        names.append(open_photos(repo).name)
    assert len(set(names)) == len(names)
    assert names[-1] == "user-faces"


def test_a_gallery_that_was_built_before_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to version 0.9 its folder had the dataset's plain name."""
    index, folder = tmp_path / "index", write_dataset(tmp_path / "a" / "My Faces")
    gallery = built(folder, index)
    assert gallery.folder(WHOLE).parent.name.startswith("my-faces-")
    before = gallery.photos.former
    assert isinstance(before, Photos)
    shutil.rmtree(index)
    old = opened(folder, index)
    old._photos = before
    old.build([WHOLE])
    again = opened(folder, index)
    assert again.searcher(WHOLE).embeddings.folder == index / "my-faces" / WHOLE
    assert embedded(again, monkeypatch) == 0
    assert not [path for path in index.iterdir() if path.name.startswith("my-faces-")]
    other = built(write_dataset(tmp_path / "b" / "My Faces", ROWS[:2]), index)
    assert other.folder(WHOLE).parent.name.startswith("my-faces-")
    assert len(opened(folder, index).searcher(WHOLE).embeddings) == 3


def test_vectors_that_were_served_before_are_deleted_when_a_page_starts(tmp_path: Path) -> None:
    index = tmp_path / "index"
    gallery = built(write_dataset(tmp_path / "thumbnails"), index)
    gallery.pictures.thumbnail(gallery.photos.photo_ids[0])
    shutil.copytree(gallery.folder(WHOLE), index / "thumbnails" / WHOLE)
    open_galleries(Settings(dataset="sample", index=index, cache=tmp_path / "weights", own_photos=False))
    assert not list((index / "thumbnails").rglob("vectors.npy"))
    assert list((index / "thumbnails").rglob("*.jpg"))
    assert gallery.folder(WHOLE).is_dir()


def test_what_is_published_is_found_from_another_folder(tmp_path: Path, hub: Hub) -> None:  # noqa: F811
    one = built(write_dataset(tmp_path / "a" / "faces"), tmp_path / "index")
    publishing.publish(one.pictures, [one.searcher(WHOLE).embeddings], REPO, private=False)
    assert f"faces/{WHOLE}/manifest.json" in hub.repos[REPO].files, "as it was called before"
    other = opened(write_dataset(tmp_path / "b" / "faces"), tmp_path / "elsewhere")
    other.fetch_from(REPO)
    assert other.published
    assert other.published.fetch(other.photos, [other.encoders.get(WHOLE)], other.index_root, lambda _: None) == [WHOLE]
    assert len(other.searcher(WHOLE).embeddings) == 3
    assert other.searcher(WHOLE).embeddings.manifest["gallery"] == other.photos.name != one.photos.name


@pytest.fixture
def copy_of_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample as another checkout has it: the same files, written at another time."""
    copied = Path(shutil.copytree(SAMPLE, tmp_path / "checkout" / "sample", copy_function=shutil.copyfile))
    for path in copied.rglob("*.jpg"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return copied


def test_two_checkouts_share_the_samples_gallery(
    tmp_path: Path, copy_of_sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    built("sample", index)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "SAMPLE", copy_of_sample)
        other = opened("sample", index)
        assert embedded(other, patch) == 0
    assert other.folder(WHOLE) == index / "sample" / WHOLE


def test_the_samples_gallery_that_a_checkout_has_already_is_opened(
    tmp_path: Path, copy_of_sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    old = opened("sample", index)
    old._photos = open_photos("sample").former
    old.build([WHOLE])
    again = opened("sample", index)
    assert embedded(again, monkeypatch) == 0
    with monkeypatch.context() as patch:  # another checkout embeds once, and then both have the same
        patch.setattr(sources, "SAMPLE", copy_of_sample)
        assert embedded(opened("sample", index), patch) > 0
    assert embedded(opened("sample", index), monkeypatch) == 0


def test_names_of_before_are_those_they_were() -> None:
    assert open_photos("sample").name == "sample"
    assert slug("a/b-c") == slug("a-b/c"), "why repositories need more than that"
    assert LFW in sources.RESERVED
