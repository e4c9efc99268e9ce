"""A cluster of shells in one simulated world, over a state machine that remembers what it was told.

The transport is a list of scheduled calls with drawn delays; a cut link drops.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.raft.errors import ChangeInProgress, NotCaughtUp, NotLeader, OutcomeUnknown
from dfs.raft.interfaces import (
    Command,
    IRaftTransport,
    ISnapshotSink,
    ISnapshotSource,
    IStateMachine,
    SnapshotMark,
)
from dfs.raft.membership import Change, Configuration
from dfs.raft.node import RaftNode
from dfs.raft.node_config import NodeConfig, derived_cluster_id
from dfs.simulation.host import SimulatedHost, World

_MARK = struct.Struct(">QQ")
State = tuple[SnapshotMark, tuple[bytes, ...]]
EMPTY: State = (SnapshotMark(0, 0), ())


@define(eq=False)
class Store:
    """A machine's disk for the state: what is durable, and what is only applied."""

    durable: State = EMPTY
    now: State = EMPTY
    fail_apply: bool = False
    fail_commit: bool = False

    def crash(self) -> None:
        self.now = self.durable


@implementer(IStateMachine)
class ListMachine:
    """Remembers every payload in order; answers with how many there are."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def applied(self) -> SnapshotMark:
        return self.store.now[0]

    def durable_index(self) -> int:
        return self.store.durable[0].index

    def apply(self, commands: Sequence[Command]) -> list[bytes]:
        if self.store.fail_apply:
            raise OSError("injected")
        mark, payloads = self.store.now
        answers = []
        for command in commands:
            assert command.index > mark.index, (command, mark)
            mark = SnapshotMark(command.index, command.term)
            if command.payload:
                payloads = (*payloads, command.payload)
            answers.append(b"%d" % len(payloads))
        self.store.now = mark, payloads
        return answers

    def sync(self) -> int:
        self.store.durable = self.store.now
        return self.store.durable[0].index

    def open_snapshot(self) -> ISnapshotSource:
        return Source(self.store.now)

    def receive_snapshot(self) -> ISnapshotSink:
        return Sink(self.store)

    def close(self) -> None:
        self.sync()


@implementer(ISnapshotSource)
class Source:
    def __init__(self, state: State) -> None:
        self.mark = state[0]
        pieces = [_MARK.pack(self.mark.index, self.mark.term)]
        for payload in state[1]:
            pieces += (len(payload).to_bytes(4, "big"), payload)
        self._data = b"".join(pieces)
        self._offset = 0

    def read(self, limit: int) -> bytes:
        piece = self._data[self._offset : self._offset + limit]
        self._offset += len(piece)
        return piece

    def close(self) -> None:
        self._data = b""


@implementer(ISnapshotSink)
class Sink:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._data = bytearray()

    def write(self, piece: bytes) -> None:
        self._data += piece

    def commit(self) -> SnapshotMark:
        if self._store.fail_commit:
            raise ValueError("injected")
        mark = SnapshotMark(*_MARK.unpack_from(self._data))
        payloads, offset = [], _MARK.size
        while offset < len(self._data):
            length = int.from_bytes(self._data[offset : offset + 4], "big")
            payloads.append(bytes(self._data[offset + 4 : offset + 4 + length]))
            offset += 4 + length
        self._store.durable = self._store.now = mark, tuple(payloads)
        return mark

    def abort(self) -> None:
        self._data.clear()


@define(eq=False)
class Member:
    """One host with its program, as it comes and goes."""

    name: str
    host: SimulatedHost
    store: Store = field(factory=Store)
    node: RaftNode | None = None
    fatal: list[Failure] = field(factory=list)
    leads: list[tuple[bool, int]] = field(factory=list)

    def leadership_changed(self, leads: bool, term: int) -> None:
        self.leads.append((leads, term))

    @property
    def serving(self) -> bool:
        return self.node is not None and self.host.up and not self.fatal


@implementer(IRaftTransport)
class Wire:
    def __init__(self, cluster: Cluster, sender: str) -> None:
        self._cluster = cluster
        self._sender = sender

    def members_changed(self, members: Mapping[str, str]) -> None:
        self._cluster.reached[self._sender] = dict(members)

    def send(self, member: str, payload: bytes) -> None:
        self._cluster.carry(self._sender, member, payload)


class Cluster:
    """``count`` members a, b, c ...; ``settings`` go into every NodeConfig."""

    def __init__(self, seed: int = 1, count: int = 3, start: bool = True, **settings: Any) -> None:
        self.world = World(seed)
        names = "abcde"[:count]
        self.addresses = {name: f"{name}:1" for name in names}
        self.settings = {"segment_length": 1 << 14, "reserve_length": 1 << 12, **settings}
        self.members = {name: Member(name, self.world.host(name)) for name in names}
        self.cut: set[tuple[str, str]] = set()
        self.reached: dict[str, dict[str, str]] = {}
        self.joined: dict[str, str] = {}
        self.sent: list[tuple[str, str, bytes]] = []
        self.drop_share = 0.0
        self._chance = self.world.random("wire")
        if start:
            for name in names:
                self.start(name)

    def config(self, name: str, **changes: Any) -> NodeConfig:
        if name in self.joined:
            changes = {"join": True, "cluster_id": derived_cluster_id(self.addresses), **changes}
        members = {**self.addresses, **self.joined} if name in self.joined else self.addresses
        return NodeConfig(name, members, **{**self.settings, **changes})

    def join(self, name: str, **changes: Any) -> Member:
        """A new machine, started with the flag that says join; ``addresses`` stay the founders'."""
        self.members[name] = Member(name, self.world.host(name))
        self.joined[name] = f"{name}:1"
        return self.start(name, **changes)

    def change(self, change: Change, timeout: float = 20.0) -> Configuration:
        """On whoever leads, again while it is refused for now, or its outcome is unknown."""
        for _ in range(100):
            found = outcome(node_of(self.leader(timeout)).change(change))
            self.world.run_until(lambda: found, timeout)  # noqa: B023 - called here only
            if isinstance(found[0], Configuration):
                return found[0]
            if not isinstance(found[0], ChangeInProgress | NotCaughtUp | NotLeader | OutcomeUnknown):
                raise found[0]
            self.world.run(0.2)
        raise AssertionError(f"{change} did not come about: {found}")

    def start(self, name: str, wait: bool = True, **changes: Any) -> Member:
        member = self.members[name]
        if not member.host.up:
            member.host.restart()
        member.store.crash()
        member.fatal, member.leads = [], []
        member.node = node = RaftNode(
            self.config(name, **changes),
            member.host.runtime,
            member.host.disk,
            "/raft",
            ListMachine(member.store),
            Wire(self, name),
            member.fatal.append,
        )
        node.watch_leadership(member)
        started = node.start()
        if wait:
            self.world.run_until(started, 5.0)
        return member

    def kill(self, name: str) -> None:
        self.members[name].host.kill()
        self.members[name].node = None

    def crash(self, name: str) -> None:
        self.members[name].host.crash()
        self.members[name].node = None

    def isolate(self, name: str) -> None:
        for other in self.members:
            if other != name:
                self.cut |= {(name, other), (other, name)}

    def carry(self, sender: str, member: str, payload: bytes) -> None:
        self.sent.append((sender, member, payload))
        if (sender, member) in self.cut or self._chance.random() < self.drop_share:
            return
        if member not in self.reached.get(sender, {}):
            return
        delay = 0.0005 + 0.001 * self._chance.random()
        self.world.clock.callLater(delay, self._deliver, sender, member, payload)

    def _deliver(self, sender: str, name: str, payload: bytes) -> None:
        member = self.members.get(name)
        if member is not None and member.node is not None and member.host.up and (sender, name) not in self.cut:
            member.node.receive(sender, payload)

    def leader(self, timeout: float = 20.0) -> Member:
        """Wait for one that was announced as leader and whose term is the highest."""
        found: list[Member] = []

        def there() -> bool:
            found[:] = [m for m in self.members.values() if m.serving and m.leads and m.leads[-1][0]]
            found.sort(key=lambda member: member.leads[-1][1])
            return bool(found)

        self.world.run_until(there, timeout)
        return found[-1]

    def propose(self, payload: bytes, timeout: float = 20.0) -> bytes:
        """On whoever leads, again until it is answered."""
        leader = self.leader(timeout)
        assert leader.node is not None
        answer: bytes | None = self.world.run_until(leader.node.propose(payload), timeout)
        assert answer is not None
        return answer

    def settle(self, names: Sequence[str] | None = None, timeout: float = 30.0) -> tuple[bytes, ...]:
        """Wait until the members named (all) have applied the same; return it."""
        chosen = [self.members[name] for name in names or self.members]

        def equal() -> bool:
            nodes = [member.node for member in chosen]
            states = {member.store.now for member in chosen}
            return len(states) == 1 and all(
                node is not None and node.status().applied_index == node.status().last_index for node in nodes
            )

        self.world.run_until(equal, timeout)
        return chosen[0].store.now[1]


def node_of(member: Member) -> RaftNode:
    """Its node, which runs."""
    assert member.node is not None
    return member.node


def outcome(answer: Deferred[Any]) -> list[Any]:
    """What the Deferred fires with, each time, as values or exceptions."""
    results: list[Any] = []
    answer.addCallbacks(results.append, lambda failure: results.append(failure.value))  # type: ignore[unused-awaitable]
    return results
