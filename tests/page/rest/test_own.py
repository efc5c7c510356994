"""A gallery of one's own photos by program: from the first photo to the last, for whoever has the key alone."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pillow_heif import register_heif_opener

from pipeline.galleries import own_gallery
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.own_galleries import PREFIX
from pipeline.page.rest import models
from pipeline.page.server.rate import RateLimit
from pipeline.page.server.uploads import own_folder
from tests.fakes import portrait
from tests.faults.corpus import encode
from tests.page.rest.conftest import SECONDS, Post, serving

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(url: str) -> Iterator[Ask]:
    """Asks for a route of one's own photos; what was made is deleted in the end."""
    keys: set[str] = set()

    def ask(method: str, route: str, key: str = "", **more: Any) -> requests.Response:  # noqa: ANN401
        headers = {"X-Gallery": key} if key else {}
        answer = requests.request(method, f"{url}/api/v1/{route}", headers=headers, timeout=SECONDS, **more)
        if "key" in answer.json():
            keys.add(models.Own.model_validate(answer.json()).key)
        return answer

    yield ask
    for key in keys:
        ask("DELETE", "own", key)


def files(*people: int) -> list[tuple[str, tuple[str, bytes]]]:
    """Photos of these people, each called by its number."""
    return [("photos", (f"{person}.png", encode(portrait(person), "PNG"))) for person in people]


def settled(ask: Ask, key: str) -> dict[str, Any]:
    """The gallery once nothing is under way."""
    until = time.monotonic() + SECONDS
    while (told := ask("GET", "own", key).json())["working"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    return dict(told)


def test_from_the_first_photo_to_the_last(ask: Ask, post: Post, photo: Path, url: str) -> None:
    first = ask("POST", "own/photos", files=files(0, 4))
    assert first.status_code == 202, first.text
    key = first.json()["key"]
    assert settled(ask, key)["photos"] == ["0.png", "4.png"]

    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("Bruno/1.png", encode(portrait(1), "PNG"))
        archive.writestr("Bruno/2.png", encode(portrait(1, 1), "PNG"))
        archive.writestr("notes.txt", "x")
    assert ask("POST", "own/photos", key, files={"photos": ("more.zip", zipped.getvalue())}).status_code == 202
    told = settled(ask, key)
    assert told["photos"] == ["0.png", "4.png", "Bruno/1.png", "Bruno/2.png"]
    assert (told["told"]["faces"], [each["name"] for each in told["told"]["left_out"]]) == (4, ["notes.txt"])

    by_header = post("search", photo, headers={"X-Gallery": key}, pictures=True).json()
    by_field = post("search", photo, gallery=key).json()
    assert by_header["hits"][0]["photo_id"] == by_field["hits"][0]["photo_id"] == "4.png"
    picture = requests.get(f"{url}{by_header['hits'][0]['picture']}", timeout=SECONDS)
    assert (picture.status_code, picture.headers["cache-control"]) == (200, "no-store")

    people = models.People.model_validate(ask("GET", "people", key).json())
    assert [group.photos for group in people.people] == [["Bruno/1.png", "Bruno/2.png"]]
    assert set(people.unknown) == {"0.png", "4.png"}

    removed = ask("POST", "own/photos/remove", key, json={"photos": ["4.png"]})
    assert (removed.status_code, removed.json()["photos"]) == (202, ["0.png", "Bruno/1.png", "Bruno/2.png"])
    assert settled(ask, key)["photos"] == ["0.png", "Bruno/1.png", "Bruno/2.png"]
    assert ask("DELETE", "own", key).json() == {"removed": True}
    assert ask("GET", "own", key).status_code == 404
    assert post("search", photo, gallery=key).status_code == 404
    assert list(own_folder().glob("rest-*")) == []


def test_nobody_else_reaches_it(ask: Ask, url: str) -> None:
    key = ask("POST", "own/photos", files=files(0)).json()["key"]
    assert key.startswith(PREFIX)
    assert len(key) > 30
    assert key not in requests.get(f"{url}/api/v1/galleries", timeout=SECONDS).text
    for other in ("", "main", f"{key}x", PREFIX, "own-nonsense"):
        assert ask("GET", "own", other).status_code == 404
        assert ask("DELETE", "own", other).status_code == 404
        assert ask("POST", "own/photos/remove", other, json={"photos": ["0.png"]}).status_code == 404
    assert settled(ask, key)["photos"] == ["0.png"]


def test_files_without_an_ending_are_taken_by_their_content(ask: Ask) -> None:
    """JavaScript sends a `Blob` as `blob`, and a search takes that."""
    register_heif_opener(thumbnails=False)
    formats = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "AVIF": "avif", "HEIF": "heic", "GIF": "gif"}
    formats |= {"TIFF": "tif", "BMP": "bmp"}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("in.png", encode(portrait(2), "PNG"))
    contents = [*(encode(portrait(1), kind) for kind in formats), zipped.getvalue(), b"text", b""]
    key = ask("POST", "own/photos", files=[("photos", ("blob", content)) for content in contents]).json()["key"]
    told = settled(ask, key)
    assert set(told["photos"]) == {*(f"blob.{ending}" for ending in formats.values()), "in.png"}
    assert [each["name"] for each in told["told"]["left_out"]] == ["blob", "blob"]


