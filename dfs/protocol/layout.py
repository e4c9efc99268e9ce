"""The kinds of field that messages are declared with, as construct classes.

Numbers are construct's own (big endian); what they lack is here: every length
and count has a limit that is checked *before* anything is read or allocated,
presence and truth are exactly 0 or 1, unknown enum values are refused, and a
record is an attrs class, so no Container leaves the codec.

==========  ==========================================================
kind        bytes
==========  ==========================================================
Raw         exactly ``length`` bytes
Flag        u8, 0 or 1
Choice      u8, a member of the enum
Text        length u16 in bytes, then UTF-8
Blob        length u16, then bytes
Maybe       u8, 0 (None) or 1 and the value
Items       count u16, then the items one after the other
Record      the fields in the order of the attrs class
==========  ==========================================================

Interpreted by construct these cost 14 to 300 us a message; :mod:`dfs.protocol.fast`
compiles the same declarations to what the data path uses, and a property test
holds both equal.  (construct's own ``compile`` leaves out the limits and returns
short fields from a cut input.)
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import attrs
from construct import Construct, Int8ub, Int16ub, Int32ub, Int64ub, StreamError, Struct, ValidationError, stream_read

U8 = Int8ub
U16 = Int16ub
U32 = Int32ub
U64 = Int64ub


class Kind(Construct):  # type: ignore[misc]  # construct has no types
    """A field kind of ours: ``_parse`` and ``_build`` are construct's interface."""


class Raw(Kind):
    """Exactly ``length`` bytes."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:
        return bytes(stream_read(stream, self.length, path))

    def _build(self, value: bytes, stream: BytesIO, context: Any, path: str) -> bytes:
        if len(value) != self.length:
            raise ValidationError(f"{len(value)} bytes where {self.length} belong", path=path)
        stream.write(value)
        return value


class Choice(Kind):
    """One byte that names a member of ``members``."""

    def __init__(self, members: type[enum.IntEnum]) -> None:
        super().__init__()
        self.members = members

    def _parse(self, stream: BytesIO, context: Any, path: str) -> enum.IntEnum:
        number = U8._parsereport(stream, context, path)
        try:
            return self.members(number)
        except ValueError as error:
            raise ValidationError(str(error), path=path) from None

    def _build(self, value: int, stream: BytesIO, context: Any, path: str) -> int:
        try:
            U8._build(int(self.members(value)), stream, context, path)
        except ValueError as error:
            raise ValidationError(str(error), path=path) from None
        return value


class Flag(Kind):
    """One byte, 0 or 1."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bool:
        number = U8._parsereport(stream, context, path)
        if number > 1:
            raise ValidationError(f"{number} is not a truth value", path=path)
        return bool(number)

    def _build(self, value: bool, stream: BytesIO, context: Any, path: str) -> bool:
        stream.write(b"\x01" if value else b"\x00")
        return value


class Blob(Kind):
    """At most ``limit`` bytes after their length."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:
        length = U16._parsereport(stream, context, path)
        if length > self.limit:
            raise ValidationError(f"{length} bytes are above the limit of {self.limit}", path=path)
        return bytes(stream_read(stream, length, path))

    def _build(self, value: bytes, stream: BytesIO, context: Any, path: str) -> bytes:
        if len(value) > self.limit:
            raise ValidationError(f"{len(value)} bytes are above the limit of {self.limit}", path=path)
        U16._build(len(value), stream, context, path)
        stream.write(value)
        return value


class Text(Blob):
    """A str of at most ``limit`` bytes of UTF-8."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> str:  # type: ignore[override]
        try:
            return super()._parse(stream, context, path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValidationError(str(error), path=path) from None

    def _build(self, value: str, stream: BytesIO, context: Any, path: str) -> str:  # type: ignore[override]
        try:
            super()._build(value.encode("utf-8"), stream, context, path)
        except UnicodeEncodeError as error:
            raise ValidationError(str(error), path=path) from None
        return value


class Maybe(Kind):
    """None, or a value of ``kind``."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        return self.kind._parsereport(stream, context, path) if Flag()._parse(stream, context, path) else None

    def _build(self, value: Any, stream: BytesIO, context: Any, path: str) -> Any:
        stream.write(b"\x00" if value is None else b"\x01")
        if value is not None:
            self.kind._build(value, stream, context, path)
        return value


class Items(Kind):
    """A tuple of at most ``limit`` values of ``kind``."""

    def __init__(self, kind: Any, limit: int) -> None:
        super().__init__()
        self.kind = kind
        self.limit = limit

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[Any, ...]:
        count = U16._parsereport(stream, context, path)
        if count > self.limit:
            raise ValidationError(f"{count} items are above the limit of {self.limit}", path=path)
        return tuple(self.kind._parsereport(stream, context, path) for _ in range(count))

    def _build(self, value: Sequence[Any], stream: BytesIO, context: Any, path: str) -> Sequence[Any]:
        if len(value) > self.limit:
            raise ValidationError(f"{len(value)} items are above the limit of {self.limit}", path=path)
        U16._build(len(value), stream, context, path)
        for item in value:
            self.kind._build(item, stream, context, path)
        return value


class Record(Kind):
    """An attrs class: one field a kind, in the order of the class."""

    def __init__(self, cls: type[Any], **kinds: Any) -> None:
        super().__init__()
        names = tuple(field.name for field in attrs.fields(cls))
        assert tuple(kinds) == names, f"{cls.__name__} has the fields {names}, declared are {tuple(kinds)}"
        self.cls = cls
        self.kinds = kinds
        self.struct = Struct(*[name / kind for name, kind in kinds.items()])

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        container = self.struct._parsereport(stream, context, path)
        return self.cls(*[container[name] for name in self.kinds])

    def _build(self, value: Any, stream: BytesIO, context: Any, path: str) -> Any:
        if not isinstance(value, self.cls):
            raise ValidationError(f"{type(value).__name__} where {self.cls.__name__} belongs", path=path)
        self.struct._build({name: getattr(value, name) for name in self.kinds}, stream, context, path)
        return value


def parse_exactly(kind: Any, data: bytes) -> Any:
    """The value, by construct's own interpreter; bytes left over are an error, a cut is one too."""
    stream = BytesIO(data)
    value = kind.parse_stream(stream)
    if stream.tell() != len(data):
        raise StreamError(f"{len(data) - stream.tell()} bytes too many")
    return value
