"""The state as a stream, out of the tables in use and into a folder beside them (S32, S33, R37 to R40).

The stream is dfs.kv.stream's; its header is ours:

======  =====  ========================================
offset  bytes  meaning
======  =====  ========================================
0       1      version, 1
1       16     cluster id
17      8      index of the last entry it covers
25      8      term of that entry
33      32     state hash at that entry
======  =====  ========================================

The receiver fills a second folder, recomputes the hash of every record and compares it, and only then switches by a
rename; until that is durable the former state is untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from zope.interface import implementer

from dfs.kv.errors import BadStream
from dfs.kv.interfaces import IKeyValueStore, IStoreSnapshot, scan_all
from dfs.kv.stream import SnapshotLoader, SnapshotWriter
from dfs.metaserver import tables
from dfs.metaserver.packing import ID16, SHA256, U64, Codec, Malformed
from dfs.metaserver.records import Head, head_codec
from dfs.metaserver.statehash import MODULUS, record_hash
from dfs.raft.interfaces import ISnapshotSink, ISnapshotSource, SnapshotMark


class IStoreFolder(Protocol):
    """Where the tables live: dfs.kv.folder.StoreFolder on a disk, MemoryFolder in RAM.  A typing protocol, for dfs.kv
    cannot name an interface of this room."""

    def open(self) -> IKeyValueStore:
        """The store in use, made where there is none."""

    def begin(self) -> IKeyValueStore:
        """An empty store beside it; a former unfinished one is thrown away."""

    def switch(self) -> IKeyValueStore:
        """The begun store becomes the one in use, durably; the former is closed and removed after that."""

    def abandon(self) -> None:
        """Throw a begun store away; idempotent."""

    def close(self) -> None:
        """Close what is open; idempotent."""


class MemoryFolder:
    """Stores that live as long as the process: for tests and simulations of single nodes.

    :param make: gives an empty store.
    """

    def __init__(self, make: Callable[[], IKeyValueStore]) -> None:
        self._make = make
        self._current: IKeyValueStore | None = None
        self._next: IKeyValueStore | None = None

    def open(self) -> IKeyValueStore:
        if self._current is None:
            self._current = self._make()
        return self._current

    def begin(self) -> IKeyValueStore:
        self.abandon()
        self._next = self._make()
        return self._next

    def switch(self) -> IKeyValueStore:
        if self._next is None:
            raise RuntimeError("no replacement was begun")
        former, self._current, self._next = self._current, self._next, None
        if former is not None:
            former.close()
        return self._current

    def abandon(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def close(self) -> None:
        self.abandon()
        if self._current is not None:
            self._current.close()


@frozen
class StreamHead:
    """What the stream says of itself before its pairs."""

    cluster_id: bytes
    index: int
    term: int
    state_hash: bytes


stream_head_codec = Codec(StreamHead, 1, ("cluster_id", ID16), ("index", U64), ("term", U64), ("state_hash", SHA256))


@implementer(ISnapshotSource)
class Source:
    """A consistent stream of the tables as they were when it was opened, while entries go on being applied."""

    def __init__(self, snapshot: IStoreSnapshot, cluster_id: bytes, head: Head, state_hash: bytes) -> None:
        self.mark = SnapshotMark(head.index, head.term)
        self._snapshot = snapshot
        header = stream_head_codec.encode(StreamHead(cluster_id, head.index, head.term, state_hash))
        self._writer = SnapshotWriter(snapshot, header)

    def read(self, limit: int) -> bytes:
        return self._writer.read(limit)

    def close(self) -> None:
        self._snapshot.close()


@implementer(ISnapshotSink)
class Sink:
    """A replacement being received.

    :param applied: what is applied now; a stream that is older is refused, for applied never goes back (R39).
    :param installed: called with the store once the folder has switched to it.
    """

    def __init__(
        self,
        folder: IStoreFolder,
        cluster_id: bytes,
        applied: int,
        installed: Callable[[IKeyValueStore], SnapshotMark],
    ) -> None:
        self._folder = folder
        self._cluster_id = cluster_id
        self._applied = applied
        self._installed = installed
        self._loader = SnapshotLoader(folder.begin)
        self._is_open = True

    def write(self, piece: bytes) -> None:
        self._loader.receive(piece)

    def commit(self) -> SnapshotMark:
        try:
            header, store = self._loader.finish()
            self._check(header, store)
        except ValueError:
            self.abort()
            raise
        self._is_open = False
        return self._installed(self._folder.switch())

    def _check(self, header: bytes, store: IKeyValueStore) -> None:
        """Everything that can be checked, before anything is replaced (R38)."""
        try:
            stream = stream_head_codec.decode(header)
            head = head_codec.decode(store.get(tables.HEAD) or b"")
        except Malformed as error:
            raise BadStream(f"snapshot stream: {error}") from error
        if stream.cluster_id != self._cluster_id or head.cluster_id != self._cluster_id:
            raise BadStream(f"the snapshot is of cluster {stream.cluster_id.hex()}, not {self._cluster_id.hex()}")
        if (stream.index, stream.term) != (head.index, head.term):
            raise BadStream(f"the stream names entry {stream.index}, its tables {head.index}")
        if stream.index < self._applied:
            raise BadStream(f"the snapshot ends at {stream.index}; {self._applied} is applied here")
        total = sum(record_hash(key, value) for key, value in scan_all(store, b"") if key != tables.HEAD) % MODULUS
        whole = (total + record_hash(tables.HEAD, head_codec.encode(head))) % MODULUS
        if total.to_bytes(32, "big") != head.hash or whole.to_bytes(32, "big") != stream.state_hash:
            raise BadStream("the records of the snapshot do not have the hash that it names (S38)")

    def abort(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loader.abort()
            self._folder.abandon()
