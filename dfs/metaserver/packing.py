"""Packed bytes for records, commands and answers: one table of fields, two readings of it.

A :class:`Codec` is a literal table of (attribute, field kind) for an attrs class.  Each kind knows its
construct declaration and a hand-written packer; :attr:`Codec.layout` is the declaration of the whole and
:meth:`Codec.encode` / :meth:`Codec.decode` the fast path, some ten times faster than construct parses.  A property test
holds the two equal for every codec.

Everything is big endian and begins with a version byte.  Lengths are bounded before anything is sliced, a cut
or trailing bytes raise Malformed.  Offsets are those of doc/formats-metadata.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

import construct
from construct import Adapter

T = TypeVar("T")
_NO_RUN = struct.Struct("")


class Malformed(ValueError):
    """These bytes are not what this version writes."""


class UnknownVersion(Malformed):
    """The version byte is not one of ours (S39)."""


class Kind(Protocol):
    """How one field is packed.  ``code`` is its struct code where its size is fixed, else ""."""

    code: str
    layout: Any

    def pack(self, value: Any, out: list[bytes]) -> None:
        """Append the value's bytes."""

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        """The value at ``offset`` and where the next one begins."""


class Fixed:
    """A field of one struct code: an integer, a flag or a byte string of fixed length."""

    def __init__(self, code: str, layout: Any) -> None:
        self.code = code
        self.layout = layout
        self._struct = struct.Struct(">" + code)

    def pack(self, value: Any, out: list[bytes]) -> None:
        out.append(self._struct.pack(value))

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        end = offset + self._struct.size
        if end > len(data):
            raise Malformed("cut")
        return self._struct.unpack_from(data, offset)[0], end


U8 = Fixed("B", construct.Int8ub)
U16 = Fixed("H", construct.Int16ub)
U32 = Fixed("I", construct.Int32ub)
U64 = Fixed("Q", construct.Int64ub)
FLAG = Fixed("?", construct.Flag)
ID16 = Fixed("16s", construct.Bytes(16))
SHA256 = Fixed("32s", construct.Bytes(32))


class Blob:
    """Bytes with a u16 length."""

    code = ""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.layout = construct.Prefixed(construct.Int16ub, construct.GreedyBytes)

    def pack(self, value: Any, out: list[bytes]) -> None:
        if len(value) > self._limit:
            raise Malformed(f"{len(value)} bytes where at most {self._limit} fit")
        out.append(len(value).to_bytes(2, "big"))
        out.append(value)

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        start = offset + 2
        length = int.from_bytes(data[offset:start], "big")
        end = start + length
        if length > self._limit or end > len(data) or start > len(data):
            raise Malformed("cut, or longer than allowed")
        return data[start:end], end


class Text:
    """UTF-8 with a u16 length in bytes."""

    code = ""

    def __init__(self, limit: int) -> None:
        self._blob = Blob(limit)
        self.layout = construct.PascalString(construct.Int16ub, "utf-8")

    def pack(self, value: Any, out: list[bytes]) -> None:
        self._blob.pack(value.encode(), out)

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        raw, end = self._blob.unpack(data, offset)
        try:
            return raw.decode(), end
        except UnicodeDecodeError as error:
            raise Malformed("not UTF-8") from error


class _AsOptional(Adapter):  # type: ignore[misc]
    """None is a count of 0, a value a count of 1."""

    def _decode(self, obj: Any, context: Any, path: Any) -> Any:
        return obj[0] if obj else None

    def _encode(self, obj: Any, context: Any, path: Any) -> Any:
        return [] if obj is None else [obj]


class Optional:
    """A flag byte, then the value if there is one."""

    code = ""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.layout = _AsOptional(construct.PrefixedArray(construct.Int8ub, kind.layout))

    def pack(self, value: Any, out: list[bytes]) -> None:
        if value is None:
            out.append(b"\x00")
        else:
            out.append(b"\x01")
            self._kind.pack(value, out)

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        if offset >= len(data) or data[offset] > 1:
            raise Malformed("cut, or a flag that is neither 0 nor 1")
        return self._kind.unpack(data, offset + 1) if data[offset] else (None, offset + 1)


