"""Whatever a program sends to the endpoints: an answer or one sentence; no file of the server's, nothing fetched.

The threat: the endpoints are open to whoever reaches the page. A photo's path may name the server's own files or
another visitor's, an address may make the server fetch pages of the network it stands in, or anybody's (Gradio does
fetch them, and serves any public address as `/file=https://...`), and numbers may be none.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.core.recipes import MINI, RECIPES
from pipeline.galleries.ask import FETCHED
from pipeline.indexes.registry import INDEXES
from pipeline.page.server.guard import MAX_BODY, NO_UPLOAD, NOT_UPLOADED
from tests.conftest import Tally
from tests.faults.conftest import ROOT, Served
from tests.faults.corpus import encode, face

SECONDS = 60
NUMBER = "The number of results, 1 to 100, must be a whole number."
NO_RECIPE = f"There is no recipe {{}}; choose one of {', '.join(RECIPES)}."
NO_INDEX = f"There is no index {{}}; choose one of {', '.join(INDEXES)}."


def upload(served: Served) -> str:
    """A photo as the server calls it, for the seconds that it keeps photos here."""
    files = {"files": ("photo.jpg", encode(face()))}
    (path,) = requests.post(f"{served.url}gradio_api/upload", files=files, timeout=SECONDS).json()
    return str(path)


@pytest.fixture
def uploaded(served: Served) -> str:
    """A photo as the server calls it."""
    return upload(served)


@pytest.fixture
def ask(served: Served, tally: Tally) -> Callable[[str], str]:
    """Sends a body to /search as it is, and returns the last of what comes back."""

    def ask(body: str) -> str:
        tally.add("requests to the endpoints")
        start = requests.post(
            f"{served.url}gradio_api/call/search",
            data=body.encode(),
            headers={"content-type": "application/json"},
            timeout=SECONDS,
        )
        assert start.status_code == 200, start.text
        event = start.json()["event_id"]
        return requests.get(f"{served.url}gradio_api/call/search/{event}", timeout=SECONDS).text

    return ask


def body(photo: object, *, recipe: object = MINI, index: object = "annoy", k: str = "20", **more: object) -> str:
    """A request; `k` is JSON as it is, since not every number has one."""
    face_number, key = more.get("face", 0), more.get("key", "")
    first = json.dumps([photo, recipe, index])[:-1]
    return f'{{"data": {first}, {k}, {json.dumps(face_number)}, {json.dumps(key)}]}}'


def file(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def sentence(answer: str) -> str:
    """The sentence of an answer that is an error; no more than that may be in it."""
    event, data = answer.strip().split("\n", 1)
    assert event == "event: error", answer
    error = json.loads(data.removeprefix("data: "))
    said: str = error["error"]
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 300
    for secret in (str(ROOT), "Traceback", "site-packages", "<class"):
        assert secret not in answer
    return said


@pytest.mark.parametrize(
    "disguise",
    [
        lambda path: {"path": path},
        lambda path: {"path": path, "meta": {}},
        lambda path: {"path": path, "meta": "gradio.FileData"},
        lambda path: {"path": path, "meta": {"_type": "FileData"}},
        lambda path: path,
        lambda path: [{"path": path}],
        lambda path: {"path": None, "url": f"file://{path}"},
        lambda path: {"url": f"data:image/jpeg;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"},
        lambda path: f"data:image/jpeg;base64,{base64.b64encode(Path(path).read_bytes()).decode()}",
        lambda path: 7,
    ],
)
def test_a_photo_is_a_file_that_says_it_is_one(
    ask: Callable[[str], str], served: Served, tmp_path: Path, disguise: Callable[[str], object]
) -> None:
    """Gradio checks where a file lies only if it has its mark, and adds the mark to the others afterwards."""
    (tmp_path / "private.jpg").write_bytes(encode(face()))
    photo = disguise(str(tmp_path / "private.jpg"))
    assert sentence(ask(body(photo))) == NO_UPLOAD
    start = requests.post(f"{served.url}gradio_api/call/v2/search", json={"photo": photo}, timeout=SECONDS)
    event = start.json()["event_id"]
    assert sentence(requests.get(f"{served.url}gradio_api/call/search/{event}", timeout=SECONDS).text) == NO_UPLOAD


@pytest.mark.parametrize("count", [0, 1, 5])
def test_values_that_are_left_out(ask: Callable[[str], str], uploaded: str, count: int) -> None:
    values = [file(uploaded), MINI, "exact", 20, 0, ""]
    assert sentence(ask(json.dumps({"data": values[:count]}))) == (
        "Values are missing; send as many as the endpoint takes, in its order: photo, recipe, index, k, face, key."
    )


@pytest.mark.parametrize("name", ["search", "compare", "explain"])
def test_by_names_without_a_photo_it_is_asked_for_and_other_names_are_refused(served: Served, name: str) -> None:
    url = f"{served.url}gradio_api/call/v2/"
    event = requests.post(f"{url}{name}", json={}, timeout=SECONDS).json()["event_id"]
    assert sentence(requests.get(f"{served.url}gradio_api/call/{name}/{event}", timeout=SECONDS).text).startswith(
        "There is no photo yet; "
    )
    for place, code in ((name, 422), ("nothing", 404)):
        refused = requests.post(f"{url}{place}", json={"wrong": 1}, timeout=SECONDS)
        assert refused.status_code == code
        assert refused.text == "There is no such endpoint, or it takes other names; GET /gradio_api/info."


def test_a_good_request(ask: Callable[[str], str], uploaded: str) -> None:
    assert "event: complete" in ask(body(file(uploaded)))


@pytest.mark.parametrize(
    ("k", "said"),
    [
        ("0", "The number of results is 0; choose 1 to 100."),
        ("-1", "The number of results is -1; choose 1 to 100."),
        ("1000000000", "The number of results is 1000000000; choose 1 to 100."),
        *((k, NUMBER) for k in ('"20; drop"', "NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "1.5")),
        *((k, NUMBER) for k in ("null", "true", "[20]", '{"k": 20}', '""')),
    ],
)
def test_the_number_of_results(ask: Callable[[str], str], uploaded: str, k: str, said: str) -> None:
    assert sentence(ask(body(file(uploaded), k=k))) == said


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"recipe": "nope"}, NO_RECIPE.format("'nope'")),
        ({"recipe": [MINI]}, NO_RECIPE.format(f"['{MINI}']")),
        ({"recipe": "../../etc"}, NO_RECIPE.format("'../../etc'")),
        (
            {"recipe": "mtcnn-facenet"},
            "Improved is still being prepared; wait for it or choose another model meanwhile.",
        ),
        ({"index": "nope"}, NO_INDEX.format("'nope'")),
        ({"index": {"a": 1}}, NO_INDEX.format("{'a': 1}")),
        ({"key": "nope"}, "There is no gallery 'nope'; choose one of main."),
        ({"key": ["main"]}, "There is no gallery ['main']; choose one of main."),
        ({"face": -1}, "This photo shows 1 face, so there is no face -1; choose another."),
        ({"face": "x"}, "The face's number must be a whole number."),
    ],
)
def test_choices(ask: Callable[[str], str], uploaded: str, choice: dict[str, object], said: str) -> None:
    assert sentence(ask(body(file(uploaded), **choice))) == said


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../../../../etc/passwd", str(ROOT / "app.py"), "app.py", "file:///etc/passwd",
        "/proc/self/environ", "/dev/zero", "data:image/png;base64,AAAA", "", ".", "~/.ssh/id_rsa", "a" * 5000,
    ],
)  # fmt: skip
def test_a_path_that_was_not_uploaded(ask: Callable[[str], str], path: str) -> None:
    assert sentence(ask(body(file(path)))) != ""


def test_the_sentence_for_such_a_path(ask: Callable[[str], str]) -> None:
    assert sentence(ask(body(file("/etc/passwd")))) == NOT_UPLOADED


def test_a_way_out_of_the_upload_folder(ask: Callable[[str], str], uploaded: str) -> None:
    folder = uploaded.rsplit("/", 1)[0]
    assert sentence(ask(body(file(f"{folder}/../../../index/sample/{MINI}/manifest.json")))) == NOT_UPLOADED


ADDRESSES = ("http://127.0.0.1:1/x.jpg", "https://example.com/x.jpg", "http://169.254.169.254/latest/", "http://[::1]/")


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_not_fetched(ask: Callable[[str], str], uploaded: str, served: Served, address: str) -> None:
    assert sentence(ask(body(file(address)))) == FETCHED
    # Gradio looks for files in whatever it is sent.
    assert sentence(ask(body(file(uploaded), k=json.dumps(file(address))))) == FETCHED
    relayed = requests.get(f"{served.url}gradio_api/file={address}", timeout=SECONDS)
    assert relayed.status_code == 403
    assert not served.connections.exists()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../app.py", str(ROOT / "app.py"), "index/sample", "/proc/self/environ"]
)
def test_files_that_are_not_served(served: Served, tally: Tally, path: str) -> None:
    tally.add("requests to the endpoints")
    assert requests.get(f"{served.url}gradio_api/file={path}", timeout=SECONDS).status_code == 403


def test_another_visitors_photo_cannot_be_listed_or_guessed(served: Served, uploaded: str) -> None:
    folder = uploaded.rsplit("/", 1)[0]
    for path in (folder, folder.rsplit("/", 1)[0], f"{folder[:-1]}/photo.jpg", f"{folder}/*"):
        assert requests.get(f"{served.url}gradio_api/file={path}", timeout=SECONDS).status_code == 403
    assert len(folder.rsplit("/", 1)[1]) == 64, "whoever names it has its SHA-256"


@pytest.mark.parametrize("wrong", ['{"data": [1]}', '{"data": null}', "{}", "[]", "{", '{"data": "x"}', "null"])
def test_a_body_that_is_no_request(served: Served, tally: Tally, wrong: str) -> None:
    tally.add("requests to the endpoints")
    headers = {"content-type": "application/json"}
    start = requests.post(f"{served.url}gradio_api/call/search", data=wrong, headers=headers, timeout=SECONDS)
    text = start.text
    if start.status_code == 200:
        event = start.json()["event_id"]
        text = requests.get(f"{served.url}gradio_api/call/search/{event}", timeout=SECONDS).text
        sentence(text)
    assert "Traceback" not in text
    assert str(ROOT) not in text


def test_a_body_that_is_too_large(served: Served, tally: Tally) -> None:
    tally.add("requests to the endpoints", 2)
    start = requests.post(f"{served.url}gradio_api/call/search", data=b" " * (MAX_BODY + 1), timeout=SECONDS)
    assert start.status_code == 413
    upload = {"files": ("photo.jpg", bytes(45_000_000))}
    assert requests.post(f"{served.url}gradio_api/upload", files=upload, timeout=SECONDS).status_code == 413


def test_many_requests_whose_answers_nobody_reads(served: Served, tally: Tally, uploaded: str, full: bool) -> None:
    """The queue takes so many and says that it is full; afterwards it takes more. A thousand with `--all`."""
    count = 1000 if full else 200
    url, wanted = f"{served.url}gradio_api/call/search", json.loads(body(file(uploaded)))
    answers = [requests.post(url, json=wanted, timeout=SECONDS) for _ in range(count)]
    tally.add("requests to the endpoints", count)
    assert {answer.status_code for answer in answers} == {200, 503}
    until = time.monotonic() + 2 * SECONDS
    while True:
        wanted = json.loads(body(file(upload(served))))  # the first is deleted by now where so many take long
        if (start := requests.post(url, json=wanted, timeout=SECONDS)).status_code != 503:
            break
        assert time.monotonic() < until, "the page does not come back"
        time.sleep(0.5)
    answer = requests.get(f"{url}/{start.json()['event_id']}", timeout=SECONDS)
    assert "event: complete" in answer.text
