"""Tables of many chunks on many nodes, made by the commands that clients and chunk servers would have sent."""

from __future__ import annotations

import os
import random
from collections import Counter
from hashlib import sha256

from attrs import evolve, frozen

from dfs.disk.real import RealDisk
from dfs.kv.folder import StoreFolder
from dfs.kv.interfaces import Batch
from dfs.metaserver import commands, tables
from dfs.metaserver.answers import NodeRegistered, decode_answer
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.records import (
    ChunkRecord,
    FileRecord,
    NumberRecord,
    ReplicaRecord,
    chunk_codec,
    file_codec,
    head_codec,
    node_codec,
    number_codec,
    replica_codec,
)
from dfs.protocol.messages import ChunkCommit, DurableReplica, Operation
from dfs.protocol.values import CHUNK_SIZE, FileId, Generation, NodeNumber, cluster_id_of, file_digest
from dfs.raft.interfaces import Command

KEY = sha256(b"bench.rackloss").digest()
NODES = 1000
RACKS = 40
OF_A_FILE = 64  # chunks
TWO_COPIES = 10  # every so many files
BATCH = 16  # files in one transaction
BY_APPLY = 16_384  # chunks
HASH = sha256(b"rackloss").digest()
DIGEST = file_digest(HASH * OF_A_FILE)


@frozen
class Drawn:
    """A file to be stored: ``generation`` and ``number`` are of its first chunk, and rise by one."""

    name: str
    file_id: int
    generation: int
    number: int
    holders: tuple[tuple[int, ...], ...]


def rack_of(number: int) -> int:
    """Of a node by number, which count from 1."""
    return (number - 1) % RACKS


