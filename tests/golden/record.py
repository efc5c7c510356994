"""Writes anew what tests/test_unchanged.py holds the code against: `python -m tests.golden.record`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.test_unchanged import (
    BUILT,
    GOLDEN,
    Values,
    figure_values,
    fingerprint_values,
    gallery_values,
    keep,
    open_galleries,
    sample_values,
    search_values,
)

DIGITS = 7


def rounded(value: object) -> object:
    """The value with its numbers as exact as they can be compared."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def write(name: str, values: Values) -> None:
    """A line for each value, so that a difference can be read."""
    lines = [f"{json.dumps(key)}: {json.dumps(rounded(value))}" for key, value in values.items()]
    (GOLDEN / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def built_galleries(folder: Path) -> Values:
    """Builds the galleries, keeps them in tests/golden, and gives what is found in them."""
    shutil.rmtree(GOLDEN / "gallery", ignore_errors=True)
    galleries, values = open_galleries(folder), Values()
    for kind, recipe in BUILT:
        galleries[kind].build([recipe])
        keep(galleries[kind].folder(recipe), GOLDEN / "gallery" / kind / recipe)
        values[f"{kind} {recipe}"] = gallery_values(galleries[kind], galleries[kind].searcher(recipe))
    return values


def main() -> None:
    """All of it, without Milvus, as the tests are."""
    parts = {
        "search": search_values,
        "figures": figure_values,
        "sample": sample_values,
        "fingerprints": fingerprint_values,
        "galleries": built_galleries,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pymilvus", None)
        for name, values in parts.items():
            with TemporaryDirectory() as folder:
                write(name, values(Path(folder)))


if __name__ == "__main__":
    main()
