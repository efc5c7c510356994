"""Half a minute of `load.py`, a minute with `--all`; what it calls wrong, and that sessions do not pile up."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import app
from pipeline.bench.processes import Memory
from pipeline.bench.visitor import Visitor
from pipeline.core.recipes import DEFAULT
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.photos.images import UNREADABLE
from tests.conftest import Tally
from tests.fakes import portrait
from tests.faults.corpus import encode
from tests.faults.load import load, sample
from tests.faults.load_report import BAD, COMPARE, FULL, MB, SEARCH, Asked, Report

CLIENTS = 8
GROWTH = 40.0  # MB a minute: up to 15 in the first minutes; with each request's photo kept, 70


def test_a_minute_of_visitors(tmp_path: Path, tally: Tally, full: bool) -> None:
    minutes = 1.0 if full else 0.5
    report = load(sample(tmp_path), CLIENTS, minutes)
    tally.add("requests by clients at once", len(report.asked))
    tally.most("p95 of their searches, s", report.tail(SEARCH)[1] / 1000)
    tally.most("memory meanwhile, MB a minute", report.growth.own / MB)
    assert report.problems(GROWTH) == []
    assert {one.kind for one in report.asked} == {SEARCH, COMPARE, BAD}
    assert sum(report.searches) > 60 * minutes


def test_only_so_many_sessions_are_remembered(tiny: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SESSIONS", 3)
    page = app.launch(Galleries(Preparation(tiny)), prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    for _ in range(5):
        with closing(Visitor(page.local_url)) as visitor:
            visitor.health()
    remembered = len(page.state_holder.session_data)
    page.close()
    gc.collect()
    assert remembered == 3


def test_no_list_grows_with_every_search(tiny: Gallery) -> None:
    preparation = Preparation(tiny)
    preparation.start()
    preparation.wait(60)
    page = app.launch(Galleries(preparation), prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    with closing(Visitor(page.local_url)) as visitor:
        for number in (1, 2):
            hits = visitor.search(encode(portrait(2, number)), DEFAULT, "exact", 3).answer["hits"]
    statistics = page._queue.event_analytics, page._queue.cached_event_analytics_summary
    listed = [*page.temp_file_sets, *(block.temp_files for block in page.blocks.values())]
    page.close()
    gc.collect()
    assert len(hits) == 3
    assert len(listed) > 10
    assert not any(listed)
    assert (len(statistics[0]), statistics[1]) == (1, {"functions": {}}), "Gradio's, of what was asked"


def report(asked: Iterable[Asked] = (), memory: Sequence[float] = (100, 100, 100, 100, 100, 100)) -> Report:
    """A report in which two clients had ten searches each, and these requests as well."""
    good = [Asked(client, SEARCH, 10.0, "") for client in (0, 1) for _ in range(10)]
    minutes = tuple((float(minute), Memory(int(9 * used * MB), int(used * MB))) for minute, used in enumerate(memory))
    return Report((*good, *asked), minutes, 2, (f"{FULL} Max size is 64.", True))


def test_what_is_as_it_must_be_is_no_problem() -> None:
    refused = [
        Asked(0, BAD, 5.0, UNREADABLE),
        Asked(1, SEARCH, 5.0, f"{FULL} Max size is 64."),
        Asked(1, COMPARE, 9, ""),
    ]
    assert report(refused).problems(1.0) == []


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Asked(0, BAD, 5.0, ""), "1 times wrong: bad upload: was answered"),
        (Asked(0, SEARCH, 5.0, UNREADABLE), f"1 times wrong: search: {UNREADABLE}"),
        (Asked(0, COMPARE, 5.0, "ReadTimeout('')"), "1 times wrong: compare: ReadTimeout('')"),
    ],
)
def test_a_wrong_answer_is_a_problem(one: Asked, said: str) -> None:
    assert report([one]).problems(1.0) == [said]


def test_memory_that_grows_is_a_problem_unless_it_was_warming_up() -> None:
    growth = report(memory=(50, 90, 100, 101, 102, 103)).growth
    assert growth == pytest.approx((9 * MB, MB)), "what is of files counts for the whole only"
    assert report(memory=(50, 90, 100, 102, 104, 106)).problems(1.0) == [
        "Memory grows by 2.0 MB a minute; 1 is the most."
    ]


def test_who_waits_longer_than_the_others_is_a_problem() -> None:
    many = [Asked(0, SEARCH, 10.0, "") for _ in range(30)]
    assert report(many).problems(1.0) == ["One client had 10 searches, the median 25."]
    assert replace(report(), clients=3).problems(1.0) == ["One client had 0 searches, the median 10."]


def test_a_queue_without_a_limit_and_a_page_that_stays_silent_are_problems() -> None:
    assert len(replace(report(), overrun=("", False)).problems(1.0)) == 2


def test_the_table_has_every_figure() -> None:
    asked = [Asked(0, BAD, 5.0, UNREADABLE), Asked(1, COMPARE, 9.0, "")]
    table = "\n".join(report(asked, memory=(50, 90, 100, 102, 104, 106)).table())
    times = ("search: 20; p50 / p95 | 10 / 10 ms", f"{UNREADABLE} | 1", "most | 10 / 10 / 10")
    for figure in (*times, "+2.00", "+18.00", "106 MB", "954 MB"):
        assert figure in table
