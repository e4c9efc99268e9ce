"""Tests of the engine-neutral stream of pairs."""

from __future__ import annotations

import tracemalloc

from crc32c import crc32c
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.errors import BadStream
from dfs.kv.interfaces import MAX_KEY, MAX_VALUE, Batch
from dfs.kv.memory import MemoryStore
from dfs.kv.stream import BLOCK, MAX_HEADER, SnapshotLoader, SnapshotWriter

GOLDEN = bytes.fromhex("0164667353000000032780595068647201000000154adaf856000000010000000261313100000001000000016232")
"""Version 1: header ``hdr``, pairs a=11 and b=2; the end block follows."""


def filled(changes: dict[bytes, bytes | None]) -> MemoryStore:
    """A store with these pairs."""
    store = MemoryStore()
    store.apply(Batch(changes))
    return store


def stream_of(store: MemoryStore, header: bytes = b"hdr", limit: int = 1 << 16) -> bytes:
    """The whole stream."""
    snapshot = store.snapshot()
    writer = SnapshotWriter(snapshot, header)
    pieces = []
    while piece := writer.read(limit):
        pieces.append(piece)
    snapshot.close()
    return b"".join(pieces)


def block(kind: int, payload: bytes) -> bytes:
    """A block with a right checksum."""
    head = bytes((kind,)) + len(payload).to_bytes(4, "big")
    return head + crc32c(payload, crc32c(head)).to_bytes(4, "big") + payload


def pair(key: bytes, value: bytes) -> bytes:
    """A pair of a block."""
    return len(key).to_bytes(4, "big") + len(value).to_bytes(4, "big") + key + value


