"""Copy a store into another engine beside it, verify the copy, switch (``dfs store convert``).

The copy travels as a checksummed stream (:mod:`dfs.kv.stream`); then the new store is read
back from its first key to its last and must give the same count and the same SHA-256.
A crash before the switch leaves the former store in use, after it the new one.
"""

from __future__ import annotations

from dfs.disk.interfaces import IDisk
from dfs.disk.real import RealDisk
from dfs.kv.engines import AUTO, CACHE
from dfs.kv.errors import StoreCorrupt, StoreError
from dfs.kv.folder import StoreFolder
from dfs.kv.interfaces import IKeyValueStore
from dfs.kv.stream import SnapshotLoader, SnapshotWriter, StreamSummary

PIECE = 256 << 10
_HEADER = b"convert"


def convert(folder: str, engine: str, disk: IDisk | None = None, cache: int = CACHE) -> StreamSummary:
    """Make the store in ``folder`` one of ``engine``; blocks for as long as reading everything twice takes.

    Raises StoreError where there is nothing to convert, Locked while a node runs on the folder.
    """
    place = StoreFolder(disk or RealDisk(), folder, AUTO, cache)
    try:
        if place.marker is None:
            raise StoreError(f"{folder}: there is no store here; give the data folder of a metadata node")
        if place.marker.engine == engine:
            raise StoreError(f"{folder}: is a {engine} store already")
        source = place.open()
        target = place.begin(engine)
        sent = _copy(source, target)
        found = _read_through(target)
        if found != sent:
            raise StoreCorrupt(f"{folder}: the copy ({found}) differs from its source ({sent}); nothing was changed")
        place.switch()
        return sent
    finally:
        place.close()


def _copy(source: IKeyValueStore, target: IKeyValueStore) -> StreamSummary:
    loader = SnapshotLoader(lambda: target)
    snapshot = source.snapshot()
    try:
        writer = SnapshotWriter(snapshot, _HEADER)
        while piece := writer.read(PIECE):
            loader.receive(piece)
    finally:
        snapshot.close()
    loader.finish()
    assert loader.summary is not None
    return loader.summary


def _read_through(store: IKeyValueStore) -> StreamSummary:
    snapshot = store.snapshot()
    try:
        writer = SnapshotWriter(snapshot, _HEADER)
        while writer.read(PIECE):
            pass
    finally:
        snapshot.close()
    assert writer.summary is not None
    return writer.summary
