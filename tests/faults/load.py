"""Many visitors at once for minutes: `python -m tests.faults.load --clients 50 --minutes 10`.

The threat: a page that strangers reach slows down, forgets somebody or grows until the system ends it. Starts
`python app.py` with the gallery that the environment names, which must be built, or else with the sample gallery and
the networks that come along. Clients and server share the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from PIL import Image

from app import QUEUE_LENGTH
from pipeline.bench.processes import Memory, Running, running
from pipeline.bench.visitor import Visitor
from pipeline.core.errors import PipelineError, ServingError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MINI, PACKAGED
from pipeline.core.settings import VARIABLES, Settings
from pipeline.galleries.gallery import open_gallery
from pipeline.photos.images import open_image
from tests.faults.corpus import encode
from tests.faults.load_report import BAD, COMPARE, SEARCH, Asked, Report

MIX = (SEARCH,) * 8 + (COMPARE, BAD)  # of ten requests
PHOTOS = 100  # of the gallery
SAMPLE_SECONDS = 2.0  # between two looks at the memory
PATIENCE = 60.0  # seconds until a page that was overrun must answer again
TURN = 8.0  # degrees, at most: photos differ from each other, as visitors' do, and what is kept by content shows


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and what is wrong; the exit code is 1 if anything is."""
    parser = argparse.ArgumentParser(description="What many visitors at once do to the page.")
    parser.add_argument("--clients", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--growth", type=float, default=1, help="MB a minute, at most; default: %(default)s")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        try:
            named = any(os.environ.get(name) for name in VARIABLES)
            report = load(os.environ if named else sample(Path(folder)), options.clients, options.minutes)
        except PipelineError as error:
            sys.exit(str(error))
    problems = report.problems(options.growth)
    sys.stdout.write("\n".join([*report.table(), *problems, ""]))
    return 1 if problems else 0


def sample(folder: Path) -> Mapping[str, str]:
    """The environment of a page with the sample gallery, built in `folder`; nothing is fetched for it."""
    environment = dict(os.environ) | {
        "FACESEARCH_DATASET": "sample",
        "FACESEARCH_INDEX": str(folder / "index"),
        "FACESEARCH_CACHE": str(folder / "cache"),
        "HTTPS_PROXY": "http://127.0.0.1:9",  # nobody listens there
        "HF_HUB_OFFLINE": "1",
    }
    open_gallery(Settings.from_env(environment)).build(list(PACKAGED))
    return environment


def load(environment: Mapping[str, str], clients: int, minutes: float) -> Report:
    """Asks for so long, then overruns the queue; PipelineError if the page does not come up."""
    gallery = open_gallery(Settings.from_env(environment))
    recipe = MINI if environment.get("FACESEARCH_DATASET") == "sample" else gallery.default_recipe()
    gallery.searcher(recipe)  # an error, not a build, where there is no gallery
    step = max(1, len(gallery.photos) // PHOTOS)
    photos = [open_image(gallery.photos[row].source) for row in range(0, len(gallery.photos), step)]
    # All clients have one address: with a rate they would be one visitor.
    with running(**{**environment, "FACESEARCH_RATE": "off"}) as page, closing(Visitor(page.url)) as visitor:
        page.until(visitor.page)
        page.until(lambda: _ready(visitor, recipe))
        asked, memory = _crowd(page, [Client(number, photos, recipe) for number in range(clients)], minutes)
        report = Report(tuple(asked), tuple(memory), clients, _overrun(page.url, photos[0], recipe))
        page.until(visitor.page)  # it did not end
    return report


def _ready(visitor: Visitor, recipe: str) -> bool:
    health = visitor.health()
    return recipe in health["ready"].get("main", []) and not health["building"]


class Client:
    """One of many, each with its own photos in its own order."""

    def __init__(self, number: int, photos: Sequence[Image.Image], recipe: str) -> None:
        self._number, self._photos, self._recipe = number, photos, recipe
        self._random = random.Random(number)

    def asks(self, url: str, until: float, asked: list[Asked]) -> None:
        """Asks again as soon as there is an answer, or a refusal."""
        with closing(Visitor(url)) as visitor:
            while time.perf_counter() < until:
                kind, photo = self._random.choice(MIX), self._random.choice(self._photos)
                file = encode(photo.rotate(self._random.uniform(-TURN, TURN), Image.Resampling.BILINEAR))
                began, said = time.perf_counter(), ""
                try:
                    self._ask(visitor, kind, file)
                except Exception as error:  # whatever it is, it is counted
                    said = str(error) if isinstance(error, ServingError) else repr(error)
                asked.append(Asked(self._number, kind, (time.perf_counter() - began) * 1000, said))

    def _ask(self, visitor: Visitor, kind: str, file: bytes) -> None:
        if kind == COMPARE:
            visitor.compare(file, DEFAULT_INDEX, DEFAULT_K)
            return
        sent = file if kind == SEARCH else self._random.choice([b"no photo", b"", file[:300]])
        visitor.search(sent, self._recipe, DEFAULT_INDEX, DEFAULT_K)


def _crowd(page: Running, clients: Sequence[Client], minutes: float) -> tuple[list[Asked], list[tuple[float, Memory]]]:
    """All that was asked, and the memory by minutes since the start."""
    asked: list[Asked] = []
    memory: list[tuple[float, Memory]] = []
    began = time.perf_counter()
    until = began + 60 * minutes
    with ExitStack() as stack:
        for client in clients:
            thread = threading.Thread(target=client.asks, args=[page.url, until, asked])
            thread.start()
            stack.callback(thread.join)
        while (now := time.perf_counter()) < until:
            memory.append(((now - began) / 60, page.memory()))
            time.sleep(SAMPLE_SECONDS)
    return asked, memory


def _overrun(url: str, photo: Image.Image, recipe: str) -> tuple[str, bool]:
    """What is said to one who asks and asks and waits for no answer, and whether there are answers again after that."""
    values, said = [DEFAULT_INDEX, DEFAULT_K, 0, ""], ""
    with closing(Visitor(url)) as hasty, suppress(ServingError):
        file = hasty.upload(encode(photo))
        for _ in range(10 * QUEUE_LENGTH):
            try:
                hasty.start("compare", [file, *values])
            except ServingError as error:
                said = str(error)
                break
    until = time.perf_counter() + PATIENCE
    with closing(Visitor(url)) as visitor:
        while time.perf_counter() < until:
            with suppress(ServingError):
                return said, bool(visitor.search(encode(photo), recipe, DEFAULT_INDEX, DEFAULT_K).answer["hits"])
            time.sleep(0.5)
    return said, False


if __name__ == "__main__":
    sys.exit(main())
