"""What can happen to a file, as hypothesis strategies of functions from its bytes to others; and a file to harm."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Harm = Callable[[bytes], bytes]

HUGE = 10**400  # no float holds it
# The same examples everywhere and always: what fails here fails on everybody's machine.
MANY = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FEW = settings(MANY, max_examples=3)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([HUGE, -HUGE, 2**63, -1])
    | st.floats()
    | st.sampled_from(["", "\0", "../../etc/passwd", "__import__('os').system('false')", "\ud800"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NESTED = b"[" * 100_000
ARRAYS: tuple[np.ndarray, ...] = (
    np.zeros((0, 8), np.float32),
    np.zeros((2, 8), np.float32),
    np.full((24, 8), np.nan, np.float32),
    np.full((24, 8), np.inf, np.float64),
    np.zeros((24, 8), np.int8),
    np.zeros((24, 8, 1), np.complex64),
    np.array(7),
    np.array(["text"]),
    np.array([{"run": "this"}], object),
)


def _flipped(places: list[tuple[float, int]]) -> Harm:
    def harm(content: bytes) -> bytes:
        changed = bytearray(content)
        for share, bit in places if changed else []:
            changed[int(share * len(changed))] ^= 1 << bit
        return bytes(changed)

    return harm


def _cut(share: float) -> Harm:
    return lambda content: content[: int(share * len(content))]


def _without(start: float, length: int) -> Harm:
    def harm(content: bytes) -> bytes:
        at = int(start * len(content))
        return content[:at] + content[at + length :]

    return harm


def _as_file(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _replaced(content: bytes, place: int, value: object, *, drop: bool) -> bytes:
    """The JSON with another value, or nothing, in one place of its tree; what is no JSON stays as it is."""
    try:
        tree = json.loads(content)
    except ValueError:
        return content
    places: list[tuple[Any, Any]] = []

    def walk(node: object) -> None:
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            places.append((node, key))
            walk(inner)

    walk(tree)
    if not places:
        return json.dumps(value).encode()
    holder, key = places[place % len(places)]
    if drop:
        del holder[key]
    else:
        holder[key] = value
    return json.dumps(tree).encode()


SHARE = st.floats(0, 1, exclude_max=True)
BYTES: st.SearchStrategy[Harm] = st.one_of(
    st.lists(st.tuples(SHARE, st.integers(0, 7)), min_size=1, max_size=4).map(_flipped),
    SHARE.map(_cut),
    st.tuples(SHARE, st.integers(1, 64)).map(lambda drawn: _without(*drawn)),
    st.binary(min_size=1, max_size=64).map(lambda more: lambda content: content + more),
    st.binary(min_size=1, max_size=64).map(lambda more: lambda content: more + content),
    st.binary(max_size=200).map(lambda other: lambda _: other),
    st.just(lambda content: bytes(len(content))),
)


def harms(*swapped: bytes) -> st.SearchStrategy[Harm]:
    """Whatever can happen to a file; `swapped` are other files that are valid themselves."""
    others = [*swapped, NESTED, *map(_as_file, ARRAYS)]
    values = st.tuples(st.integers(0, 1000), ANY_JSON, st.booleans())
    trees = values.map(lambda drawn: lambda content: _replaced(content, drawn[0], drawn[1], drop=drawn[2]))
    return BYTES | trees | st.sampled_from(others).map(lambda other: lambda _: other)


class Kept:
    """A file that was written, put back before every example."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.read_bytes()

    def harmed(self, harm: Harm) -> None:
        """The file as it is after that; a new one, since the old may still be mapped into memory."""
        self.put(harm(self.content))

    def put(self, content: bytes) -> None:
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(content)


def is_a_sentence(text: str) -> bool:
    """One sentence that goes on to say what to do; no trace and no exception of Python's."""
    return text.endswith(".") and "\n" not in text and "Error(" not in text and ("; " in text or "run `" in text)
