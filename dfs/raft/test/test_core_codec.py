"""Messages, entries and the founding as bytes."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import evolve
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.raft import layout
from dfs.raft.codec import (
    MAX_MESSAGE,
    MAX_PAYLOAD,
    CodecError,
    decode_entry,
    decode_message,
    encode_entry,
    encode_message,
    entry_length,
)
from dfs.raft.membership import Configuration, decode_configuration, encode_configuration, fits, without
from dfs.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    Message,
    ReadReply,
    ReadRequest,
    RemovedNotice,
    SnapshotPiece,
    SnapshotProgress,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
short = st.binary(max_size=60)
flag = st.booleans()
entries = st.builds(encode_entry, u64, u64, st.sampled_from(EntryKind), short, u32)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(VoteRequest, u64, u64, u64, flag, flag),
    st.builds(VoteReply, u64, flag, flag),
    st.builds(AppendRequest, u64, u64, u64, u64, u64, st.lists(entries, max_size=4).map(tuple)),
    st.builds(AppendReply, u64, u64, flag, u64, u64, u64, flag),
    st.builds(SnapshotPiece, u64, u64, u64, u64, flag, short, short),
    st.builds(SnapshotReply, u64, u64, u64, st.sampled_from(SnapshotProgress)),
    st.builds(TimeoutNow, u64),
    st.builds(ReadRequest, u64, u64, u64),
    st.builds(ReadReply, u64, u64, u64, u64),
    st.builds(RemovedNotice, u64),
)
KINDS = {
    VoteRequest: (1, ("pre", "transfer")),
    VoteReply: (2, ("granted", "pre")),
    AppendRequest: (3, ()),
    AppendReply: (4, ("accepted", "wants_snapshot")),
    SnapshotPiece: (5, ("last",)),
    SnapshotReply: (6, ()),
    TimeoutNow: (7, ()),
    ReadRequest: (8, ()),
    ReadReply: (9, ()),
    RemovedNotice: (10, ()),
}
ONE = encode_entry(7, 3, EntryKind.COMMAND, b"hello", 0xDEADBEEF)
GOLDEN: list[tuple[Message, str]] = [
    (
        VoteRequest(5, 4, 3, True, False),
        "012a1409030100000000000000050000000000000004000000000000000301",
    ),
    (
        VoteReply(5, True, False),
        "01dfde0b7802000000000000000501",
    ),
    (
        AppendReply(5, 9, False, 4, 3, 2),
        "01f5a60620040000000000000005000000000000000009000000000000000400000000000000030000000000000002",
    ),
    (
        AppendRequest(5, 6, 3, 2, 9, (ONE,)),
        "014cf4f69303000000000000000500000000000000060000000000000003000000000000000200000000000000090000"
        "0001010100000000000000070000000000000003deadbeef000000059fda26a068656c6c6f",
    ),
    (
        SnapshotPiece(5, 4, 3, 2, True, b"c", b"data"),
        "018461ffb00500000000000000050000000000000004000000000000000300000000000000020100000001000000046364617461",
    ),
    (
        SnapshotReply(5, 4, 3, SnapshotProgress.INSTALLED),
        "01ea5d952e0600000000000000050000000000000004000000000000000301",
    ),
    (
        AppendReply(5, 9, True, 4, wants_snapshot=True),
        "01e379078f040000000000000005030000000000000009000000000000000400000000000000000000000000000000",
    ),
    (
        TimeoutNow(5),
        "014974b2a5070000000000000005",
    ),
    (
        ReadRequest(5, 4, 3),
        "0181ff7f8c08000000000000000500000000000000040000000000000003",
    ),
    (
        ReadReply(5, 4, 3, 2),
        "010f7a5ef6090000000000000005000000000000000400000000000000030000000000000002",
    ),
    (
        RemovedNotice(5),
        "01dbf654490a0000000000000005",
    ),
]


def declared_entry(entry: Entry) -> dict[str, Any]:
    """An entry's fields as the layout names them."""
    return {
        "kind": int(entry.kind),
        "index": entry.index,
        "term": entry.term,
        "previous": entry.previous,
        "length": len(entry.payload),
        "checksum": entry.checksum,
        "payload": entry.payload,
    }


