"""Connecting to Milvus: its address, time limits, and errors as one sentence."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from grpc import RpcError
from pymilvus import MilvusClient, MilvusException

from pipeline.core.errors import IndexUnavailable
from pipeline.core.folders import make_folder
from pipeline.core.types import Collection, FloatArray

FILE = "milvus.db"
CONNECT_SECONDS = 2.0  # with SEARCH_SECONDS less than 5: the longest wait for an unreachable server
SEARCH_SECONDS = 2.5
ANSWER_SECONDS = 1.0
WORK_SECONDS = 300.0  # one step of filling a collection
LONG_SECONDS = 3600.0  # the steps that take longer with more rows: flushing, loading, and indexing one segment
# Milvus Lite, in the same process, ends the connection after a minute and a half of pymilvus' pings, with a message of
# gRPC on stderr.
NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1}

# They log tracebacks of what IndexUnavailable says in a sentence. gRPC's server in Milvus Lite logs one for every
# connection, because Milvus Lite lacks a call that pymilvus makes without needing it.
for _noisy in ("pymilvus", "milvus_lite", "grpc._server"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL + 1)


def with_uri(place: Collection, folder: Path) -> Collection:
    """The collection with an address: by default a file in the gallery's folder."""
    return replace(place, uri=place.uri or str(folder / FILE))


def collection_name(place: Collection) -> str:
    """The collection's name as Milvus allows it: letters, digits and underscores, at most 255 of them."""
    return "facesearch_" + re.sub(r"\W+", "_", place.name, flags=re.ASCII)[-240:]


def shown(uri: str) -> str:
    """The address as it may be printed: without user and password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if "://" in uri else uri


@contextmanager
def milvus_errors(place: Collection) -> Iterator[None]:
    """Turns errors of Milvus in the block into IndexUnavailable, without the token."""
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


def changed_elsewhere(place: Collection) -> IndexUnavailable:
    """The error where the collection no longer holds the state of the gallery that this process has open."""
    return IndexUnavailable(
        f"The collection of this gallery in Milvus at {shown(place.uri)} was changed by another process; start this "
        "program anew, or search with another index meanwhile."
    )


def connected(place: Collection) -> MilvusClient:
    """A client of the database; IndexUnavailable if it needs Milvus Lite, which is not installed."""
    options: dict[str, int] = {}
    embedded = "://" not in place.uri
    if embedded:
        if find_spec("milvus_lite") is None:
            raise IndexUnavailable(
                "Milvus without a server needs milvus-lite; install it with `pip install 'pymilvus[milvus-lite]'`, "
                "or set FACESEARCH_MILVUS_URI to a server."
            )
        make_folder(Path(place.uri).parent)
        _keep_k_means_quiet()
        options = NO_PINGS
    seconds = time_limit(place, CONNECT_SECONDS)
    # pymilvus keeps for good what others may share, and a file has another address each time it is opened.
    return MilvusClient(place.uri, token=place.token, timeout=seconds, grpc_options=options, dedicated=embedded)


@cache
def _keep_k_means_quiet() -> None:
    """Suppresses a warning that faiss writes to stderr, past `logging`, for fewer than 39 rows a cell.

    Milvus Lite makes 128 cells of however few rows; the recall is measured anyway.
    """
    if find_spec("faiss") is None:
        return
    import faiss

    kind: Any = faiss.IndexIVFFlat
    train = kind.train

    def quietly(index: faiss.IndexIVFFlat, vectors: FloatArray) -> None:
        index.cp.min_points_per_centroid = 1
        train(index, vectors)

    kind.train = quietly


def time_limit(place: Collection, seconds: float) -> float:
    """The time limit: `seconds` for a server, which may be unreachable, and longer for a file, which is only slow."""
    return seconds if "://" in place.uri else WORK_SECONDS


def is_alive(client: MilvusClient) -> bool:
    """Whether the database answers; to be asked after a search that took long."""
    try:
        client.list_collections(timeout=ANSWER_SECONDS)
    except (MilvusException, RpcError):
        return False
    return True


def release_file(place: Collection) -> None:
    """Unlocks the file for other processes: Milvus Lite keeps it locked when its clients close."""
    if "://" not in place.uri:
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(place.uri)
