"""Galleries to the Hub and back, by its real client and a small Hub of this machine; and everything that is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from huggingface_hub import ModelCard, constants

from pipeline.__main__ import main
from pipeline.core import hub as hub_module
from pipeline.core.errors import GalleryMissing, HubError, StorageError
from pipeline.core.files import digest, sealed, write_json
from pipeline.core.progress import Progress, silent
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.embeddings.publish import publish
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.galleries.preparation import Preparation
from pipeline.photos.pictures import PACK, unpack
from tests.fake_hub import TOKEN, USER, Hub, point_at, serve
from tests.fakes import TinyEncoders, TinyNetwork, portrait

# The Hub's client uploads by a parameter that its HTTP library no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

REPO = f"{USER}/galleries"
RECIPE, REDUCED = "mtcnn-facenet", "mtcnn-facenet-128"
Elsewhere = Callable[[], Gallery]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that knows this user."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with serve() as hub:
        point_at(hub.port, monkeypatch)
        yield hub


@pytest.fixture
def built(tiny: Gallery) -> Gallery:
    """The tiny world with the gallery of one recipe."""
    tiny.build([RECIPE])
    return tiny


@pytest.fixture
def elsewhere(tiny_folder: Path, tmp_path: Path) -> Elsewhere:
    """Another gallery of the same photos, with an index folder of its own that is empty, and with the repository."""

    def make(repo: str = REPO) -> Gallery:
        gallery = Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "elsewhere")
        gallery.fetch_from(repo)
        return gallery

    return make


@pytest.fixture
def published(hub: Hub, built: Gallery) -> Hub:
    """The Hub with the tiny world's gallery on it."""
    publish_recipes(built, [RECIPE], REPO, private=False)
    return hub


def publish_recipes(gallery: Gallery, recipes: list[str], repo: str, *, private: bool) -> str:
    """Publishes the gallery's embeddings of these recipes."""
    all_embeddings = [gallery.searcher(recipe).embeddings for recipe in recipes]
    return publish(gallery.pictures, all_embeddings, repo, private=private)


def seen(gallery: Gallery) -> int:
    """How many photos the gallery's detector has been given: none where nothing is built."""
    assert isinstance(gallery.encoders, TinyEncoders)
    return gallery.encoders.detector.photos_seen


def hits(gallery: Gallery, recipe: str = RECIPE, index: str = "annoy") -> list[tuple[str, float]]:
    found = gallery.searcher(recipe).search(portrait(2, 1), 5, index)
    return [(hit.photo_id, hit.distance) for hit in found.hits]


def leftovers(root: Path) -> list[str]:
    """What lies in an index folder that is neither a gallery nor a lock."""
    return [path.name for path in root.iterdir() if path.name.startswith(".") and path.suffix != ".lock"]


# There and back


def test_what_is_published_is_searched_elsewhere_with_equal_hits(
    published: Hub, built: Gallery, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TinyNetwork, "precision", "bf16")
    there = elsewhere()
    there.build([RECIPE])
    assert seen(there) == 0, "built instead of fetched"
    for index in ("exact", "annoy", "faiss", "knn", "kmeans"):
        assert hits(there, index=index) == hits(built, index=index)
    ours, theirs = built.folder(RECIPE), there.folder(RECIPE)
    for file in ("vectors.npy", "faces.npy", "photos.json", "annoy.ann", "kmeans.npz"):
        assert digest(ours / file) == digest(theirs / file)
    precisions = [json.loads((folder / "manifest.json").read_text())["precisions"] for folder in (ours, theirs)]
    assert precisions == [{"mtcnn": "f32", "facenet": "f32"}] * 2, "those of the processor that built it"
    assert leftovers(there.index_root) == []
    assert sorted(path.name for path in theirs.iterdir()) == sorted(path.name for path in ours.iterdir())


def test_a_repository_is_laid_out_as_the_index_folder_in_one_commit(published: Hub, built: Gallery) -> None:
    repo, embeddings = published.repos[REPO], built.photos.name
    files = {path.relative_to(built.index_root).as_posix() for path in built.folder(RECIPE).iterdir()}
    thumbnails = {f"thumbnails/{embeddings}/{PACK}", f"thumbnails/{embeddings}/manifest.json"}
    assert set(repo.files) == files - {
        f"{embeddings}/{RECIPE}/{name}" for name in ("annoy.ann", "faiss.index")
    } | thumbnails | {"README.md"}
    assert repo.messages == [f"Galleries of {embeddings}: {RECIPE}"]
    assert f"{embeddings}/{RECIPE}/vectors.npy" in repo.large
    card, manifest = repo.files["README.md"].decode(), built.searcher(RECIPE).embeddings.manifest
    assert ModelCard(card).data.tags == ["reverse-face-search", "face-recognition"]
    for value in (
        RECIPE,
        manifest["photos_revision"][:16],
        manifest["weights"]["sha256"][:16],
        manifest["fingerprint"],
    ):
        assert f"`{value}`" in card


