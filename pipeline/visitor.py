"""A visitor of a running page: uploads a photo and searches with it, as Gradio's documented HTTP interface has it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from pipeline.errors import ServingError

API = "/gradio_api"
SECONDS = 60.0  # the longest that an answer may take


@dataclass(frozen=True)
class Visit:
    """What a search gave: the answer as `/search` documents it, and the milliseconds from upload to answer."""

    answer: dict[str, Any]
    ms: float


class Visitor:
    """One connection to a page; not for several threads."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=SECONDS, trust_env=False)
        self._session = secrets.token_hex(8)  # one for all that is asked, as a browser has it

    def page(self) -> bool:
        """Whether the page answers."""
        try:
            return self._client.get("/").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def health(self) -> dict[str, Any]:
        """What the page's `/health` says."""
        found: dict[str, Any] = self._called("health", [])[0]
        return found

    def search(self, photo: bytes, recipe: str, index: str, k: int) -> Visit:
        """Uploads the bytes of a photo and searches with it; ServingError holds the page's sentence if it refuses."""
        started = time.perf_counter()
        reply = self._client.post(f"{API}/upload", files={"files": ("photo.jpg", photo, "image/jpeg")})
        if reply.status_code != httpx.codes.OK:
            raise ServingError(f"The page refused a photo with status {reply.status_code}.")
        file = {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}
        answer = self._called("search", [file, recipe, index, k, 0, ""])[-1]
        return Visit(answer, (time.perf_counter() - started) * 1000)

    def _called(self, name: str, values: list[Any]) -> list[Any]:
        reply = self._client.post(f"{API}/call/{name}", json={"data": values, "session_hash": self._session})
        if reply.status_code != httpx.codes.OK:
            raise ServingError(f"The page refused a request with status {reply.status_code}.")
        with self._client.stream("GET", f"{API}/call/{name}/{reply.json()['event_id']}") as stream:
            event = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event in ("complete", "error"):
                    data = json.loads(line.removeprefix("data: "))
                    if event == "error":
                        raise ServingError(str(data))
                    return list(data)
        raise ServingError("The page ended an answer before it was complete.")

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


@contextmanager
def visiting(url: str) -> Iterator[Visitor]:
    """A visitor who leaves in the end."""
    visitor = Visitor(url)
    try:
        yield visitor
    finally:
        visitor.close()
