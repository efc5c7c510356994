"""Milvus, embedded (Milvus Lite) or a server: one collection per gallery, with photo and person beside every vector.

A collection's properties hold the digest of its rows, written last, so an incomplete insert is never searched. Milvus
proposes candidates, which are reranked, because Milvus' own L2 is squared and rounded.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from grpc import RpcError
from pymilvus import MilvusClient, MilvusException

from pipeline.core.progress import Report, silent
from pipeline.core.types import Collection, FloatArray, IntArray
from pipeline.indexes.milvus_connection import (
    CONNECT_SECONDS,
    LONG_SECONDS,
    SEARCH_SECONDS,
    WORK_SECONDS,
    changed_elsewhere,
    collection_name,
    connected,
    is_alive,
    milvus_errors,
    release_file,
    time_limit,
    with_uri,
)
from pipeline.indexes.milvus_rows import (
    DIGEST,
    NLIST,
    GalleryRows,
    IndexPlan,
    count_rows,
    properties,
    rename_former,
    set_properties,
    synchronise,
)
from pipeline.indexes.recall import FEW_QUERIES, least_effort
from pipeline.indexes.reranked import RerankedIndex

ANSWER_BYTES = 2**26  # gRPC's server sends at most 2**28
QUERIES_PER_REQUEST = 16
MAX_NEIGHBOURS = 16_384  # that Milvus returns for a query
LITE_CELLS = 128  # Milvus Lite 3.2 ignores nlist
LARGEST_EF = 32_768  # Milvus' own limit
FIRST_EFFORT = {"IVF_FLAT": 8, "HNSW": 32}  # that the recall check begins with
EFFORT_NAME = {"IVF_FLAT": "nprobe", "HNSW": "ef"}
KIND, EFFORT, RECALL = "facesearch.kind", "facesearch.effort", "facesearch.recall_at_20"


@dataclass(frozen=True)
class _OpenCollection:
    """A complete, loaded collection. `effort` is the number of cells that a search probes, or of candidates (HNSW)."""

    client: MilvusClient
    rows: GalleryRows
    plan: IndexPlan
    effort: int
    recall: float = 0

    @property
    def most(self) -> int:
        """The highest effort."""
        return max(self.plan.nlist, LITE_CELLS) if self.plan.nlist else min(max(len(self.rows), 1), LARGEST_EF)


class MilvusRows(RerankedIndex):
    """A gallery's vectors in Milvus. Connects at the first search, so that no other index waits for it."""

    def __init__(self, vectors: FloatArray, place: Collection) -> None:
        super().__init__(vectors)
        self._place = place
        self._opened: _OpenCollection | None = None
        self._was_open = False
        self._lock = threading.Lock()

    @property
    def recall_at_20(self) -> float:
        """The recall measured when the collection was filled; connects if that is not done yet."""
        return self._open().recall if len(self) else 1.0

    def _candidates(self, queries: FloatArray, k: int) -> Iterator[IntArray]:
        """Milvus' candidates; IndexUnavailable if it cannot be reached."""
        # A few queries at a time, so that a server's time limit need not grow with their number.
        for group in _groups(queries, k, QUERIES_PER_REQUEST):
            yield from [np.arange(len(self))] * len(group) if k > MAX_NEIGHBOURS else self._requested(group, k)

    def _requested(self, queries: FloatArray, k: int) -> list[IntArray]:
        known, seconds = self._opened, time_limit(self._place, SEARCH_SECONDS)
        with milvus_errors(self._place):
            opened, started = self._open(), time.monotonic()
            try:
                return _candidates(opened, queries, k, seconds)
            except (MilvusException, RpcError):
                refused = time.monotonic() - started < 1
                if not refused and is_alive(opened.client):  # it is only busy
                    return _candidates(opened, queries, k, WORK_SECONDS)
                with self._lock:
                    self._opened = None  # the next search connects again
                if known is None or not refused:
                    raise
            # Refused at once on an old connection: the server was restarted, or the file was closed.
            return _candidates(self._open(), queries, k, seconds)

    def _open(self) -> _OpenCollection:
        with self._lock, milvus_errors(self._place):
            if self._opened is None:
                client = connected(self._place)
                # Another process renamed it for a later state of the gallery; this state must not be sent again.
                soon = time_limit(self._place, CONNECT_SECONDS)
                if self._was_open and not client.has_collection(collection_name(self._place), timeout=soon):
                    raise changed_elsewhere(self._place)
                self._opened = _synchronised(client, GalleryRows(self._vectors, self._place), silent)
                weakref.finalize(self._opened, client.close).atexit = False
                self._was_open = True
            return self._opened


