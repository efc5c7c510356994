"""Milvus, embedded (Milvus Lite, a path) or as a server: one collection for each gallery, marked when it is complete.

The mark is set last and holds the digest of everything that was inserted. A collection without it, with another one or
with another number of rows is dropped and filled anew, so an interrupted insert is never searched. Milvus proposes and
exact distance decides: Milvus' own L2 is the square, and rounded.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from grpc import RpcError
from pymilvus import DataType, MilvusClient, MilvusException

from pipeline.errors import IndexUnavailable
from pipeline.geometry import nearest_among, stack
from pipeline.indexes.recall import RecallCheck
from pipeline.types import Collection, FloatArray, IntArray, Neighbours

FILE = "milvus.db"
RECALL_WANTED = 0.99
BATCH = 500  # rows an insert; 4 MB at 2,048 numbers each, far below gRPC's limit of 64
MOST = 16_384  # neighbours that Milvus gives at once
LITE_CELLS = 128  # Milvus Lite 3.2 does not read nlist and makes this many
FIRST_PROBES = 8  # the effort the self-check begins with
LONGEST = 65_535  # bytes of a text field, Milvus' own limit
CONNECT_SECONDS = 2.0  # with SEARCH_SECONDS under five: how long an unreachable server keeps anybody waiting
SEARCH_SECONDS = 2.5
WORK_SECONDS = 300.0  # one step of filling a collection
MARK, PROBES, RECALL = "facesearch.digest", "facesearch.nprobe", "facesearch.recall_at_20"

# Their tracebacks say at length what the one sentence of IndexUnavailable says; gRPC's server, which is Milvus Lite's,
# logs one for every connection, because Milvus Lite has no answer to a call that pymilvus makes without needing it.
for _noisy in ("pymilvus", "milvus_lite", "grpc._server"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class _Opened:
    """A complete collection that is loaded, and how many cells a search looks into."""

    client: MilvusClient
    name: str
    cells: int
    probes: int
    recall: float


class MilvusRows:
    """A gallery's unit vectors (n, d) in Milvus. Connects at the first search, so that no other index waits for it."""

    def __init__(self, vectors: FloatArray, place: Collection) -> None:
        self._vectors = vectors
        self._place = place
        self._opened: _Opened | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def recall_at_20(self) -> float:
        """The recall that was measured when the collection was filled; connects if that is not done yet."""
        return self._open().recall if len(self) else 1.0

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        """The k nearest rows of each query, (d,) or (q, d); IndexUnavailable if Milvus cannot be reached."""
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        k = min(k, len(self))
        if not k or not len(queries):
            return stack([], k) if not len(queries) else _nothing(len(queries))
        everything = [np.arange(len(self))]
        candidates = everything * len(queries) if k > MOST else self._candidates(queries, k)
        pairs = zip(queries, candidates, strict=True)
        return stack([nearest_among(self._vectors, query, rows, k) for query, rows in pairs], k)

    def _candidates(self, queries: FloatArray, k: int) -> list[IntArray]:
        known, started = self._opened, time.monotonic()
        with _speaking(self._place):
            try:
                return _candidates(self._open(), queries, k, SEARCH_SECONDS)
            except (MilvusException, RpcError):
                with self._lock:
                    self._opened = None  # whatever happened to it, the next search begins anew
                if known is None or time.monotonic() - started > 1:
                    raise
            # It was refused at once by what was open before: the server was restarted, or the file was closed.
            return _candidates(self._open(), queries, k, SEARCH_SECONDS)

    def _open(self) -> _Opened:
        with self._lock, _speaking(self._place):
            if self._opened is None:
                self._opened = _opened(_connected(self._place), self._vectors, self._place)
            return self._opened


def build(vectors: FloatArray, folder: Path, place: Collection) -> dict[str, Any]:
    """Fills the collection of unit vectors (n, d), unless it is complete already, and finds the effort it needs."""
    place = located(place, folder)
    facts = {"files": [], "collection": collection_name(place), "nlist": cells_for(len(vectors))}
    if not len(vectors):
        return facts | {"nprobe": 0, "recall_at_20": 1.0}
    with _speaking(place):
        client = _connected(place)
        try:
            opened = _opened(client, vectors, place)
        finally:
            client.close()
            _release(place)
    return facts | {"nprobe": opened.probes, "recall_at_20": opened.recall}


def open_rows(vectors: FloatArray, folder: Path, place: Collection) -> MilvusRows:
    """The collection that `build` filled. Nothing is connected yet."""
    return MilvusRows(vectors, located(place, folder))


def located(place: Collection, folder: Path) -> Collection:
    """The collection with its address filled in: without one it is a file in the gallery's folder."""
    uri = place.uri or str(folder / FILE)
    return Collection(uri, place.token, place.name, place.photo_ids, place.people)


def collection_name(place: Collection) -> str:
    """The collection's name as Milvus allows it: letters, digits and underscores, at most 255 of them."""
    return "facesearch_" + re.sub(r"\W+", "_", place.name, flags=re.ASCII)[-240:]


def cells_for(rows: int) -> int:
    """nlist: the 4 x sqrt(n) that Milvus advises."""
    return max(1, min(rows, 4 * math.isqrt(rows)))


