"""The REST interface under what it is not made for: `python -m tests.faults.rest --fuzz 5 --minutes 10 --clients 50`.

The threat: a program sends what nobody thought of, or many ask at once, and the server fails, tells more than it should
or grows. First schemathesis sends what the description allows and forbids; then one client measures what the interface
adds to a search; then a crowd searches. The page is `python app.py` with the sample gallery, and own galleries.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np

from pipeline.bench.processes import Running, running
from pipeline.bench.timing import median_and_p95
from pipeline.core.recipes import MINI
from pipeline.core.settings import VARIABLES, Settings
from pipeline.galleries.gallery import open_gallery
from tests.faults.load import PHOTOS, SAMPLE_SECONDS, sample
from tests.faults.load_report import MB, WARM_UP

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
OURS = ("Traceback", "site-packages", str(ROOT))  # what an answer must not hold
# Photos that are drawn at random are none: that the interface says so is right.
LEFT_OUT = "positive_data_acceptance"
# Busy is no failure: galleries are made faster than they are indexed, and the answer says when to ask again.
CONFIG = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]\n'
SINGLE = 200  # searches by one client
SETTLING = 15.0  # seconds that a page draws its maps, once it can be searched
SECONDS = 60.0
REFUSALS = (429, 503)
LINE, TELLING = 200, re.compile(r"_{3,} |- |    (Invalid|Expected|Missing)|\[\d{3}\]|Seed")  # of schemathesis' report


def fuzz(url: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Has schemathesis try everything for so long; its exit code is 0 where nothing was wrong."""
    command = [
        *(str(SCHEMATHESIS), "run", f"{url}/api/openapi.json", "--origin", url, "--max-time", str(int(seconds))),
        *("--checks", "all", "--exclude-checks", LEFT_OUT, "--continue-on-failure", "--no-color", "--warnings", "off"),
        *("--generation-database", "none", "--suppress-health-check", "all"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.faults.rest_hooks", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "schemathesis.toml").write_text(CONFIG)
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Crowd:
    """Statuses and milliseconds of what was asked, refusals without Retry-After, and own memory (minute, bytes)."""

    statuses: Counter[int]
    ms: tuple[float, ...]
    silent: int
    memory: tuple[tuple[float, float], ...]

    @property
    def growth(self) -> float:
        """MB a minute after the warm-up, by least squares."""
        minutes, used = np.array(self.memory).T
        warm = minutes >= WARM_UP * minutes[-1]
        return float(np.polyfit(minutes[warm], used[warm], 1)[0]) / MB


@contextmanager
def watched(page: Running) -> Iterator[list[tuple[float, float]]]:
    """The server's own memory meanwhile, by minutes."""
    memory: list[tuple[float, float]] = []
    over, began = threading.Event(), time.perf_counter()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            memory.append(((time.perf_counter() - began) / 60, float(page.memory().own)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def crowd(page: Running, photos: Sequence[bytes], clients: int, minutes: float) -> Crowd:
    """So many clients search, each again as soon as it has an answer or may ask again."""
    statuses: Counter[int] = Counter()
    ms: list[float] = []
    silent: list[int] = []
    until = time.perf_counter() + 60 * minutes

    def ask(number: int) -> None:
        with httpx.Client(base_url=page.url, timeout=SECONDS, trust_env=False) as client:
            for turn in range(number, sys.maxsize):
                if time.perf_counter() >= until:
                    return
                began = time.perf_counter()
                answer = client.post("/api/v1/search", files={"photo": photos[turn % len(photos)]})
                statuses[answer.status_code] += 1
                if answer.status_code == httpx.codes.OK:
                    ms.append((time.perf_counter() - began) * 1000)
                elif wait := answer.headers.get("retry-after"):
                    time.sleep(min(float(wait), 1.0))
                else:
                    silent.append(answer.status_code)

    with watched(page) as memory, ExitStack() as stack:
        for number in range(clients):
            thread = threading.Thread(target=ask, args=[number])
            thread.start()
            stack.callback(thread.join)
    return Crowd(statuses, tuple(ms), len(silent), tuple(memory))


def overhead(url: str, photos: Sequence[bytes]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Median and 95th percentile, in milliseconds, of a search by one connection, and of what is not the searcher's."""
    asked = [httpx.Request("POST", f"{url}/api/v1/search", files={"photo": photo}) for photo in photos]
    bodies = [(request.read(), dict(request.headers)) for request in asked]  # httpx takes a millisecond for it
    whole, beyond = [], []
    with closing(HTTPConnection(asked[0].url.host, asked[0].url.port, timeout=SECONDS)) as connection:
        for turn in range(SINGLE):
            body, headers = bodies[turn % len(bodies)]
            began = time.perf_counter()
            connection.request("POST", asked[0].url.path, body, headers)
            answer = connection.getresponse().read()
            whole.append((time.perf_counter() - began) * 1000)
            beyond.append(whole[-1] - json.loads(answer)["timings_ms"]["total"])
    return median_and_p95(whole, 1), median_and_p95(beyond, 1)


@contextmanager
def served(folder: Path) -> Iterator[tuple[Running, list[bytes]]]:
    """The page once it can be searched, and photos of its gallery; the sample's where the environment names none."""
    named = any(os.environ.get(name) for name in VARIABLES)
    environment = os.environ if named else sample(folder)
    gallery = open_gallery(Settings.from_env(environment))
    rows = range(0, len(gallery.photos), max(1, len(gallery.photos) // PHOTOS))
    photos = [gallery.photos[row].source for row in rows]
    with running(**{**environment, "FACESEARCH_RATE": "off"}) as page:
        page.until(lambda: _ready(page.url))
        yield page, [photo if isinstance(photo, bytes) else photo.read_bytes() for photo in photos]


def _ready(url: str) -> bool:
    try:
        health = httpx.get(f"{url}/health", trust_env=False).json()
    except httpx.TransportError:
        return False
    return bool(health["ready"].get("main")) and (MINI in health["ready"]["main"] or not health["building"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what came of it; the exit code is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="What programs do to the REST interface.")
    parser.add_argument("--fuzz", type=float, default=5, help="minutes of schemathesis; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10, help="of the crowd; default: %(default)s")
    parser.add_argument("--clients", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--growth", type=float, default=1, help="MB a minute, at most; default: %(default)s")
    options = parser.parse_args(arguments)
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (page, photos):
        time.sleep(SETTLING)
        single, beyond = overhead(page.url, photos)
        _say(f"one client: {single} ms a search (median, 95 %), {beyond} beyond the searcher's")
        if options.fuzz:
            with watched(page) as memory:
                done = fuzz(page.url, 60 * options.fuzz)
            grown = (memory[-1][1] - memory[len(memory) // 3][1]) / MB if len(memory) > 1 else 0.0
            _say(f"schemathesis: exit code {done.returncode}, memory {grown:+.1f} MB after its first third")
            if done.returncode:
                problems += [line[:LINE] for line in done.stdout.splitlines() if TELLING.match(line)]
    if options.minutes:  # on another server, whose memory no gallery is in that schemathesis has made
        with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (page, photos):
            came = crowd(page, photos, options.clients, options.minutes)
        p50, p95 = median_and_p95(list(came.ms), 0)
        _say(f"{options.clients} clients, {options.minutes:g} minutes: {dict(came.statuses)}")
        _say(f"p50 / p95 {p50} / {p95} ms; memory {came.growth:+.2f} MB a minute")
        problems += [f"status {status}" for status in came.statuses if status not in (200, *REFUSALS)]
        problems += [f"{came.silent} refusals without Retry-After"] if came.silent else []
        problems += [f"memory grows by {came.growth:.1f} MB a minute"] if came.growth > options.growth else []
    for problem in problems:
        _say(problem)
    return bool(problems)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
