"""Graphs made of torch's weights, kept in the cache, so that only a first start waits for torch.

Only this module reads what it wrote, and only whole: the manifest, written last, holds the digest of each file, and the
folder's name that of the weights.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import openvino

from pipeline.core.files import digest, read_sealed, sealed, write_json

log = logging.getLogger(__name__)

VERSION = 1  # goes up when the way from weights to graphs changes
GRAPH, NUMBERS, MANIFEST = "graph.xml", "graph.bin", "manifest.json"


def graph_in(folder: Path | None, convert: Callable[[], openvino.Model]) -> openvino.Model:
    """The graph that is kept in the folder; where there is none of this version, or a damaged one, it is made anew."""
    if folder is None:
        return convert()
    try:
        return _read(folder)
    except (OSError, ValueError, RuntimeError):
        graph = convert()
    try:
        _keep(graph, folder)
    except OSError as error:
        log.warning("The graph cannot be kept in %s (%s): every start waits for torch.", folder, error.strerror)
    return graph


def _versions() -> dict[str, object]:
    return {"version": VERSION, "openvino": openvino.__version__}


def _read(folder: Path) -> openvino.Model:
    told = read_sealed(folder / MANIFEST)
    files = {name: (folder / name).read_bytes() for name in (GRAPH, NUMBERS)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if told != {**_versions(), "files": digests}:
        raise ValueError(f"{folder} holds something else than was kept")
    return openvino.Core().read_model(files[GRAPH], files[NUMBERS])


def _keep(graph: openvino.Model, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        openvino.serialize(graph, Path(aside) / GRAPH, Path(aside) / NUMBERS)
        for name in (GRAPH, NUMBERS):
            (Path(aside) / name).replace(folder / name)
    digests = {name: digest(folder / name) for name in (GRAPH, NUMBERS)}
    write_json(folder / MANIFEST, sealed({**_versions(), "files": digests}))
