"""LFW's pairs: from the dataset's local copy, else downloaded, and always checked by their hash.

View 2, 6,000 pairs in ten folds, is what figures are reported on; View 1, 2,200 and 1,000 pairs, is for choosing and
fitting. Both halve into pairs of one person and of two. The people of View 1 are in View 2 as well: LFW is made so.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import requests

from pipeline.core.errors import PhotosError
from pipeline.core.files import replacing
from pipeline.core.settings import expanded
from pipeline.photos.photos import Photos

TIMEOUT = (5, 30)  # seconds to connect, and to wait for more


@dataclass(frozen=True)
class PairsFile:
    """A published file of pairs: its name, its hash, and the addresses it can be had from."""

    name: str
    sha256: str
    urls: tuple[str, ...]

    def is_published(self, content: bytes) -> bool:
        """Whether this is the file, byte for byte."""
        return hashlib.sha256(content).hexdigest() == self.sha256


# scikit-learn's copies, and one as a table; LFW's own host is gone.
_FIGSHARE = "https://ndownloader.figshare.com/files"
VIEW_2 = (
    PairsFile(
        "pairs.txt",
        "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
        (
            f"{_FIGSHARE}/5976006",
            "https://huggingface.co/datasets/marcelohaps/lfw/resolve/main/pairs.csv",
        ),
    ),
)
VIEW_1 = (
    PairsFile(
        "pairsDevTrain.txt",
        "1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa",
        (f"{_FIGSHARE}/5976012",),
    ),
    PairsFile(
        "pairsDevTest.txt",
        "7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c",
        (f"{_FIGSHARE}/5976009",),
    ),
)
FIRST_PHOTO = "Abel_Pacheco_0001"  # of View 2's first pair


@dataclass(frozen=True)
class Pairs:
    """Pairs of photos (n, 2) by id, whether both show the `same` person (n,), and the fold (n,) of each.

    `source` is where they came from.
    """

    photo_ids: tuple[tuple[str, str], ...]
    same: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]
    source: str

    def __post_init__(self) -> None:
        if not len(self.photo_ids) == len(self.same) == len(self.folds):
            raise ValueError("photo ids, labels and folds must be of the same length")

    def __len__(self) -> int:
        return len(self.photo_ids)


def open_pairs(dataset: str, photos: Photos, cache: Path, view: Sequence[PairsFile] = VIEW_2) -> Pairs | None:
    """A view's pairs; None if these photos are not all of LFW. PhotosError if the pairs cannot be had.

    `dataset` as in FACESEARCH_DATASET: a local folder may hold `protocol/pairs.txt`. `cache` keeps what is downloaded.
    """
    if photos.row_of(FIRST_PHOTO) is None:  # another gallery: no host is asked
        return None
    pairs = _joined([_open(file, expanded(dataset) / "protocol", cache / "lfw") for file in view])
    return pairs if all(photos.row_of(photo) is not None for both in pairs.photo_ids for photo in both) else None


def _open(file: PairsFile, local: Path, kept: Path) -> Pairs:
    """One file's pairs from the folder `local`, else from `kept`, else from its hosts."""
    if (local / file.name).is_file():
        content, source = (local / file.name).read_bytes(), f"protocol/{file.name}"
        if not file.is_published(content):
            raise PhotosError(
                f"{local / file.name} is not the published {file.name} of LFW (its hash differs); replace or remove it."
            )
    elif (kept / file.name).is_file() and file.is_published((kept / file.name).read_bytes()):
        content, source = (kept / file.name).read_bytes(), "cache"
    else:
        content, source = _download(file)
        with replacing(kept / file.name) as beside:
            beside.write_bytes(content)
    return parse_pairs(content.decode("utf-8"), source)


def _joined(parts: Sequence[Pairs]) -> Pairs:
    """The pairs of several files; the folds are numbered on."""
    before = np.cumsum([0, *(int(part.folds.max(initial=0)) for part in parts)])
    return Pairs(
        tuple(both for part in parts for both in part.photo_ids),
        np.concatenate([part.same for part in parts]),
        np.concatenate([part.folds + first for part, first in zip(parts, before[:-1], strict=True)]),
        ", ".join(dict.fromkeys(part.source for part in parts)),
    )


def parse_pairs(text: str, source: str) -> Pairs:
    """Reads LFW's format: `name n1 n2` for one person, `name1 n1 name2 n2` for two, in folds of equal size.

    The first line says how many folds there are, unless it is one, and how many pairs of each kind are in one.
    """
    header, *lines = text.splitlines()
    per_fold = 2 * int(header.split()[-1])
    rows = [line.split("\t") for line in lines]
    photo_ids = tuple((_photo_id(row[0], row[1]), _photo_id(row[-2 if len(row) == 4 else 0], row[-1])) for row in rows)
    same = np.array([len(row) == 3 for row in rows])
    return Pairs(photo_ids, same, np.arange(len(rows), dtype=np.int64) // per_fold + 1, source)


def _photo_id(name: str, number: str) -> str:
    return f"{name}_{int(number):04d}"


def _download(file: PairsFile) -> tuple[bytes, str]:
    """The file and the host it came from."""
    problems = []
    for url in file.urls:
        host = urlsplit(url).netloc
        try:
            answer = requests.get(url, timeout=TIMEOUT)
            answer.raise_for_status()
        except requests.RequestException as error:
            problems.append(f"{host} cannot be reached ({type(error).__name__})")
            continue
        content = _table_as_text(answer.text).encode() if url.endswith(".csv") else answer.content
        if file.is_published(content):
            return content, host
        problems.append(f"{host} sent something else")
    raise PhotosError(
        f"LFW's {file.name} cannot be had: {', '.join(problems)}; connect, or put it into the folder `protocol` of a "
        "local copy of the dataset."
    )


def _table_as_text(table: str) -> str:
    """The pairs given as a table, in LFW's own format and so with its hash: every value is checked by it."""
    try:
        rows = sorted(csv.DictReader(table.splitlines()), key=lambda row: int(row["pair_id"]))
        folds = max(int(row["fold_id"]) for row in rows)
        lines = [f"{folds}\t{len(rows) // folds // 2}", *(_line(row["image_a"], row["image_b"]) for row in rows)]
    except (KeyError, ValueError):
        return ""
    return "\n".join(lines) + "\n"


def _line(first: str, second: str) -> str:
    (name, number), (other, other_number) = (Path(file).stem.rsplit("_", 1) for file in (first, second))
    return "\t".join([name, str(int(number)), *([other] if other != name else []), str(int(other_number))])
