"""LFW's pairs: read as their format says, taken from the nearest place, and never without the published hash."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import PhotosError
from pipeline.core.settings import Settings
from pipeline.evaluation import pairs
from pipeline.evaluation.pairs import VIEW_1, Pairs, open_pairs, parse_pairs
from pipeline.photos.photos import Photos
from pipeline.photos.sources import open_photos

# Two folds of one pair of each kind.
TEXT = (
    "2\t1\nAbel_Pacheco\t1\t4\nAbdel_Madi\t1\tDean_Barker\t12\nZoe_van_Dyck\t2\t3\nAbel_Pacheco\t4\tZoe_van_Dyck\t10\n"
)
TABLE = """pair_id,fold_id,fold_position,is_same,image_a,image_b,image_a_path,image_b_path
0,1,0,1,Abel_Pacheco_0001.jpg,Abel_Pacheco_0004.jpg,x,x
2,2,0,1,Zoe_van_Dyck_0002.jpg,Zoe_van_Dyck_0003.jpg,x,x
1,1,0,0,Abdel_Madi_0001.jpg,Dean_Barker_0012.jpg,x,x
3,2,0,0,Abel_Pacheco_0004.jpg,Zoe_van_Dyck_0010.jpg,x,x
"""
PHOTO_IDS = (
    ("Abel_Pacheco_0001", "Abel_Pacheco_0004"),
    ("Abdel_Madi_0001", "Dean_Barker_0012"),
    ("Zoe_van_Dyck_0002", "Zoe_van_Dyck_0003"),
    ("Abel_Pacheco_0004", "Zoe_van_Dyck_0010"),
)


def embeddings(*left_out: str) -> Photos:
    ids = sorted({photo for both in PHOTO_IDS for photo in both} - set(left_out))
    return Photos(("lfw", "LFW"), [(photo, photo[:-5]) for photo in ids], ("1", ids), lambda row: b"")


@dataclass
class Host:
    """A host that answers every path with what stands in `files`, and counts."""

    port: int
    files: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The published file is TEXT, and the two hosts are one here."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or "")))
            self.end_headers()
            self.wfile.write((content or "").encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Host(server.server_port)
        published = pairs.PairsFile(
            "pairs.txt",
            hashlib.sha256(TEXT.encode()).hexdigest(),
            (served.url("/pairs"), served.url("/pairs.csv")),
        )
        monkeypatch.setattr(pairs.open_pairs, "__defaults__", ((published,),))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def test_the_format() -> None:
    read = parse_pairs(TEXT, "here")
    assert read.photo_ids == PHOTO_IDS
    assert read.same.tolist() == [True, False, True, False]
    assert read.folds.tolist() == [1, 1, 2, 2]
    assert (len(read), read.source) == (4, "here")
    with pytest.raises(ValueError, match="same length"):
        Pairs(PHOTO_IDS, np.array([True]), read.folds, "")


def test_the_format_without_folds() -> None:
    """View 1's first line holds one number only."""
    read = parse_pairs("1\nAbel_Pacheco\t1\t4\nAbdel_Madi\t1\tDean_Barker\t12\n", "here")
    assert read.photo_ids == PHOTO_IDS[:2]
    assert read.same.tolist() == [True, False]
    assert read.folds.tolist() == [1, 1]


def test_a_view_of_several_files_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "protocol").mkdir()
    parts = {"a.txt": TEXT, "b.txt": "1\nAbel_Pacheco\t1\t4\nAbdel_Madi\t1\tDean_Barker\t12\n"}
    view = []
    for name, text in parts.items():
        (tmp_path / "protocol" / name).write_text(text)
        view.append(pairs.PairsFile(name, hashlib.sha256(text.encode()).hexdigest(), ()))
    read = open_pairs(str(tmp_path), embeddings(), tmp_path / "cache", view)
    assert read is not None
    assert read.photo_ids == (*PHOTO_IDS, *PHOTO_IDS[:2])
    assert read.same.tolist() == [True, False] * 3
    assert read.folds.tolist() == [1, 1, 2, 2, 3, 3]
    assert read.source == "protocol/a.txt, protocol/b.txt"


