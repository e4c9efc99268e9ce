"""Compiles the declarations of :mod:`dfs.protocol.layout` to codecs for the data path.

Problem: construct interprets a message of a few fields in 14 to 300 us, and a
metadata node reads thousands a second.  Design: a declaration is walked once,
at import; runs of fields with a fixed length become one ``struct.Struct``, the
rest become closures over their limits.  Reading never allocates before the limit is
checked, never slices past the end, and refuses bytes left over.

Rejected: construct's ``compile()`` (it drops validators, and a compiled parser returns
short fields from a cut input); generating source (twice as fast again, but no
checker or reader sees it).

Invariants: equal to construct's interpretation of the same declaration for every
value and every input (a property test), and no exception but :class:`Malformed`
for any input.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from construct import FormatField

from dfs.protocol.layout import Blob, Choice, Flag, Items, Maybe, Raw, Record, Text

Take = Callable[[bytes, int], tuple[Any, int]]
"""``take(data, at)``: the value there, and where the next begins."""
Give = Callable[[Any, list[bytes]], None]
"""``give(value, out)``: append the value's bytes."""
Step = Callable[[bytes, int, list[Any]], int]

_LENGTH = struct.Struct(">H")
_PRESENT = (b"\x00", b"\x01")


class Malformed(Exception):
    """The bytes, or the value, do not fit the declaration; the sentence says where."""


class Codec:
    """Encodes and decodes one declared kind."""

    def __init__(self, kind: Any) -> None:
        self._take = taker(kind)
        self._give = giver(kind)

    def encode(self, value: Any) -> bytes:
        """Raises Malformed for a value outside the limits."""
        out: list[bytes] = []
        try:
            self._give(value, out)
        except (struct.error, UnicodeEncodeError) as error:
            raise Malformed(str(error)) from None
        return b"".join(out)

    def decode(self, data: bytes) -> Any:
        """Raises Malformed for anything but exactly one value."""
        value, at = self.decode_first(data)
        if at != len(data):
            raise Malformed(f"{len(data) - at} bytes too many")
        return value

    def decode_first(self, data: bytes) -> tuple[Any, int]:
        """The value that ``data`` begins with, and its length in bytes."""
        try:
            return self._take(data, 0)
        except (struct.error, UnicodeDecodeError) as error:
            raise Malformed(str(error)) from None


def taker(kind: Any) -> Take:
    """The reading half of ``kind``."""
    if isinstance(kind, Record):
        return _record_taker(kind)
    if isinstance(kind, Text):
        return _text_taker(kind.limit)
    if isinstance(kind, Blob):
        return _blob_taker(kind.limit)
    if isinstance(kind, Maybe):
        return _maybe_taker(taker(kind.kind))
    if isinstance(kind, Items):
        return _items_taker(taker(kind.kind), kind.limit)
    return _single_taker(kind)


def giver(kind: Any) -> Give:
    """The writing half of ``kind``."""
    if isinstance(kind, Record):
        return _record_giver(kind)
    if isinstance(kind, Blob):
        return _blob_giver(kind.limit, isinstance(kind, Text))
    if isinstance(kind, Maybe):
        return _maybe_giver(giver(kind.kind))
    if isinstance(kind, Items):
        return _items_giver(giver(kind.kind), kind.limit)
    pack, before = struct.Struct(">" + _format(kind)).pack, _before(kind)
    return lambda value, out: out.append(pack(value if before is None else before(value)))


# ---- fields with a fixed length ------------------------------------------------------------------


def _format(kind: Any) -> str:
    """The letter of ``struct`` for a kind of fixed length, "" for the others."""
    if isinstance(kind, FormatField):
        return str(kind.fmtstr).lstrip(">")
    if isinstance(kind, Raw):
        return f"{kind.length}s"
    return "B" if isinstance(kind, Flag | Choice) else ""


