"""Messages for tests, made of their declarations: one full and one bare of each, and hypothesis strategies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from construct import FormatField
from hypothesis import strategies as st

from dfs.protocol.layout import Blob, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.wire import TABLE

GOLDEN = Path(__file__).parent / "golden" / "messages.hex"
_WIDTH = {"B": 8, "H": 16, "L": 32, "I": 32, "Q": 64}


def _bits(kind: Any) -> int:
    return _WIDTH[str(kind.fmtstr).lstrip(">")]


def sample(kind: Any, full: bool, numbers: Iterator[int]) -> Any:
    """A value of a declared kind; ``full``: everything optional is there, lists have two items; else nothing is."""
    if isinstance(kind, Record):
        return kind.cls(*[sample(field, full, numbers) for field in kind.kinds.values()])
    if isinstance(kind, Items):
        return tuple(sample(kind.kind, full, numbers) for _ in range(2 if full else 0))
    if isinstance(kind, Maybe):
        return sample(kind.kind, full, numbers) if full else None
    number = next(numbers)
    if isinstance(kind, FormatField):
        return number % 2 ** min(_bits(kind), 8) if full else 0
    if isinstance(kind, Raw):
        return bytes((number + place) % 256 for place in range(kind.length)) if full else bytes(kind.length)
    if isinstance(kind, Text):
        return f"näme-{number}" if full else ""
    if isinstance(kind, Blob):
        return b"token %d" % number if full else b""
    if isinstance(kind, Flag):
        return full
    assert isinstance(kind, Choice)
    members = list(kind.members)
    return members[number % len(members)] if full else members[0]


def samples() -> list[tuple[int, str, Any]]:
    """(code, variant, message) for every message in both variants."""
    return [
        (code, "full" if full else "bare", sample(entry.record, full, itertools.count(1)))
        for code, entry in TABLE.items()
        for full in (True, False)
    ]


def golden() -> dict[tuple[int, str], bytes]:
    """The bytes that are checked in."""
    found = {}
    for line in GOLDEN.read_text("ascii").splitlines():
        code, _, variant, *data = line.split()
        found[int(code, 16), variant] = bytes.fromhex("".join(data))
    return found


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a declared kind; lists are short."""
    if isinstance(kind, Record):
        return st.builds(kind.cls, *[values(field) for field in kind.kinds.values()])
    if isinstance(kind, Items):
        return st.lists(values(kind.kind), max_size=min(3, kind.limit)).map(tuple)
    if isinstance(kind, Maybe):
        return st.none() | values(kind.kind)
    if isinstance(kind, FormatField):
        return st.integers(0, 2 ** _bits(kind) - 1)
    if isinstance(kind, Raw):
        return st.binary(min_size=kind.length, max_size=kind.length)
    if isinstance(kind, Text):
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    if isinstance(kind, Blob):
        return st.binary(max_size=20)
    if isinstance(kind, Flag):
        return st.booleans()
    assert isinstance(kind, Choice)
    return st.sampled_from(list(kind.members))
