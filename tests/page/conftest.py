"""What the page's tests search with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import portrait


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of Elif."""
    path = tmp_path / "query.png"
    portrait(4, 2).save(path)
    return path


@pytest.fixture(autouse=True)
def served_here(imported: None) -> None:
    """Pages are served at this test process's ports."""