def _look_up(table: dict[Any, Any], what: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return table[value]
        except (KeyError, TypeError):
            raise Malformed(f"{value!r} is no {what}") from None

    return convert


def _members(members: type[enum.IntEnum]) -> dict[int, enum.IntEnum]:
    return {int(member): member for member in members}


def _after(kind: Any) -> Callable[[Any], Any] | None:
    """What makes the value of what struct unpacked."""
    if isinstance(kind, Choice):
        return _look_up(_members(kind.members), kind.members.__name__)
    if isinstance(kind, Flag):
        return _look_up({0: False, 1: True}, "truth value")
    return None


def _before(kind: Any) -> Callable[[Any], Any] | None:
    """What makes that which struct packs of the value."""
    if isinstance(kind, Raw):
        return _exact(kind.length)
    return bool if isinstance(kind, Flag) else _after(kind)


def _exact(length: int) -> Callable[[bytes], bytes]:
    def check(value: bytes) -> bytes:
        if len(value) != length:  # struct would cut or pad without a word
            raise Malformed(f"{len(value)} bytes where {length} belong")
        return value

    return check


def _single_taker(kind: Any) -> Take:
    layout, after = struct.Struct(">" + _format(kind)), _after(kind)

    def take(data: bytes, at: int) -> tuple[Any, int]:
        (value,) = layout.unpack_from(data, at)
        return (value if after is None else after(value)), at + layout.size

    return take


# ---- fields with a length of their own ------------------------------------------------------------


def _blob_taker(limit: int) -> Take:
    def take(data: bytes, at: int) -> tuple[bytes, int]:
        (length,) = _LENGTH.unpack_from(data, at)
        end = at + 2 + length
        if length > limit:
            raise Malformed(f"{length} bytes are above the limit of {limit}")
        if end > len(data):
            raise Malformed(f"{end - len(data)} bytes are missing")
        return data[at + 2 : end], end

    return take


def _text_taker(limit: int) -> Take:
    blob = _blob_taker(limit)

    def take(data: bytes, at: int) -> tuple[str, int]:
        value, end = blob(data, at)
        return value.decode("utf-8"), end

    return take


def _maybe_taker(inner: Take) -> Take:
    def take(data: bytes, at: int) -> tuple[Any, int]:
        present = data[at : at + 1]
        if present == b"\x01":
            return inner(data, at + 1)
        if present == b"\x00":
            return None, at + 1
        raise Malformed(f"{present!r} is neither present nor absent")

    return take


def _items_taker(inner: Take, limit: int) -> Take:
    def take(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        (count,) = _LENGTH.unpack_from(data, at)
        if count > limit:
            raise Malformed(f"{count} items are above the limit of {limit}")
        at += 2
        items = []
        for _ in range(count):
            item, at = inner(data, at)
            items.append(item)
        return tuple(items), at

    return take


def _blob_giver(limit: int, text: bool) -> Give:
    pack = _LENGTH.pack

    def give(value: Any, out: list[bytes]) -> None:
        data: bytes = value.encode("utf-8") if text else value
        if len(data) > limit:
            raise Malformed(f"{len(data)} bytes are above the limit of {limit}")
        out.append(pack(len(data)))
        out.append(data)

    return give


def _maybe_giver(inner: Give) -> Give:
    def give(value: Any, out: list[bytes]) -> None:
        out.append(_PRESENT[value is not None])
        if value is not None:
            inner(value, out)

    return give


def _items_giver(inner: Give, limit: int) -> Give:
    pack = _LENGTH.pack

    def give(value: Any, out: list[bytes]) -> None:
        if len(value) > limit:
            raise Malformed(f"{len(value)} items are above the limit of {limit}")
        out.append(pack(len(value)))
        for item in value:
            inner(item, out)

    return give


# ---- records ---------------------------------------------------------------------------------------


def _runs(record: Record) -> Iterator[tuple[bool, list[tuple[str, Any]]]]:
    """The fields in order: (fixed, those that go into one struct) or (not fixed, one field)."""
    run: list[tuple[str, Any]] = []
    for name, kind in record.kinds.items():
        if _format(kind):
            run.append((name, kind))
            continue
        if run:
            yield True, run
            run = []
        yield False, [(name, kind)]
    if run:
        yield True, run


def _record_taker(record: Record) -> Take:
    steps = [
        _fixed_step([kind for _, kind in run]) if fixed else _field_step(taker(run[0][1]))
        for fixed, run in _runs(record)
    ]
    cls = record.cls

    def take(data: bytes, at: int) -> tuple[Any, int]:
        values: list[Any] = []
        for step in steps:
            at = step(data, at, values)
        return cls(*values), at

    return take


def _field_step(inner: Take) -> Step:
    def step(data: bytes, at: int, values: list[Any]) -> int:
        value, at = inner(data, at)
        values.append(value)
        return at

    return step


def _fixed_step(kinds: list[Any]) -> Step:
    layout = struct.Struct(">" + "".join(_format(kind) for kind in kinds))
    unpack, size = layout.unpack_from, layout.size
    conversions = [(place, after) for place, kind in enumerate(kinds) if (after := _after(kind)) is not None]

    def step(data: bytes, at: int, values: list[Any]) -> int:
        if not conversions:
            values.extend(unpack(data, at))
            return at + size
        taken = list(unpack(data, at))
        for place, after in conversions:
            taken[place] = after(taken[place])
        values.extend(taken)
        return at + size

    return step


def _record_giver(record: Record) -> Give:
    gives = [_fixed_giver(run) if fixed else _field_giver(run[0][0], giver(run[0][1])) for fixed, run in _runs(record)]
    cls = record.cls

    def give(value: Any, out: list[bytes]) -> None:
        if not isinstance(value, cls):
            raise Malformed(f"{type(value).__name__} where {cls.__name__} belongs")
        for each in gives:
            each(value, out)

    return give


def _field_giver(name: str, inner: Give) -> Give:
    get = attrgetter(name)
    return lambda value, out: inner(get(value), out)


def _fixed_giver(run: list[tuple[str, Any]]) -> Give:
    pack = struct.Struct(">" + "".join(_format(kind) for _, kind in run)).pack
    names = [name for name, _ in run]
    conversions = [(place, before) for place, (_, kind) in enumerate(run) if (before := _before(kind)) is not None]
    get = attrgetter(*names)
    single = len(names) == 1

    def give(value: Any, out: list[bytes]) -> None:
        fields = [get(value)] if single else list(get(value))
        for place, before in conversions:
            fields[place] = before(fields[place])
        out.append(pack(*fields))

    return give