class Many:
    """A u16 count, then that many values; a tuple."""

    code = ""

    def __init__(self, kind: Kind, limit: int) -> None:
        self._kind = kind
        self._limit = limit
        self.layout = construct.PrefixedArray(construct.Int16ub, kind.layout)
        # runs of integers, the commonest case, in one call
        self._size = struct.calcsize(">" + kind.code) if kind.code in ("B", "H", "I", "Q") else 0

    def pack(self, value: Any, out: list[bytes]) -> None:
        count = len(value)
        if count > self._limit:
            raise Malformed(f"{count} items where at most {self._limit} fit")
        out.append(count.to_bytes(2, "big"))
        if self._size:
            out.append(struct.pack(f">{count}{self._kind.code}", *value))
            return
        for item in value:
            self._kind.pack(item, out)

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        start = offset + 2
        count = int.from_bytes(data[offset:start], "big")
        if count > self._limit or start > len(data):
            raise Malformed("cut, or more than allowed")
        if self._size:
            end = start + count * self._size
            if end > len(data):
                raise Malformed("cut")
            return struct.unpack_from(f">{count}{self._kind.code}", data, start), end
        items = []
        for _ in range(count):
            item, start = self._kind.unpack(data, start)
            items.append(item)
        return tuple(items), start


class Fields:
    """A group of fields of an attrs class, without a version: nested in records, commands and answers."""

    code = ""

    def __init__(self, cls: Callable[..., Any], *fields: tuple[str, Kind]) -> None:
        self.cls = cls
        self.fields = fields
        self.layout = construct.Struct(*(name / kind.layout for name, kind in fields))
        self._runs = _runs(fields)

    def pack(self, value: Any, out: list[bytes]) -> None:
        for get, single, run, kind in self._runs:
            if kind is not None:
                kind.pack(get(value), out)
            elif single:
                out.append(run.pack(get(value)))
            else:
                out.append(run.pack(*get(value)))

    def unpack(self, data: bytes, offset: int) -> tuple[Any, int]:
        values: list[Any] = []
        for _, _, run, kind in self._runs:
            if kind is not None:
                value, offset = kind.unpack(data, offset)
                values.append(value)
                continue
            end = offset + run.size
            if end > len(data):
                raise Malformed("cut")
            values += run.unpack_from(data, offset)
            offset = end
        return self.cls(*values), offset


_Run = tuple[Callable[[Any], Any], bool, struct.Struct, Kind | None]
"""What gets the attributes, whether it is one, and what packs them: the struct, or the kind of a field of its own."""


def _runs(fields: Sequence[tuple[str, Kind]]) -> list[_Run]:
    """Neighbours of fixed size are packed by one call."""
    runs: list[_Run] = []
    names: list[str] = []
    codes = ">"
    for name, kind in (*fields, ("", None)):
        if kind is not None and kind.code:
            names.append(name)
            codes += kind.code
            continue
        if names:
            runs.append((attrgetter(*names), len(names) == 1, struct.Struct(codes), None))
            names, codes = [], ">"
        if kind is not None:
            runs.append((attrgetter(name), True, _NO_RUN, kind))
    return runs


class Codec(Generic[T]):
    """A version byte, then the fields of ``cls`` in order."""

    def __init__(self, cls: Callable[..., T], version: int, *fields: tuple[str, Kind]) -> None:
        self.cls = cls
        self.version = version
        self.fields = fields
        self._fields = Fields(cls, *fields)
        self._head = bytes([version])
        self.layout = construct.Struct(
            "version" / construct.Const(version, construct.Int8ub),
            *(name / kind.layout for name, kind in fields),
            construct.Terminated,
        )

    def encode(self, value: T) -> bytes:
        out = [self._head]
        try:
            self._fields.pack(value, out)
        except struct.error as error:
            raise Malformed(f"{type(value).__name__}: {error}") from error
        return b"".join(out)

    def decode(self, data: bytes, offset: int = 0) -> T:
        """Raises Malformed; UnknownVersion where a newer version wrote it."""
        if offset >= len(data):
            raise Malformed("empty")
        if data[offset] != self.version:
            raise UnknownVersion(f"version {data[offset]} where {self.version} is known")
        value: T
        value, end = self._fields.unpack(data, offset + 1)
        if end != len(data):
            raise Malformed(f"{len(data) - end} bytes too many")
        return value
