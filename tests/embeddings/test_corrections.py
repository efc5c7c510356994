"""Names put right: what each kind of correction changes, the file it is kept in, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import SettingsError
from pipeline.embeddings.corrections import LFW_ERRATA, NAME, Correction, Corrections
from pipeline.photos.photos import Photos

IDS = ("ann/1", "ann/2", "anne/1", "bob/1", "bob/2", "cy/1")
PEOPLE = ("ann", "ann", "anne", "bob", "bob", "cy")


def corrected(*rows: Correction) -> tuple[str, ...]:
    return Corrections(rows).people(IDS, PEOPLE)


def test_people_are_merged_under_the_second_name() -> None:
    assert corrected(Correction("merge", "ann/2", "anne/1")) == ("anne", "anne", "anne", "bob", "bob", "cy")


def test_merges_follow_one_another_and_may_go_round() -> None:
    chain = Correction("merge", "ann/1", "anne/1"), Correction("merge", "anne/1", "bob/1")
    assert set(corrected(*chain, Correction("merge", "bob/1", "ann/1"))) == {"bob", "cy"}


def test_one_photo_is_renamed_and_takes_part_in_merges_of_its_new_name() -> None:
    assert corrected(Correction("rename", "cy/1", name="ann"), Correction("merge", "ann/1", "anne/1"))[-1] == "anne"
    assert corrected(Correction("split", "bob/2", name="bob (2)"))[3:5] == ("bob", "bob (2)")


def test_dropped_photos_are_nobody_s() -> None:
    corrections = Corrections((Correction("drop", "bob/2"),))
    assert corrections.people(IDS, PEOPLE)[4] == "unknown"
    assert corrections.dropped == {"bob/2"}


def test_a_rejected_row_and_one_nobody_looked_at_change_nothing() -> None:
    for status in ("rejected", ""):
        row = Correction("merge", "ann/1", "anne/1", status=status)
        assert corrected(row) == PEOPLE
        assert Corrections((row,)).sha256 == Corrections().sha256


def test_people_kept_apart_keep_their_names() -> None:
    corrections = Corrections((Correction("apart", "ann/1", "anne/1"),))
    assert corrections.people(IDS, PEOPLE) == PEOPLE
    assert corrections.apart == (("ann/1", "anne/1"),)


def test_a_photo_that_is_not_there_changes_nothing() -> None:
    assert corrected(Correction("merge", "gone/1", "cy/1"), Correction("rename", "gone/1", name="cy")) == PEOPLE


def test_the_file_keeps_every_row_and_says_what_changed(tmp_path: Path) -> None:
    rows = Correction("split", "bob/2", name='Bob "B", Jr.', reason="é"), Correction("drop", "cy/1", status="rejected")
    Corrections(rows).save(tmp_path / NAME)
    assert Corrections.load(tmp_path / NAME).rows == rows
    assert Corrections(rows).sha256 != Corrections(rows[1:]).sha256
    assert Corrections.load(tmp_path / "none.csv").rows == ()


def test_a_later_decision_replaces_an_earlier_one() -> None:
    before = Corrections((Correction("merge", "ann/1", "anne/1"), Correction("drop", "cy/1")))
    after = before.adding([Correction("merge", "ann/1", "anne/1", status="rejected")])
    assert [(row.kind, row.status) for row in after.rows] == [("drop", "accepted"), ("merge", "rejected")]


@pytest.mark.parametrize(
    "line", ["rename,ann/1,,,accepted", "merge,ann/1,,,accepted", "swap,ann/1", "drop,ann/1,,,maybe"]
)
def test_the_line_that_is_wrong_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / NAME).write_text(f"kind,photo,other,name,status\ndrop,cy/1,,,accepted\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"Line 3 of .*{NAME}"):
        Corrections.load(tmp_path / NAME)


def test_a_spreadsheet_s_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("\ufeffkind,photo\ndrop,cy/1\n", encoding="utf-8")
    assert Corrections.load(tmp_path / NAME).rows == (Correction("drop", "cy/1", status=""),)


def test_lfw_s_errata_are_for_lfw_and_a_gallery_s_own_come_on_top(tmp_path: Path) -> None:
    def photos(*ids: str) -> Photos:
        return Photos(("g", "G"), [(each, each) for each in ids], ("r", ids), lambda row: b"")

    first = next(row for row in Corrections.load(LFW_ERRATA).rows if row.other and row.status == "accepted")
    lfw = photos(first.photo, first.other)
    assert first in Corrections.of(lfw, tmp_path).rows
    assert Corrections.of(photos("a", "b"), tmp_path).rows == ()
    Corrections((Correction("drop", first.photo), Correction("drop", "elsewhere"))).save(tmp_path / NAME)
    assert first.photo in Corrections.of(lfw, tmp_path).dropped
    assert "elsewhere" not in Corrections.of(lfw, tmp_path).dropped