class StreamTests(SynchronousTestCase):
    """What goes in comes out, or an error does."""

    def setUp(self) -> None:
        self.made: list[MemoryStore] = []

    def factory(self) -> MemoryStore:
        self.made.append(MemoryStore())
        return self.made[-1]

    def load(self, content: bytes, size: int = 1 << 20) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        loader = SnapshotLoader(self.factory)
        for start in range(0, len(content), size):
            loader.receive(content[start : start + size])
        header, store = loader.finish()
        return header, store.scan(b"", None, 1_000_000)

    def test_golden(self) -> None:
        """The bytes of version 1 are fixed."""
        stream = stream_of(filled({b"a": b"11", b"b": b"2"}))
        self.assertEqual(stream[: len(GOLDEN)].hex(), GOLDEN.hex())
        self.assertEqual(len(stream), len(GOLDEN) + 9 + 40)

    def test_round_trip(self) -> None:
        """Any store comes out again from pieces of any size, with the owner's header (S32)."""
        stores = [{}, {b"a": b""}, {b"%04d" % i: b"v" * i for i in range(400)}]
        stores.append({b"k" * MAX_KEY: b"v" * MAX_VALUE, b"l": b"w" * MAX_VALUE})
        for changes in stores:
            store = filled(dict(changes))
            stream = stream_of(store, b"header" * 9, 777)
            for size in (1 if len(stream) < 500 else 13, 4096, 1 << 30):
                self.assertEqual(self.load(stream, size), (b"header" * 9, store.scan(b"")))

    def test_shortest_pairs(self) -> None:
        """A block full of the shortest pairs stays within the bound of a payload."""
        store = filled({bytes((a, b, c)): b"" for a in range(2) for b in range(256) for c in range(256)})
        self.assertEqual(len(self.load(stream_of(store))[1]), 2 << 16)

    def test_pieces_are_as_long_as_asked_for(self) -> None:
        """Every piece has the length asked for, but the last."""
        snapshot = filled({b"%04d" % i: b"v" * 99 for i in range(100)}).snapshot()
        writer = SnapshotWriter(snapshot, b"")
        lengths = [len(piece) for piece in iter(lambda: writer.read(1000), b"")]
        self.assertEqual(set(lengths[:-1]), {1000})
        self.assertEqual(writer.read(1000), b"")

    def test_cut_anywhere(self) -> None:
        """A stream cut at any byte is refused, and its store is closed."""
        stream = stream_of(filled({b"a": b"11", b"b": b"2"}))
        for cut in range(len(stream)):
            self.assertRaises(BadStream, self.load, stream[:cut])
        self.assertTrue(all(store._guard.is_closed for store in self.made))

    def test_any_flipped_bit(self) -> None:
        """Any bit flipped anywhere is a BadStream."""
        stream = stream_of(filled({b"a": b"11", b"b": b"2"}))
        for index in range(len(stream) * 8):
            damaged = bytearray(stream)
            damaged[index // 8] ^= 1 << (index % 8)
            self.assertRaises(BadStream, self.load, bytes(damaged))

    def test_blocks_lost_doubled_or_swapped(self) -> None:
        """Whole blocks that are lost, doubled or out of order are seen, though each is good by itself."""
        store = filled({b"%04d" % i: b"v" * 5000 for i in range(200)})
        stream = stream_of(store)
        head, position = stream[:16], 16
        blocks = []
        while position < len(stream):
            length = 9 + int.from_bytes(stream[position + 1 : position + 5], "big")
            blocks.append(stream[position : position + length])
            position += length
        self.assertTrue(len(blocks) >= 4)
        self.assertEqual(self.load(head + b"".join(blocks))[1], store.scan(b""))
        orders = [blocks[1:], [blocks[0], *blocks], [blocks[1], blocks[0], *blocks[2:]], blocks[:-1], [*blocks, b"x"]]
        for order in orders:
            self.assertRaises(BadStream, self.load, head + b"".join(order))

    def test_lies_under_good_checksums(self) -> None:
        """Lengths, order and limits are checked though every checksum is right."""
        head = stream_of(MemoryStore())[:16]
        payloads = [
            (1, pair(b"a", b"")[:-1]),
            (1, b"\x00" * 8),
            (1, pair(b"b", b"") + pair(b"a", b"")),
            (1, pair(b"a", b"") + pair(b"a", b"")),
            (1, pair(b"k" * (MAX_KEY + 1), b"")),
            (1, pair(b"k", b"v" * (MAX_VALUE + 1))),
            (1, b"\x00\x00"),
            (2, b"short"),
            (2, bytes(40)),
            (3, b""),
        ]
        for kind, payload in payloads:
            loader = SnapshotLoader(self.factory)
            self.assertRaises(BadStream, loader.receive, head + block(kind, payload))

    def test_forged_block(self) -> None:
        """A block replaced by another one that is good by itself is seen by the SHA-256 of the whole (R38)."""
        stream = stream_of(filled({b"a": b"11"}))
        end = stream[-49:]
        for value, accepted in ((b"11", True), (b"12", False)):
            loader = SnapshotLoader(self.factory)
            loader.receive(stream[:16] + block(1, pair(b"a", value)))
            if accepted:
                loader.receive(end)
                self.assertEqual(loader.finish()[1].get(b"a"), b"11")
            else:
                self.assertRaises(BadStream, loader.receive, end)

    def test_lengths_are_bounded_before_they_are_believed(self) -> None:
        """A head or block that claims gigabytes is refused at once."""
        huge = (1 << 31).to_bytes(4, "big")
        for start in (b"\x01dfsS" + huge + bytes(4), stream_of(MemoryStore())[:16] + b"\x01" + huge + bytes(4)):
            loader = SnapshotLoader(self.factory)
            self.assertRaises(BadStream, loader.receive, start)
            self.assertRaises(BadStream, loader.receive, b"more")
            self.assertRaises(BadStream, loader.finish)
        self.assertRaises(ValueError, SnapshotWriter, MemoryStore().snapshot(), bytes(MAX_HEADER + 1))

    def test_memory_of_the_writer(self) -> None:
        """The writer holds a block or two, whatever the state has (S33)."""
        store = filled({b"%05d" % i: b"%d" % i * 200 for i in range(20_000)})
        snapshot = store.snapshot()
        tracemalloc.start()
        try:
            writer = SnapshotWriter(snapshot, b"")
            while writer.read(1 << 16):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertTrue(peak < 6 * BLOCK, peak)
