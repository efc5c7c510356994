"""Whatever a visitor sends as a photo: a result or one sentence, in bounded time and memory; then the next is served.

The threat: photos come from strangers. A file may be damaged, be something else than its name says, unpack to more than
the machine has, or be drawn so that finding its faces takes minutes; by accident, or to bring the page down for the
others. What is defended is that the page goes on answering. By three doors, for each decodes alike but fails
differently: the command line's function, the page's handler, and the API of a running page.

Found and mended on the way: a wall of 1,600 faces took one minute and five gigabytes; a photo of 100 megapixels was
held three times in memory; now it is too large, and one of 64 is held once, or twice while it is turned.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gradio_client import Client, exceptions, handle_file

from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MINI
from tests.conftest import Tally
from tests.faults.conftest import Searching, Served
from tests.faults.corpus import Outcome, Sent, corpus, encode, face

MOST_MB = 1500  # the largest photo allowed, turned, takes 1,080
KEPT_MB = 100  # of a large photo, when the next one comes
# The aim is 5 s on two cores with nothing else to do; what is asserted holds beside other work as well.
MOST_SECONDS = 30
CORPUS = {sent.name: sent for sent in corpus()}
CUT = [name for name in CORPUS if name.startswith("JPEG cut at")]
SHORT = [name for name in CORPUS if name not in CUT or name in CUT[::9]]  # a photo is cut at 11 places, not at 99
ANSWERED, NO_FACE, REFUSED = 0, 1, 2  # exit codes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every photo with `--all`, else those of the short form."""
    if "photo" in metafunc.fixturenames:
        metafunc.parametrize("name", CORPUS if metafunc.config.option.all else SHORT)


@pytest.fixture(scope="session")
def client(served: Served) -> Client:
    return Client(served.url, verbose=False, download_files=False)


@pytest.fixture
def photo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    sent: Sent = CORPUS[request.node.callspec.params["name"]]
    path = tmp_path / sent.file
    path.write_bytes(sent.make())
    return path


def plain(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html).strip()


def judge(outcome: Outcome, code: int, said: str) -> None:
    assert "Traceback" not in said
    if outcome != "either":
        assert (code == REFUSED) == (outcome == "refused"), said
    if code == REFUSED:
        assert re.fullmatch(r"[A-Z][^\n]+\.", said), "one sentence"
        assert "/" not in said, "no path"


def test_command_line_and_page(name: str, photo: Path, searching: Searching, tally: Tally) -> None:
    sent = CORPUS[name]
    said = searching.search(photo)
    for door, answer in said.items():
        assert answer["code"] is not None, answer["said"]
        code = answer["code"]
        if door == "page" and "No face was found" in answer["said"]:
            code = NO_FACE
        judge(sent.outcome, code, plain(answer["said"]) if code else "")
        assert answer["seconds"] < MOST_SECONDS
        assert answer["peak_mb"] < MOST_MB
        tally.add("photos, by command line and page")
        tally.most("slowest of them, s", answer["seconds"])
        tally.most("most memory, MB", answer["peak_mb"])


def test_api(name: str, photo: Path, client: Client, tally: Tally) -> None:
    sent = CORPUS[name]
    try:
        answer = client.predict(handle_file(str(photo)), MINI, DEFAULT_INDEX, DEFAULT_K, 0, "", api_name="/search")
        code, said = (ANSWERED if answer[-1]["hits"] else NO_FACE), ""
    except exceptions.AppError as error:
        code, said = REFUSED, str(error)
    judge(sent.outcome, code, said)
    tally.add("photos, by API")


def test_a_large_photo_is_given_back(searching: Searching, tmp_path: Path) -> None:
    turned = CORPUS["64 megapixels, turned"]
    (tmp_path / "large.jpg").write_bytes(turned.make())
    (tmp_path / "small.jpg").write_bytes(encode(face()))
    before = searching.search(tmp_path / "small.jpg")["page"]["peak_mb"]
    searching.search(tmp_path / "large.jpg")
    assert searching.search(tmp_path / "small.jpg")["page"]["peak_mb"] < before + KEPT_MB


def test_what_came_before_changes_nothing(searching: Searching, tmp_path: Path) -> None:
    """A photo of the gallery finds itself after everything above, and the memory of it all is given back."""
    (tmp_path / "photo.png").write_bytes(encode(face(), "PNG"))
    for answer in searching.search(tmp_path / "photo.png").values():
        assert answer["code"] == ANSWERED
        assert answer["peak_mb"] < MOST_MB
    assert "the same photo" in searching.search(tmp_path / "photo.png")["command line"]["said"]
