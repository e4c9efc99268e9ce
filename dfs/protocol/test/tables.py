"""The tables of doc/protocol.md, as the code has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from construct import FormatField

from dfs.protocol import limits
from dfs.protocol.errors import BY_CODE
from dfs.protocol.frames import FrameType
from dfs.protocol.hello import HELLO
from dfs.protocol.layout import Blob, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.wire import ANYONE, CHUNK_SERVERS, META_SERVERS, NODES, TABLE

_NUMBERS = {"B": "u8", "H": "u16", "L": "u32", "I": "u32", "Q": "u64"}
_SENDERS = {ANYONE: "anyone", NODES: "nodes", CHUNK_SERVERS: "chunk servers", META_SERVERS: "metadata servers"}


def describe(kind: Any) -> str:
    """A kind as the document writes it."""
    if isinstance(kind, Record):
        return str(kind.cls.__name__)
    if isinstance(kind, Items):
        return f"list of {describe(kind.kind)}, at most {kind.limit}"
    if isinstance(kind, Maybe):
        return f"optional {describe(kind.kind)}"
    if isinstance(kind, Raw):
        return f"{kind.length} bytes"
    if isinstance(kind, Text):
        return f"text, at most {kind.limit}"
    if isinstance(kind, Blob):
        return f"bytes, at most {kind.limit}"
    if isinstance(kind, Flag):
        return "flag"
    if isinstance(kind, Choice):
        members = ", ".join(f"{int(member)} {member.name}" for member in kind.members)
        return f"u8: {members}"
    assert isinstance(kind, FormatField)
    return _NUMBERS[str(kind.fmtstr).lstrip(">")]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _fields(record: Record) -> str:
    return "; ".join(f"`{name}` {describe(kind)}" for name, kind in record.kinds.items()) or "none"


def _nested(record: Record, found: dict[str, Record]) -> None:
    for kind in record.kinds.values():
        while isinstance(kind, Maybe | Items):
            kind = kind.kind
        if isinstance(kind, Record):
            _nested(kind, found)
            found.setdefault(kind.cls.__name__, kind)


def frame_types() -> str:
    """The types of frame."""
    return _table(("type", "name"), [(str(int(type)), type.name) for type in FrameType])


def requests() -> str:
    """What may be asked."""
    rows = [
        (
            f"{code:#04x}",
            entry.cls.__name__,
            _fields(entry.record),
            _SENDERS[entry.senders],
            "" if entry.purpose is None else entry.purpose.name,
            " or ".join(answer.__name__ for answer in entry.answers),
        )
        for code, entry in TABLE.items()
        if entry.senders
    ]
    return _table(("code", "request", "fields", "who may ask", "connection", "answer"), rows)


def answers() -> str:
    """What may be answered."""
    rows = [
        (f"{code:#04x}", entry.cls.__name__, _fields(entry.record))
        for code, entry in TABLE.items()
        if not entry.senders
    ]
    return _table(("code", "answer", "fields"), rows)


def parts() -> str:
    """Records inside messages."""
    found: dict[str, Record] = {}
    for entry in TABLE.values():
        _nested(entry.record, found)
    return _table(("part", "fields"), [(name, _fields(record)) for name, record in sorted(found.items())])


def hello() -> str:
    """The fields of Hello."""
    return _table(("field", "kind"), [(f"`{name}`", describe(kind)) for name, kind in HELLO.kinds.items()])


def errors() -> str:
    """The tree of errors."""
    rows = [
        (str(code), cls.__name__, cls.advice.value, str(cls.exit_code), " ".join((cls.__doc__ or "").split()))
        for code, cls in BY_CODE.items()
    ]
    return _table(("code", "error", "advice", "exit code", "meaning"), rows)


def bounds() -> str:
    """Every limit."""
    rows = [
        (f"`{name}`", f"{value:g} s" if isinstance(value, float) else f"{value:,}")
        for name, value in vars(limits).items()
        if name.isupper() and name not in ("BLOCK", "PIECE")
    ]
    return _table(("limit", "value"), rows)


ALL = {
    "frame types": frame_types,
    "hello": hello,
    "requests": requests,
    "answers": answers,
    "parts": parts,
    "errors": errors,
    "limits": bounds,
}
