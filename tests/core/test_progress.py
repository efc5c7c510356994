"""Progress is reported before the first unit and after each, and counts what an earlier run has done."""

from __future__ import annotations

from pipeline.core.progress import Meter, Progress, tracked, tracked_slices


def test_items_are_counted_before_the_first_and_after_each() -> None:
    seen: list[Progress] = []
    for item in tracked("abc", "Reading", "letters", seen.append):
        assert seen[-1].done == "abc".index(item)
    assert [(one.task, one.unit, one.done, one.total) for one in seen] == [
        ("Reading", "letters", done, 3) for done in range(4)
    ]
    assert [one.worked for one in seen] == [0, 1, 2, 3]
    assert 0 <= seen[0].seconds <= seen[-1].seconds


def test_what_an_earlier_run_did_counts_as_done_but_not_as_worked() -> None:
    seen: list[Progress] = []
    assert list(tracked(range(2), "Training", "steps", seen.append, done=5)) == [0, 1]
    assert [(one.done, one.worked, one.total) for one in seen] == [(5, 0, 7), (6, 1, 7), (7, 2, 7)]


def test_slices_cover_all_rows_and_the_last_is_as_long_as_what_is_left() -> None:
    seen: list[Progress] = []
    assert list(tracked_slices(7, 3, "Ranking", "photos", seen.append)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert [one.done for one in seen] == [0, 3, 6, 7]


def test_nothing_to_do_is_not_reported() -> None:
    seen: list[Progress] = []
    assert list(tracked([], "Drawing", "maps", seen.append)) == []
    assert list(tracked_slices(0, 3, "Ranking", "photos", seen.append)) == []
    assert seen == []


def test_a_meter_counts_units_of_any_number() -> None:
    seen: list[Progress] = []
    meter = Meter("Filling", "rows", 10, seen.append, done=4)
    meter.advance(5)
    meter.advance()
    assert [(one.done, one.worked) for one in seen] == [(4, 0), (9, 5), (10, 6)]
