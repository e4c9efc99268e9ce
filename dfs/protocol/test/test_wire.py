"""Messages to bytes and back."""

from __future__ import annotations

from typing import Any

import attrs
from construct import ConstructError
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol import messages, wire
from dfs.protocol.errors import BadRequest, DFSError, UnknownRequest
from dfs.protocol.layout import Text, parse_exactly
from dfs.protocol.limits import MAX_COMMITS, MAX_NODES
from dfs.protocol.messages import CommitChunks, GetFile, GetStatus, Lease, Operation, ReplaceChunk
from dfs.protocol.test.samples import golden, samples, values
from dfs.protocol.values import FileId, Generation, Purpose, Role
from dfs.protocol.wire import TABLE

FEW = settings(max_examples=25, deadline=None, database=None)


def interpreted(code: int, data: bytes) -> Any:
    """What construct's interpreter makes of bytes; None for an error."""
    try:
        return parse_exactly(TABLE[code].record, data)
    except ConstructError:
        return None


def compiled(code: int, data: bytes) -> Any:
    """What the codec makes of bytes; None for a clean error."""
    try:
        return wire.decode(code, data)
    except DFSError:
        return None


class GoldenTests(SynchronousTestCase):
    def test_bytes_never_change(self) -> None:
        """Every message has the bytes that are checked in, so that a changed layout is noticed (S39)."""
        expected = golden()
        for code, variant, message in samples():
            self.assertEqual(wire.encode(message).hex(), expected[code, variant].hex(), f"{message}")
            self.assertEqual(wire.decode(code, expected[code, variant]), message)
        self.assertEqual(len(expected), 2 * len(TABLE))

    def test_cut_anywhere(self) -> None:
        """A message cut at any byte, or with one byte more, is refused by codec and declaration (S43)."""
        for (code, _), data in golden().items():
            for length in range(len(data)):
                self.assertRaises(BadRequest, wire.decode, code, data[:length])
            self.assertRaises(BadRequest, wire.decode, code, data + b"\0")
            for length in {0, len(data) // 3, len(data) - 1} - {len(data), -1}:
                self.assertIsNone(interpreted(code, data[:length]))

    def test_any_bit_flipped(self) -> None:
        """With any bit flipped a message is refused or is another message, and encodes to just those bytes (S43)."""
        for (code, _), data in golden().items():
            for bit in range(8 * len(data)):
                flipped = bytearray(data)
                flipped[bit // 8] ^= 1 << bit % 8
                found = compiled(code, bytes(flipped))
                if found is not None:
                    self.assertEqual(wire.encode(found), bytes(flipped))
                if bit % 61 == 0:
                    self.assertEqual(found, interpreted(code, bytes(flipped)))


class TableTests(SynchronousTestCase):
    def test_every_message_has_a_code(self) -> None:
        """Every class of dfs.protocol.messages is in the table or is a field of one that is."""
        reached: set[type[Any]] = set()

        def walk(kind: Any) -> None:
            if hasattr(kind, "cls"):
                reached.add(kind.cls)
                for field in kind.kinds.values():
                    walk(field)
            elif hasattr(kind, "kind"):
                walk(kind.kind)

        for entry in TABLE.values():
            walk(entry.record)
        declared = {
            found for found in vars(messages).values() if isinstance(found, type) and attrs.has(found)
        }
        self.assertEqual(declared - reached, set())

    def test_requests_and_answers(self) -> None:
        """Requests lie below 0x80 and name answers that are in the table; answers lie above and nobody may ask them."""
        for code, entry in TABLE.items():
            self.assertEqual(wire.is_request(code), code < 0x80)
            self.assertEqual(bool(entry.answers), code < 0x80)
            for answer in entry.answers:
                self.assertGreaterEqual(wire.code_of(answer), 0x80)

    def test_strangers(self) -> None:
        """A client may ask for nothing that only nodes may say."""
        for cls in (messages.Register, messages.Heartbeat, messages.Inventory, CommitChunks, messages.AddReplicas):
            self.assertFalse(wire.may_ask(Role.CLIENT, Purpose.CONTROL, wire.code_of(cls)))
            self.assertTrue(wire.may_ask(Role.CHUNK, Purpose.CONTROL, wire.code_of(cls)))
        self.assertTrue(wire.may_ask(Role.CLIENT, Purpose.CONTROL, wire.code_of(messages.CreateUpload)))

    def test_unknown_code(self) -> None:
        """A code of a newer version is refused as unknown, not as malformed (S39)."""
        self.assertRaises(UnknownRequest, wire.decode, 0x7F, b"")


class LimitTests(SynchronousTestCase):
    def test_counts_are_checked_before_reading(self) -> None:
        """A count above its limit is refused although its items never come (S43)."""
        code = wire.code_of(CommitChunks)
        error = self.assertRaises(BadRequest, wire.decode, code, (MAX_COMMITS + 1).to_bytes(2, "big"))
        self.assertIn("limit", error.message)
        error = self.assertRaises(BadRequest, wire.decode, wire.code_of(GetFile), b"\x01\xff\xff")
        self.assertIn("limit", error.message)

    def test_values_beyond_their_limit_are_not_sent(self) -> None:
        """A value that the peer would refuse is refused at home, with a sentence."""
        operation = Operation(bytes(16), 1, 0)
        many = ("chunk",) * (MAX_NODES + 1)
        for message in (
            ReplaceChunk(operation, FileId(1), 1, 0, Generation(1), many),
            GetFile("x" * 4097, None),
            GetFile("\ud800", None),
            Lease(2**32),
            Lease(-1),
            messages.AbortUpload(Operation(bytes(15), 1, 0), FileId(1), 1),
        ):
            self.assertRaises(BadRequest, wire.encode, message)

    def test_not_utf8(self) -> None:
        """A name that is no UTF-8 is refused (S44)."""
        self.assertRaises(BadRequest, wire.decode, wire.code_of(GetFile), b"\x01\x00\x01\xff\x00")

    def test_presence_is_zero_or_one(self) -> None:
        """A presence byte of 2 is refused: every message has one encoding."""
        self.assertRaises(BadRequest, wire.decode, wire.code_of(GetFile), b"\x00\x02")

    def test_empty_message(self) -> None:
        """A message without fields has no bytes."""
        self.assertEqual(wire.encode(GetStatus()), b"")


class EqualityTests(SynchronousTestCase):
    """The compiled codec is equal to construct's interpretation of the same declaration."""

    def test_values(self) -> None:
        """Any value of any message has the same bytes by both, and comes back by both."""
        for code, entry in TABLE.items():
            self.check_values(code, entry.record)

    def check_values(self, code: int, record: Any) -> None:
        @FEW
        @given(values(record))
        def check(message: Any) -> None:
            data = wire.encode(message)
            self.assertEqual(record.build(message), data)
            self.assertEqual(wire.decode(code, data), message)
            self.assertEqual(interpreted(code, data), message)

        check()

    def test_noise(self) -> None:
        """Any bytes are taken for the same value, or refused, by both."""

        @settings(max_examples=300, deadline=None, database=None)
        @given(st.sampled_from(sorted(TABLE)), st.binary(max_size=120))
        def check(code: int, data: bytes) -> None:
            self.assertEqual(compiled(code, data), interpreted(code, data))

        check()

    def test_limits(self) -> None:
        """A text above its limit is refused by the declaration as by the codec."""
        self.assertRaises(ConstructError, Text(3).build, "four")
        self.assertRaises(ConstructError, Text(3).parse, b"\x00\x04four")
