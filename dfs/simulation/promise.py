"""The promise, looked at from outside: what must hold of disks, tables and logs, at any time and after a heal.

At any time (looked at several times in a tick):

- the properties of Raft: :mod:`dfs.simulation.raftwatch`;
- a leader that serves has committed an entry of its own term (S29);
- equal state: two members that have applied the same index have the same state hash (S38).

Once everything has come back (:meth:`Promise.settled`): a leader, every chunk server alive, each committed
chunk recorded on as many nodes as wanted, and each recorded replica on that node's disk with the very bytes;
garbage gone, and uploads, orders and temporary files too; every member at the same applied index with the same hash.

At any time when every disk is there: each committed chunk lies whole on as many disks as its write quorum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from attrs import frozen

from dfs.chunkserver.layout import Layout
from dfs.kv.interfaces import IKeyValueStore, prefix_end
from dfs.metaserver import queries, tables
from dfs.metaserver.node import MetaServer
from dfs.metaserver.records import ChunkRecord, chunk_codec
from dfs.protocol.values import ChunkRef, FileId, Generation
from dfs.raft.core import RaftCore
from dfs.raft.core.types import Role
from dfs.simulation.cluster import DATA, SimulatedCluster
from dfs.simulation.inspection import core_of, glance, head_of, machine_of, orders_of, store_of, term_of
from dfs.simulation.packed import PackedReplicas
from dfs.simulation.platter import paths, sum_of
from dfs.simulation.raftwatch import RaftWatch

LOOKS_A_TICK = 5
"""How often the cluster is looked at in a tick of Raft: every 10 ms with the usual 50."""
CLOSE = 8
"""Entries that members may be apart while all is well: the leader proposes now and then."""
PAGE = 1000
TEMPORARY = (".tmp", ".new", ".part")
KEPT = 10_000
"""Indexes whose state hash is remembered."""


@frozen
class Chunk:
    """A committed chunk of a living file or upload, by the tables."""

    file_id: int
    index: int
    record: ChunkRecord
    wanted: int
    quorum: int

    @property
    def ref(self) -> ChunkRef:
        return ChunkRef(FileId(self.file_id), self.index, Generation(self.record.generation))

    def __str__(self) -> str:
        return f"chunk {self.index} of file {self.file_id:x} (generation {self.record.generation})"


def committed_chunks(store: IKeyValueStore) -> Iterator[Chunk]:
    """All of them, in key order."""
    start, end = b"C", prefix_end(b"C")
    while pairs := store.scan(start, end, PAGE):
        for key, value in pairs:
            file_id, index = tables.place_of(key)
            record = chunk_codec.decode(value)
            found = queries.copies(store, file_id, index)
            if found is not None:
                yield Chunk(file_id, index, record, found.wanted, found.wanted // 2 + 1)
        start = pairs[-1][0] + b"\x00"


class Promise:
    """Looks at a cluster.  :ivar violations: sentences, in the order of their finding."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.violations: list[str] = []
        self.looks = 0
        self._layout = Layout(DATA, cluster.cluster_id)
        self._packed = PackedReplicas(f"{DATA}/segments")
        self._raft = RaftWatch(self.violated)
        self._seen: dict[str, object] = {}
        self._applied: dict[str, tuple[RaftCore, int]] = {}
        self._hashes: dict[int, tuple[str, bytes]] = {}
        self._watching = False

    # All the time.

    def watch(self) -> None:
        """Begin to look."""
        self._watching = True
        self._look_again()

    def stop(self) -> None:
        """Look no more."""
        self._watching = False

    def _look_again(self) -> None:
        if self._watching:
            self.look()
            clock = self.cluster.world.clock
            clock.post(clock, self.cluster.settings.tick / LOOKS_A_TICK, self._look_again)

    def look(self) -> None:
        """What must hold at any time."""
        self.looks += 1
        for name, node in self.cluster.meta.items():
            server = node.program
            if server is not None:
                seen = glance(server)
                if seen != self._seen.get(name):
                    self._seen[name] = seen
                    self._look_at(name, server)

    def _look_at(self, name: str, server: MetaServer) -> None:
        core = core_of(server)
        if core is None:
            self._raft.gone(name)
            self._applied.pop(name, None)
            return
        self._raft.look(name, core)
        if core.role is Role.LEADER and term_of(server) is not None and not core.own_term_committed:
            self.violated(f"S29: {name} serves term {core.term} before it has committed an entry of that term")
        head = head_of(server)
        former = self._applied.get(name)
        if head is not None and head.index and former != (core, head.index):
            if former is not None and former[0] is core and head.index < former[1]:
                self.violated(f"R39: {name} had applied entry {former[1]}, now {head.index}")
            self._applied[name] = (core, head.index)
            self._compare_state(name, head.index, head.hash)

    def _compare_state(self, name: str, index: int, digest: bytes) -> None:
        other, known = self._hashes.setdefault(index, (name, digest))
        if len(self._hashes) > KEPT:
            del self._hashes[next(iter(self._hashes))]
        if known != digest:
            self.violated(f"S38: {name} and {other} have applied entry {index} and differ")

    def violated(self, sentence: str) -> None:
        """Remember it, and put it in the trace."""
        if sentence not in self.violations:
            self.violations.append(sentence)
            self.cluster.world.note(f"VIOLATION {sentence}")

    # When all is well again.

    def unsettled(self) -> str:
        """Why the cluster is not whole yet; "" when it is."""
        cluster = self.cluster
        leader = cluster.leader()
        if leader is None:
            return "there is no leader"
        servers = cluster.meta_servers()
        if len(servers) < len(cluster.meta) or len(cluster.chunk_servers()) < len(cluster.chunks):
            return "not every server runs"
        missing = cluster.not_alive(leader, cluster.chunks)
        if missing:
            return f"{leader.name} does not take {missing} for alive"
        machines = [machine for _, server in servers if (machine := machine_of(server)) is not None]
        applied = [machine.head.index for machine in machines]
        if len(applied) < len(cluster.meta) or max(applied) - min(applied) > CLOSE:
            return f"the metadata servers have applied {applied}"
        if len({machine.state_hash() for machine in machines}) > 1 and len(set(applied)) == 1:
            return f"the metadata servers differ at entry {applied[0]}"
        head = max((machine.head for machine in machines), key=lambda head: head.index)
        if head.garbage or head.uploads:
            return f"{head.garbage} files of garbage and {head.uploads} uploads are left"
        return self.replica_problem(full=True) or self.left_over()

    def left_over(self) -> str:
        """What of work that has ended is still there, "" when nothing is: temporary files, orders."""
        for name, node in self.cluster.chunks.items():
            found = [path for path in paths(node.host.disk, DATA) if path.endswith(TEMPORARY)]
            if found:
                return f"{name} has {found[:3]} on its disk"
        leader = self.cluster.leader()
        waiting = orders_of(leader.program) if leader is not None else 0
        return f"{waiting} orders wait for their answers" if waiting else ""

    def replica_problem(self, full: bool = False) -> str:
        """What is wrong with the replicas of committed chunks by the leader's tables, "" when nothing is.

        :param full: the recorded replicas are as many as wanted and each is sound; else, at least as many disks
            as the write quorum hold the chunk, recorded there or not.
        """
        leader = self.cluster.leader()
        if leader is None:
            return "there is no leader"
        store = store_of(leader.program)
        names = {number: record.name for number, record in queries.nodes_page(store)}
        for chunk in committed_chunks(store):
            if full:
                recorded = [names[number] for number in chunk.record.nodes]
                if len(recorded) < chunk.wanted:
                    return f"{chunk} is recorded on {recorded}, wanted are {chunk.wanted}"
                bad = [name for name in recorded if not self.holds(name, chunk)]
                if bad:
                    return f"{chunk} is recorded on {bad}, whose disks do not hold it"
            else:
                holders = [name for name in self.cluster.chunks if self.holds(name, chunk)]
                if len(holders) < min(chunk.quorum, chunk.wanted):
                    return f"{chunk} is committed, but only {holders} hold it"
        return ""

    def path(self, chunk: Chunk) -> str:
        """Where a replica of a chunk lies on any chunk server's disk."""
        return self._layout.path(chunk.ref)

    def holds(self, node: str, chunk: Chunk) -> bool:
        """Whether a chunk server's disk has these very bytes under this generation."""
        disk, record = self.cluster.chunks[node].host.disk, chunk.record
        return sum_of(disk, self.path(chunk), record.length) == record.sha256 or any(
            len(content) == record.length and hashlib.sha256(content).digest() == record.sha256
            for content in self._packed.contents(disk, chunk.ref)
        )

    async def settled(self, timeout: float) -> None:
        """Wait until the cluster is whole; a violation if it is not within ``timeout`` virtual seconds."""
        end = self.cluster.world.clock.now + timeout
        while problem := self.unsettled():
            if self.cluster.world.clock.now >= end:
                self.violated(f"{timeout:g} s after the heal: {problem}")
                return
            await self.cluster.sleep(0.25)
