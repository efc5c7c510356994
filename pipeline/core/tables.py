"""Tables in Markdown, for the command line, reports and files; and how those of spreadsheets are encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

# With a byte-order mark: Excel takes a CSV file without one for text in the system's old encoding. Readers skip it.
CSV_ENCODING = "utf-8-sig"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, each as soon as its row is there: a row may be the result of an hour's measurement."""
    yield _line(header)
    yield "|" + "---|" * len(header)
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
