"""Pictures are served by addresses that tell nothing, to whoever was told them, as long as their gallery lives."""

from __future__ import annotations

import gc
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from pipeline.core.folders import PERSONAL
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.galleries.preparation import Preparation
from pipeline.page.html.grid import served, small_served
from pipeline.page.server.pictures import FOR_GOOD
from pipeline.photos.pictures import SMALL_SIDE
from tests.fakes import TinyEncoders, portrait
from tests.galleries.test_own_galleries import ONLY, RECIPE, filled

# Gradio leaves event loops and their sockets to the garbage collector; `site` collects them here and now.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SECONDS = 30


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnGalleries]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    galleries = OwnGalleries(TinyEncoders(ONLY), tmp_path / "kept")
    yield galleries
    galleries.close()


@pytest.fixture
def site(tiny: Gallery, own: OwnGalleries) -> Iterator[tuple[str, Galleries]]:
    """The page's address, and what it serves: the tiny world, and visitors' own photos."""
    preparation = Preparation(tiny, maps=False)
    preparation.start([RECIPE])
    preparation.wait()
    galleries = Galleries(preparation, own=own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio and the libraries below it warn of each other's deprecated names
        import app

        page = app.launch(galleries, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        yield page.local_url, galleries
        page.close()
        gc.collect()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    for number in range(3):
        portrait(number).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.glob("*.png"))


def get(address: str, **headers: str) -> requests.Response:
    return requests.get(address, headers=headers, timeout=SECONDS)


def test_a_public_picture_may_be_kept_for_good(site: tuple[str, Galleries]) -> None:
    url, galleries = site
    picture = galleries.main.gallery.pictures.thumbnail("Ada/0.png")
    answer = get(f"{url}{served(picture)}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, FOR_GOOD)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == picture.read_bytes()


def test_results_are_shown_from_smaller_pictures(site: tuple[str, Galleries]) -> None:
    url, galleries = site
    pictures = galleries.main.gallery.pictures
    thumbnail, face = pictures.thumbnail("Ada/0.png"), pictures.face("Ada/0.png", (0.0, 0.0, 90.0, 160.0))
    for picture in (thumbnail, face):
        address = f"{url}{small_served(picture)}"
        assert (answer := get(address)).headers["cache-control"] == FOR_GOOD
        assert max(Image.open(io.BytesIO(answer.content)).size) <= SMALL_SIDE
        assert get(address).content == answer.content
        assert get(address.replace("-small", "0-small")).status_code == 404, "of nothing that is there"


def test_an_own_picture_is_kept_by_nobody_and_gone_with_its_gallery(
    site: tuple[str, Galleries], own: OwnGalleries, photos: list[Path]
) -> None:
    url, _ = site
    key, mine = filled(own, photos)
    assert mine.preparation is not None
    pictures = mine.preparation.gallery.pictures
    made = [pictures.thumbnail("0.png"), pictures.original("0.png"), pictures.face("0.png", (9.0, 9.0, 60.0, 60.0))]
    small = f"{url}{small_served(made[0])}"
    assert (get(small).status_code, get(small).headers["cache-control"]) == (200, "no-store")
    addresses = [f"{url}{served(picture)}" for picture in made]
    for address, picture in zip(addresses, made, strict=True):
        answer = get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.content == picture.read_bytes()
        assert mine.name not in address
        assert get(address.replace(address.split("/")[-2], mine.name)).status_code == 404, "its name is in answers"
        assert get(address, Host="evil.example").status_code == 403
    own.keep(key, kept=True)
    mine.wait()
    assert [get(address).status_code for address in addresses] == [200] * 3
    own.remove(key)
    assert [get(address).status_code for address in addresses] == [404] * 3
    assert get(small).status_code == 404
    assert not any(picture.exists() for picture in made)


def test_a_picture_goes_with_its_photo(site: tuple[str, Galleries], own: OwnGalleries, photos: list[Path]) -> None:
    _, mine = filled(own, photos)
    assert mine.preparation is not None
    pictures = mine.preparation.gallery.pictures
    first, second = (f"{site[0]}{served(pictures.thumbnail(name))}" for name in ("0.png", "1.png"))
    small = f"{site[0]}{small_served(pictures.thumbnail('0.png'))}"
    assert get(small).ok
    mine.discard(["0.png"])
    mine.wait()
    assert (get(first).status_code, get(small).status_code, get(second).status_code) == (404, 404, 200)


def test_nothing_else_is_served(site: tuple[str, Galleries]) -> None:
    url, galleries = site
    pictures = galleries.main.gallery.pictures
    pictures.thumbnail("Ada/0.png")
    (pictures.folder / "notes.txt").write_text("beside the pictures")
    names = [
        "notes.txt",
        "..%2f..%2fphotos.json",
        "../manifest.json",
        "%2e%2e/photos/Ada/0.png",
        ".hidden",
        "0" * 20,
        "0" * 20 + "%00",
    ]
    for name in names:
        for gallery in (galleries.main.gallery.photos.name, "..", "%2e%2e", "another"):
            with requests.Session() as session:
                asked = requests.Request("GET", url).prepare()
                asked.url = f"{url}pictures/{gallery}/{name}"
                answer = session.send(asked, timeout=SECONDS)
            assert answer.status_code == 404 or "text/html" in answer.headers["content-type"]


def test_a_thousand_own_galleries_make_no_picture_slower(own: OwnGalleries, site: tuple[str, Galleries]) -> None:
    """Allowing Gradio one more folder took 107 ms then."""
    import gradio.data_classes

    before = len(gradio.data_classes._StaticFiles.all_paths)
    for _ in range(1000):
        own.create()
    url, galleries = site
    address = f"{url}{served(galleries.main.gallery.pictures.thumbnail('Ada/0.png'))}"
    assert min(get(address).elapsed.total_seconds() for _ in range(5)) < 0.05
    assert len(gradio.data_classes._StaticFiles.all_paths) == before


def test_no_answer_has_a_path_of_the_server(
    site: tuple[str, Galleries], own: OwnGalleries, photos: list[Path], tmp_path: Path
) -> None:
    from gradio_client import Client, handle_file

    url = site[0]
    key, mine = filled(own, photos)
    stream = io.BytesIO()
    Image.open(photos[1]).convert("RGB").save(stream, "JPEG")
    client = Client(url, verbose=False, download_files=False)
    for gallery in ("", key):
        said = [
            client.predict(handle_file(photos[1]), RECIPE, "exact", 5, 0, gallery, api_name="/search")[-1],
            client.predict(handle_file(photos[1]), "exact", 5, 0, gallery, api_name="/compare"),
            client.predict(handle_file(photos[1]), RECIPE, "", 0, gallery, api_name="/explain")[-1],
            client.predict(api_name="/galleries"),
            client.predict(api_name="/health"),
            requests.post(f"{url}gradio_api/live", stream.getvalue(), headers={"x-gallery": gallery}, timeout=9).json(),
            get(f"{url}config").json(),
            get(url).text,
        ]
        for one in said:
            assert str(tmp_path) not in json.dumps(one)
        assert said[0]["hits"][0]["picture"].startswith("pictures/")
        assert get(f"{url}{said[0]['hits'][0]['picture']}").status_code == 200
    assert PERSONAL.fullmatch(mine.name)
