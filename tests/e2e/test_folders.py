# ruff: noqa: F401, F811  (fixtures are arguments)
"""Folders on "My photos", dropped as the system drops them and chosen: every file in them, by its path there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.galleries.own_galleries import OwnGalleries
from tests.e2e.conftest import Browse, Page
from tests.e2e.test_own_photos import own, party, url
from tests.e2e.test_page import drop_at, wait_for_answer
from tests.fakes import portrait


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """A folder of photos in folders, with what a phone and a drive keep beside them."""
    folder = tmp_path / "family"
    for person, name in enumerate(("Ada", "Zoë")):
        (folder / name / "2019").mkdir(parents=True)
        for variation in range(2):
            portrait(person, variation).save(folder / name / "2019" / f"{variation}.png")
    (folder / "@eaDir").mkdir()
    portrait(3).save(folder / "@eaDir" / "small.png")
    (folder / "Ada" / "film.mp4").write_bytes(b"a film" * 100_000)
    (folder / "empty").mkdir()
    return folder


def drop_on(page: Page, *paths: Path) -> None:
    """Drops files and folders on the tab's zone as the system's file manager does."""
    page.get_by_role("tab", name="My photos").click()
    drop_at(page, page.locator("#own-drop input[type=file]").locator(".."), *paths)


def photos_of(own: OwnGalleries) -> list[str]:
    (gallery,) = own._open.values()
    return sorted(gallery.photo_ids)


IN_THE_FAMILY = ["Ada/0.png", "Ada/1.png", "Zoë/0.png", "Zoë/1.png"]


def test_a_folder_is_dropped_with_photos_beside_it(
    url: str,
    browse: Browse,
    own: OwnGalleries,
    family: Path,
    party: list[Path],
) -> None:
    page = browse(url)
    wait_for_answer(page, "Ada")
    drop_on(page, family, party[0])
    page.locator("#own-state", has_text="6 faces in 5 photos can be searched.").wait_for()
    said = page.locator("#own-state").inner_text()
    assert "1 file left out: no photo by its ending." in said
    assert "1 file left out: hidden or a system's own." in said
    assert photos_of(own) == [*IN_THE_FAMILY, "party-0.png"]


def test_a_folder_without_files_is_told_of(url: str, browse: Browse, family: Path) -> None:
    page = browse(url)
    wait_for_answer(page, "Ada")
    drop_on(page, family / "empty")
    page.locator("#own-folder", has_text="There are no files in this folder.").wait_for()


def test_a_folder_is_chosen(url: str, browse: Browse, own: OwnGalleries, family: Path) -> None:
    page = browse(url)
    wait_for_answer(page, "Ada")
    page.get_by_role("tab", name="My photos").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(family)
    page.locator("#own-state", has_text="4 faces in 4 photos can be searched.").wait_for()
    assert photos_of(own) == IN_THE_FAMILY
