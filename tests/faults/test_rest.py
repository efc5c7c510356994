"""A crowd of programs on the REST interface, in its short form: see `rest.py`."""

from __future__ import annotations

from pathlib import Path

from pipeline.bench.timing import median_and_p95
from tests.conftest import Tally
from tests.faults.rest import REFUSALS, crowd, served

CLIENTS = 30  # more than may wait at the gate
GROWTH = 60.0  # MB a minute in the first half: caches fill


def test_a_crowd_of_programs_is_answered_or_told_when_to_ask_again(tmp_path: Path, tally: Tally, full: bool) -> None:
    with served(tmp_path) as (page, photos):
        came = crowd(page, photos, CLIENTS, 1.0 if full else 0.4)
    tally.add("requests to REST by programs at once", came.statuses.total())
    tally.most("p95 of their searches, s", median_and_p95(list(came.ms), 0)[1] / 1000)
    assert set(came.statuses) <= {200, *REFUSALS}
    assert came.statuses[200] > 50
    assert came.statuses[503], "some had to be told"
    assert came.silent == 0
    assert came.growth < GROWTH
