"""The bytes of segments and records."""

from __future__ import annotations

from attrs import evolve
from crc32c import crc32c
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import records
from dfs.chunkserver.records import ASIDE, BODY, PAGE, REMOVED, REPLICA, NewerRecord, Place, RecordHead, SegmentHead
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import FileId, Generation

HEAD = RecordHead(
    REPLICA,
    1,
    Place(3, 8192),
    b"12345678",
    4096,
    1112,
    HeldReplica(FileId(5), 2, Generation(9), 1000, bytes(range(32)), 77),
)
GOLDEN = (
    "01444652 01 01 0000 00000003 00002000 3132333435363738 00001000 00000458 0000000000000005 00000002"
    "0000000000000009 000000000000004d 000003e8 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)
SEGMENT = SegmentHead(3, bytes(range(16)), b"12345678")
SEGMENT_GOLDEN = "01444647 00000003 000102030405060708090a0b0c0d0e0f 3132333435363738"


class RecordTests(SynchronousTestCase):
    def test_golden(self) -> None:
        """The bytes of both heads are those of doc/formats-chunk.md (S39)."""
        body = bytes.fromhex(GOLDEN)
        self.assertEqual(records.encode_head(HEAD), (body + crc32c(body).to_bytes(4, "big")).ljust(BODY, b"\0"))
        body = bytes.fromhex(SEGMENT_GOLDEN)
        page = (body + crc32c(body).to_bytes(4, "big")).ljust(PAGE, b"\0")
        self.assertEqual(records.encode_segment(SEGMENT), page)
        self.assertEqual(records.decode_segment(page), SEGMENT)

    def test_round_trip(self) -> None:
        """Each kind of head is read as it was written, in its place only."""
        for kind in (REPLICA, REMOVED, ASIDE):
            head = evolve(HEAD, kind=kind)
            content = records.encode_head(head)
            self.assertEqual(records.decode_head(content, head.place, head.nonce), head)
            self.assertEqual(records.decode_head(content, head.place, None), head)
            self.assertIsNone(records.decode_head(content, Place(3, 4096), head.nonce))
            self.assertIsNone(records.decode_head(content, Place(4, 8192), head.nonce))
            self.assertIsNone(records.decode_head(content, head.place, b"87654321"))

    def test_flipped_and_cut(self) -> None:
        """A head with any bit flipped, or cut at any byte, is none (S11)."""
        for content, length, decode in (
            (records.encode_head(HEAD), 100, lambda raw: records.decode_head(raw, HEAD.place, None)),
            (records.encode_segment(SEGMENT), 36, records.decode_segment),
        ):
            for at in range(length):
                self.assertIsNone(decode(content[:at]), at)
                for bit in range(8):
                    flipped = bytearray(content)
                    flipped[at] ^= 1 << bit
                    self.assertIsNone(decode(bytes(flipped)), (at, bit))

    def test_newer(self) -> None:
        """What a newer program wrote is told, not taken for damage (S39)."""
        for content, decode in (
            (records.encode_head(HEAD), lambda raw: records.decode_head(raw, HEAD.place, None)),
            (records.encode_segment(SEGMENT), records.decode_segment),
        ):
            length = 96 if content[3:4] == b"R" else 32
            newer = b"\x02" + content[1:length]
            self.assertRaises(NewerRecord, decode, newer + crc32c(newer).to_bytes(4, "big"))

    def test_size(self) -> None:
        """A record takes whole pages."""
        sizes = [records.record_size(body) for body in (0, PAGE - BODY, PAGE - BODY + 1)]
        self.assertEqual(sizes, [PAGE, PAGE, 2 * PAGE])
