"""Photos from a dataset on the Hub, from a local copy of one, or from any folder, and a clear sentence where not.

The datasets are written by the tests and read by the real `datasets`; the Hub is its real client, on a cache folder
laid out as the client does it and on a small server of this machine that speaks the Hub's protocol.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import PhotosError
from pipeline.core.progress import Progress
from pipeline.core.types import Photo
from pipeline.photos.images import SUFFIXES, open_image
from pipeline.photos.photos import Photos
from pipeline.photos.sources import LFW_ON_THE_HUB, open_photos

PRIMARY, MIRROR = LFW_ON_THE_HUB
SHA = "0123456789abcdef0123456789abcdef01234567"


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


Row = tuple[str | None, str]  # file name, person
ROWS: tuple[Row, ...] = (
    ("Ada_Lovelace_0001.jpg", "Ada_Lovelace"),
    ("Ada_Lovelace_0002.jpg", "Ada_Lovelace"),
    ("Bruno_0001.jpg", "Bruno"),
)


def write_dataset(folder: Path, rows: Sequence[Row] = ROWS, changed: int | None = None) -> Path:
    """A parquet dataset as the Hub has them: the photos' bytes, and the person as a ClassLabel. `folder` is given back.

    `changed`: the row whose photo is another one.
    """
    people = sorted({person for _, person in rows})
    columns = {
        "image": [{"bytes": png(row + 100 * (row == changed)), "path": file} for row, (file, _) in enumerate(rows)],
        "label": [people.index(person) for _, person in rows],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=people)})
    return write_parquet(folder, columns, features)


def write_parquet(folder: Path, columns: dict[str, list[object]], features: datasets.Features) -> Path:
    (folder / "data").mkdir(parents=True)
    data = datasets.Dataset.from_dict(columns, features)
    data.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture(autouse=True)
def no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches below tmp_path, a Hub where nobody listens, no progress bars."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub_cache(tmp_path)))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed: int = probe.getsockname()[1]
    point_hub_at(closed, monkeypatch)


def point_hub_at(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{port}"
    files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


def hub_cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def snapshot(tmp_path: Path, repo: str, revision: str = SHA, branch: str | None = "main") -> Path:
    """Where the Hub's client keeps a dataset's revision."""
    folder = hub_cache(tmp_path) / f"datasets--{repo.replace('/', '--')}"
    if branch is not None:
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / branch).write_text(revision)
    return folder / "snapshots" / revision


def refused(dataset: str) -> str:
    with pytest.raises(PhotosError) as caught:
        open_photos(dataset)
    return str(caught.value)


# A local copy of a dataset


def test_ids_are_the_file_names_and_people_the_labels(tmp_path: Path) -> None:
    photos = open_photos(str(write_dataset(tmp_path / "My Faces")))
    assert re.fullmatch(r"my-faces-[0-9a-f]{6}", photos.name)
    assert (photos.title, len(photos)) == ("My Faces", 3)
    assert photos.photo_ids == ("Ada_Lovelace_0001", "Ada_Lovelace_0002", "Bruno_0001")
    assert photos.people == ("Ada Lovelace", "Ada Lovelace", "Bruno")


def test_a_photo_is_its_bytes_as_they_are_stored(tmp_path: Path) -> None:
    photos = open_photos(str(write_dataset(tmp_path / "faces")))
    assert photos[1] == Photo("Ada_Lovelace_0002", "Ada Lovelace", png(1))
    assert [photos.row_of(photo_id) for photo_id in photos.photo_ids] == [0, 1, 2]
    assert photos.row_of("Nobody_0001") is None


def test_a_folder_named_lfw_is_lfw_where_it_holds_all_of_it(tmp_path: Path) -> None:
    photos = open_photos(str(write_dataset(tmp_path / "lfw")))
    assert re.fullmatch(r"lfw-[0-9a-f]{6}", photos.name)
    assert photos.title == "lfw"
    write_whole_lfw(tmp_path / "whole" / "lfw")
    photos = open_photos(str(tmp_path / "whole" / "lfw"))
    assert (photos.name, photos.title) == ("lfw", "LFW")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_dataset(tmp_path / "faces")
    assert len(open_photos("~/faces")) == 3


@pytest.mark.parametrize(
    "files",
    [(None, None, None), ("a.jpg", "b.jpg", None), ("1.jpg", "2.jpg", "1.png")],
    ids=["none", "some", "not unique"],
)
def test_without_usable_file_names_ids_are_person_and_count(tmp_path: Path, files: tuple[str | None, ...]) -> None:
    rows = list(zip(files, ("Ada_Lovelace", "Bruno", "Ada_Lovelace"), strict=True))
    photos = open_photos(str(write_dataset(tmp_path / "faces", rows)))
    assert photos.photo_ids == ("Ada_Lovelace_0001", "Bruno_0001", "Ada_Lovelace_0002")
    assert photos.people == ("Ada Lovelace", "Bruno", "Ada Lovelace")


def test_without_labels_the_person_is_in_the_file_name(tmp_path: Path) -> None:
    names = ["Ada_Lovelace_0001.jpg", "Ada_Lovelace_0012.jpg", "holiday.jpg"]
    columns = {"filename": names, "image": [{"bytes": png(row), "path": None} for row in range(3)]}
    features = datasets.Features({"filename": datasets.Value("string"), "image": datasets.Image()})
    photos = open_photos(str(write_parquet(tmp_path / "faces", columns, features)))
    assert photos.photo_ids == ("Ada_Lovelace_0001", "Ada_Lovelace_0012", "holiday")
    assert photos.people == ("Ada Lovelace", "Ada Lovelace", "holiday")


def test_the_same_photos_are_the_same_revision_wherever_they_lie(tmp_path: Path) -> None:
    first = open_photos(str(write_dataset(tmp_path / "one" / "faces")))
    second = open_photos(str(write_dataset(tmp_path / "two" / "other")))
    assert first.revision == second.revision


def test_another_byte_name_or_person_is_another_revision(tmp_path: Path) -> None:
    renamed = [("Ada_Lovelace_0003.jpg", "Ada_Lovelace"), *ROWS[1:]]
    relabelled = [("Ada_Lovelace_0001.jpg", "Bruno"), *ROWS[1:]]
    folders = [
        write_dataset(tmp_path / "as it was"),
        write_dataset(tmp_path / "byte", changed=2),
        write_dataset(tmp_path / "name", renamed),
        write_dataset(tmp_path / "person", relabelled),
        write_dataset(tmp_path / "fewer", ROWS[:2]),
    ]
    assert len({open_photos(str(folder)).revision for folder in folders}) == len(folders)


def test_a_row_without_a_photo_is_one_that_cannot_be_read_and_keeps_its_place(tmp_path: Path) -> None:
    columns = {"image": [{"bytes": png(0), "path": "a.png"}, None, {"bytes": png(2), "path": "c.png"}]}
    photos = open_photos(
        str(write_parquet(tmp_path / "faces", columns, datasets.Features({"image": datasets.Image()})))
    )
    assert len(photos) == 3
    assert photos[1].source == b""
    assert photos[2].source == png(2)


def test_a_dataset_folder_of_plain_files_is_read_and_follows_their_content(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    for person in ("Ada", "Bruno"):
        (folder / person).mkdir(parents=True)
        (folder / person / f"{person}_0001.png").write_bytes(png(7))
    before = open_photos(str(folder))
    assert before.people == ("Ada", "Bruno")
    assert open_image(before[0].source).getpixel((0, 0)) == (7, 0, 0)
    (folder / "Ada" / "Ada_0001.png").write_bytes(png(8))
    assert open_photos(str(folder)).revision != before.revision


def test_a_dataset_without_an_image_column(tmp_path: Path) -> None:
    write_parquet(tmp_path / "texts", {"text": ["a"]}, datasets.Features({"text": datasets.Value("string")}))
    assert refused(str(tmp_path / "texts")) == (
        "The dataset texts has no image column; set FACESEARCH_DATASET to one that has."
    )


def test_the_split_called_train_is_taken_wherever_it_stands(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "faces")
    write_dataset(tmp_path / "other", ROWS[1:])
    shutil.copy(tmp_path / "other/data/train-00000-of-00001.parquet", folder / "data/query.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: query\n    path: data/query.parquet\n  - split: train\n    path: data/train-*\n---\n"
    )
    assert list(datasets.load_dataset(str(folder))) == ["query", "train"]
    assert len(open_photos(str(folder))) == 3


@pytest.mark.parametrize("content", [None, b"not parquet"], ids=["empty", "damaged"])
def test_a_folder_that_is_no_dataset_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    if content is not None:
        (folder / "train.parquet").write_bytes(content)
    sentence = refused(str(folder))
    assert sentence.startswith(f"{folder} cannot be read as a dataset (")
    assert sentence.endswith("or to imagefolder:PATH for a folder of photos.")


def test_photo_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="unique"):
        Photos(("a", "A"), [("1", "Ada"), ("1", "Bruno")], ("", ["", ""]), lambda row: b"")


def test_a_stamp_changes_with_its_photo_and_with_no_other(tmp_path: Path) -> None:
    before = open_photos(str(write_dataset(tmp_path / "one"))).stamps
    after = open_photos(str(write_dataset(tmp_path / "two", changed=1))).stamps
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    folder = make_photos(tmp_path / "photos", "Ada/1.png", "Ada/2.png")
    before = open_photos(f"imagefolder:{folder}").stamps
    os.utime(folder / "Ada/2.png", ns=(1, 1))
    after = open_photos(f"imagefolder:{folder}").stamps
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]


# Any folder of photos


def make_photos(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    return folder


def test_in_a_folder_of_photos_the_sub_folder_is_the_person_else_the_file(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "My Photos", "Bruno/1.png", "Ada Lovelace/holiday/2.PNG", "me.png")
    photos = open_photos(f"imagefolder:{folder}")
    labels = dict(zip(photos.photo_ids, photos.people, strict=True))
    assert labels == {"Ada Lovelace/holiday/2.PNG": "Ada Lovelace", "Bruno/1.png": "Bruno", "me.png": "me"}
    assert list(photos.photo_ids) == sorted(photos.photo_ids)
    assert photos.title == "My Photos"
    row = photos.row_of("me.png")
    assert row is not None
    assert photos[row] == Photo("me.png", "me", folder / "me.png")


def test_what_is_hidden_or_no_photo_is_left_out(tmp_path: Path) -> None:
    folder = make_photos(
        tmp_path / ".inside-a-hidden-one" / "photos",
        "Ada/1.jpg",
        "Ada/._1.jpg",
        ".thumbnails/1.jpg",
        "Ada/.trash/2.jpg",
        "Ada/notes.txt",
        "Ada/film.mp4",
    )
    (folder / "folder.jpg").mkdir()
    assert open_photos(f"imagefolder:{folder}").photo_ids == ("Ada/1.jpg",)


def test_two_folders_of_one_name_are_two_galleries(tmp_path: Path) -> None:
    first = open_photos(f"imagefolder:{make_photos(tmp_path / 'a' / 'Photos', '1.png')}")
    second = open_photos(f"imagefolder:{make_photos(tmp_path / 'b' / 'Photos', '1.png')}")
    assert first.name != second.name
    assert first.name.startswith("photos-")
    assert first.title == second.title == "Photos"


def test_a_folders_revision_changes_with_any_of_its_files(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", "Ada/1.png", "Ada/2.png")
    before = folder / "Ada/1.png"
    revisions = [open_photos(f"imagefolder:{folder}").revision, open_photos(f"imagefolder:{folder}").revision]
    assert len(set(revisions)) == 1
    os.utime(before, ns=(1, 1))
    revisions.append(open_photos(f"imagefolder:{folder}").revision)
    stat = before.stat()
    before.write_bytes(before.read_bytes() + b" ")
    os.utime(before, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    revisions.append(open_photos(f"imagefolder:{folder}").revision)
    before.rename(folder / "Ada/3.png")
    revisions.append(open_photos(f"imagefolder:{folder}").revision)
    make_photos(folder, "new.png")
    revisions.append(open_photos(f"imagefolder:{folder}").revision)
    assert len(set(revisions)) == 5


def test_a_folder_without_photos(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert refused(f"imagefolder:{tmp_path}") == (
        f"There are no photos in {tmp_path} (looked for {', '.join(sorted(SUFFIXES))}); choose another folder."
    )


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").touch()
    assert refused(f"imagefolder:{tmp_path / 'photos.zip'}") == (
        f"FACESEARCH_DATASET names the file {tmp_path / 'photos.zip'}; name a folder, and unpack a zip into one first."
    )
    for path in ("", "https://example.org/photos"):
        assert refused(f"imagefolder:{path}") == (
            f"FACESEARCH_DATASET is 'imagefolder:{path}'; write the path of a folder behind imagefolder:."
        )
    assert refused(f"imagefolder:{tmp_path / 'missing'}") == (
        f"FACESEARCH_DATASET names the folder {tmp_path / 'missing'}, which does not exist; correct the path."
    )


@pytest.mark.parametrize("dataset", ["faces", "a/b/c", "user/name@", "https://huggingface.co/datasets/a/b", "/no"])
def test_what_is_neither_a_folder_nor_an_id(dataset: str) -> None:
    assert refused(dataset) == (
        f"FACESEARCH_DATASET is {dataset!r}, which is neither a folder nor a Hub id like user/name; correct it, or use "
        "imagefolder:PATH for a folder of photos."
    )


@pytest.mark.parametrize("dataset", ["user/a--b", "-user/name", "user/name.git"])
def test_what_looks_like_an_id_but_cannot_be_one(dataset: str) -> None:
    assert refused(dataset) == (
        f"FACESEARCH_DATASET is {dataset!r}, which the Hub does not allow as an id; correct it, or set "
        "FACESEARCH_DATASET to a local folder."
    )


# The Hub


@pytest.fixture
def client_calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call of the Hub's client was told to stay on this disk; the calls themselves are real."""
    calls: list[bool] = []
    download = huggingface_hub.snapshot_download

    def recorded(*arguments: object, local_files_only: bool = False, **options: object) -> object:
        calls.append(local_files_only)
        return download(*arguments, local_files_only=local_files_only, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", recorded)
    return calls


def test_a_hub_out_of_reach_is_one_sentence_at_once(client_calls: list[bool]) -> None:
    assert refused("user/faces") == (
        f"{huggingface_hub.constants.ENDPOINT} cannot be reached for the dataset user/faces; connect, or set "
        "FACESEARCH_DATASET to a local copy of the dataset or to imagefolder:PATH for a folder of your own photos."
    )
    assert client_calls == [True]  # never let loose on the network, where it would retry


def test_lfw_out_of_reach_names_the_first_source_after_trying_both(client_calls: list[bool]) -> None:
    assert f"for the dataset {PRIMARY.repo};" in refused("lfw")
    assert client_calls == [True, True]


def test_a_cached_dataset_needs_no_hub(tmp_path: Path, client_calls: list[bool]) -> None:
    write_dataset(snapshot(tmp_path, "user/faces"))
    photos = open_photos("user/faces")
    assert (photos.name, photos.title, len(photos)) == ("user-faces", "user/faces", 3)
    assert client_calls == [True]


def test_a_revision_of_a_cached_dataset_can_be_named(tmp_path: Path) -> None:
    other = SHA[::-1]
    write_dataset(snapshot(tmp_path, "user/faces"))
    write_dataset(snapshot(tmp_path, "user/faces", other, branch=None), ROWS[:2])
    assert len(open_photos("user/faces")) == 3
    assert len(open_photos(f"user/faces@{other}")) == 2
    assert "cannot be reached" in refused("user/faces@v2")


def lfw_rows(count: int) -> list[Row]:
    return [(f"Person_{row // 2:05d}_{1 + row % 2:04d}.jpg", f"Person_{row // 2:05d}") for row in range(count)]


def write_whole_lfw(folder: Path) -> None:
    """As many rows as LFW has, all of one tiny photo, in the mirror's columns."""
    rows = lfw_rows(13_233)
    columns = {"filename": [file for file, _ in rows], "image": [{"bytes": png(1), "path": None}] * len(rows)}
    features = datasets.Features({"filename": datasets.Value("string"), "image": datasets.Image()})
    write_parquet(folder, columns, features)


def test_an_incomplete_lfw_is_passed_over_for_the_next_source(tmp_path: Path) -> None:
    assert PRIMARY.revision is not None
    write_dataset(snapshot(tmp_path, PRIMARY.repo, PRIMARY.revision, branch=None))
    write_whole_lfw(snapshot(tmp_path, MIRROR.repo))
    photos = open_photos("lfw")
    assert (photos.name, photos.title, len(photos)) == ("lfw", "LFW", 13_233)
    assert (photos.photo_ids[3], photos.people[3]) == ("Person_00001_0002", "Person 00001")


def test_an_incomplete_lfw_is_named_where_there_is_no_other(tmp_path: Path) -> None:
    assert PRIMARY.revision is not None
    write_dataset(snapshot(tmp_path, PRIMARY.repo, PRIMARY.revision, branch=None))
    assert refused("lfw") == f"{PRIMARY.repo} holds 3 photos where LFW has 13,233."


def test_a_cached_lfw_without_its_photos_is_asked_for_again(tmp_path: Path, client_calls: list[bool]) -> None:
    # What a download that was cut short leaves behind.
    assert PRIMARY.revision is not None
    folder = snapshot(tmp_path, PRIMARY.repo, PRIMARY.revision, branch=None)
    folder.mkdir(parents=True)
    (folder / "README.md").touch()
    assert "cannot be reached" in refused("lfw")
    assert client_calls == [True, True]


@dataclass
class Hub:
    """A Hub with one dataset. `portal`: answers like a hotel's network."""

    repo: str
    files: dict[str, bytes]
    portal: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        api, resolve = f"/api/datasets/{self.repo}/", f"/datasets/{self.repo}/resolve/{SHA}/"
        if path == "/" or self.portal:
            return 200, b"<!DOCTYPE html><title>Please log in</title>", {"Content-Type": "text/html"}
        if path.startswith(api + "revision/"):
            return 200, json.dumps({"id": self.repo, "sha": SHA}).encode(), {}
        if path.startswith(api + "tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": f"{number:040x}"}
                for number, (name, content) in enumerate(self.files.items())
            ]
            return 200, json.dumps(tree).encode(), {}
        name = path.removeprefix(resolve)
        if name in self.files:
            etag = f'"{list(self.files).index(name):040x}"'
            return 200, self.files[name], {"ETag": etag, "X-Repo-Commit": SHA}
        return 404, b"", {"X-Error-Code": "RepoNotFound"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            served.asked.append(f"{self.command} {path}")
            status, content, headers = served.answer(path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    name = "data/train-00000-of-00001.parquet"
    content = (write_dataset(tmp_path / "on the Hub") / name).read_bytes()
    served = Hub("user/faces", {"README.md": b"# Faces", name: content})
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        point_hub_at(server.server_port, monkeypatch)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def test_a_dataset_is_downloaded_once(tmp_path: Path, hub: Hub) -> None:
    told: list[Progress] = []
    downloaded = open_photos("user/faces", told.append)
    size = sum(map(len, hub.files.values()))
    assert (told[-1].task, told[-1].unit, told[-1].done) == ("Downloading user/faces", "B", size)
    assert all(0 < one.done <= one.total == size for one in told[-2:])
    assert downloaded.photo_ids == ("Ada_Lovelace_0001", "Ada_Lovelace_0002", "Bruno_0001")
    assert hub.asked[0] == "HEAD /"
    hub.asked.clear()
    assert open_photos("user/faces").revision == downloaded.revision
    assert hub.asked == []
    assert downloaded.revision == open_photos(str(tmp_path / "on the Hub")).revision


def test_a_dataset_that_the_hub_does_not_have(hub: Hub) -> None:
    assert refused("user/nothing") == (
        "The dataset user/nothing cannot be downloaded (RepositoryNotFoundError); check its name and your access, or "
        "set FACESEARCH_DATASET to a local folder."
    )


def test_a_portal_that_answers_every_request_with_a_page_is_one_sentence(hub: Hub) -> None:
    hub.portal = True
    assert refused("user/faces").startswith("The dataset user/faces cannot be downloaded (")


@pytest.mark.parametrize("dataset", ["on the Hub", "in a folder"])
def test_where_nothing_can_be_kept_the_folder_is_named_and_the_variable(
    dataset: str, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in place of the home stops every account from writing, root too."""
    (tmp_path / "home").touch()
    cache = tmp_path / "home" / ".cache" / "huggingface"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    folder = cache / ("hub" if dataset == "on the Hub" else "datasets")
    said = refused("user/faces" if dataset == "on the Hub" else str(write_dataset(tmp_path / "faces")))
    assert said.startswith(f"What is read of a dataset cannot be kept in {folder} (")
    assert said.endswith("); set HF_HOME to another.")


def test_different_photos_are_different(tmp_path: Path) -> None:
    photos = open_photos(str(write_dataset(tmp_path / "faces", changed=1)))
    shades = [np.asarray(open_image(photos[row].source))[0, 0, 0] for row in range(3)]
    assert shades == [0, 101, 2]
