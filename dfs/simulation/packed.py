"""Replicas in segments, seen by the simulator: no operation is counted, takes time or fails."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from dfs.chunkserver import records
from dfs.chunkserver.records import BODY, PAGE, REPLICA, Place, RecordHead
from dfs.chunkserver.segments import number_of
from dfs.protocol.values import ChunkRef
from dfs.simulation.disk import SimulatedDisk
from dfs.simulation.platter import length_of, paths, peek_part


def heads(disk: SimulatedDisk, folder: str) -> Iterator[tuple[str, RecordHead]]:
    """Records below a folder that are not removed, each with the path of its segment."""
    for path in paths(disk, folder):
        number = number_of(path.rpartition("/")[2])
        at = PAGE
        while number is not None and at < length_of(disk, path):
            head = records.decode_head(peek_part(disk, path, at, BODY), Place(number, at), None)
            if head is not None and head.kind == REPLICA:
                yield path, head
            at = at + PAGE if head is None else head.end


class PackedReplicas:
    """Finds packed replicas on disks, and remembers where they lie as long as a disk does nothing."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._places: WeakKeyDictionary[SimulatedDisk, tuple[int, dict[ChunkRef, list[tuple[str, int]]]]] = (
            WeakKeyDictionary()
        )

    def contents(self, disk: SimulatedDisk, ref: ChunkRef) -> Iterator[bytes]:
        """What the records of a generation hold; the footer is not among it."""
        for path, at in self._all(disk).get(ref, []):
            number = number_of(path.rpartition("/")[2])
            assert number is not None, path
            head = records.decode_head(peek_part(disk, path, at, BODY), Place(number, at), None)
            if head is not None and head.kind == REPLICA and head.ref == ref:
                yield peek_part(disk, path, at + BODY, head.held.length)

    def _all(self, disk: SimulatedDisk) -> dict[ChunkRef, list[tuple[str, int]]]:
        known = self._places.get(disk)
        if known is None or known[0] != disk.operations:
            found: dict[ChunkRef, list[tuple[str, int]]] = {}
            for path, head in heads(disk, self._folder):
                found.setdefault(head.ref, []).append((path, head.place.offset))
            known = self._places[disk] = disk.operations, found
        return known[1]
