"""The engine-neutral stream of pairs: how a state travels as a Raft snapshot, and from engine to engine.

All integers are big endian.

==========  =====  ===============================================================
offset      bytes  the head
==========  =====  ===============================================================
0           1      version, 1
1           4      ``dfsS``
5           4      h, length of the owner's header, at most 1 MiB
9           4      CRC-32C of the bytes 0 to 9 and of the header
13          h      the owner's header, opaque here
==========  =====  ===============================================================

==========  =====  ===============================================================
offset      bytes  a block; any number of them
==========  =====  ===============================================================
0           1      kind: 1 pairs, 2 the end
1           4      n, payload bytes, at most 3 MiB
5           4      CRC-32C of the bytes 0 to 5 and of the payload
9           n      kind 1: pairs in ascending order of keys, each two lengths (4, 4),
\\                  key, value; kind 2: pairs in all (8), SHA-256 of every byte of
\\                  the stream before this block (32)
==========  =====  ===============================================================

Both sides hold one block at a time (S32): memory does not grow with the state.
The loader fills a store batch by batch; the store counts as nothing before
:meth:`SnapshotLoader.finish` returned it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from struct import Struct as PlainStruct

from attrs import frozen
from construct import Bytes, Const, Int8ub, Int32ub, Int64ub, Struct
from crc32c import crc32c

from dfs.kv.errors import BadStream
from dfs.kv.interfaces import MAX_KEY, MAX_VALUE, Batch, IKeyValueStore, IStoreSnapshot

VERSION = 1
PAIRS, END = 1, 2
MAX_HEADER = 1 << 20
BLOCK = 256 << 10
MAX_PAYLOAD = 3 << 20  # one largest pair, or a block of the shortest ones with their lengths

# Parsed only from buffers that hold their full size: compiled parsers do not notice a cut.
HEAD = Struct("version" / Int8ub, "magic" / Const(b"dfsS"), "length" / Int32ub, "checksum" / Int32ub).compile()
BLOCK_HEAD = Struct("kind" / Int8ub, "length" / Int32ub, "checksum" / Int32ub).compile()
TRAILER = Struct("count" / Int64ub, "digest" / Bytes(32)).compile()
HEAD_SIZE, BLOCK_HEAD_SIZE, TRAILER_SIZE = 13, 9, 40
_PAIR = PlainStruct("!II")  # once a pair: construct would dominate the cost


@frozen
class StreamSummary:
    """What the end of a stream says of it."""

    count: int
    digest: bytes


def _encode_block(kind: int, payload: bytes) -> bytes:
    checksum = crc32c(payload, crc32c(bytes((kind,)) + len(payload).to_bytes(4, "big")))
    head: bytes = BLOCK_HEAD.build({"kind": kind, "length": len(payload), "checksum": checksum})
    return head + payload


class SnapshotWriter:
    """Gives a snapshot's stream in pieces of the size asked for.  The caller closes the snapshot."""

    def __init__(self, snapshot: IStoreSnapshot, header: bytes) -> None:
        if len(header) > MAX_HEADER:
            raise ValueError(f"the header has {len(header)} bytes; at most {MAX_HEADER} are allowed")
        self._snapshot = snapshot
        self._sha = hashlib.sha256()
        self._count = 0
        self._buffer = bytearray()
        self.summary: StreamSummary | None = None  # once the end was encoded
        start = bytes((VERSION,)) + b"dfsS" + len(header).to_bytes(4, "big")
        checksum = crc32c(header, crc32c(start))
        fields = {"version": VERSION, "length": len(header), "checksum": checksum}
        self._put(HEAD.build(fields) + header)

    def read(self, limit: int) -> bytes:
        """The next at most ``limit`` bytes (fewer only at the end); b"" at the end."""
        while len(self._buffer) < limit and self.summary is None:
            self._put(self._next_block())
        piece = bytes(memoryview(self._buffer)[:limit])
        del self._buffer[:limit]
        return piece

    def _next_block(self) -> bytes:
        pairs = self._snapshot.read(BLOCK)
        if not pairs:
            self.summary = StreamSummary(self._count, self._sha.digest())
            return _encode_block(END, TRAILER.build({"count": self._count, "digest": self.summary.digest}))
        self._count += len(pairs)
        pack = _PAIR.pack
        return _encode_block(PAIRS, b"".join(pack(len(k), len(v)) + k + v for k, v in pairs))

    def _put(self, piece: bytes) -> None:
        self._sha.update(piece)
        self._buffer += piece


