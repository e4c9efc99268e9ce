"""Tests of the batch file's bytes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.batchfile import decode_payload, encode_record
from dfs.kv.errors import StoreCorrupt

GOLDEN = bytes.fromhex(
    "000000180000001c6466736261746301000000000000000500000000000000080000000100000002"
    "61313121d77f8d00000001ffffffff6271beeff93b9f1605"
)
"""Version 1: batch 5, synced to 8, puts a=11 and deletes b."""


class RecordTests(SynchronousTestCase):
    """The layout is fixed."""

    def test_golden(self) -> None:
        """The bytes of a batch record are those of the documented layout."""
        record, places = encode_record(5, 8, [(b"a", b"11"), (b"b", None)], 100)
        self.assertEqual(record.hex(), GOLDEN.hex())
        self.assertEqual(places, [(b"a", 141, 2), (b"b", 156, -1)])
        self.assertEqual(list(decode_payload(record[32:-4], 132)), places)

    def test_impossible_lengths(self) -> None:
        """A payload whose lengths lead out of it is damage, not an endless loop."""
        for payload in (b"\x00\x00\x00\x00" + bytes(8), b"\xff" * 12, b"\x00\x00\x00\x01\x00\x00\x00\x09a123456789"):
            self.assertRaises(StoreCorrupt, list, decode_payload(payload, 0))