def test_a_second_recipe_joins_the_first_on_the_card(published: Hub, built: Gallery) -> None:
    built.build([REDUCED])
    publish_recipes(built, [REDUCED], REPO, private=False)
    card = published.repos[REPO].files["README.md"].decode()
    assert [
        line.split("|")[2].strip() for line in card.splitlines() if "imagefolder" not in line and "| `" in line
    ] == [
        f"`{RECIPE}`",
        f"`{REDUCED}`",
    ]


def test_a_reduced_gallery_brings_its_layer_along(hub: Hub, built: Gallery, elsewhere: Elsewhere) -> None:
    built.build([REDUCED])
    publish_recipes(built, [REDUCED], REPO, private=False)
    there = elsewhere()
    there.build([REDUCED])
    assert seen(there) == 0
    assert hits(there, REDUCED) == hits(built, REDUCED)


def test_where_only_the_gallery_below_is_published_the_reduced_one_is_made_of_it(
    published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    there.build([REDUCED])
    assert seen(there) == 0
    path = f"{there.photos.name}/{REDUCED}"
    assert caplog.messages == [f"There is no gallery {path} in {REPO}; it is built here instead."]
    assert len(there.searcher(REDUCED).embeddings) == 24


@pytest.mark.slow
def test_a_start_fetches_what_is_published_and_builds_the_rest(
    published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    preparation = Preparation(elsewhere())
    preparation.start(RECIPES)
    preparation.wait(60)
    assert RECIPE in preparation.ready()
    assert "mtcnn-reid" in preparation.ready()
    fetched = [asked for asked in published.asked if asked.startswith("HEAD") and f"/{RECIPE}/" in asked]
    assert len(fetched) == 5, "each file once"
    said = [message for message in caplog.messages if not message.startswith("Nobody is told apart")]  # uncalibrated
    assert sorted(said) == sorted(
        f"There is no gallery {preparation.gallery.photos.name}/{name} in {REPO}; it is built here instead."
        for name in RECIPES
        if name != RECIPE
    )
    built = json.loads((preparation.gallery.folder("mtcnn-reid") / "manifest.json").read_text())
    assert built["counts"]["indexed"] == 24


def test_what_is_built_here_is_not_fetched(published: Hub, built: Gallery) -> None:
    published.asked.clear()
    built.fetch_from(REPO)
    built.build([RECIPE])
    assert published.asked == []


def test_progress_is_told_in_bytes(published: Hub, elsewhere: Elsewhere) -> None:
    told: list[Progress] = []
    there = elsewhere()
    there.build([RECIPE], told.append)
    path = f"{there.photos.name}/{RECIPE}"
    fetching = [one for one in told if one.task == f"Fetching {path} from {REPO}"]
    repo = published.repos[REPO].files
    size = sum(len(content) for name, content in repo.items() if name.startswith(path) and "manifest" not in name)
    assert (fetching[-1].done, fetching[-1].total, fetching[-1].unit) == (size, size, "B")
    assert [one.done for one in fetching] == sorted(one.done for one in fetching)


def test_a_revision_can_be_named(published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture) -> None:
    there = elsewhere(f"{REPO}@{published.repos[REPO].sha}")
    there.build([RECIPE])
    assert seen(there) == 0
    shutil.rmtree(there.index_root)
    there = elsewhere(f"{REPO}@v2")
    there.build([RECIPE])
    assert caplog.messages == [
        f"The repository {REPO}@v2 cannot be read on http://127.0.0.1:{published.port} (RevisionNotFoundError), so "
        "galleries are built here instead."
    ]


def test_a_milvus_collection_does_not_travel(hub: Hub, built: Gallery, elsewhere: Elsewhere) -> None:
    path = built.folder(RECIPE) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["indexes"]["milvus"] = {"files": [], "collection": "ours", "recall_at_20": 1.0, "kind": "IVF_FLAT"}
    manifest["former_collection"] = "ours_before"
    write_json(path, sealed(manifest))
    publish_recipes(built, [RECIPE], REPO, private=False)
    sent = hub.repos[REPO].files[f"{built.photos.name}/{RECIPE}/manifest.json"]
    assert b"ours" not in sent
    hub.repos[REPO].files[f"{built.photos.name}/{RECIPE}/manifest.json"] = path.read_bytes()  # by another's hand
    there = elsewhere()
    there.build([RECIPE])
    here = there.searcher(RECIPE).embeddings.manifest
    assert sorted(here["indexes"]) == ["annoy", "exact", "faiss", "kmeans", "knn"]
    assert here["former_collection"] == ""


def test_annoys_trees_are_taken_from_nobody(published: Hub, built: Gallery, elsewhere: Elsewhere) -> None:
    """Annoy believes what a file says: a crafted one makes it read past its end, or ends the process."""
    folder, files = f"{built.photos.name}/{RECIPE}", published.repos[REPO].files
    files[f"{folder}/annoy.ann"] = b"made by somebody"
    manifest = json.loads(files[f"{folder}/manifest.json"])
    manifest["files"]["annoy.ann"] = hashlib.sha256(b"made by somebody").hexdigest()
    manifest["indexes"]["annoy"] = {"files": ["annoy.ann"], "recall_at_20": 1.0, "search_k": 1000}
    files[f"{folder}/manifest.json"] = json.dumps(sealed(manifest)).encode()
    there = elsewhere()
    there.build([RECIPE])
    assert seen(there) == 0, "built instead of fetched"
    assert not any("annoy.ann" in path for path in published.asked)
    assert digest(there.folder(RECIPE) / "annoy.ann") == digest(built.folder(RECIPE) / "annoy.ann")
    assert hits(there) == hits(built)


# Thumbnails


def test_thumbnails_come_along_in_one_file(published: Hub, built: Gallery, elsewhere: Elsewhere) -> None:
    there = elsewhere()
    there.build([RECIPE])
    folder = there.thumbnails_root / there.photos.name
    assert len(list(folder.iterdir())) == 25, "one for each photo that is one"
    for photo_id in ("Ada/0.png", "Clara/faceless.png"):
        fetched = folder / built.pictures.thumbnail(photo_id).name
        assert fetched.read_bytes() == built.pictures.thumbnail(photo_id).read_bytes()
        assert there.pictures.thumbnail(photo_id) == fetched


def test_publishing_the_same_again_sends_the_same_bytes(published: Hub, built: Gallery) -> None:
    with zipfile.ZipFile(io.BytesIO(published.repos[REPO].files[f"thumbnails/{built.photos.name}/{PACK}"])) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}, "the time of packing is in it"
    before = dict(published.repos[REPO].files)
    publish_recipes(built, [RECIPE], REPO, private=False)
    assert published.repos[REPO].files == before


def test_other_thumbnails_are_refused_and_the_gallery_is_kept(
    published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    published.repos[REPO].files[f"thumbnails/{there.photos.name}/{PACK}"] += b"more"
    there.build([RECIPE])
    assert seen(there) == 0
    assert not (there.thumbnails_root / there.photos.name).exists()
    assert caplog.messages == [
        f"The thumbnails in {REPO} are not what their manifest describes; they are made here instead."
    ]


JPEG = b"\xff\xd8 and so on"


@pytest.mark.parametrize(
    ("name", "content", "method"),
    [
        ("../../stolen.jpg", JPEG, zipfile.ZIP_STORED),
        ("/tmp/stolen.jpg", JPEG, zipfile.ZIP_STORED),
        (f"{'b' * 20}.html", JPEG, zipfile.ZIP_STORED),
        (f"{'b' * 20}.jpg", b"<script>", zipfile.ZIP_STORED),
        (f"{'b' * 20}.jpg", JPEG, zipfile.ZIP_DEFLATED),
        (f"{'b' * 20}.jpg", JPEG + bytes(1_000_000), zipfile.ZIP_STORED),
    ],
)
def test_an_archive_with_anything_else_in_it_is_not_unpacked(
    name: str, content: bytes, method: int, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / PACK, "w") as archive:
        archive.writestr(f"{'a' * 20}.jpg", JPEG)
        archive.writestr(name, content, method)
    with pytest.raises(HubError) as caught:
        unpack(tmp_path / PACK, tmp_path / "a" / "folder", 2)
    assert str(caught.value) == "thumbnails.zip holds something else than thumbnails; they are made here instead."
    assert sorted(path.name for path in tmp_path.iterdir()) == [PACK]


def test_an_archive_of_more_thumbnails_than_photos_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / PACK, "w") as archive:
        for letter in "ab":
            archive.writestr(f"{letter * 20}.jpg", JPEG)
    with pytest.raises(HubError, match="cannot be unpacked"):
        unpack(tmp_path / PACK, tmp_path / "folder", 1)
    assert unpack(tmp_path / PACK, tmp_path / "folder", 2) == 2


# What is refused


def wrong(published: Hub, gallery: Gallery, caplog: pytest.LogCaptureFixture) -> str:
    """The one sentence that is logged; the gallery must have been built here after it."""
    gallery.build([RECIPE])
    assert seen(gallery) > 0, "fetched, whatever is wrong with it"
    assert len(gallery.searcher(RECIPE).embeddings) == 24
    assert leftovers(gallery.index_root) == []
    (message,) = caplog.messages
    return message


def test_a_tampered_file_is_refused_and_the_gallery_is_built(
    published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    path = f"{there.photos.name}/{RECIPE}"
    content = published.repos[REPO].files[f"{path}/vectors.npy"]
    published.repos[REPO].files[f"{path}/vectors.npy"] = content[:-4] + np.float32(0.5).tobytes()
    assert wrong(published, there, caplog) == (
        f"The gallery {path} in {REPO} is not what its manifest describes (vectors.npy); it is built here instead."
    )


def test_a_file_that_is_missing_is_refused(
    published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    path = f"{there.photos.name}/{RECIPE}"
    del published.repos[REPO].files[f"{path}/kmeans.npz"]
    assert "(kmeans.npz); it is built here instead." in wrong(published, there, caplog)


def test_a_stale_fingerprint_is_refused_before_anything_large_is_fetched(
    published: Hub, elsewhere: Elsewhere, tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    portrait(0, 3).save(tiny_folder / "Ada" / "0.png")  # another photo than was published
    published.asked.clear()
    there = elsewhere()
    path = f"{there.photos.name}/{RECIPE}"
    assert wrong(published, there, caplog) == (
        f"The gallery {path} in {REPO} was built from other photos, weights or code; it is built here instead."
    )
    assert not any("vectors.npy" in path for path in published.asked)


def rewritten(published: Hub, path: str, file: str, content: bytes) -> None:
    """A file changed with its hash in the manifest."""
    files = published.repos[REPO].files
    manifest = json.loads(files[f"{path}/manifest.json"])
    files[f"{path}/{file}"] = content
    manifest["files"][file] = hashlib.sha256(content).hexdigest()
    files[f"{path}/manifest.json"] = json.dumps(sealed(manifest)).encode()


def test_people_who_are_not_those_of_the_photos_here_are_refused(
    published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    path = f"{there.photos.name}/{RECIPE}"
    photos = published.repos[REPO].files[f"{path}/photos.json"]
    rewritten(published, path, "photos.json", photos.replace(b'"Bruno"', b'"Mallory"'))
    assert wrong(published, there, caplog) == (
        f"The gallery {path} in {REPO} is not what its manifest describes; it is built here instead."
    )


def test_pickled_arrays_are_refused(published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture) -> None:
    there = elsewhere()
    path = f"{there.photos.name}/{RECIPE}"
    file = there.index_root.parent / "pickled.npy"
    np.save(file, np.array([{"anything": 1}] * 24, object), allow_pickle=True)
    rewritten(published, path, "faces.npy", file.read_bytes())
    assert "is not what its manifest describes" in wrong(published, there, caplog)


@pytest.mark.parametrize("name", ["../../../stolen.npy", "/tmp/stolen.npy", ".hidden", "a*b.npy", "sub/file.npy"])
def test_a_manifest_may_not_name_files_elsewhere(
    name: str, published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    path = f"{there.photos.name}/{RECIPE}"
    rewritten(published, path, name, b"stolen")
    assert "(manifest.json); it is built here instead." in wrong(published, there, caplog)
    assert not any(quote(name) in asked or name in asked for asked in published.asked)


@pytest.mark.parametrize("content", [b"[]", b"null", b"not JSON", b"\xff"])
def test_a_manifest_that_is_none(
    content: bytes, published: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    there = elsewhere()
    published.repos[REPO].files[f"{there.photos.name}/{RECIPE}/manifest.json"] = content
    assert wrong(published, there, caplog).endswith("; it is built here instead.")


def test_a_stale_gallery_here_is_replaced_by_the_published_one(
    published: Hub, built: Gallery, elsewhere: Elsewhere
) -> None:
    there = elsewhere()
    shutil.copytree(built.folder(RECIPE), there.folder(RECIPE))
    manifest = json.loads((there.folder(RECIPE) / "manifest.json").read_text())
    manifest["fingerprint"] = "another"
    manifest["former_collection"] = "on_a_server"
    write_json(there.folder(RECIPE) / "manifest.json", sealed(manifest))
    there.build([RECIPE])
    assert seen(there) == 0
    assert hits(there) == hits(built)
    assert there.searcher(RECIPE).embeddings.manifest["former_collection"] == "on_a_server"


# Out of reach


def test_a_host_that_refuses_costs_nothing_and_is_asked_once(
    hub: Hub, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    point_at(closed, monkeypatch)
    there = elsewhere()
    started = time.monotonic()
    there.build([RECIPE])
    there.build(["mtcnn-reid"])
    assert time.monotonic() - started < 10
    assert caplog.messages == [
        f"http://127.0.0.1:{closed} cannot be reached for the galleries in {REPO}, so they are built here instead."
    ]
    assert seen(there) > 0


def test_a_host_that_is_silent_costs_as_long_as_the_probe(
    hub: Hub, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub_module, "PROBE_SECONDS", 0.5)
    with socket.socket() as silent_host:
        silent_host.bind(("127.0.0.1", 0))
        silent_host.listen()
        point_at(silent_host.getsockname()[1], monkeypatch)
        there = elsewhere()
        started = time.monotonic()
        there.published.fetch(there.photos, [there.encoders.get(RECIPE)], there.index_root, silent)  # type: ignore[union-attr]
        assert 0.4 < time.monotonic() - started < 5
    assert "cannot be reached for the galleries" in caplog.text


def test_a_repository_that_is_not_there(hub: Hub, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture) -> None:
    there = elsewhere(f"{USER}/nothing")
    there.build([RECIPE])
    assert caplog.messages == [
        f"The repository {USER}/nothing cannot be read on http://127.0.0.1:{hub.port} (RepositoryNotFoundError), so "
        "galleries are built here instead."
    ]


CHILD = """
import sys
from pathlib import Path
from pipeline.galleries.gallery import Gallery
from tests.fakes import TinyEncoders
gallery = Gallery("imagefolder:" + sys.argv[1], TinyEncoders(), Path(sys.argv[2]))
gallery.fetch_from(sys.argv[3])
gallery.build(["mtcnn-facenet"])
"""


def test_a_folder_that_cannot_be_written_is_one_sentence(published: Hub, elsewhere: Elsewhere) -> None:
    there = elsewhere()
    there.index_root.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot be written to .* \(.*\); make room there, or set FACESEARCH_INDEX"):
        there.build([RECIPE])


def test_killed_in_the_middle_leaves_nothing_half(
    published: Hub, built: Gallery, elsewhere: Elsewhere, tiny_folder: Path
) -> None:
    there = elsewhere()
    published.stall = f"{there.photos.name}/{RECIPE}/vectors.npy"
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{published.port}",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    arguments = [str(tiny_folder), str(there.index_root), REPO]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)
    try:
        assert published.stalled.wait(60), "it never came to the vectors"
        time.sleep(0.2)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not there.folder(RECIPE).exists()
    (aside,) = leftovers(there.index_root)
    stray = there.index_root / aside / there.photos.name / RECIPE / "stray.npy"
    stray.touch()
    published.stall = ""
    there.build([RECIPE])
    assert seen(there) == 0
    assert hits(there) == hits(built)
    assert leftovers(there.index_root) == []
    assert not (there.folder(RECIPE) / stray.name).exists(), "what a killed run left was taken over"


def test_a_gallery_comes_into_place_in_one_step(
    published: Hub, built: Gallery, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, rename = elsewhere(), Path.rename

    def killed(path: Path, target: Path) -> Path:
        if target == there.folder(RECIPE):
            raise SystemExit
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(SystemExit):
            there.build([RECIPE])
    assert not there.folder(RECIPE).exists()
    there.build([RECIPE])
    assert seen(there) == 0
    assert hits(there) == hits(built)


def test_a_host_that_goes_away_in_the_middle_is_not_waited_for_again(
    published: Hub, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def gone(repo: str, path: str, **options: object) -> str:
        tries.append(path)
        point_at(1, monkeypatch)
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", gone)
    there = elsewhere()
    there.build([RECIPE])
    there.build([REDUCED, "mtcnn-reid"])
    path = f"{there.photos.name}/{RECIPE}/manifest.json"
    assert tries == [path]
    assert caplog.messages == [f"{path} cannot be fetched from {REPO} (ConnectionError); it is built here instead."]


# Publishing


def refused(gallery: Gallery, repo: str = REPO, *, private: bool = False) -> str:
    with pytest.raises(HubError) as caught:
        publish_recipes(gallery, [RECIPE], repo, private=private)
    return str(caught.value)


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_who_is_not_logged_in_is_told_how(
    token: str, hub: Hub, built: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(built.index_root / "no-token"))
    monkeypatch.setenv("HF_TOKEN", token)
    assert refused(built) == (
        f"http://127.0.0.1:{hub.port} does not know who you are; run `hf auth login`, or set HF_TOKEN to a token that "
        "may write."
    )


def test_a_name_of_somebody_else(hub: Hub, built: Gallery) -> None:
    assert refused(built, "other/galleries") == (
        f"Your token may not write to other/galleries on http://127.0.0.1:{hub.port}; use one that may, or publish "
        "under your own name."
    )


@pytest.mark.parametrize("repo", ["galleries", "a/b/c", "user/a--b", "user/name@v1", "user/name.git", ""])
def test_a_name_that_can_be_none(repo: str, hub: Hub, built: Gallery) -> None:
    assert refused(built, repo) == f"{repo!r} is no name for a repository on the Hub; give --repo user/name."
    assert hub.repos == {}


def test_publishing_to_a_host_out_of_reach(hub: Hub, built: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    point_at(closed, monkeypatch)
    assert refused(built) == (
        f"http://127.0.0.1:{closed} cannot be reached for publishing; connect, or set HF_ENDPOINT to a Hub that can."
    )


def test_a_gallery_that_is_not_built_is_not_published(hub: Hub, built: Gallery) -> None:
    with pytest.raises(GalleryMissing, match="run `python -m pipeline build --recipe mtcnn-reid`"):
        publish_recipes(built, [RECIPE, "mtcnn-reid"], REPO, private=False)
    assert hub.repos == {}


def test_private_is_private_or_nothing(hub: Hub, built: Gallery) -> None:
    publish_recipes(built, [RECIPE], REPO, private=True)
    assert hub.repos[REPO].private
    publish_recipes(built, [RECIPE], f"{USER}/open", private=False)
    assert not hub.repos[f"{USER}/open"].private
    before = dict(hub.repos[f"{USER}/open"].files)
    assert refused(built, f"{USER}/open", private=True) == (
        f"{USER}/open exists and is public; make it private first, or publish with --public."
    )
    assert hub.repos[f"{USER}/open"].files == before


def test_the_command_publishes_what_is_built(
    hub: Hub, built: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: built)
    assert main(["publish", "--repo", REPO, "--public"]) == 0
    assert not hub.repos[REPO].private
    assert capsys.readouterr().out == (
        f"Published {RECIPE}: http://127.0.0.1:{hub.port}/{REPO}/commit/{hub.repos[REPO].sha}\n"
        f"FACESEARCH_INDEX_REPO={REPO} fetches them instead of building them.\n"
    )
    shutil.rmtree(built.index_root)
    assert main(["publish", "--repo", REPO]) == 2
    assert capsys.readouterr().err == "No gallery is built yet; run `python -m pipeline build`.\n"


@pytest.mark.parametrize(
    ("dataset", "choice", "private"),
    [
        ("imagefolder:photos", [], True),
        ("someone/photos", [], True),
        ("/data/lfw", [], True),  # called so by whoever keeps it
        ("lfw", [], False),
        ("sample", [], False),
        ("sample", ["--private"], True),
        ("someone/photos", ["--public"], False),
    ],
)
def test_faces_are_not_made_public_unasked(
    dataset: str, choice: list[str], private: bool, hub: Hub, built: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: built)
    monkeypatch.setenv("FACESEARCH_DATASET", dataset)
    assert main(["publish", "--repo", REPO, *choice]) == 0
    assert hub.repos[REPO].private is private


def test_the_setting_reaches_the_gallery(tmp_path: Path) -> None:
    assert open_gallery(Settings(index=tmp_path)).published is None
    named = open_gallery(Settings(index=tmp_path, index_repo=REPO)).published
    assert named is not None
    assert named.repo == REPO
