"""What came of a crowd of visitors: its figures, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.bench.processes import Memory
from pipeline.bench.timing import median_and_p95
from pipeline.core.tables import markdown_table
from pipeline.photos.images import UNREADABLE

SEARCH, COMPARE, BAD = "search", "compare", "bad upload"
FULL = "Queue is full."  # Gradio's words
WARM_UP = 0.3  # of the time: caches fill, and the allocator finds its size
MB = 1e6  # bytes
LEAST_SHARE = 0.5  # of the median's searches, that each client must have had


@dataclass(frozen=True)
class Asked:
    """One request: the client, what it was, the milliseconds it took, and the page's refusal, empty for an answer."""

    client: int
    kind: str
    ms: float
    said: str

    @property
    def refused(self) -> bool:
        """Whether the page said what it is to say: that the file is no photo, or that it is too busy."""
        return self.said.startswith(FULL) or (self.kind == BAD and self.said == UNREADABLE)

    @property
    def wrong(self) -> bool:
        """Whether it is neither a refusal nor the answer that it should be."""
        return not self.refused and (self.kind == BAD or self.said != "")


@dataclass(frozen=True)
class Report:
    """All that was asked, the server's memory by minutes, and what was said when the queue was overrun.

    `overrun` is that sentence, and whether there were answers again afterwards.
    """

    asked: tuple[Asked, ...]
    memory: tuple[tuple[float, Memory], ...]
    clients: int
    overrun: tuple[str, bool]

    @property
    def growth(self) -> Memory:
        """Bytes a minute after the warm-up, by least squares."""
        minutes = np.array([minute for minute, _ in self.memory])
        used = np.array([taken for _, taken in self.memory])
        warm = minutes >= WARM_UP * minutes[-1]
        return Memory(*np.polyfit(minutes[warm], used[warm], 1)[0])

    @property
    def searches(self) -> list[int]:
        """How many searches each client had answered."""
        counts = Counter(one.client for one in self.asked if one.kind == SEARCH and not one.said)
        return [counts[client] for client in range(self.clients)]

    def tail(self, kind: str) -> tuple[float, float]:
        """Median and 95th percentile, in milliseconds, of what was not refused for want of room."""
        return median_and_p95([one.ms for one in self.asked if one.kind == kind and not one.said.startswith(FULL)], 0)

    def problems(self, growth: float) -> list[str]:
        """What is not as it must be, in sentences; memory of its own may grow by so many MB a minute."""
        return list(self._problems(growth))

    def _problems(self, growth: float) -> Iterator[str]:
        wrong = Counter(f"{one.kind}: {one.said or 'was answered'}" for one in self.asked if one.wrong)
        yield from (f"{count} times wrong: {what}" for what, count in wrong.most_common())
        if (grows := self.growth.own / MB) > growth:
            yield f"Memory grows by {grows:.1f} MB a minute; {growth:g} is the most."
        if min(self.searches) < LEAST_SHARE * np.median(self.searches):
            yield f"One client had {min(self.searches)} searches, the median {np.median(self.searches):.0f}."
        said, again = self.overrun
        if not said.startswith(FULL):
            yield f"A queue that is overrun says {said!r}, and not that it is full."
        if not again:
            yield "After the queue was overrun there was no answer."

    def table(self) -> list[str]:
        """The figures, in Markdown."""
        kinds = Counter(one.kind for one in self.asked)
        refusals = Counter(one.said for one in self.asked if one.refused)
        searches = self.searches
        rows = [
            (f"clients, minutes, {len(self.asked):,} requests", f"{self.clients}, {self.memory[-1][0]:.1f}"),
            *(
                (f"{kind}: {kinds[kind]:,}; p50 / p95", "{:,.0f} / {:,.0f} ms".format(*self.tail(kind)))
                for kind in (SEARCH, COMPARE, BAD)
            ),
            *((f"refused: {said}", f"{count:,}") for said, count in refusals.most_common()),
            ("anything else", f"{sum(one.wrong for one in self.asked):,}"),
            (
                "searches by client: fewest / median / most",
                f"{min(searches)} / {np.median(searches):.0f} / {max(searches)}",
            ),
            ("memory of its own, MB a minute after the warm-up", f"{self.growth.own / MB:+.2f}"),
            ("the same with pages of mapped files", f"{self.growth.resident / MB:+.2f}"),
            ("memory of its own, most", f"{max(used.own for _, used in self.memory) / MB:,.0f} MB"),
            ("the same with pages of mapped files", f"{max(used.resident for _, used in self.memory) / MB:,.0f} MB"),
            ("said when the queue is overrun", self.overrun[0]),
        ]
        return list(markdown_table(("load", ""), rows))
