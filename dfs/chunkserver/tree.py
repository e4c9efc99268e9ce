"""The tree of a put's targets, and the count of who has the chunk: pure decisions of the write path.

``targets[0]`` is the primary; each other target names by ``parent`` the position of who
forwards to it.  Everyone gets the whole tree, which the grant covers, and its own position
in it.  A star (everyone's parent is 0), a chain, and all between work alike.

Each direct child is a *group* with everything below it: losing the child loses the group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dfs.protocol.errors import BadRequest
from dfs.protocol.messages import DurableReplica
from dfs.protocol.values import MAX_REPLICATION, NodeNumber, Target


def check_tree(targets: Sequence[Target], position: int, quorum: int) -> None:
    """Raises BadRequest unless it is a tree of different nodes, the receiver among them, that can meet the quorum."""
    if not 1 <= len(targets) <= MAX_REPLICATION:
        raise BadRequest(f"a put has 1 to {MAX_REPLICATION} targets, not {len(targets)}")
    if targets[0].parent != 0 or any(not 0 <= one.parent < at for at, one in enumerate(targets) if at):
        raise BadRequest("each target's parent comes before it, and the primary is first")
    if position >= len(targets):
        raise BadRequest(f"there is no position {position} among {len(targets)} targets")
    if len({one.node for one in targets}) != len(targets) or len({one.name for one in targets}) != len(targets):
        raise BadRequest("a node is named twice among the targets")
    if not 1 <= quorum <= len(targets):
        raise BadRequest(f"a quorum of {quorum} cannot be met by {len(targets)} targets")


def subtrees(targets: Sequence[Target], position: int) -> list[tuple[int, ...]]:
    """Positions by direct child of the node at ``position``: the child first, then everything below it."""
    groups: dict[int, list[int]] = {}
    home: dict[int, int] = {}  # position -> the child that it is below
    for at, target in enumerate(targets):
        if at == 0:
            continue
        if target.parent == position:
            groups[at], home[at] = [at], at
        elif target.parent in home:
            home[at] = home[target.parent]
            groups[home[at]].append(at)
    return [tuple(group) for group in groups.values()]


def child_quorum(quorum: int, total: int, size: int) -> int:
    """How many of a subtree's ``size`` nodes must be durable even if all the other nodes are."""
    return max(1, quorum - (total - size))


class Tally:
    """Who has the chunk, who may still get it, who will not.

    :param groups: targets by group; group 0 is the receiver alone.
    """

    def __init__(self, quorum: int, groups: Sequence[Sequence[Target]]) -> None:
        self.quorum = quorum
        self.durable: dict[NodeNumber, DurableReplica] = {}
        self.lost: list[str] = []
        """Names of the nodes that did not make it."""
        self._groups = groups
        self._pending = set(range(len(groups)))

    def settle(self, group: int, replicas: Iterable[DurableReplica]) -> None:
        """The group answered: these of its nodes have the chunk, the others do not."""
        self._pending.discard(group)
        told = {replica.node: replica for replica in replicas}
        for target in self._groups[group]:
            if target.node in told:
                self.durable[target.node] = told[target.node]
                if target.name in self.lost:
                    self.lost.remove(target.name)
            elif target.name not in self.lost:
                self.lost.append(target.name)

    def lose(self, group: int) -> None:
        """Nothing is expected of the group any more."""
        self.settle(group, ())

    def pending(self, group: int) -> bool:
        """Whether the group may still answer."""
        return group in self._pending

    def may_lose(self, group: int) -> bool:
        """Whether the quorum could be met without the group: it is dropped only then."""
        return self._possible(self._pending - {group}) >= self.quorum

    @property
    def enough(self) -> bool:
        """The quorum is durable."""
        return len(self.durable) >= self.quorum

    @property
    def hopeless(self) -> bool:
        """The quorum cannot be met any more."""
        return self._possible(self._pending) < self.quorum

    @property
    def complete(self) -> bool:
        """Nobody is waited for."""
        return not self._pending

    def _possible(self, pending: Iterable[int]) -> int:
        return len(self.durable) + sum(len(self._groups[group]) for group in pending)
