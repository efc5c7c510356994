"""A client of a running page, by Gradio's documented HTTP interface."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx

from pipeline.core.errors import ServingError

API = "/gradio_api"
SECONDS = 60.0  # timeout of an answer


@dataclass(frozen=True)
class Visit:
    """The answer to a search, as `/search` documents it, and the milliseconds from upload to answer."""

    answer: dict[str, Any]
    ms: float


class Visitor:
    """One connection to a page; not for several threads."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=SECONDS, trust_env=False)
        self._session = secrets.token_hex(8)  # the same for all requests, as a browser's

    def page(self) -> bool:
        """Whether the page answers."""
        try:
            return self._client.get("/").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def health(self) -> dict[str, Any]:
        """The answer of the page's `/health`."""
        found: dict[str, Any] = self._called("health", [])[0]
        return found

    def search(self, photo: bytes, recipe: str, index: str, k: int) -> Visit:
        """Uploads the bytes of a photo and searches with it; ServingError holds the page's sentence if it refuses."""
        return self._asked("search", photo, [recipe, index, k, 0, ""])

    def compare(self, photo: bytes, index: str, k: int) -> Visit:
        """The same with every model that is ready; the answer is as `/compare` documents it."""
        return self._asked("compare", photo, [index, k, 0, ""])

    def _asked(self, name: str, photo: bytes, values: list[Any]) -> Visit:
        started = time.perf_counter()
        answer = self._called(name, [self.upload(photo), *values])[-1]
        return Visit(answer, (time.perf_counter() - started) * 1000)

    def upload(self, photo: bytes) -> dict[str, Any]:
        """Uploads a file; returns the value that names it in a request."""
        reply = self._client.post(f"{API}/upload", files={"files": ("photo.jpg", photo, "image/jpeg")})
        return {"path": _taken(reply)[0], "meta": {"_type": "gradio.FileData"}}

    def start(self, name: str, values: list[Any]) -> str:
        """Puts a request into the page's queue; returns the id of its answer."""
        asked = {"data": values, "session_hash": self._session}
        return str(_taken(self._client.post(f"{API}/call/{name}", json=asked))["event_id"])

    def _called(self, name: str, values: list[Any]) -> list[Any]:
        event_id = self.start(name, values)
        with self._client.stream("GET", f"{API}/call/{name}/{event_id}") as stream:
            event = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event in ("complete", "error"):
                    data = json.loads(line.removeprefix("data: "))
                    if event == "error":
                        raise ServingError(str(data["error"] if isinstance(data, dict) else data))
                    return list(data)
        raise ServingError("The page ended an answer before it was complete.")

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


def _taken(reply: httpx.Response) -> Any:  # noqa: ANN401
    """A reply's JSON; ServingError with the page's sentence, or with the status where it has none."""
    try:
        answer = reply.json()
    except ValueError:
        answer = {}
    if reply.status_code == httpx.codes.OK:
        return answer
    said = answer.get("detail") if isinstance(answer, dict) else None
    raise ServingError(str(said or f"The page refused a request with status {reply.status_code}."))
