"""Folders as people have them: with what systems keep beside photos, with links, and with names of every kind."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from pipeline.photos.folders import HIDDEN, LOOP, OTHER, folder_photos, own_photos, people_of, photos_below


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path, "JPEG")
    return path


def test_every_ending_of_a_photo_counts_and_all_else_is_left_out_by_reason(tmp_path: Path) -> None:
    for name in ("1.JPG", "2.jfif", "3.jpe", "4.heic", "5.avif", "6.MPO"):
        photo(tmp_path / "Ann" / name)
    others = ["Ann/clip.mp4", "Ann/1.jpg.json"]
    hidden = ["Ann/@eaDir/1.jpg", "Thumbs.db", ".Trash-1000/old.jpg", "#recycle/old.jpg", "$RECYCLE.BIN/old.jpg"]
    for name in [*others, *hidden]:
        photo(tmp_path / name)
    listing = photos_below(tmp_path)
    assert [name.name for _, name in listing.photos] == ["1.JPG", "2.jfif", "3.jpe", "4.heic", "5.avif", "6.MPO"]
    assert sorted(name for name, reason in listing.left_out if reason == OTHER) == sorted(others)
    passed_over = {name for name, reason in listing.left_out if reason == HIDDEN}
    assert passed_over == {"Ann/@eaDir", "Thumbs.db", ".Trash-1000", "#recycle", "$RECYCLE.BIN"}
    assert folder_photos(tmp_path).left_out == listing.left_out


def test_a_linked_folder_is_followed_once_and_a_loop_is_told(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere" / "Bea" / "1.jpg")
    gallery = tmp_path / "gallery"
    photo(gallery / "Ann" / "1.jpg")
    (gallery / "linked").symlink_to(tmp_path / "elsewhere")
    (gallery / "twice").symlink_to(tmp_path / "elsewhere")
    (gallery / "Ann" / "up").symlink_to(gallery)
    listing = photos_below(gallery)
    assert [str(name) for _, name in listing.photos] == ["Ann/1.jpg", "linked/Bea/1.jpg"]
    assert dict(listing.left_out) == {"Ann/up": LOOP, "twice": LOOP}


def test_a_name_is_one_name_however_its_letters_are_composed(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    photo(tmp_path / composed / "1.jpg")
    photo(tmp_path / decomposed / "1.jpg")
    photo(tmp_path / "Ann" / "1.jpg")
    photos = folder_photos(tmp_path)
    assert set(photos.people) == {"Ann", composed}
    assert set(photos.photo_ids) == {"Ann/1.jpg", f"{composed}/1.jpg", f"{composed}/1 (2).jpg"}
    assert len({photos[row].source for row in range(3)}) == 3  # each is read from its own file


def test_a_name_that_is_not_utf8_is_no_reason_to_fail(tmp_path: Path) -> None:
    photo(tmp_path / "1.jpg")
    try:
        (tmp_path / "1.jpg").rename(os.fsdecode(os.fsencode(tmp_path) + b"/Zo\xeb.jpg"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    photos = own_photos(tmp_path, ("own", "Own"))
    assert photos.photo_ids == ("Zo\ufffd.jpg",)
    photos.photo_ids[0].encode()


@pytest.mark.parametrize(
    ("photos", "people"),
    [
        (["Ann/1.jpg", "Bea/1.jpg"], ["Ann", "Bea"]),
        (["Ann/1.jpg", "Ann/2.jpg"], ["Ann", "Ann"]),
        (["export/Ann/1.jpg", "export/Bea/1.jpg"], ["Ann", "Bea"]),
        (["top/Ann/2019/1.jpg", "top/Ann/2020/2.jpg", "top/Bea/2019/1.jpg"], ["Ann", "Ann", "Bea"]),
        (["Ann/2019/1.jpg", "Ann/2020/2.jpg"], ["Ann", "Ann"]),
        (["Ann/2019-07/1.jpg", "Ann/2020-01/2.jpg"], ["Ann", "Ann"]),
        (["1.jpg", "Ann/2.jpg"], ["1", "Ann"]),
        (["Ann.jpg"], ["Ann"]),
    ],
)
def test_the_top_folder_that_tells_people_apart_names_them(photos: list[str], people: list[str]) -> None:
    assert people_of([PurePosixPath(name) for name in photos]) == people