def test_what_cannot_be_taken_says_why(ask: Ask) -> None:
    for sent in ({}, {"files": {"other": ("x.png", b"x")}}, {"json": {}}, {"files": [*files(0), ("x", (None, "y"))]}):
        assert ask("POST", "own/photos", **sent).status_code == 400
    for sent, said in (
        ([*files(0), ("x", (None, "y"))], "There is more in this form than photos."),
        ([("photos", ("x", b""))] * 501, "There are too many files in this form."),
    ):
        assert ask("POST", "own/photos", files=sent).json()["error"]["message"] == said
    key = ask("POST", "own/photos", files={"photos": ("../../x.png", b"no photo")}).json()["key"]
    assert settled(ask, key)["problem"].startswith("None of these files can be read as a photo; ")
    assert list(own_folder().glob("rest-*")) == []
    for removal in ({}, {"photos": []}, {"photos": [5]}, {"photos": ["nobody.png"]}, []):
        assert ask("POST", "own/photos/remove", key, json=removal).status_code in (400, 404)


def test_limits_are_those_of_the_page(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(16):
        assert own_gallery.TAKING.acquire(blocking=False)
    try:
        busy = ask("POST", "own/photos", files=files(0))
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    finally:
        for _ in range(16):
            own_gallery.TAKING.release()
    assert list(own_folder().glob("rest-*")) == []
    counted: list[int] = []
    monkeypatch.setattr(RateLimit, "_visitor", lambda *_: counted.append(1) or "somebody")
    key = ask("POST", "own/photos", files=files(0)).json()["key"]
    assert counted, "an upload's bytes count"
    settled(ask, key)


def test_while_photos_are_indexed_others_wait(
    ask: Ask, post: Post, photo: Path, galleries: Galleries, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert galleries.own
    detector, go_on = galleries.own._encoders.detector, threading.Event()  # type: ignore[attr-defined]
    detect = detector.detect
    monkeypatch.setattr(detector, "detect", lambda images: (go_on.wait(SECONDS), detect(images))[1])
    key = ask("POST", "own/photos", files=files(0)).json()["key"]
    answers = [
        ask("POST", "own/photos", key, files=files(1)),
        ask("POST", "own/photos/remove", key, json={"photos": ["0.png"]}),
        post("search", photo, gallery=key),
    ]
    go_on.set()
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "preparing")
        assert f"{error['message']} {error['remedy']}" == "Your photos are still being indexed. Ask again in a while."
    settled(ask, key)


def test_where_it_is_switched_off_it_says_so(galleries: Galleries) -> None:
    with serving(Galleries(galleries.main)) as page:
        answer = requests.post(f"{page.local_url}api/v1/own/photos", files=files(0), timeout=SECONDS)
    assert (answer.status_code, answer.json()["error"]["remedy"]) == (
        404,
        "Set FACESEARCH_OWN_PHOTOS=on where it runs.",
    )