def build(vectors: FloatArray, folder: Path, place: Collection, report: Report = silent) -> dict[str, Any]:
    """Fills the collection with unit vectors (n, d), unless it is complete, and finds the search effort it needs."""
    place = with_uri(place, folder)
    facts = {"files": [], "collection": collection_name(place), "kind": place.kind}
    if not len(vectors):
        return facts | {EFFORT_NAME[place.kind]: 0, "recall_at_20": 1.0}
    with milvus_errors(place):
        client = connected(place)
        try:
            opened = _synchronised(client, GalleryRows(vectors, place), report)
        finally:
            client.close()
            release_file(place)
    return facts | opened.plan.params | {EFFORT_NAME[place.kind]: opened.effort, "recall_at_20": opened.recall}


def open_index(vectors: FloatArray, folder: Path, _: dict[str, Any], place: Collection) -> MilvusRows:
    """The collection that `build` filled; not connected yet."""
    return MilvusRows(vectors, with_uri(place, folder))


def drop(folder: Path, place: Collection) -> None:
    """Drops the collection and closes its file."""
    place = with_uri(place, folder)
    with milvus_errors(place):
        client = connected(place)
        client.drop_collection(collection_name(place), timeout=WORK_SECONDS)
        client.close()
        release_file(place)


def close(folder: Path, place: Collection) -> None:
    """Closes the collection's file, if it is open in this process."""
    release_file(with_uri(place, folder))


def _synchronised(client: MilvusClient, rows: GalleryRows, report: Report) -> _OpenCollection:
    """The collection with exactly these rows; filled now if it is not complete."""
    name, place = collection_name(rows.place), rows.place
    noted = properties(client, name, time_limit(place, CONNECT_SECONDS))
    if noted.get(DIGEST) == rows.digest and noted.get(KIND) == place.kind:
        client.load_collection(name, timeout=LONG_SECONDS)
        if count_rows(client, name) == len(rows):
            plan = IndexPlan(place.kind, int(noted[NLIST]))
            return _OpenCollection(client, rows, plan, int(noted[EFFORT]), float(noted[RECALL]))
    left_over = rename_former(client, place.former, name, rows.vectors.shape[1])
    plan = synchronise(client, name, rows, report)
    opened = _with_checked_effort(_OpenCollection(client, rows, plan, FIRST_EFFORT[place.kind]))
    marks = {KIND: place.kind, EFFORT: str(opened.effort), RECALL: str(opened.recall), DIGEST: rows.digest}
    set_properties(client, name, marks)
    if left_over:
        client.drop_collection(left_over, timeout=WORK_SECONDS)
    return opened


def _with_checked_effort(opened: _OpenCollection) -> _OpenCollection:
    """The collection with the least effort that reaches the target recall, and its recall."""
    effort, recall = least_effort(
        opened.rows.vectors, lambda effort: _OpenedIndex(replace(opened, effort=effort)), opened.effort, opened.most
    )
    return replace(opened, effort=effort, recall=recall)


class _OpenedIndex(RerankedIndex):
    """A collection searched with its effort, to measure the recall."""

    def __init__(self, opened: _OpenCollection) -> None:
        super().__init__(opened.rows.vectors)
        self._opened = opened

    def _candidates(self, queries: FloatArray, k: int) -> Iterator[IntArray]:
        for group in _groups(queries, k, FEW_QUERIES):
            yield from _candidates(self._opened, group, k, WORK_SECONDS)


def _groups(queries: FloatArray, k: int, most: int) -> Iterator[FloatArray]:
    """The queries in groups whose answers stay small, because Milvus Lite sends the vectors of all k rows too."""
    size = max(1, min(most, ANSWER_BYTES // (4 * queries.shape[1] * max(k, 1))))
    return (queries[start : start + size] for start in range(0, len(queries), size))


def _candidates(opened: _OpenCollection, queries: FloatArray, k: int, seconds: float) -> list[IntArray]:
    """k rows or more for each query; where the effort finds fewer, it is doubled.

    IndexUnavailable if another process changed the collection to other rows.
    """
    effort, short, row_of = opened.effort, list(range(len(queries))), opened.rows.row_of
    found: list[IntArray] = [np.empty(0, np.int64)] * len(queries)
    while True:
        answers = opened.client.search(
            collection_name(opened.rows.place),
            [queries[number] for number in short],
            limit=k,
            search_params={"metric_type": "L2", "params": _effort(opened.plan, effort, k)},
            consistency_level="Strong",
            timeout=seconds,
        )
        for number, hits in zip(short, answers, strict=True):
            found[number] = np.array([row_of[hit.id] for hit in hits if hit.id in row_of], np.int64)
            if len(found[number]) < len(hits):
                raise changed_elsewhere(opened.rows.place)
        short = [number for number in short if len(found[number]) < k]
        if not short:
            return found
        if effort >= opened.most:  # HNSW's graph can be disconnected where many vectors are the same: compare with all
            everything = np.arange(len(opened.rows))
            return [rows if len(rows) >= k else everything for rows in found]
        effort = min(2 * effort, opened.most)


def _effort(plan: IndexPlan, effort: int, k: int) -> dict[str, int]:
    return {"nprobe": effort} if plan.nlist else {"ef": max(effort, k)}