def shown(uri: str) -> str:
    """The address as it may be printed: without user and password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if "://" in uri else uri


@contextmanager
def _speaking(place: Collection) -> Iterator[None]:
    """Whatever Milvus raises, as one sentence without the token."""
    try:
        yield
    except (MilvusException, RpcError, OSError) as error:
        remedy = (
            "start it or correct FACESEARCH_MILVUS_URI"
            if "://" in place.uri
            else "close the other program that has it open, if there is one, or correct FACESEARCH_MILVUS_URI"
        )
        raise IndexUnavailable(
            f"Milvus at {shown(place.uri)} cannot be used now; {remedy}, or search with another index meanwhile."
        ) from error


def _connected(place: Collection) -> MilvusClient:
    if "://" not in place.uri:
        if find_spec("milvus_lite") is None:
            raise IndexUnavailable(
                "Milvus without a server needs milvus-lite; install it with `pip install 'pymilvus[milvus-lite]'`, "
                "or set FACESEARCH_MILVUS_URI to a server."
            )
        Path(place.uri).parent.mkdir(parents=True, exist_ok=True)
    return MilvusClient(place.uri, token=place.token, timeout=CONNECT_SECONDS)


def _release(place: Collection) -> None:
    """Lets other processes have the file: Milvus Lite keeps it locked until told, whatever its clients do."""
    if "://" not in place.uri:
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(place.uri)


def _opened(client: MilvusClient, vectors: FloatArray, place: Collection) -> _Opened:
    """The complete collection, filled now if it is not."""
    name, digest, cells = collection_name(place), _digest(vectors, place), max(cells_for(len(vectors)), LITE_CELLS)
    if client.has_collection(name, timeout=CONNECT_SECONDS):
        kept = client.describe_collection(name, timeout=CONNECT_SECONDS).get("properties", {})
        if kept.get(MARK) == digest:
            client.load_collection(name, timeout=WORK_SECONDS)
            if _count(client, name) == len(vectors):
                return _Opened(client, name, cells, int(kept[PROBES]), float(kept[RECALL]))
        client.drop_collection(name, timeout=WORK_SECONDS)
    _fill(client, name, vectors, place)
    probes, recall = _checked_probes(client, name, cells, vectors)
    marks = {PROBES: str(probes), RECALL: str(recall), MARK: digest}
    client.alter_collection_properties(name, marks, timeout=WORK_SECONDS)
    return _Opened(client, name, cells, probes, recall)


def _fill(client: MilvusClient, name: str, vectors: FloatArray, place: Collection) -> None:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    schema.add_field("photo_id", DataType.VARCHAR, max_length=LONGEST)
    schema.add_field("person", DataType.VARCHAR, max_length=LONGEST)
    # Strong: a search sees every row inserted before it. Without it, some 70% of the neighbours were missing.
    client.create_collection(name, schema=schema, consistency_level="Strong", timeout=WORK_SECONDS)
    for start in range(0, len(vectors), BATCH):
        rows = range(start, min(start + BATCH, len(vectors)))
        client.insert(name, [_record(row, vectors, place) for row in rows], timeout=WORK_SECONDS)
    client.flush(name, timeout=WORK_SECONDS)
    index = MilvusClient.prepare_index_params()
    index.add_index("vector", index_type="IVF_FLAT", metric_type="L2", params={"nlist": cells_for(len(vectors))})
    client.create_index(name, index, timeout=WORK_SECONDS)
    client.load_collection(name, timeout=WORK_SECONDS)
    if (count := _count(client, name)) != len(vectors):
        raise MilvusException(message=f"{count} rows of {len(vectors)} arrived")


def _record(row: int, vectors: FloatArray, place: Collection) -> dict[str, Any]:
    labels = (place.photo_ids[row], place.people[row]) if place.photo_ids else ("", "")
    return {"row": row, "vector": np.asarray(vectors[row]), "photo_id": labels[0], "person": labels[1]}


def _count(client: MilvusClient, name: str) -> int:
    counted = client.query(
        name, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=WORK_SECONDS
    )
    return int(counted[0]["count(*)"])


def _digest(vectors: FloatArray, place: Collection) -> str:
    hasher = hashlib.sha256(repr((vectors.shape, place.photo_ids, place.people)).encode())
    hasher.update(np.ascontiguousarray(vectors, np.float32).data)
    return hasher.hexdigest()


class _Probing:
    """A collection searched with a certain effort, for measuring it."""

    def __init__(self, opened: _Opened, vectors: FloatArray) -> None:
        self._opened = opened
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: npt.ArrayLike, k: int) -> Neighbours:
        queries = np.asarray(vectors, np.float32)
        k = min(k, len(self))
        found = _candidates(self._opened, queries, k, WORK_SECONDS)
        pairs = zip(queries, found, strict=True)
        return stack([nearest_among(self._vectors, query, rows, k) for query, rows in pairs], k)


def _checked_probes(client: MilvusClient, name: str, cells: int, vectors: FloatArray) -> tuple[int, float]:
    """The least nprobe, doubling, that reaches the recall wanted, and the recall it reaches."""
    check, probes = RecallCheck(vectors), min(FIRST_PROBES, cells)
    while True:
        recall = check.recall(_Probing(_Opened(client, name, cells, probes, 0), vectors))
        if recall >= RECALL_WANTED or probes >= cells:
            return probes, round(recall, 4)
        probes = min(2 * probes, cells)


def _candidates(opened: _Opened, queries: FloatArray, k: int, seconds: float) -> list[IntArray]:
    """k rows for each query; where the cells probed hold fewer, more are probed."""
    probes, short = opened.probes, list(range(len(queries)))
    found: list[IntArray] = [np.empty(0, np.int64)] * len(queries)
    while True:
        answers = opened.client.search(
            opened.name,
            [queries[number] for number in short],
            limit=k,
            search_params={"metric_type": "L2", "params": {"nprobe": probes}},
            consistency_level="Strong",
            timeout=seconds,
        )
        for number, hits in zip(short, answers, strict=True):
            found[number] = np.array([hit.id for hit in hits], np.int64)
        short = [number for number in short if len(found[number]) < k]
        if not short or probes >= opened.cells:
            return found
        probes = min(2 * probes, opened.cells)


def _nothing(queries: int) -> Neighbours:
    return Neighbours(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))
