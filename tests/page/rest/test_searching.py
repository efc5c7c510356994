"""The routes that take photos: one step, the same answer as everywhere, and every refusal in the one envelope."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from pipeline.__main__ import main
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.page.rest import models
from pipeline.page.server.live import Live
from pipeline.photos.images import open_image
from pipeline.search.explain import nearest
from tests.fakes import TinyDetector, draw, portrait
from tests.faults.corpus import encode
from tests.page.rest.conftest import SECONDS, Post
from tests.page.test_mcp import call


def hits(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(hit["photo_id"], hit["distance"]) for hit in answer["hits"]]


def problem(answer: requests.Response) -> dict[str, str]:
    """The envelope, which holds what it must."""
    told = models.Refusal.model_validate(answer.json()).error
    assert told.message.endswith(".")
    assert told.remedy
    return told.model_dump()


def test_the_same_bytes_have_the_same_hits_by_every_door(
    url: str,
    post: Post,
    photo: Path,
    galleries: Galleries,
    tiny_world: Gallery,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gradio_client import Client, handle_file

    asked = {"recipe": "mtcnn-reid", "index": "exact", "k": 7}
    by_form = post("search", photo, **asked).json()
    as_text = {"photo": base64.b64encode(photo.read_bytes()).decode()}
    by_json = requests.post(f"{url}/api/v1/search", json=asked | as_text, timeout=SECONDS).json()
    by_tool = call(f"{url}/gradio_api/mcp", **asked, **as_text)["structuredContent"]
    *_, by_client = Client(url, verbose=False).predict(handle_file(photo), "mtcnn-reid", "exact", 7, api_name="/search")
    monkeypatch.setattr("pipeline.galleries.gallery.open_gallery", lambda settings: tiny_world)
    assert main(["search", str(photo), "--recipe", "mtcnn-reid", "--index", "exact", "--k", "7", "--json"]) == 0
    by_command = json.loads(capsys.readouterr().out)
    assert all(hit.pop("picture") for hit in by_client["hits"])
    for one in (by_form, by_json, by_tool, by_client, by_command):
        del one["timings_ms"]
    assert len(by_form["hits"]) == 7
    assert by_form["person"]["name"] == "Elif"
    assert by_form == by_json == by_tool == by_client == by_command

    frame = encode(portrait(4, 2))
    live = Live(galleries).search(frame, "", "mtcnn-reid", "exact")
    first = [photo_id for photo_id, _ in hits(post("search", frame, **asked).json())][:5]
    assert [hit["photo_id"] for hit in live["hits"]] == first


def test_an_answer_is_what_its_description_says(post: Post, photo: Path, faceless: Path, two: Path) -> None:
    for answer in (post("search", photo), post("search", faceless, recipe="mini-whole", pictures=True)):
        assert answer.status_code == 200, answer.text
        models.Answer.model_validate(answer.json())
    models.Comparison.model_validate(post("compare", photo, k=3).json())
    models.Why.model_validate(post("explain", photo).json())
    models.Faces.model_validate(post("faces", two).json())
    models.Pair.model_validate(post("verify", photo, two).json())


def test_without_choices_the_best_recipe_answers_twenty(post: Post, photo: Path) -> None:
    answer = post("search", photo).json()
    assert (answer["recipe"], answer["index"], len(answer["hits"])) == ("mtcnn-reid", "exact", 20)
    assert not any("picture" in hit for hit in answer["hits"])
    assert "crop" not in answer


@pytest.mark.parametrize(("face", "person"), [("largest", "Ada"), (1, "Ada"), (2, "Bruno")])
def test_a_face_is_chosen(post: Post, two: Path, face: object, person: str) -> None:
    assert post("search", two, face=face).json()["hits"][0]["person"] == person


def test_every_face_has_its_answer(post: Post, two: Path) -> None:
    answers = post("search", two, face="all", k=1).json()["answers"]
    assert [answer["hits"][0]["person"] for answer in answers] == ["Ada", "Bruno"]


def test_pictures_come_on_request_and_can_be_had(url: str, post: Post, photo: Path) -> None:
    answer = post("search", photo, pictures=True, k=2).json()
    assert answer["crop"].startswith("data:image/png;base64,")
    for hit in answer["hits"]:
        picture = requests.get(f"{url}{hit['picture']}", timeout=SECONDS)
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")


def test_two_recipes_are_compared(post: Post, photo: Path) -> None:
    compared = post("compare", photo, k=4).json()
    assert {answer["recipe"] for answer in compared["answers"]} == {"mtcnn-reid", "mini-whole"}
    assert compared["shared"]["mtcnn-reid"]["mtcnn-reid"] == 4


def test_a_hit_is_explained(post: Post, photo: Path, tiny_world: Gallery) -> None:
    answer = tiny_world.searcher("mtcnn-reid").search(open_image(photo))
    reason = post("explain", photo).json()
    assert (reason["photo_id"], reason["pictures"]) == (nearest(answer), None)
    named = post("explain", photo, photo_id="Ada/1.png", pictures=True).json()
    assert named["person"] == "Ada"
    assert set(named["pictures"]) == {"query", "hit", "query_map", "hit_map"}


def test_two_photos_are_verified(post: Post, tiny_world: Gallery) -> None:
    one, same, other = (encode(portrait(*of), "PNG") for of in ((0, 0), (0, 1), (3, 0)))
    near, far = (post("verify", one, photo).json() for photo in (same, other))
    searcher = tiny_world.searcher("mtcnn-reid")
    vectors = [searcher.encoder.encode([open_image(photo)])[0].vector for photo in (one, same)]
    assert near["distance"] == pytest.approx(float(np.linalg.norm(vectors[0] - vectors[1])), abs=1e-3)
    assert near["distance"] < far["distance"]
    assert near["verdict"]["pair_percent"] > 50 > far["verdict"]["pair_percent"]
    assert near["verdict"]["same_person"] in ("very likely", "likely")
    assert far["verdict"]["same_person"] == "unlikely"
    assert post("verify", one, same, recipe="mini-whole").json()["faces"] is None


def test_faces_are_told_with_quality_and_vectors(post: Post, two: Path, faceless: Path, tiny_world: Gallery) -> None:
    told = post("faces", two).json()
    (found,) = TinyDetector().detect([open_image(two)])
    assert [face["box"] for face in told["faces"]] == [list(face.box) for face in found]
    assert [face["quality"]["side"] for face in told["faces"]] == [44, 24]
    assert "vector" not in told["faces"][0]
    assert any("small" in hint for hint in told["faces"][1]["hints"])
    first = post("faces", two, vectors=True).json()["faces"][0]["vector"]
    encoded = tiny_world.searcher("mtcnn-reid").encoder.encode([open_image(two)], lambda faces, size: faces[0])[0]
    assert first == pytest.approx(encoded.vector.tolist(), abs=1e-5)
    assert post("faces", faceless).json()["faces"] == []


@pytest.mark.parametrize(
    ("route", "fields", "status", "said"),
    [
        ("search", {"k": 0}, 400, "'k'"),
        ("search", {"k": "many"}, 400, "'k'"),
        ("search", {"face": "smallest"}, 400, "'face'"),
        ("search", {"face": 0}, 400, "greater than or equal to 1"),
        ("compare", {"face": "9" * 20}, 400, "less than or equal to 10000"),
        ("explain", {"photo_id": "x" * 5_000}, 400, "A field of this form is too long"),
        ("search", {f"x{number}": "" for number in range(21)}, 400, "too many fields"),
        ("search", {"recipe": "nonsense"}, 400, "'recipe'"),
        ("search", {"index": "nonsense"}, 400, "'index'"),
        ("search", {"link": "x"}, 400, "no field 'link'"),
        ("search", {"face": 7}, 400, "1 face, so there is no face 7"),
        ("search", {"gallery": "nonsense"}, 404, "no gallery 'nonsense'"),
        ("explain", {"photo_id": "nobody.png"}, 404, "no photo 'nobody.png'"),
        ("faces", {"recipe": "mini-whole"}, 400, "sees the whole photo"),
        ("search", {"recipe": "mtcnn-facenet"}, 409, "still being prepared"),
        ("verify", {}, 400, "The other is missing"),
    ],
)
def test_what_cannot_be_is_refused_in_the_envelope(
    post: Post, photo: Path, route: str, fields: dict[str, object], status: int, said: str
) -> None:
    answer = post(route, photo, **fields)
    assert answer.status_code == status, answer.text
    assert said in problem(answer)["message"]


def test_no_face_is_422(post: Post, photo: Path, faceless: Path) -> None:
    for route in ("search", "explain"):
        answer = post(route, faceless)
        assert (answer.status_code, problem(answer)["code"]) == (422, "no_face")
    assert "in the other" in problem(post("verify", photo, faceless))["message"]
    assert post("compare", faceless).status_code == 200, "by the recipe that sees the whole photo"


@pytest.mark.parametrize("sent", [b"no photo", b"", encode(portrait(1), "PNG")[:100]])
def test_what_is_no_photo_is_415(post: Post, photo: Path, sent: bytes) -> None:
    answer = post("search", sent)
    assert (answer.status_code, problem(answer)["code"]) == (415, "no_photo")
    assert problem(post("verify", photo, sent))["message"].startswith("other: ")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"[" * 99_999, 400),
        ("application/json", b'{"photo": 5}', 400),
        ("application/json", b'{"photo": "https://a.example/x.jpg"}', 400),
        ("application/json", b'{"photo": "", "k": "20"}', 400),
        ("application/json", b'{"photo": "", "pictures": 1}', 400),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense", 400),
        ("multipart/form-data; boundary=x", b"--hello", 400),
        ("text/plain", b"x", 415),
        ("", b"", 415),
    ],
)
def test_bodies_that_are_none(url: str, kind: str, body: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    answer = requests.post(f"{url}/api/v1/search", body, headers={"Content-Type": kind}, timeout=SECONDS)
    assert answer.status_code == status, answer.text
    (line,) = caplog.messages  # and none of the library's, which would not bear the id
    assert f"request={problem(answer)['request']} " in line


def test_a_field_that_is_there_twice(url: str, photo: Path) -> None:
    fields = [("k", (None, "1")), ("k", (None, "2")), ("photo", ("x", photo.read_bytes()))]
    answer = requests.post(f"{url}/api/v1/search", files=fields, timeout=SECONDS)
    assert (answer.status_code, problem(answer)["message"]) == (400, "The field 'k' is there more than once.")
    photos = [("photo", ("x", photo.read_bytes()))] * 2
    answer = requests.post(f"{url}/api/v1/search", files=photos, timeout=SECONDS)
    assert (answer.status_code, problem(answer)["message"]) == (400, "There are too many files in this form.")
    assert problem(answer)["remedy"] == "Send at most 1."


def test_unknown_routes_and_methods_have_the_envelope_too(url: str) -> None:
    assert problem(requests.get(f"{url}/api/v1/nonsense", timeout=SECONDS))["code"] == "not_found"
    assert problem(requests.get(f"{url}/api/v1/search", timeout=SECONDS))["code"] == "wrong_method"
    assert requests.put(f"{url}/api/v1/own", timeout=SECONDS).headers["allow"] == "GET, DELETE"
    for path in ("health", "metrics"):
        answer = requests.post(f"{url}/{path}", timeout=SECONDS)
        assert (answer.status_code, problem(answer)["code"]) == (405, "wrong_method")
        assert (answer.headers["allow"], answer.headers["x-request-id"]) == ("GET, HEAD", problem(answer)["request"])


def test_a_photo_too_large_is_413(url: str, post: Post) -> None:
    answer = post("search", bytes(43_000_000))
    assert (answer.status_code, problem(answer)["code"]) == (413, "too_large")
    assert problem(answer)["remedy"].startswith("A photo may have up to 40 MB")
    assert post("search", bytes(40_000_000)).status_code == 415


def test_what_should_not_happen_is_told_by_its_id_alone(
    post: Post, photo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("/secret/path")

    monkeypatch.setattr("pipeline.page.rest.searching.ask", broken)
    with caplog.at_level(logging.INFO, "pipeline"):
        answer = post("search", photo)
    assert (answer.status_code, problem(answer)["code"]) == (500, "failed")
    assert "secret" not in answer.text
    (line,) = caplog.messages
    assert problem(answer)["request"] in line
    assert "Traceback" not in caplog.text


def test_the_photo_is_not_written_to_the_disk(post: Post, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Forms of more than a megabyte went to a temporary file."""

    def rolled_over(*_: object) -> None:
        raise AssertionError("written to the disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rolled_over)
    large = encode(draw((1, 0, (300, 300, 900)), size=(1500, 1500)), "PNG", compress_level=0)
    assert len(large) > 3_000_000
    assert post("search", large).json()["hits"][0]["person"] == "Bruno"
