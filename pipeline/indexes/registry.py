"""The indexes: one file each, the same two methods (`types.VectorIndex`), the same distance.

`build_index` writes what an index keeps on disk and returns what is to be remembered of it; `open_index` brings it
back.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.core.errors import IndexUnavailable, SettingsError
from pipeline.core.progress import Report, silent
from pipeline.core.types import UNNAMED, Collection, FloatArray, VectorIndex


@dataclass(frozen=True)
class IndexKind:
    """What an index is, and the optional package it needs: the name to import and the name to install.

    `travels`: it goes with a gallery's files from one machine to another. A database's rows do not, and nor do Annoy's
    trees: Annoy believes whatever a file says, and reads past its end where that is wrong.
    """

    summary: str
    module: str = ""
    package: str = ""
    travels: bool = True


MILVUS = "'pymilvus[milvus-lite]'"  # in quotes: shells take brackets for a pattern
INDEXES: dict[str, IndexKind] = {
    "exact": IndexKind("Compares with every photo: never wrong."),
    "annoy": IndexKind(
        "Spotify's random-projection trees, checked against exact search and re-ranked by distance.", travels=False
    ),
    "knn": IndexKind("scikit-learn's nearest neighbours: never wrong.", "sklearn", "scikit-learn"),
    "kmeans": IndexKind("Six clusters, of which only the query's own is searched.", "sklearn", "scikit-learn"),
    "milvus": IndexKind("A vector database, embedded or a server, checked like Annoy.", "pymilvus", MILVUS, False),
}


def why_unavailable(name: str) -> str | None:
    """One sentence if there is no such index or it needs a package that is not installed, else None."""
    if name not in INDEXES:
        return f"There is no index {reprlib.repr(name)}; choose one of {', '.join(INDEXES)}."
    kind = INDEXES[name]
    if kind.module and find_spec(kind.module) is None:
        return f"The index {name} needs {kind.package}; install it with `pip install {kind.package}`."
    return None


def available() -> list[str]:
    """The indexes whose packages are installed."""
    return [name for name in INDEXES if why_unavailable(name) is None]


def build_index(
    name: str, vectors: FloatArray, folder: Path, collection: Collection = UNNAMED, report: Report = silent
) -> dict[str, Any]:
    """Builds the index of unit vectors (n, d) in `folder`; a vector database goes by `collection`, and reports.

    The facts returned name the `files` it wrote there and its `recall_at_20` against exact search on this gallery.
    """
    _check(name)
    if name == "milvus":
        from pipeline.indexes.milvus import build as fill

        return fill(vectors, folder, collection, report)
    build: Callable[[FloatArray, Path], dict[str, Any]]
    if name == "annoy":
        from pipeline.indexes.annoy import build
    elif name == "kmeans":
        from pipeline.indexes.kmeans import build
    else:
        return {"files": [], "recall_at_20": 1.0}
    return build(vectors, folder)


def open_index(
    name: str, vectors: FloatArray, folder: Path, facts: dict[str, Any], collection: Collection = UNNAMED
) -> VectorIndex:
    """The index that `build_index` built, with the facts it returned then."""
    _check(name)
    if name == "annoy":
        from pipeline.indexes.annoy import open_trees

        return open_trees(vectors, folder, facts)
    if name == "kmeans":
        from pipeline.indexes.kmeans import open_clusters

        return open_clusters(vectors, folder, facts)
    if name == "milvus":
        from pipeline.indexes.milvus import open_rows

        return open_rows(vectors, folder, collection)
    if name == "knn":
        from pipeline.indexes.knn import KnnIndex

        return KnnIndex(vectors)
    from pipeline.indexes.exact import ExactIndex

    return ExactIndex(vectors)


def drop_index(name: str, folder: Path, collection: Collection) -> None:
    """Removes what an index keeps elsewhere than in `folder`, and closes what it has open there."""
    if name == "milvus":
        from pipeline.indexes.milvus import drop

        drop(folder, collection)


def close_index(name: str, folder: Path, collection: Collection) -> None:
    """Closes what an index has open in `folder`, which is about to be moved or deleted; a search opens it again."""
    if name == "milvus":
        from pipeline.indexes.milvus import close

        close(folder, collection)


def why_unreachable(uri: str, token: str) -> str | None:
    """One sentence if the Milvus server there does not answer, else None; asks it, for seconds at most."""
    from pipeline.indexes.milvus_connection import connected, speaking

    place = Collection(uri, token, "", (), ())
    try:
        with speaking(place):
            connected(place).close()
    except IndexUnavailable as error:
        return str(error)
    return None


def _check(name: str) -> None:
    if (reason := why_unavailable(name)) is not None:
        raise SettingsError(reason)
