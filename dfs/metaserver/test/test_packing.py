"""Two readings of one table of fields are equal, and foreign bytes end cleanly."""

from __future__ import annotations

from typing import Any

import construct
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import answers, commands, records, records_moving, snapshotting
from dfs.metaserver.packing import U8, Blob, Codec, Fields, Fixed, Kind, Malformed, Many, Optional, Text, UnknownVersion
from dfs.protocol.errors import FileNotFound, InternalError

CODECS: list[Codec[Any]] = [
    *records.CODECS,
    *records_moving.CODECS,
    *commands.BY_CODE.values(),
    *(codec for _, codec in answers.BY_CODE.values()),
    answers.failure_codec,
    snapshotting.stream_head_codec,
]

_BITS = {"B": 8, "H": 16, "I": 32, "Q": 64}


def plain(kind: Kind) -> st.SearchStrategy[Any]:
    """Values of a field as construct speaks of them: numbers, bytes, text, lists, dicts."""
    if isinstance(kind, Fixed):
        if kind.code == "?":
            return st.booleans()
        if kind.code in _BITS:
            return st.integers(0, 2 ** _BITS[kind.code] - 1)
        length = int(kind.code[:-1])
        return st.binary(min_size=length, max_size=length)
    if isinstance(kind, Text):
        return st.text(st.characters(codec="utf-8"), max_size=20)
    if isinstance(kind, Blob):
        return st.binary(max_size=20)
    if isinstance(kind, Optional):
        return st.none() | plain(kind._kind)
    if isinstance(kind, Many):
        return st.lists(plain(kind._kind), max_size=3)
    assert isinstance(kind, Fields), kind
    return st.fixed_dictionaries({name: plain(each) for name, each in kind.fields})


def value_of(kind: Kind, given: Any) -> Any:
    """The same as the fast path has it: attrs values and tuples."""
    if isinstance(kind, Many):
        return tuple(value_of(kind._kind, item) for item in given)
    if isinstance(kind, Optional):
        return None if given is None else value_of(kind._kind, given)
    if isinstance(kind, Fields):
        return kind.cls(*(value_of(each, given[name]) for name, each in kind.fields))
    return given


class PackingTests(SynchronousTestCase):
    """Every codec of records, commands and answers."""

    def test_equal_to_its_declaration(self) -> None:
        """For random values of each codec the packer and construct write the same bytes, and both read them back."""
        for codec in CODECS:
            strategy = st.fixed_dictionaries({name: plain(kind) for name, kind in codec.fields})
            if codec in (answers.BY_CODE[4][1], answers.BY_CODE[12][1]):
                strategy = st.fixed_dictionaries({"outcomes": st.lists(st.integers(1, 3), max_size=5)})
            self.check(codec, strategy)

    def check(self, codec: Codec[Any], strategy: st.SearchStrategy[dict[str, Any]]) -> None:
        @settings(max_examples=15, deadline=None, derandomize=True, database=None)
        @given(strategy)
        def holds(fields: dict[str, Any]) -> None:
            packed = codec.layout.build(fields)
            value = codec.cls(*(value_of(kind, fields[name]) for name, kind in codec.fields))
            self.assertEqual(codec.encode(value), packed)
            self.assertEqual(codec.decode(packed), value)
            again = codec.layout.parse(packed)
            self.assertEqual(codec.layout.build(again), packed)

        holds()

    def test_cut_anywhere(self) -> None:
        """A record, command or answer that is cut at any byte, or has one too many, is Malformed, also to construct."""
        for codec in CODECS:
            fields = {name: _example(kind) for name, kind in codec.fields}
            packed = codec.layout.build(fields)
            for bad in [packed[:length] for length in range(len(packed))] + [packed + b"\0"]:
                with self.assertRaises(Malformed):
                    codec.decode(bad)
                with self.assertRaises(construct.ConstructError):
                    codec.layout.parse(bad)

    def test_other_version(self) -> None:
        """A version byte that is not ours is named as such (S39)."""
        for codec in CODECS:
            packed = codec.layout.build({name: _example(kind) for name, kind in codec.fields})
            with self.assertRaises(UnknownVersion):
                codec.decode(bytes([codec.version + 1]) + packed[1:])

    def test_limits(self) -> None:
        """Lengths and counts above their limits are refused in both directions, before anything is sliced."""
        cases: list[tuple[Kind, Any, bytes]] = [
            (Blob(2), b"abc", b"\0\3abc"),
            (Text(2), "abc", b"\0\3abc"),
            (Many(U8, 2), (1, 2, 3), b"\0\3\1\2\3"),
        ]
        for kind, value, packed in cases:
            with self.assertRaises(Malformed):
                kind.pack(value, [])
            with self.assertRaises(Malformed):
                kind.unpack(packed, 0)
        with self.assertRaises(Malformed):
            Text(9).unpack(b"\0\1\xff", 0)
        with self.assertRaises(Malformed):
            Optional(U8).unpack(b"\2\0", 0)
        with self.assertRaises(Malformed):
            records.replica_codec.encode(records.ReplicaRecord(-1, 0))

    def test_golden_bytes(self) -> None:
        """Version 1 of each record and command is these bytes for ever."""
        chunk = records.ChunkRecord(5, 1, True, 9, b"s" * 32, (1, 2), (7,))
        self.assertEqual(
            records.chunk_codec.encode(chunk).hex(),
            "010000000000000005000000010100000009" + "73" * 32 + "00020000000100000002000100000007",
        )
        upload = records.UploadRecord("ab", None, 65536, 3, 2, 1, 4, 5, 6, 7, 8)
        self.assertEqual(
            records.upload_codec.encode(upload).hex(),
            "010002616200000100000302000000010000000400000000000000050000000600000000000000070000000000000008",
        )
        self.assertEqual(
            commands.encode_command(3, commands.AllocateChunks(1, 2, 3, ((1, 2), ()))).hex(),
            "03000000000000000301000000000000000100000002000000030002000200000001000000020000",
        )

    def test_failures_travel(self) -> None:
        """A DFSError comes out as it went in, cut to its bound; one of an unknown code as InternalError."""
        encoded = answers.encode_answer(FileNotFound("é" * 4096, "look again"))
        with self.assertRaises(FileNotFound) as caught:
            answers.decode_answer(encoded)
        self.assertEqual((caught.exception.message, caught.exception.hint), ("é" * 2048, "look again"))
        odd = b"\0" + answers.failure_codec.encode(answers.Failure(250, "m", ""))
        with self.assertRaises(InternalError):
            answers.decode_answer(odd)
        for bad in (b"", b"\xc8\1"):
            with self.assertRaises(Malformed):
                answers.decode_answer(bad)


def _example(kind: Kind) -> Any:
    """Some value of a field, with every part present."""
    if isinstance(kind, Fixed):
        if kind.code == "?":
            return True
        return 1 if kind.code in _BITS else b"x" * int(kind.code[:-1])
    if isinstance(kind, Text):
        return "abc"
    if isinstance(kind, Blob):
        return b"abc"
    if isinstance(kind, Optional):
        return _example(kind._kind)
    if isinstance(kind, Many):
        return [_example(kind._kind)]
    assert isinstance(kind, Fields)
    return {name: _example(each) for name, each in kind.fields}