class SnapshotLoader:
    """Takes a stream in pieces of any size and fills a new store with it.

    :param store_factory: called once, when the head was verified; gives an empty store, which
        belongs to the loader until :meth:`finish` returns it or :meth:`abort` closes it.

    Every check that fails raises BadStream (a ValueError), after which the store is closed.
    """

    def __init__(self, store_factory: Callable[[], IKeyValueStore]) -> None:
        self._store_factory = store_factory
        self._store: IKeyValueStore | None = None
        self._sha = hashlib.sha256()
        self._buffer = bytearray()
        self._offset = 0
        self._count = 0
        self._last_key = b""
        self._failure = ""
        self.header: bytes | None = None  # once it was verified
        self.summary: StreamSummary | None = None

    def receive(self, piece: bytes) -> None:
        """Take the next piece, apply the blocks that it completes."""
        if self._failure:
            raise BadStream(self._failure)
        view = memoryview(piece)
        try:  # a huge piece is fed in slices: the buffer stays at one block
            for start in range(0, len(view), BLOCK):
                self._buffer += view[start : start + BLOCK]
                while self._step():
                    pass
        except BaseException as error:
            self._failure = str(error) or repr(error)
            self.abort()
            raise

    def finish(self) -> tuple[bytes, IKeyValueStore]:
        """The header and the filled store, durable.  Raises BadStream if the stream is cut."""
        if self._failure:
            raise BadStream(self._failure)
        if self.summary is None or self.header is None or self._store is None:
            self.abort()
            raise self._bad("the stream ends before its end")
        self._store.sync()
        store, self._store = self._store, None
        return self.header, store

    def abort(self) -> None:
        """Close the store, drop what was received; idempotent."""
        self._buffer.clear()
        if self._store is not None:
            store, self._store = self._store, None
            store.close()

    def _bad(self, what: str) -> BadStream:
        self._failure = f"snapshot stream, offset {self._offset}: {what}"
        return BadStream(self._failure)

    def _step(self) -> bool:
        """Consume one head or block; False where it is not yet complete."""
        if self.summary is not None and self._buffer:
            raise self._bad("bytes follow the end")
        return self._take_head() if self.header is None else self._take_block()

    def _take_head(self) -> bool:
        buffer = self._buffer
        if buffer and buffer[0] != VERSION:
            raise self._bad(f"version {buffer[0]} is not known to this version")
        if len(buffer) < HEAD_SIZE:
            return False
        if bytes(buffer[1:5]) != b"dfsS":
            raise self._bad("this is no snapshot stream")
        head = HEAD.parse(bytes(buffer[:HEAD_SIZE]))
        if head.length > MAX_HEADER:
            raise self._bad(f"the header claims {head.length} bytes")
        if len(buffer) < HEAD_SIZE + head.length:
            return False
        header = bytes(buffer[HEAD_SIZE : HEAD_SIZE + head.length])
        if crc32c(header, crc32c(bytes(buffer[:9]))) != head.checksum:
            raise self._bad("the head fails its check")
        self._consume(HEAD_SIZE + head.length)
        self._store = self._store_factory()
        self.header = header
        return True

    def _take_block(self) -> bool:
        buffer = self._buffer
        if len(buffer) < BLOCK_HEAD_SIZE:
            return False
        head = BLOCK_HEAD.parse(bytes(buffer[:BLOCK_HEAD_SIZE]))
        if head.kind not in (PAIRS, END) or head.length > MAX_PAYLOAD:
            raise self._bad(f"a block of kind {head.kind} claims {head.length} bytes")
        if len(buffer) < BLOCK_HEAD_SIZE + head.length:
            return False
        payload = bytes(buffer[BLOCK_HEAD_SIZE : BLOCK_HEAD_SIZE + head.length])
        if crc32c(payload, crc32c(bytes(buffer[:5]))) != head.checksum:
            raise self._bad("a block fails its check")
        if head.kind == PAIRS:
            self._apply(payload)
        else:
            self._end(payload)
        self._consume(BLOCK_HEAD_SIZE + head.length)
        return True

    def _apply(self, payload: bytes) -> None:
        assert self._store is not None
        batch = Batch()
        for key, value in self._pairs(payload):
            if key <= self._last_key:
                raise self._bad("keys are not in ascending order")
            self._last_key = key
            batch.put(key, value)
        self._count += len(batch.changes)
        self._store.apply(batch)

    def _pairs(self, payload: bytes) -> Iterator[tuple[bytes, bytes]]:
        position = 0
        while position < len(payload):
            if len(payload) - position < _PAIR.size:
                raise self._bad("a pair is cut")
            key_length, length = _PAIR.unpack_from(payload, position)
            start = position + _PAIR.size
            position = start + key_length + length
            if not 0 < key_length <= MAX_KEY or length > MAX_VALUE or position > len(payload):
                raise self._bad("a pair has impossible lengths")
            yield payload[start : start + key_length], payload[start + key_length : position]

    def _end(self, payload: bytes) -> None:
        if len(payload) != TRAILER_SIZE:
            raise self._bad("the end has a wrong length")
        trailer = TRAILER.parse(payload)
        if trailer.count != self._count:
            raise self._bad(f"{self._count} pairs came, {trailer.count} were sent")
        if trailer.digest != self._sha.digest():
            raise self._bad("the SHA-256 of the whole differs")
        self.summary = StreamSummary(self._count, bytes(trailer.digest))

    def _consume(self, length: int) -> None:
        self._sha.update(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        self._offset += length
