"""Synchronising a collection with a gallery's rows, by sending only what is missing or different.

Rows have their photo as the key and a stamp of their content. So an interrupted insert is finished, a changed gallery
costs only its changes, and several processes that fill one collection at once arrive at the same rows.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

from pipeline.core.progress import Meter, Progress, Report
from pipeline.core.types import Collection, FloatArray, IntArray
from pipeline.indexes.milvus_connection import LONG_SECONDS, WORK_SECONDS

BATCH_BYTES = 2**21  # of vectors in a request; gRPC accepts 64 MiB, the server's message log 5
BATCH_ROWS = 2000
KEYS_PER_PAGE = 16_384  # Milvus' own limit
MAX_TEXT_BYTES = 65_535  # Milvus' own limit
SEGMENT_BYTES = 2**29  # a server seals a segment at 512 MB and indexes each by itself
HNSW = {"M": 16, "efConstruction": 200}
NLIST = "facesearch.nlist"
DIGEST = "facesearch.digest"
POLL_SECONDS = 0.2
SETTLE_SECONDS = 60.0  # rows of segments that the server merges count as pending, and may stay so


class GalleryRows:
    """A gallery's unit vectors (n, d) as rows of the database: by photo id, or by number where there are no ids."""

    def __init__(self, vectors: FloatArray, place: Collection) -> None:
        self.vectors = vectors
        self.place = place

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Each row's number by its key."""
        keys = self.place.photo_ids or map(str, range(len(self)))
        return {key: row for row, key in enumerate(keys)}

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Each row's key."""
        return tuple(self.row_of)

    @cached_property
    def stamps(self) -> IntArray:
        """64 bits of each row's content, (n,): vector and person."""
        stamps = np.empty(len(self), np.int64)
        for row, vector in enumerate(self.vectors):
            hasher = hashlib.blake2b(np.asarray(vector, np.float32).tobytes(), digest_size=8)
            hasher.update(self._person(row).encode())
            stamps[row] = int.from_bytes(hasher.digest(), "big", signed=True)
        return stamps

    @cached_property
    def digest(self) -> str:
        """The digest in the properties of a collection that holds exactly these rows."""
        hasher = hashlib.sha256(repr(self.vectors.shape).encode())
        hasher.update(self.stamps.data)
        for key in self.keys:
            hasher.update(f"{len(key)} {key}".encode())
        return hasher.hexdigest()

    def record(self, row: int) -> dict[str, Any]:
        """One row as the database's record."""
        vector = np.asarray(self.vectors[row], np.float32)
        return {"id": self.keys[row], "vector": vector, "stamp": int(self.stamps[row]), "person": self._person(row)}

    def _person(self, row: int) -> str:
        return self.place.people[row] if self.place.people else ""


@dataclass(frozen=True)
class IndexPlan:
    """The index of a collection: its type, and for IVF_FLAT the number of cells."""

    kind: str
    nlist: int

    @property
    def params(self) -> dict[str, int]:
        """Milvus' parameters."""
        return {"nlist": self.nlist} if self.nlist else HNSW

    def is_near(self, other: IndexPlan | None) -> bool:
        """Whether an index by the other plan is good enough: a few more rows are not worth a new one."""
        if other is None or other.kind != self.kind:
            return False
        return not self.nlist or 2 / 3 < other.nlist / self.nlist < 3 / 2


