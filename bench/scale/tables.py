"""Tables of any size, made by the commands that clients would have sent, in batches.

A file of one chunk and three replicas takes six records: name, file, chunk, and a replica at each of its nodes.  The
names spread over a thousand folders and the replicas over twelve nodes, so that new keys fall into every part of the
tables, as they do when many clients write at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from dfs.disk.real import RealDisk
from dfs.kv.folder import StoreFolder
from dfs.metaserver import commands
from dfs.metaserver.answers import NodeRegistered, decode_answer
from dfs.metaserver.commands_moving import BeginMaintenance
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.standing import MAX_MAINTENANCE_MS
from dfs.protocol.messages import ChunkCommit, DurableReplica, Operation
from dfs.protocol.values import FileId, Generation, NodeNumber, file_digest
from dfs.raft.interfaces import Command

KEY = sha256(b"bench.scale").digest()
NODES = 12
FOLDERS = 1000
CHUNK = 4 << 20
LENGTH = 4096  # bytes of each file
HASH = sha256(bytes(LENGTH)).digest()
DIGEST = file_digest(HASH)


def name_of(number: int) -> str:
    """A file's name; neighbours in time lie in different folders."""
    return f"archive/{number % FOLDERS:03d}/record-{number:010d}.bin"


def open_machine(folder: str, cluster: bytes, engine: str = "berkeleydb") -> MetadataMachine:
    """The state machine over a folder's tables, as a metadata node opens it."""
    return MetadataMachine(StoreFolder(RealDisk(), folder, engine), cluster)


class Author:
    """Writes log entries of clients and chunk servers that there are not, and applies them.

    The twelve nodes that hold what it stores are in maintenance, so that nobody takes them for dead.
    """

    def __init__(self, machine: MetadataMachine) -> None:
        self.machine = machine
        head = machine.head
        self._index, self._term = head.index, max(head.term, 1)
        self._time_ms = max(head.time_ms, 1_000)
        self._session = self._time_ms.to_bytes(8, "big") + head.index.to_bytes(8, "big")
        self._sequence = 0
        if not head.index:
            self.apply([commands.BeginHistory(1, 1)])
        self._nodes = [self._node(number) for number in range(NODES)]
        head = machine.head
        self._files, self._generation, self._number = head.file_counter, head.generation, head.chunks

    def _node(self, number: int) -> int:
        name = f"archive-{number}"
        incarnation = sha256(name.encode()).digest()[:16]
        answers = self.apply(
            [commands.RegisterNode(name, incarnation, f"127.0.0.1:{1 + number}", f"rack-{number % 4}")]
        )
        answer = decode_answer(answers[0])
        assert isinstance(answer, NodeRegistered), answer
        self.apply([BeginMaintenance(answer.node, self._time_ms + MAX_MAINTENANCE_MS)])
        return answer.node

    def apply(self, parts: list[commands.Command]) -> list[bytes]:
        """One batch of entries; their answers."""
        return self.machine.apply([self._entry(part) for part in parts])

    def _entry(self, command: commands.Command) -> Command:
        self._index += 1
        return Command(self._index, self._term, commands.encode_command(self._time_ms, command))

    def operation(self) -> Operation:
        """The next of the one session, which asks for nothing twice."""
        self._sequence += 1
        return Operation(self._session, self._sequence, self._sequence)

    def create(self, name: str) -> tuple[commands.Command, int, int]:
        """The command, and the file id and the generation that it will draw."""
        self._files += 1
        self._generation += 1
        placements = (self._holders(self._files),)
        command = commands.CreateUpload(self.operation(), name, LENGTH, CHUNK, 3, 2, 7, placements)
        return command, self.machine.head.incarnation << 48 | self._files, self._generation

    def _holders(self, number: int) -> tuple[int, ...]:
        return tuple(self._nodes[(number * 5 + step) % NODES] for step in (0, 1, 2))

    def written(self, file_id: int, generation: int) -> ChunkCommit:
        """The word of a primary."""
        self._number += 1
        holders = self._holders(file_id & ((1 << 48) - 1))
        replicas = tuple(DurableReplica(NodeNumber(node), self._number) for node in holders)
        return ChunkCommit(FileId(file_id), 0, Generation(generation), LENGTH, HASH, replicas)

    def commit(self, file_id: int) -> commands.Command:
        """Of the whole file."""
        return commands.CommitFile(self.operation(), file_id, 1, LENGTH, 1, DIGEST, 8)

    def load(self, first: int, count: int, batch: int = 250) -> Iterator[int]:
        """Files ``first`` and following, whole; how many there are after each batch."""
        for begin in range(first, first + count, batch):
            numbers = range(begin, min(begin + batch, first + count))
            created = [self.create(name_of(number)) for number in numbers]
            written = tuple(self.written(file_id, generation) for _, file_id, generation in created)
            finished = [self.commit(file_id) for _, file_id, _ in created]
            self.apply([*(command for command, _, _ in created), commands.CommitChunks(written), *finished])
            yield numbers.stop