class Author:
    """Grows the tables in ``folder``; goes on where a former run ended.

    By ``apply`` a chunk costs 150 microseconds, so only the first ``by_apply`` are stored like that; the others get the
    very records that it makes, but for what tells how many entries there were: the head's index and running hash, and
    the author's session.  dfs.test.test_rackloss compares the two.
    """

    def __init__(self, folder: str, engine: str = "auto", by_apply: int = BY_APPLY) -> None:
        os.makedirs(folder, exist_ok=True)
        self._folder, self._engine, self._by_apply = folder, engine, by_apply
        self.machine = self._open()
        self._index, self._sequence = self.machine.head.index, 0
        self._session = (1_000).to_bytes(8, "big") + self._index.to_bytes(8, "big")
        if not self._index:
            self.apply([commands.BeginHistory(1, 1)])
            for number in range(1, NODES + 1):
                self._register(number)
        head = self.machine.head
        self._files, self._generation, self._number = head.file_counter, head.generation, head.chunks
        self._draw = random.Random(self._files)

    def _open(self) -> MetadataMachine:
        return MetadataMachine(StoreFolder(RealDisk(), self._folder, self._engine), cluster_id_of(KEY))

    def _register(self, number: int) -> None:
        incarnation = sha256(number.to_bytes(4, "big")).digest()[:16]
        name, rack = f"chunk-{number}", f"rack-{rack_of(number):02d}"
        answer = decode_answer(self.apply([commands.RegisterNode(name, incarnation, f"10.0.0.1:{number}", rack)])[0])
        assert isinstance(answer, NodeRegistered) and answer.node == number, answer

    def apply(self, parts: list[commands.Command]) -> list[bytes]:
        """One batch of entries; their answers."""
        entries = []
        for part in parts:
            self._index += 1
            entries.append(Command(self._index, 1, commands.encode_command(1_000, part)))
        return self.machine.apply(entries)

    def grow(self, chunks: int) -> None:
        """Store files until there are so many chunks."""
        while self.machine.head.chunks < min(chunks, self._by_apply):
            self.apply([command for _ in range(BATCH) for command in self._commands(self._drawn())])
        if self.machine.head.chunks < chunks:
            self._grow_directly(chunks)

    def _grow_directly(self, chunks: int) -> None:
        """Write the records, and at the end the sums of the nodes and the head."""
        store, head = self.machine.store, self.machine.head.copied()
        counts: Counter[int] = Counter()
        highest: dict[int, int] = {}
        while head.chunks < chunks:
            batch = Batch()
            for _ in range(BATCH):
                file = self._drawn()
                self._put(batch, file)
                for index, nodes in enumerate(file.holders):
                    counts.update(nodes)
                    highest.update((node, file.number + index) for node in nodes)
                head.files, head.chunks = head.files + 1, head.chunks + OF_A_FILE
                head.file_bytes += OF_A_FILE * CHUNK_SIZE
            head.file_counter, head.generation = self._files, self._generation
            store.apply(batch)
        last = Batch()
        for node, count in counts.items():
            raw = store.get(tables.node_key(node))
            assert raw is not None
            record = node_codec.decode(raw)
            size = record.bytes + count * CHUNK_SIZE
            more = evolve(record, chunks=record.chunks + count, bytes=size, highest=highest[node])
            last.put(tables.node_key(node), node_codec.encode(more))
        last.put(tables.HEAD, head_codec.encode(head))
        store.apply(last)
        self.machine.close()
        self.machine = self._open()

    def _put(self, batch: Batch, file: Drawn) -> None:
        """What the three commands would leave."""
        size = OF_A_FILE * CHUNK_SIZE
        batch.put(tables.name_key(file.name), number_codec.encode(NumberRecord(file.file_id)))
        record = FileRecord(file.name, size, DIGEST, len(file.holders[0]), CHUNK_SIZE, OF_A_FILE, 8, 1)
        batch.put(tables.file_key(file.file_id), file_codec.encode(record))
        for index, nodes in enumerate(file.holders):
            chunk = ChunkRecord(file.generation + index, 1, True, CHUNK_SIZE, HASH, nodes, ())
            batch.put(tables.chunk_key(file.file_id, index), chunk_codec.encode(chunk))
            replica = replica_codec.encode(ReplicaRecord(file.number + index, CHUNK_SIZE))
            for node in nodes:
                batch.put(tables.replica_key(node, file.file_id, index), replica)

    def _drawn(self) -> Drawn:
        """The next file."""
        self._files += 1
        copies = 2 if self._files % TWO_COPIES == 0 else 3
        holders = tuple(self._holders(copies) for _ in range(OF_A_FILE))
        file_id = self.machine.head.incarnation << 48 | self._files
        name = f"archive/{self._files % 1000:03d}/{self._files:08d}"
        drawn = Drawn(name, file_id, self._generation + 1, self._number + 1, holders)
        self._generation, self._number = self._generation + OF_A_FILE, self._number + OF_A_FILE
        return drawn

    def _commands(self, file: Drawn) -> tuple[commands.Command, ...]:
        """The three commands of a file's life."""
        commits = []
        for index, nodes in enumerate(file.holders):
            replicas = tuple(DurableReplica(NodeNumber(node), file.number + index) for node in nodes)
            generation = Generation(file.generation + index)
            commits.append(ChunkCommit(FileId(file.file_id), index, generation, CHUNK_SIZE, HASH, replicas))
        size = OF_A_FILE * CHUNK_SIZE
        copies = len(file.holders[0])
        return (
            commands.CreateUpload(self._operation(), file.name, size, CHUNK_SIZE, copies, 2, 7, file.holders),
            commands.CommitChunks(tuple(commits)),
            commands.CommitFile(self._operation(), file.file_id, 1, size, OF_A_FILE, DIGEST, 8),
        )

    def _holders(self, copies: int) -> tuple[int, ...]:
        """Nodes of different racks."""
        in_a_rack = NODES // RACKS
        racks = self._draw.sample(range(RACKS), copies)
        return tuple(1 + rack + RACKS * self._draw.randrange(in_a_rack) for rack in racks)

    def _operation(self) -> Operation:
        self._sequence += 1
        return Operation(self._session, self._sequence, self._sequence)