def planned(kind: str, rows: int, dim: int) -> IndexPlan:
    """The plan with 4 x sqrt(n) cells, as Milvus recommends for segments of n rows; HNSW has no cells."""
    in_segment = min(rows, SEGMENT_BYTES // (4 * dim))
    return IndexPlan(kind, max(1, min(rows, 4 * math.isqrt(in_segment))) if kind == "IVF_FLAT" else 0)


def properties(client: MilvusClient, name: str, seconds: float = WORK_SECONDS) -> dict[str, str]:
    """A collection's properties; empty if it does not exist."""
    if not client.has_collection(name, timeout=seconds):
        return {}
    return dict(client.describe_collection(name, timeout=seconds).get("properties", {}))


def set_properties(client: MilvusClient, name: str, values: dict[str, str]) -> None:
    """Sets properties of a collection persistently."""
    for _ in range(2):  # a restarted server of version 2.3 has lost the last change
        client.alter_collection_properties(name, values, timeout=WORK_SECONDS)


def rename_former(client: MilvusClient, former: str, name: str, dim: int) -> str:
    """Renames the former collection to `name`; returns its name if it cannot be reused and is to be dropped later."""
    if former in ("", name) or not client.has_collection(former, timeout=WORK_SECONDS):
        return ""
    if client.has_collection(name, timeout=WORK_SECONDS) or not _fits(client, former, dim):
        return former
    set_properties(client, former, {DIGEST: ""})
    try:
        client.rename_collection(former, name, timeout=WORK_SECONDS)
    except MilvusException:  # not every service compatible with Milvus can rename
        return former
    return ""


def synchronise(client: MilvusClient, name: str, rows: GalleryRows, report: Report) -> IndexPlan:
    """Deletes foreign rows, sends missing and different ones, indexes and loads the collection; returns its plan."""
    plan = planned(rows.place.kind, *rows.vectors.shape)
    there = _stored_stamps(client, name, rows, plan)
    foreign = [key for key in there if key not in rows.row_of]
    for start in range(0, len(foreign), BATCH_ROWS):
        client.delete(name, ids=foreign[start : start + BATCH_ROWS], timeout=WORK_SECONDS)
    missing = [row for row, key in enumerate(rows.keys) if key not in there]
    different = [row for row, key in enumerate(rows.keys) if there.get(key, rows.stamps[row]) != rows.stamps[row]]
    # An upsert always deletes too, even if there is nothing to delete, and the server then indexes a segment twice.
    _send(client.insert, name, rows, missing, report)
    _send(client.upsert, name, rows, different, report)
    plan = _flushed_and_loaded(client, name, plan, bool(foreign or missing or different), report)
    if count_rows(client, name) > len(rows):  # another process was inserting the same rows at the same time
        _send(client.upsert, name, rows, range(len(rows)), report)
        plan = _flushed_and_loaded(client, name, plan, True, report)
    if (count := count_rows(client, name)) != len(rows):
        raise MilvusException(message=f"{count} rows of {len(rows)} arrived")
    return plan


def count_rows(client: MilvusClient, name: str) -> int:
    """How many rows a loaded collection holds."""
    counted = client.query(
        name, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=WORK_SECONDS
    )
    return int(counted[0]["count(*)"])


def _stored_stamps(client: MilvusClient, name: str, rows: GalleryRows, plan: IndexPlan) -> dict[str, int]:
    """The stamps of the stored rows, by key; makes the collection if there is none with these fields."""
    dim = rows.vectors.shape[1]
    if client.has_collection(name, timeout=WORK_SECONDS):
        if _fits(client, name, dim):
            set_properties(client, name, {DIGEST: ""})
            if not client.list_indexes(name):  # interrupted before; without an index nothing can be read
                _create_index(client, name, plan)
            client.load_collection(name, timeout=LONG_SECONDS)
            return _stamps(client, name)
        client.drop_collection(name, timeout=WORK_SECONDS)
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_TEXT_BYTES)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("stamp", DataType.INT64)
    schema.add_field("person", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    # Strong: a search sees every row inserted before it. Without it, about 70 % of the neighbours were missing.
    client.create_collection(name, schema=schema, consistency_level="Strong", timeout=WORK_SECONDS)
    return {}


def _fits(client: MilvusClient, name: str, dim: int) -> bool:
    fields = {
        field["name"]: field["params"] for field in client.describe_collection(name, timeout=WORK_SECONDS)["fields"]
    }
    return set(fields) == {"id", "vector", "stamp", "person"} and int(fields["vector"]["dim"]) == dim


def _stamps(client: MilvusClient, name: str) -> dict[str, int]:
    pages = client.query_iterator(
        name, batch_size=KEYS_PER_PAGE, output_fields=["id", "stamp"], consistency_level="Strong", timeout=WORK_SECONDS
    )
    stamps: dict[str, int] = {}
    while page := pages.next():
        stamps |= {row["id"]: row["stamp"] for row in page}
    pages.close()
    return stamps


def _send(send: Callable[..., object], name: str, rows: GalleryRows, todo: Sequence[int], report: Report) -> None:
    if not todo:
        return
    size = max(1, min(BATCH_ROWS, BATCH_BYTES // (4 * rows.vectors.shape[1])))
    meter = Meter("Filling Milvus", "rows", len(rows), report, done=len(rows) - len(todo))
    for start in range(0, len(todo), size):
        batch = [rows.record(row) for row in todo[start : start + size]]
        send(name, batch, timeout=WORK_SECONDS)
        meter.advance(len(batch))


def _flushed_and_loaded(client: MilvusClient, name: str, plan: IndexPlan, changed: bool, report: Report) -> IndexPlan:
    """Flushes the rows that were sent, indexes and loads the collection; returns the plan of its index."""
    if changed:
        client.flush(name, timeout=LONG_SECONDS)
        client.release_collection(name, timeout=WORK_SECONDS)  # else what was just sent is searched without an index
    plan = _indexed(client, name, plan, report)
    client.load_collection(name, timeout=LONG_SECONDS)
    return plan


def _indexed(client: MilvusClient, name: str, plan: IndexPlan, report: Report) -> IndexPlan:
    """Indexes the collection by the plan, unless its index is near enough, and waits until that is done."""
    kept = _indexed_as(client, name)
    if kept is not None and plan.is_near(kept):
        plan = kept
    elif kept is None:
        _create_index(client, name, plan)
    else:
        client.release_collection(name, timeout=WORK_SECONDS)
        client.drop_index(name, "vector", timeout=WORK_SECONDS)
        _create_index(client, name, plan)
    started = time.perf_counter()
    for done, total in _until_indexed(client, name):
        report(Progress("Indexing in Milvus", "rows", done, total, done, time.perf_counter() - started))
    return plan


def _indexed_as(client: MilvusClient, name: str) -> IndexPlan | None:
    if not client.list_indexes(name):
        return None
    kind = client.describe_index(name, "vector", timeout=WORK_SECONDS)["index_type"]
    return IndexPlan(kind, int(properties(client, name).get(NLIST, 0)))


def _create_index(client: MilvusClient, name: str, plan: IndexPlan) -> None:
    set_properties(client, name, {NLIST: str(plan.nlist)})  # which Milvus Lite does not store
    index = MilvusClient.prepare_index_params()
    index.add_index("vector", index_type=plan.kind, metric_type="L2", params=plan.params)
    client.create_index(name, index, timeout=WORK_SECONDS, sync=False)


def _until_indexed(client: MilvusClient, name: str) -> Iterator[tuple[int, int]]:
    """The numbers of rows indexed and stored, until all are indexed and the server has merged its segments.

    MilvusException if nothing changes for long.
    """
    last, since = (-1, -1), time.monotonic()
    while True:
        now = client.describe_index(name, "vector", timeout=WORK_SECONDS)
        done, total, pending = (int(now[key]) for key in ("indexed_rows", "total_rows", "pending_index_rows"))
        yield done, total
        if (done, pending) != last:
            last, since = (done, pending), time.monotonic()
        quiet = time.monotonic() - since
        if now["state"] == "Finished" and (not pending or quiet > SETTLE_SECONDS):
            return
        if now["state"] == "Failed" or quiet > LONG_SECONDS:
            raise MilvusException(message=f"{done} rows of {total} were indexed")
        time.sleep(POLL_SECONDS)
