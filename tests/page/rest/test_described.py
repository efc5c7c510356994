"""Whatever the description allows or forbids is answered as it says: tried by schemathesis for half a minute."""

from __future__ import annotations

import re

import pytest

from tests.faults.rest import OURS, SCHEMATHESIS, fuzz

SECONDS = 30


@pytest.mark.slow
@pytest.mark.skipif(not SCHEMATHESIS.is_file(), reason="needs schemathesis: pip install schemathesis")
def test_nothing_that_may_be_sent_is_answered_otherwise_than_described(url: str) -> None:
    done = fuzz(url, SECONDS)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    assert re.search(r"\d+ generated", done.stdout), done.stdout
    assert not any(secret in done.stdout for secret in OURS)
