"""Who speaks, who is silent: the leader's judgement of chunk servers.

Leader-local and pure.  Suspect is an opinion of this leader alone; dead is recorded by a command.  A new leader has
heard nobody yet, so everybody has the full time-out from its first moment (S02).  A recorded-dead node that beats is
back (S03).

One folder run by two processes shows as two boots under one incarnation (S19): the boot that registered last counts; a
beat of a former one is a conflict.

Silence is measured only while this node listens: for how long it stood still itself, nobody is blamed.
"""

from __future__ import annotations

import enum

from attrs import define, field

from dfs.protocol.values import NodeState

SUSPECT_AFTER = 10.0
DEAD_AFTER = 30.0
_FORMER_BOOTS = 4


class Beat(enum.Enum):
    """What to make of a heartbeat."""

    OK = "ok"
    RETURNED = "returned"  # recorded as dead: propose NodeReturned
    REGISTER = "register"  # never registered with this leader: ask for it
    CONFLICT = "conflict"  # a second process runs on the same folder: refuse it, alarm


@define
class _Node:
    heard: float
    dead: bool
    boot: bytes = b""
    former: list[bytes] = field(factory=list)


class Liveness:
    """All nodes, for one leadership.  Times are monotonic seconds."""

    def __init__(self, suspect_after: float = SUSPECT_AFTER, dead_after: float = DEAD_AFTER) -> None:
        self._suspect_after = suspect_after
        self._dead_after = dead_after
        self._nodes: dict[int, _Node] = {}

    def known(self, number: int, dead: bool, now: float) -> None:
        """The tables have this node with that standing: said for each node by a new leader (it gets a full time-out),
        and for one whose record changed (its time-out goes on)."""
        node = self._nodes.get(number)
        if node is None:
            self._nodes[number] = _Node(now, dead)
        else:
            if node.dead and not dead:
                node.heard = now
            node.dead = dead

    def forget(self, number: int) -> None:
        """It was removed."""
        self._nodes.pop(number, None)

    def registered(self, number: int, boot: bytes, now: float) -> None:
        """A process registered (and the command was applied): it counts from now on."""
        node = self._nodes.setdefault(number, _Node(now, False))
        if node.boot and node.boot != boot:
            node.former = [*node.former, node.boot][-_FORMER_BOOTS:]
        if boot in node.former:
            node.former.remove(boot)
        node.boot, node.heard, node.dead = boot, now, False

    def heard(self, number: int, boot: bytes, now: float) -> Beat:
        """A heartbeat came."""
        node = self._nodes.get(number)
        if node is None:
            return Beat.REGISTER
        if boot in node.former:
            return Beat.CONFLICT
        if node.boot != boot:
            return Beat.REGISTER
        node.heard = now
        return Beat.RETURNED if node.dead else Beat.OK

    def spoke(self, number: int, now: float) -> None:
        """It said something else than a beat, with its folder's incarnation: that it lives (S02).  Only a beat brings
        back one that is recorded as dead."""
        node = self._nodes.get(number)
        if node is not None and not node.dead:
            node.heard = now

    def stood_still(self, seconds: float, now: float) -> None:
        """This node heard nobody for so long, by its own fault: everybody gets that time back."""
        for node in self._nodes.values():
            node.heard = min(now, node.heard + seconds)

    def newly_dead(self, now: float) -> tuple[int, ...]:
        """Nodes to propose NodeDied for, by number; named again until :meth:`known` says that it is recorded."""
        return tuple(
            number
            for number, node in sorted(self._nodes.items())
            if not node.dead and now - node.heard >= self._dead_after
        )

    def state(self, number: int, now: float) -> NodeState:
        """DEAD as recorded only: until the command is applied a silent node is suspect."""
        node = self._nodes.get(number)
        if node is None or node.dead:
            return NodeState.DEAD
        return NodeState.SUSPECT if now - node.heard >= self._suspect_after else NodeState.ALIVE
