"""The page's HTML, scripts and long texts as they lie in the files of this folder."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.templates import Templates

HERE = Path(__file__).parent
TEMPLATES = Templates(HERE / "templates")


def source(name: str) -> str:
    """The file of that name as it is."""
    return (HERE / name).read_text(encoding="utf-8")
