"""Looking into running servers: what production keeps to itself, read in one place and never changed.

A simulation is one process with one thread, so it may look at any moment between two events; what it sees of
a server that starts or stops is None.
"""

from __future__ import annotations

from dfs.chunkserver.node import ChunkServer
from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.node import MetaServer
from dfs.metaserver.records import Head
from dfs.protocol.values import NodeState
from dfs.raft.core import RaftCore
from dfs.raft.core.types import Role


def core_of(server: MetaServer) -> RaftCore | None:
    """Its consensus core."""
    return server._raft._core if server._raft is not None and server._raft._serving else None


def glance(server: MetaServer) -> tuple[object, ...] | None:
    """All that is judged of it at any time: equal where there is nothing new, for most looks find nothing new."""
    running = None if server._raft is None else server._raft._running
    if running is None or not running.serving:
        return None
    term, machine, core = server._term, server._machine, running.core
    s = core._state
    log, head = s.log, None if machine is None or server.stopped else machine._head
    serves = term is not None and term.loaded
    applied = None if head is None else head.index
    return (
        core, s.term, s.commit, applied, log.last_index, log.last_checksum, s.role, s.durable_hard, serves, s.log,
        None if head is None else head.hash,
    )


def machine_of(server: MetaServer) -> MetadataMachine | None:
    """Its state machine."""
    return server._machine if not server.stopped else None


def head_of(server: MetaServer) -> Head | None:
    """Its counters: the very record, not a copy, for it is looked at a hundred times a second."""
    machine = machine_of(server)
    return machine._head if machine is not None else None


def store_of(server: MetaServer) -> IKeyValueStore:
    """Its tables.  It must be serving."""
    machine = machine_of(server)
    assert machine is not None, "the server does not serve"
    return machine.store


def term_of(server: MetaServer) -> LeaderTerm | None:
    """Its leadership, once it serves."""
    term = server._term
    return term if term is not None and term.loaded else None


def spoken_versions(server: MetaServer | ChunkServer) -> set[int]:
    """The versions of the protocol that it speaks now with whoever dialed it."""
    found = set()
    for connection in server._factory.connections if server._factory is not None else ():
        established = connection._handshake.established
        if established is not None:
            found.add(established.version)
    return found


def leads(server: MetaServer) -> bool:
    """Whether it leads, as Raft has it, and serves."""
    core = core_of(server)
    return core is not None and core.role is Role.LEADER and term_of(server) is not None


def raft_term(server: MetaServer) -> int:
    """The term that it is in."""
    core = core_of(server)
    return core.term if core is not None else 0


def chunk_server_states(server: MetaServer) -> dict[str, NodeState]:
    """What a leader thinks of each chunk server, by name; empty where it does not lead."""
    term = term_of(server)
    if term is None:
        return {}
    roster = term.seams.roster
    states: dict[str, NodeState] = {}
    for number in sorted(roster.numbers()):
        entry = roster.entry(number)
        assert entry is not None
        states[entry.record.name] = term.state(number)
    return states


def orders_of(server: MetaServer) -> int:
    """How many orders of a leader no chunk server has taken yet."""
    term = term_of(server)
    return 0 if term is None else sum(len(orders) for orders in term.orders._waiting.values())
