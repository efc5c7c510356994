"""Milvus Lite, which keeps files of its own open, brings nothing of a removed gallery back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.core.errors import PipelineError
from pipeline.galleries.own_galleries import OwnGalleries
from tests.fakes import portrait
from tests.galleries.test_own_galleries import RECIPE, Encoders, encoders, filled, own, temporary

__all__ = ["encoders", "own", "temporary"]  # fixtures
pytest.importorskip("milvus_lite", reason="needs pip install 'pymilvus[milvus-lite]'")


@pytest.mark.parametrize("kept", [False, True], ids=["temporary", "kept"])
def test_nothing_is_left_of_a_gallery_that_is_searched_in_milvus_meanwhile(
    own: OwnGalleries, temporary: Path, tmp_path: Path, encoders: Encoders, kept: bool
) -> None:
    photos = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(photos):
        portrait(number).save(path)
    key, mine = filled(own, photos)
    own.keep(key, kept=kept)
    mine.wait()
    assert mine.preparation is not None
    searcher, stop = mine.preparation.searcher(RECIPE), threading.Event()
    assert searcher.search(portrait(1), 1, "milvus").hits[0].photo_id == "1.png"

    def search() -> None:
        while not stop.is_set():
            with suppress(PipelineError):
                searcher.search(portrait(1), 1, "milvus")

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        time.sleep(0.1)
        own.remove(key)
        time.sleep(0.3)  # in which they go on
        stop.set()
    for ended in searches:
        ended.result()
    assert [path for path in temporary.glob("*/*") if path.name != "pictures" or any(path.iterdir())] == []
    assert not (tmp_path / "kept" / mine.name).exists()