def test_a_local_copy_asks_nobody(host: Host, tmp_path: Path) -> None:
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "pairs.txt").write_text(TEXT)
    read = open_pairs(str(tmp_path), embeddings(), tmp_path / "cache")
    assert read is not None
    assert read.photo_ids == PHOTO_IDS
    (tmp_path / "protocol" / "pairs.txt").write_text(TEXT.replace("12", "13"))
    with pytest.raises(PhotosError, match=r"pairs.txt is not the published pairs.txt of LFW \(its hash differs\)"):
        open_pairs(str(tmp_path), embeddings(), tmp_path / "cache")
    assert host.asked == []


@pytest.mark.parametrize("files", [{"/pairs": TEXT}, {"/pairs.csv": TABLE}, {"/pairs": "spoiled", "/pairs.csv": TABLE}])
def test_what_was_downloaded_is_kept(host: Host, tmp_path: Path, files: dict[str, str]) -> None:
    host.files = files
    read = open_pairs("lfw", embeddings(), tmp_path)
    assert read is not None
    assert read.photo_ids == PHOTO_IDS
    assert read.source == f"127.0.0.1:{host.port}"
    asked = len(host.asked)
    again = open_pairs("lfw", embeddings(), tmp_path)
    assert again is not None
    assert (again.photo_ids, again.source) == (PHOTO_IDS, "cache")
    assert len(host.asked) == asked
    (tmp_path / "lfw" / "pairs.txt").write_text("spoiled")
    assert open_pairs("lfw", embeddings(), tmp_path) is not None
    assert len(host.asked) == 2 * asked


@pytest.mark.parametrize("table", [TABLE.replace("0012", "0013"), TABLE.replace("pair_id", "id"), "", "pair_id\nx"])
def test_nothing_but_the_published_pairs_is_taken(host: Host, tmp_path: Path, table: str) -> None:
    host.files = {"/pairs.csv": table}
    with pytest.raises(PhotosError, match=r"cannot be reached \(HTTPError\), .* sent something else; connect, or put"):
        open_pairs("lfw", embeddings(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_gallery_has_no_such_pairs(host: Host, tmp_path: Path) -> None:
    assert open_pairs("lfw", embeddings("Abel_Pacheco_0001"), tmp_path) is None
    assert host.asked == []
    host.files = {"/pairs": TEXT}
    assert open_pairs("lfw", embeddings("Dean_Barker_0012"), tmp_path) is None


def test_the_real_pairs(real: Settings, tmp_path: Path) -> None:
    if not (Path(real.dataset) / "protocol" / "pairs.txt").is_file():
        pytest.skip("needs protocol/pairs.txt in the folder that FACESEARCH_DATASET names")
    photos = open_photos(real.dataset)
    read = open_pairs(real.dataset, photos, tmp_path)
    assert read is not None
    assert (len(read), read.same.sum()) == (6000, 3000)
    assert np.bincount(read.folds).tolist() == [0] + [600] * 10
    assert np.bincount(read.folds, read.same).tolist() == [0] + [300] * 10
    people = [[photos.people[photos.row_of(photo)] for photo in both] for both in read.photo_ids]  # type: ignore[index]
    assert [first == second for first, second in people] == read.same.tolist()


def test_the_real_pairs_of_view_1(real: Settings, tmp_path: Path) -> None:
    if not (Path(real.dataset) / "protocol" / "pairsDevTest.txt").is_file():
        pytest.skip("needs protocol/pairsDevTest.txt in the folder that FACESEARCH_DATASET names")
    read = open_pairs(real.dataset, open_photos(real.dataset), tmp_path, VIEW_1)
    assert read is not None
    assert (len(read), read.same.sum()) == (3200, 1600)
    assert np.bincount(read.folds).tolist() == [0, 2200, 1000]
