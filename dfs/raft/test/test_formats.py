"""The bytes on disk: golden, equal to their construct declarations, and closed against damage."""

from __future__ import annotations

from construct import Struct
from twisted.trial.unittest import SynchronousTestCase

from dfs.raft import hardstate, identity, incoming, log, log_format, twin
from dfs.raft.codec import encode_entry
from dfs.raft.core.types import HardState
from dfs.raft.identity import Identity
from dfs.raft.log_format import BadRecord
from dfs.raft.messages import EntryKind

ENTRIES = [encode_entry(8, 3, EntryKind.COMMAND, b"one", 0), encode_entry(9, 3, EntryKind.NOOP, b"", 0)]
SEGMENT = (
    "01a50000deadbeef0000000000000005696e6361726e6174696f6e2d31362d62"
    "0000000000000011"
)
BATCH = "01b7000000000002000000000000001100000000000000070000000000000006"
TWIN = "01010017" + "0000000000000002"
HARD = "0000000000000007" + "0000000000000005" + "0005" + "6d6574612d"


def segment() -> tuple[bytes, int]:
    return log_format.encode_segment_header(0xDEADBEEF, 5, b"incarnation-16-b", 17)


def batch(seed: int) -> bytes:
    return b"".join(log_format.encode_batch(seed, seed, 17, 7, 6, ENTRIES)[0])


class GoldenTests(SynchronousTestCase):
    """Version 1 of every record, byte for byte."""

    def test_segment_header(self) -> None:
        """A segment header is 44 bytes in a sector of its own."""
        sector, checksum = segment()
        self.assertEqual(sector[:40].hex(), SEGMENT)
        self.assertEqual(sector[40:44], checksum.to_bytes(4, "big"))
        self.assertEqual((len(sector), sector[44:].strip(b"\0")), (512, b""))
        self.assertEqual(checksum, 0xE1CE234E)

    def test_batch(self) -> None:
        """A batch is a header of 48 bytes, the entries as peers get them, and zeros to the end of the sector."""
        data = batch(0x16DF3DAC)
        body = b"".join(entry.encoded for entry in ENTRIES)
        self.assertEqual(data[:32].hex(), BATCH)
        self.assertEqual(data[32:40].hex(), f"{len(body):08x}16df3dac")
        self.assertEqual(data[40:48].hex(), "7d951e6c34b9c6b3")
        self.assertEqual(data[48 : 48 + len(body)], body)
        self.assertEqual((len(data), data[48 + len(body) :].strip(b"\0")), (512, b""))

    def test_term_and_vote(self) -> None:
        """Term, commit index and vote in a copy of a twin record."""
        payload = hardstate.encode_hard_state(HardState(7, "meta-"), 5)
        self.assertEqual(payload.hex(), HARD)
        copy = twin.encode_copy(hardstate.KIND, 2, payload)
        self.assertEqual(copy[:12].hex(), TWIN)
        self.assertEqual(copy[16:], payload)
        self.assertEqual(hardstate.decode_hard_state(payload), (HardState(7, "meta-"), 5))

    def test_identity(self) -> None:
        """Cluster, incarnation, node and the payload of entry 1."""
        found = Identity("a", b"c" * 16, b"i" * 16, b"payload")
        data = identity.encode_identity(found)
        self.assertEqual(data, b"\x01" + b"c" * 16 + b"i" * 16 + b"\0\x01apayload")
        self.assertEqual(identity.decode_identity(data), found)


class DeclarationTests(SynchronousTestCase):
    """The construct declarations and the fast paths are equal."""

    def check(self, layout: Struct, data: bytes, **fields: object) -> None:
        parsed = layout.parse(data)
        self.assertEqual({name: parsed[name] for name in fields}, fields)
        self.assertEqual(layout.build(parsed), data)

    def test_declarations(self) -> None:
        """Each record parses under its declaration to the values that went in, and builds back to the same bytes."""
        sector, seed = segment()
        self.check(
            log_format.segment_layout, sector[:44], link=0xDEADBEEF, sequence=5, first_batch=17, checksum=seed
        )
        data = batch(seed)
        header = log_format.decode_batch_header(data, seed)
        self.check(
            log_format.batch_layout, data[:48], count=2, number=17, cut=7, commit=6, body_length=header.body_length,
            link=seed, body_checksum=header.body_checksum, checksum=header.checksum,
        )  # fmt: skip
        payload = hardstate.encode_hard_state(HardState(7, "meta-"), 5)
        self.check(hardstate.hard_state_layout, payload, term=7, commit=5, vote=b"meta-")
        self.check(twin.copy_layout, twin.encode_copy(1, 2, payload), kind=1, sequence=2, payload=payload)
        found = identity.encode_identity(Identity("a", b"c" * 16, b"i" * 16, b"payload"))
        self.check(identity.identity_layout, found, node=b"a", configuration=b"payload")
        declared = log.boundary_layout.build(
            {"base_index": 1, "base_term": 2, "first_segment": 3, "configuration": b"who"}
        )
        self.assertEqual(declared, log._BOUNDARY.pack(1, 2, 3) + b"who")
        declared = incoming.incoming_layout.build({"index": 1, "term": 2, "configuration": b"who"})
        self.assertEqual(declared, incoming._HEAD.pack(1, 2) + b"who")


class DamageTests(SynchronousTestCase):
    """Cut at any byte or with any bit flipped, each record is refused (R30)."""

    def test_segment_header(self) -> None:
        """A damaged segment header is a BadRecord."""
        sector, _ = segment()
        for offset in range(44):
            for bit in range(8):
                damaged = bytearray(sector)
                damaged[offset] ^= 1 << bit
                self.assertRaises(BadRecord, log_format.decode_segment_header, bytes(damaged))
            self.assertRaises(BadRecord, log_format.decode_segment_header, sector[:offset])

    def test_batch(self) -> None:
        """A damaged batch is a BadRecord, wherever the damage is."""
        seed = segment()[1]
        data = batch(seed)
        length = 48 + sum(len(entry.encoded) for entry in ENTRIES)

        def decode(damaged: bytes) -> object:
            return log_format.decode_entries(memoryview(damaged), log_format.decode_batch_header(damaged, seed))

        self.assertEqual(decode(data), ENTRIES)
        for offset in range(length):
            for bit in range(8):
                damaged = bytearray(data)
                damaged[offset] ^= 1 << bit
                self.assertRaises(BadRecord, decode, bytes(damaged))
            self.assertRaises(BadRecord, decode, data[:offset])

    def test_foreign_batch(self) -> None:
        """R30: a batch of another segment, or a batch inside a payload, is not one of this segment."""
        self.assertRaises(BadRecord, log_format.decode_batch_header, batch(1), 2)

    def test_twin(self) -> None:
        """A damaged copy of a twin record is none."""
        copy = twin.encode_copy(1, 2, b"payload")
        self.assertEqual(twin.decode_copy(1, copy + b"more"), twin.Copy(2, b"payload"))
        self.assertIsNone(twin.decode_copy(2, copy))
        for offset in range(len(copy)):
            damaged = bytearray(copy)
            damaged[offset] ^= 0x10
            self.assertIsNone(twin.decode_copy(1, bytes(damaged)))
            self.assertIsNone(twin.decode_copy(1, copy[:offset]))
