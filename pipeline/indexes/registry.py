"""The indexes: one module each, the same two methods (`types.VectorIndex`), the same distance."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.core.errors import IndexUnavailable, SettingsError
from pipeline.core.progress import Report, silent
from pipeline.core.types import UNNAMED, Collection, FloatArray, VectorIndex
from pipeline.indexes import annoy, faiss, kmeans
from pipeline.indexes.exact import ExactIndex
from pipeline.indexes.knn import KnnIndex

Facts = dict[str, Any]  # of an index that was built, as the gallery's manifest stores them


def _nothing_to_build(*_: object) -> Facts:
    return {"files": [], "recall_at_20": 1.0}


def _milvus() -> ModuleType:
    from pipeline.indexes import milvus  # its package is optional, and takes a second to import

    return milvus


@dataclass(frozen=True)
class IndexKind:
    """One index: what it is, how it is opened and built, and the optional package it needs.

    Attributes:
        summary: one sentence for the page and the command line.
        open: of the vectors, the folder, the facts and the collection, as `open_index`.
        build: of the vectors, the folder, the collection and the report, as `build_index`.
        module: the name by which the optional package is imported; empty for none.
        package: the name by which it is installed.
        travels: whether its files may be copied to another machine. A database's rows are not in the folder, and Annoy
            and FAISS trust their files: they read past the end of a wrong one.
        why_unusable: one sentence if the package is installed and does not run here.
    """

    summary: str
    open: Callable[[FloatArray, Path, Facts, Collection], VectorIndex]
    build: Callable[[FloatArray, Path, Collection, Report], Facts] = _nothing_to_build
    module: str = ""
    package: str = ""
    travels: bool = True
    why_unusable: Callable[[], str | None] = lambda: None


INDEXES = {
    "exact": IndexKind("Compares with every photo: never wrong.", lambda vectors, *_: ExactIndex(vectors)),
    "annoy": IndexKind(
        "Spotify's random-projection trees, checked against exact search and re-ranked by distance.",
        annoy.open_index,
        annoy.build,
        module="annoy",
        package="annoy",
        travels=False,
        why_unusable=annoy.why_unusable,
    ),
    "faiss": IndexKind(
        "FAISS' graph of near neighbours over 8-bit numbers, checked like Annoy.",
        faiss.open_index,
        faiss.build,
        module="faiss",
        package="faiss-cpu",
        travels=False,
    ),
    "knn": IndexKind(
        "scikit-learn's nearest neighbours: never wrong.",
        lambda vectors, *_: KnnIndex(vectors),
        module="sklearn",
        package="scikit-learn",
    ),
    "kmeans": IndexKind(
        "Six clusters, of which only the query's own is searched.",
        kmeans.open_index,
        kmeans.build,
        module="sklearn",
        package="scikit-learn",
    ),
    "milvus": IndexKind(
        "A vector database, embedded or a server, checked like Annoy.",
        lambda *gallery: _milvus().open_index(*gallery),
        lambda *gallery: _milvus().build(*gallery),
        module="pymilvus",
        package="'pymilvus[milvus-lite]'",  # in quotes: shells take brackets for a pattern
        travels=False,
    ),
}


def why_unavailable(name: str) -> str | None:
    """One sentence if there is no such index or its package is not installed or does not run here, else None."""
    if name not in INDEXES:
        return f"There is no index {reprlib.repr(name)}; choose one of {', '.join(INDEXES)}."
    kind = INDEXES[name]
    if kind.module and find_spec(kind.module) is None:
        return f"The index {name} needs {kind.package}; install it with `pip install {kind.package}`."
    return kind.why_unusable()


def available() -> list[str]:
    """The indexes whose packages are installed and run here."""
    return [name for name in INDEXES if why_unavailable(name) is None]


def build_index(
    name: str, vectors: FloatArray, folder: Path, collection: Collection = UNNAMED, report: Report = silent
) -> Facts:
    """Builds an index of a gallery's vectors.

    Args:
        name: a key of `INDEXES`.
        vectors: of unit length, (n, d).
        folder: where the index writes its files.
        collection: what a vector database stores besides the vectors, and where.
        report: receives a vector database's progress.

    Returns:
        The facts that `open_index` needs: among them the names of the `files` in the folder, and the `recall_at_20`
        against exact search on this gallery.

    Raises:
        SettingsError: there is no such index, or its package is missing.
        IndexUnavailable: the vector database cannot be used.
    """
    return _kind(name).build(vectors, folder, collection, report)


def open_index(
    name: str, vectors: FloatArray, folder: Path, facts: Facts, collection: Collection = UNNAMED
) -> VectorIndex:
    """The index that `build_index` built of these vectors, with the facts it returned; raises as `build_index`."""
    return _kind(name).open(vectors, folder, facts, collection)


def drop_index(name: str, folder: Path, collection: Collection) -> None:
    """Removes what an index stores outside `folder`, and closes what it has open there."""
    if name == "milvus":
        _milvus().drop(folder, collection)


def close_index(name: str, folder: Path, collection: Collection) -> None:
    """Closes an index's files in `folder`, which is about to be moved or deleted; the next search opens them again."""
    if name == "milvus":
        _milvus().close(folder, collection)


def why_unreachable(uri: str, token: str) -> str | None:
    """One sentence if the Milvus server there does not answer, else None; asks it, for seconds at most."""
    from pipeline.indexes.milvus_connection import connected, milvus_errors

    place = Collection(uri, token, "", (), ())
    try:
        with milvus_errors(place):
            connected(place).close()
    except IndexUnavailable as error:
        return str(error)
    return None


def _kind(name: str) -> IndexKind:
    if (reason := why_unavailable(name)) is not None:
        raise SettingsError(reason)
    return INDEXES[name]
