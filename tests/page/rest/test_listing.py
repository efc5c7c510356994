"""The routes without a photo, and what operators look at: health, figures, the log, the description."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pipeline.core.network import Access, Network, Rate
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.rest import models, record
from pipeline.page.rest.record import JsonLines
from tests.fakes import PEOPLE
from tests.page.rest.conftest import SECONDS, Post, serving
from tests.waiting import until


def get(address: str, **headers: str) -> requests.Response:
    return requests.get(address, headers=headers, timeout=SECONDS)


def test_galleries_are_those_of_the_endpoint(url: str) -> None:
    from gradio_client import Client

    told = get(f"{url}/api/v1/galleries").json()
    models.Galleries.model_validate(told)
    assert told == Client(url, verbose=False).predict(api_name="/galleries")
    assert told["galleries"][0]["people"] == len(PEOPLE)


def test_people_are_those_of_the_gallery(url: str) -> None:
    told = models.People.model_validate(get(f"{url}/api/v1/people").json())
    assert {group.person for group in told.people} == set(PEOPLE)
    assert [len(group.photos) for group in told.people] == [4] * len(PEOPLE)
    unknown = get(f"{url}/api/v1/people", **{"X-Gallery": "nonsense"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    long = get(f"{url}/api/v1/people", **{"X-Gallery": "n" * 300})
    assert (long.status_code, long.json()["error"]["code"]) == (400, "invalid")


def test_nobody_keeps_an_answer_and_listing_people_counts_as_a_search(galleries: Galleries, url: str) -> None:
    assert get(f"{url}/api/v1/people").headers["cache-control"] == "no-store"
    with serving(galleries, rate=Rate(1)) as page:
        assert [get(f"{page.local_url}api/v1/people").status_code for _ in range(2)] == [200, 429]
        assert get(f"{page.local_url}api/v1/galleries").status_code == 200


def test_health_is_200_where_there_are_answers(url: str) -> None:
    told = get(f"{url}/health")
    assert told.status_code == 200
    assert models.Health.model_validate(told.json()).ready["main"] == ["mtcnn-reid", "mini-whole"]


def test_before_anything_is_ready_health_is_503_and_a_search_409(tiny: Gallery, photo: Path) -> None:
    with serving(Galleries(Preparation(tiny))) as page:
        url = page.local_url
        told = get(f"{url}health")
        assert (told.status_code, told.json()["status"]) == (503, "unavailable")
        files = {"photo": photo.read_bytes()}
        for route in ("search", "compare", "faces"):
            answer = requests.post(f"{url}api/v1/{route}", files=files, timeout=SECONDS)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "preparing")


def figures(url: str) -> dict[str, float]:
    text = get(f"{url}/metrics").text
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def test_figures_count_searches_steps_and_refusals(url: str, post: Post, photo: Path, faceless: Path) -> None:
    before = figures(url)
    for sent in (photo, photo, faceless):
        post("search", sent)
    post("search", b"no photo")
    post("own/photos")  # no search
    now = figures(url)

    def more(name: str) -> float:
        return now[name] - before.get(name, 0)

    assert more('facesearch_searches_total{outcome="found",recipe="mtcnn-reid"}') == 2
    assert more('facesearch_searches_total{outcome="no_face",recipe="mtcnn-reid"}') == 1
    assert more('facesearch_step_seconds_count{step="embed"}') == 3
    assert more('facesearch_refused_total{error="PhotoError"}') == 1
    assert now.get('facesearch_refused_total{error="SettingsError"}') == before.get(
        'facesearch_refused_total{error="SettingsError"}'
    )
    assert more('facesearch_requests_total{door="api",status="200"}') == 2
    assert more('facesearch_requests_total{door="api",status="415"}') == 1
    assert now["facesearch_running"] == now["facesearch_waiting"] == 0
    assert now["process_resident_memory_bytes"] > 1_000_000


def test_the_description_is_read_without_anybody_else(url: str) -> None:
    page = get(f"{url}/api/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/api/"), address
        assert get(f"{url}{address}").status_code == 200
    described = get(f"{url}/api/openapi.json").json()
    assert described["servers"] == [{"url": "/api"}]
    for route in ("search", "compare", "explain", "verify", "faces"):
        (header,) = described["paths"][f"/v1/{route}"]["post"]["parameters"]
        assert (header["name"], header["in"]) == ("X-Gallery", "header")


def test_whatever_has_no_answer_is_in_the_log_by_its_id(
    galleries: Galleries, url: str, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    answers = [
        get(f"{url}/api/v1/secret"),
        get(f"{url}/api/v1/search"),
        get(f"{url}/api/v1/own", **{"X-Gallery": "secret"}),
        get(f"{url}/api/v1/own", **{"X-Gallery": "n" * 300}),
        get(f"{url}/api/v1/galleries", Origin="http://secret.example"),
        requests.post(f"{url}/api/v1/own/photos", iter([b"secret"]), timeout=SECONDS),
        requests.post(f"{url}/api/v1/own/photos", files={"secret": b""}, timeout=SECONDS),
        requests.post(f"{url}/api/v1/search", bytes(43_000_000), timeout=SECONDS),
        requests.post(f"{url}/health", timeout=SECONDS),
    ]
    with serving(galleries, rate=Rate(1)) as page:
        answers += [get(f"{page.local_url}api/v1/people") for _ in range(2)][1:]
    with serving(galleries, network=Network(access=Access(tokens={"ci": b""}))) as page:
        answers.append(get(f"{page.local_url}api/v1/galleries"))
    assert [answer.status_code for answer in answers] == [404, 405, 404, 400, 403, 411, 400, 413, 405, 429, 401]
    ids = [answer.json()["error"]["request"] for answer in answers]
    assert ids == [answer.headers["x-request-id"] for answer in answers]
    logged = [message for message in caplog.messages if "request" in message]
    said = [f"request={one} refused status={answer.status_code}" for one, answer in zip(ids, answers, strict=True)]
    assert logged == said


def test_a_search_that_is_refused_has_one_line(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    answer = post("search", b"no photo").json()["error"]
    (line,) = caplog.messages
    assert line.startswith(f"search request={answer['request']} outcome=refused error=PhotoError ")


def test_a_search_without_a_face_has_one_line(post: Post, faceless: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    answer = post("search", faceless.read_bytes()).json()["error"]
    (line,) = caplog.messages
    assert line.startswith(f"search request={answer['request']} ")
    assert "outcome=no_face" in line


@pytest.fixture
def lines(galleries: Galleries, caplog: pytest.LogCaptureFixture) -> Iterator[tuple[str, pytest.LogCaptureFixture]]:
    """A page that logs JSON, and what it logged."""
    caplog.set_level(logging.INFO)
    with serving(galleries, network=Network(json_log=True)) as page:
        until(lambda: [one for one in caplog.records if one.name == record.__name__], about="Gradio's first request")
        caplog.clear()
        yield page.local_url, caplog


def test_each_request_is_one_line_of_json_that_tells_nothing(
    lines: tuple[str, pytest.LogCaptureFixture], photo: Path
) -> None:
    url, caplog = lines
    answer = requests.post(
        f"{url}api/v1/search?name=Elif", files={"photo": ("Elif secret.png", photo.read_bytes())}, timeout=SECONDS
    )
    get(f"{url}pictures/secret/Elif.jpg")
    get(f"{url}api/v1/secret")

    def records() -> list[logging.LogRecord]:
        return [one for one in caplog.records if one.name.startswith("pipeline")]

    until(lambda: len(records()) >= 3, about="a request's line comes after its answer")
    logged = [json.loads(JsonLines().format(record)) for record in records()]
    assert [(line["door"], line["status"], line.get("route")) for line in logged] == [
        ("api", 200, "/api/v1/search"),
        ("pictures", 404, None),
        ("api", 404, None),
    ]
    searched = logged[0]
    assert (searched["recipe"], searched["outcome"], searched["faces"]) == ("mtcnn-reid", "found", 1)
    assert searched["ms"] >= searched["total_ms"] > 0
    assert searched["request"] == answer.headers["x-request-id"]
    text = json.dumps(logged)
    assert not any(word in text for word in ("secret", "Elif", "png", "Ada"))


def test_a_line_has_its_trace_in_it() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        record = logging.LogRecord("pipeline.x", logging.ERROR, "", 1, "failed %s", ("y",), (ValueError, error, None))
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["event"]) == ("error", "failed y")
    assert "ValueError: x" in line["trace"]