def declared(message: Message) -> bytes:
    """A message as the declared layout encodes it."""
    kind, flags = KINDS[type(message)]
    fields: dict[str, Any] = {field.name: getattr(message, field.name) for field in attrs.fields(type(message))}
    fields["flags"] = {name: fields[name] for name in flags}
    if isinstance(message, AppendRequest):
        fields["entries"] = [declared_entry(entry) for entry in message.entries]
    if isinstance(message, SnapshotPiece):
        fields["configuration_length"], fields["data_length"] = len(message.configuration), len(message.data)
    if isinstance(message, SnapshotReply):
        fields["progress"] = int(message.progress)
    body = layout.BODY.build({"kind": kind, "term": message.term, "fields": fields})
    return bytes(layout.MESSAGE.build({"checksum": crc32c(body), "body": body}))


class MessageCodecTests(SynchronousTestCase):
    """encode_message and decode_message."""

    @settings(max_examples=300, deadline=None)
    @given(messages)
    def test_equals_the_declared_layout(self, message: Message) -> None:
        """The fast path writes exactly the declared bytes and reads them back."""
        encoded = encode_message(message)
        self.assertEqual(encoded, declared(message))
        self.assertEqual(decode_message(encoded), message)

    def test_golden_bytes(self) -> None:
        """The bytes of version 1 never change."""
        for message, golden in GOLDEN:
            self.assertEqual(encode_message(message).hex(), golden)
            self.assertEqual(decode_message(bytes.fromhex(golden)), message)

    def test_every_cut_and_every_flipped_bit_is_an_error(self) -> None:
        """R64: damage anywhere is a CodecError and nothing else."""
        for message, _ in GOLDEN:
            encoded = encode_message(message)
            for length in range(len(encoded)):
                self.assertRaises(CodecError, decode_message, encoded[:length])
            for bit in range(len(encoded) * 8):
                damaged = bytearray(encoded)
                damaged[bit // 8] ^= 1 << bit % 8
                self.assertRaises(CodecError, decode_message, bytes(damaged))
            self.assertRaises(CodecError, decode_message, encoded + b"\0")

    def test_nonsense_with_a_right_checksum_is_an_error(self) -> None:
        """R64: unknown kinds and flags, counts and lengths beyond the bytes that are there, trailing bytes."""
        term = bytes(8)
        bodies = [
            b"\x00" + term,
            b"\x07" + term + b"\x00",
            b"\x0b" + term,
            b"\x01" + term + bytes(16) + b"\x04",
            b"\x02" + term + b"\x80",
            b"\x04" + term + b"\x04" + bytes(32),
            b"\x03" + term + bytes(32) + b"\xff\xff\xff\xff",
            b"\x03" + term + bytes(32) + bytes(4) + b"\x00",
            b"\x05" + term + bytes(24) + b"\x00" + b"\xff\xff\xff\xff" * 2,
            b"\x06" + term + bytes(16) + b"\x03",
            b"",
        ]
        for body in bodies:
            payload = b"\x01" + crc32c(body).to_bytes(4, "big") + body
            self.assertRaises(CodecError, decode_message, payload)

    def test_a_message_of_the_largest_entry_fits_the_transport(self) -> None:
        """One entry of 1 MiB, and one piece of 1 MiB with a configuration, can be carried."""
        entry = encode_entry(1, 1, EntryKind.COMMAND, bytes(MAX_PAYLOAD), 0)
        piece = SnapshotPiece(1, 1, 1, 0, False, bytes(2048), bytes(1 << 20))
        for message in (AppendRequest(1, 0, 0, 0, 0, (entry,)), piece):
            encoded = encode_message(message)
            self.assertLessEqual(len(encoded), MAX_MESSAGE)
            self.assertEqual(decode_message(encoded), message)


class EntryCodecTests(SynchronousTestCase):
    """encode_entry and decode_entry."""

    @settings(max_examples=200, deadline=None)
    @given(entries, short)
    def test_equals_the_declared_layout(self, entry: Entry, before: bytes) -> None:
        """R30: an entry's bytes are those declared, at any offset, and tell their length from the header."""
        self.assertEqual(entry.encoded, bytes(layout.ENTRY.build(declared_entry(entry))))
        found = decode_entry(before + entry.encoded + b"more", len(before))
        self.assertEqual(found, entry)
        self.assertEqual(
            (found.index, found.term, found.kind, found.previous, found.checksum, found.payload),
            (entry.index, entry.term, entry.kind, entry.previous, entry.checksum, entry.payload),
        )
        self.assertEqual(entry_length(entry.encoded[:30]), len(entry.encoded))

    def test_damage_is_found(self) -> None:
        """R30: every cut and every flipped bit of an entry is a CodecError."""
        for length in range(len(ONE.encoded)):
            self.assertRaises(CodecError, decode_entry, ONE.encoded[:length])
        for bit in range(len(ONE.encoded) * 8):
            damaged = bytearray(ONE.encoded)
            damaged[bit // 8] ^= 1 << bit % 8
            self.assertRaises(CodecError, decode_entry, bytes(damaged))

    def test_too_large_a_payload_is_refused(self) -> None:
        """No entry is made that could not be carried."""
        self.assertRaises(ValueError, encode_entry, 1, 1, EntryKind.COMMAND, bytes(MAX_PAYLOAD + 1), 0)


class ConfigurationTests(SynchronousTestCase):
    """What configuration entries hold."""

    founders = Configuration(("a:1", "b:1", "c:1"), ("d:1",), cluster=bytes(range(16)), level=3)
    changed = Configuration(
        ("a", "c"), ("e",), (("a", "h:1"), ("e", "h:5")), ("b", "d"), cluster=bytes(range(16)), level=3
    )

    def test_founders_equal_the_declared_layout(self) -> None:
        """R35: cluster id, level and members survive, byte for byte as declared."""
        c = self.founders
        declared = layout.FOUNDERS.build(
            {"cluster": c.cluster, "level": 3, "voters": c.voters, "learners": c.learners}
        )
        self.assertEqual(encode_configuration(c), declared)
        self.assertEqual(decode_configuration(declared), c)

    def test_changed_equal_the_declared_layout(self) -> None:
        """R35: so do contacts and the names that were removed, once anything was changed."""
        c = self.changed
        members = [
            {"learner": name in c.learners, "name": name, "contact": c.contact(name)} for name in sorted(c.members)
        ]
        declared = layout.CONFIGURATION.build(
            {"cluster": c.cluster, "level": 3, "members": members, "removed": c.removed}
        )
        self.assertEqual(encode_configuration(c), declared)
        self.assertEqual(decode_configuration(declared), c)

    def test_order_of_members_does_not_matter(self) -> None:
        """S28: founders that list the members in another order make the same entry 1."""
        other = evolve(self.founders, voters=("c:1", "a:1", "b:1"))
        self.assertEqual(encode_configuration(other), encode_configuration(self.founders))

    def test_damage_is_an_error(self) -> None:
        """Every cut, a trailing byte, a bad role and a name that is not text are CodecErrors."""
        for configuration in (self.founders, self.changed):
            payload = encode_configuration(configuration)
            for length in range(len(payload)):
                self.assertRaises(CodecError, decode_configuration, payload[:length])
            self.assertRaises(CodecError, decode_configuration, payload + b"\0")
            self.assertRaises(CodecError, decode_configuration, payload.replace(b"a", b"\xff"))
            self.assertRaises(CodecError, decode_configuration, payload + bytes(5000))
        self.assertRaises(CodecError, decode_configuration, payload[:20] + b"\2" + payload[21:])

    def test_bad_member_lists_are_refused(self) -> None:
        """No voters, doubles, empty or long names and too many members make no configuration."""
        for voters in [(), ("a", "a"), ("",), ("x" * 256,), tuple("abcdefgh")]:
            self.assertRaises(ValueError, encode_configuration, Configuration(voters))
        self.assertRaises(ValueError, encode_configuration, Configuration(("a",), removed=("a",)))
        self.assertRaises(ValueError, encode_configuration, Configuration(("a",), cluster=b"short"))

    def test_members_are_let_in_only_while_their_removal_fits(self) -> None:
        """R54: there is always room to remove whoever was let in, however many were removed before."""
        configuration = Configuration(("a",), removed=tuple(f"removed-{number:04}" for number in range(280)))
        while fits(configuration):
            more = f"more-{len(configuration.removed)}"
            configuration = evolve(configuration, removed=(*configuration.removed, more))
        configuration = evolve(configuration, removed=configuration.removed[:-1])
        for name in ("b", "c"):
            self.assertFalse(fits(evolve(configuration, voters=("a", name * 200))))
        last = without(evolve(configuration, voters=("b",), removed=(*configuration.removed, "a")), "x")
        self.assertEqual(decode_configuration(encode_configuration(last)).removed, tuple(sorted(last.removed)))
