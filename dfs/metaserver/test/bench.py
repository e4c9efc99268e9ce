"""A machine on a bench: commands in, decoded answers out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfs.kv.interfaces import IKeyValueStore
from dfs.kv.memory import MemoryStore
from dfs.metaserver import commands
from dfs.metaserver.answers import NodeRegistered, decode_answer
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.sessions import MAX_SESSIONS
from dfs.metaserver.snapshotting import MemoryFolder
from dfs.protocol.messages import (
    ChunkCommit,
    CommitOutcome,
    CommitOutcomes,
    DurableReplica,
    FileInfo,
    Operation,
    Placement,
    Placements,
    UploadGranted,
)
from dfs.protocol.values import FileId, Generation, NodeNumber, file_digest
from dfs.raft.interfaces import Command

CLUSTER = b"c" * 16
CHUNK = 64 << 10


def sha(index: int) -> bytes:
    """A chunk's hash in these tests."""
    return index.to_bytes(32, "big")


class Bench:
    """One machine, one client session, time in hand."""

    def __init__(self, make: Callable[[], IKeyValueStore] = MemoryStore, max_sessions: int = MAX_SESSIONS) -> None:
        self.folder = MemoryFolder(make)
        self.machine = MetadataMachine(self.folder, CLUSTER, max_sessions)
        self.index = 0
        self.time_ms = 1_000
        self.session = self.time_ms.to_bytes(8, "big") + b"one-----"
        self.sequence = 0
        self.numbers: dict[int, int] = {}

    def operation(self) -> Operation:
        self.sequence += 1
        return Operation(self.session, self.sequence, self.sequence)

    def entry(self, command: commands.Command | None) -> Command:
        self.index += 1
        payload = b"" if command is None else commands.encode_command(self.time_ms, command)
        return Command(self.index, 1, payload)

    def raw(self, command: commands.Command | None) -> bytes:
        return self.machine.apply([self.entry(command)])[0]

    def do(self, command: commands.Command) -> Any:
        """Apply one command; the answer, or its DFSError raised."""
        return decode_answer(self.raw(command))

    # ---- shorthands

    def node(self, name: str) -> int:
        answer = self.do(commands.RegisterNode(name, name.encode().ljust(16, b"."), f"{name}:1", ""))
        assert isinstance(answer, NodeRegistered)
        return answer.node

    def nodes(self, count: int) -> list[int]:
        return [self.node(f"chunk-{number + 1}") for number in range(count)]

    def create(
        self,
        name: str = "a",
        chunks: int = 1,
        nodes: tuple[int, ...] = (1, 2, 3),
        size: int | None = None,
        replication: int = 3,
        quorum: int = 2,
    ) -> UploadGranted:
        operation = self.operation()
        answer = self.do(
            commands.CreateUpload(operation, name, size, CHUNK, replication, quorum, 7, (nodes,) * min(chunks, 64))
        )
        assert isinstance(answer, UploadGranted)
        return answer

    def allocate(self, file_id: int, epoch: int, first: int, count: int, nodes: tuple[int, ...] = (1, 2, 3)) -> Any:
        answer = self.do(commands.AllocateChunks(file_id, epoch, first, (nodes,) * count))
        assert isinstance(answer, Placements)
        return answer.placements

    def written(
        self, file_id: int, index: int, generation: int, nodes: tuple[int, ...] = (1, 2, 3), length: int = CHUNK
    ) -> ChunkCommit:
        """The word of a primary; each node numbers its add."""
        replicas = []
        for node in nodes:
            self.numbers[node] = self.numbers.get(node, 0) + 1
            replicas.append(DurableReplica(NodeNumber(node), self.numbers[node]))
        return ChunkCommit(FileId(file_id), index, Generation(generation), length, sha(index), tuple(replicas))

    def commit(self, *written: ChunkCommit) -> tuple[CommitOutcome, ...]:
        answer = self.do(commands.CommitChunks(written))
        assert isinstance(answer, CommitOutcomes)
        return answer.outcomes

    def write(self, granted: UploadGranted, placement: Placement, nodes: tuple[int, ...] = (1, 2, 3)) -> CommitOutcome:
        return self.commit(self.written(granted.file_id, placement.index, placement.generation, nodes))[0]

    def finish(self, file_id: int, epoch: int, count: int, size: int | None = None) -> FileInfo:
        digest = file_digest(b"".join(sha(index) for index in range(count)))
        size = count * CHUNK if size is None else size
        answer = self.do(commands.CommitFile(self.operation(), file_id, epoch, size, count, digest, 8))
        assert isinstance(answer, FileInfo)
        return answer

    def store_file(self, name: str, chunks: int = 1, nodes: tuple[int, ...] = (1, 2, 3)) -> FileInfo:
        """A whole file, in one go."""
        granted = self.create(name, chunks, nodes)
        for placement in granted.placements:
            self.write(granted, placement, nodes)
        return self.finish(granted.file_id, granted.epoch, chunks)
