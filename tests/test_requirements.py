"""The lock is of these requirements: each in its range, every file by its hash, and no place to get it from.

The threat: a package that is replaced at its registry, or between there and here, runs as whoever installs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
LOCK = (HERE / "requirements.lock.txt").read_text(encoding="utf-8")
ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
LOCKED = {canonicalize_name(name): version for name, version, _ in ENTRY.findall(LOCK)}


def asked_for(path: Path) -> Iterator[Requirement]:
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from asked_for(path.parent / text.removeprefix("-r "))
        elif text:
            yield Requirement(text)


def test_what_is_asked_for_is_locked_within_its_range() -> None:
    locked_for = {**default_environment(), "sys_platform": "linux", "platform_machine": "x86_64"}
    asked = [one for one in asked_for(HERE / "requirements.txt") if not one.marker or one.marker.evaluate(locked_for)]
    assert len(asked) > 20
    wrong = [str(one) for one in asked if LOCKED.get(canonicalize_name(one.name), "0") not in one.specifier]
    assert wrong == []


def test_the_lock_is_versions_with_hashes_and_nothing_else() -> None:
    rest = ENTRY.sub("", LOCK)
    assert [line for line in rest.splitlines() if line.strip() and not line.startswith("#")] == []
    assert "://" not in LOCK
