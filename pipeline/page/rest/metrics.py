"""Figures for Prometheus: searches, seconds by step, refusals, what waits at the gate, memory."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import generate_latest as text_of
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.core.types import Answer
from pipeline.page.rest.door import Beside
from pipeline.page.server.gate import Gate
from pipeline.search import journal

METRICS_PATH = "/metrics"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """One server's figures. Safe to use from several threads."""

    def __init__(self, gate: Gate) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        self._searches = Counter("facesearch_searches", "Answers", ["recipe", "outcome"], registry=registry)
        self._refused = Counter("facesearch_refused", "Searches without an answer", ["error"], registry=registry)
        self._steps = Histogram(
            "facesearch_step_seconds", "Seconds of a search's steps", ["step"], registry=registry, buckets=SECONDS
        )
        self._requests = Counter("facesearch_requests", "HTTP requests", ["door", "status"], registry=registry)
        for state, count in (("running", lambda: gate.running), ("waiting", lambda: gate.waiting)):
            gauge = Gauge(f"facesearch_{state}", f"Searches that are {state} at the gate", registry=registry)
            gauge.set_function(count)

    def start(self) -> None:
        """Counts from now on."""
        journal.watchers.append(self._watch)

    def requested(self, door: str, status: int) -> None:
        """Counts a request."""
        self._requests.labels(door, str(status)).inc()

    def route(self) -> Route:
        """Where Prometheus asks."""

        def tell(_: Request) -> Response:
            return Response(text_of(self._registry), media_type=CONTENT_TYPE_LATEST)

        return Beside(METRICS_PATH, tell)

    def _watch(self, what: Answer | Exception) -> None:
        if isinstance(what, Exception):
            self._refused.labels(type(what).__name__).inc()
            return
        self._searches.labels(what.recipe, "found" if what.found_face else "no_face").inc()
        for step, milliseconds in what.timings_ms.items():
            self._steps.labels(step).observe(milliseconds / 1000)
