"""LFW for these tests: all of it with `--all`, else a part that a few minutes are enough for.

The part is every photo of everybody who is in the first two of View 2's ten folds, and of the ten example people: 2,430
photos of 851 people. It is written as a dataset in the Hub's layout, so what opens and builds it is what opens LFW.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.settings import Settings
from pipeline.evaluation.pairs import Pairs, open_pairs
from pipeline.galleries.gallery import EXAMPLES, Gallery, open_gallery
from pipeline.photos.photos import Photos
from pipeline.photos.sources import open_photos

FOLDS = 2


@pytest.fixture(scope="session")
def pairs(real: Settings, full: bool) -> Pairs:
    """View 2's pairs, as far as their photos are there."""
    found = open_pairs(real.dataset, open_photos(real.dataset), real.cache)
    if found is None:
        pytest.skip("needs all of LFW: set FACESEARCH_DATASET to a copy of it")
    if full:
        return found
    chosen = found.folds <= FOLDS
    photo_ids = tuple(both for both, kept in zip(found.photo_ids, chosen, strict=True) if kept)
    return Pairs(photo_ids, found.same[chosen], found.folds[chosen], found.source)


@pytest.fixture(scope="session")
def settings(real: Settings, full: bool, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with the photos; galleries are built in FACESEARCH_INDEX and found there the next time."""
    if full:
        return real
    folder = tmp_path_factory.mktemp("lfw")
    write_part(real.dataset, open_photos(real.dataset), pairs, folder / "lfw-part")
    (folder / "cache").mkdir()
    for kept in real.cache.glob("*"):  # weights that were downloaded, but no head that was trained on all of LFW
        if kept.suffix != ".safetensors":
            (folder / "cache" / kept.name).symlink_to(kept)
    return replace(real, dataset=str(folder / "lfw-part"), cache=folder / "cache")


def write_part(dataset: str, photos: Photos, pairs: Pairs, folder: Path) -> None:
    """Writes all photos of the pairs' people and the ten as a dataset, and View 2's files beside them as they were."""
    import datasets

    wanted = {*EXAMPLES, *(photo_id for both in pairs.photo_ids for photo_id in both)}
    people = {photos.found(photo_id).person for photo_id in wanted}
    rows = [row for row, person in enumerate(photos.people) if person in people]
    names = sorted(people)
    part = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": bytes(photos[row].source), "path": f"{photos.photo_ids[row]}.jpg"} for row in rows],
            "label": [names.index(photos.people[row]) for row in rows],
        },
        datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}),
    )
    (folder / "data").mkdir(parents=True)
    part.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    protocol = Path(dataset).expanduser() / "protocol"
    if protocol.is_dir():
        (folder / "protocol").symlink_to(protocol.resolve())


@pytest.fixture(scope="session")
def gallery(settings: Settings) -> Gallery:
    """The gallery of these photos; what of it is built is up to the tests."""
    return open_gallery(settings)
