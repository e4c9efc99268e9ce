"""What operators do to a cluster while it works and while other things fail: hand leadership over, let metadata servers
in, take them out, replace one whose disk is lost for good.

One change at a time, as one operator makes them.  A server that was taken out runs on for a while before it is
switched off, for it may not disturb the others (R57).  What a change came to is not always known: after the heal the
operator looks who belongs, ends the others and lets learners vote (:meth:`Operator.finish`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from dfs.client.errors import DFSError
from dfs.client.membership import Membership, NoSuchMember
from dfs.simulation.cluster import ClusterClient
from dfs.simulation.faults.ground import Ground
from dfs.simulation.nodes import SimulatedNode

MOST_MEMBERS = 6
PATIENCE = 30.0
"""Seconds from the heal until everybody who belongs must vote."""

Change = Callable[[], Coroutine[Any, Any, None]]


class Operator:
    """:param ground: whose cluster."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._client: ClusterClient | None = None
        self._busy = False
        self._made = 0

    def begin(self, kind: str, what: str, change: Change) -> None:
        """Carry a change out, unless another one is under way."""
        if not self._busy:
            self._busy = True
            self._ground.note(kind, what)
            Deferred.fromCoroutine(change()).addErrback(self._refused).addBoth(self._ended)  # type: ignore[unused-awaitable]

    def _refused(self, failure: Any) -> None:
        failure.trap(DFSError)
        self._ground.world.note(f"the operator is told: {failure.value}")

    def _ended(self, result: Any) -> Any:
        self._busy = False
        return result

    def client(self) -> ClusterClient:
        """The operator's machine."""
        if self._client is None:
            self._client = self._ground.cluster.client()
        return self._client

    async def _membership(self) -> Membership:
        return (await self.client().enter()).membership

    # Changes.

    async def transfer(self) -> None:
        """Whoever has caught up furthest leads."""
        await (await self._membership()).transfer()

    async def grow(self) -> None:
        """A new server, on a new disk."""
        cluster = self._ground.cluster
        self._made += 1
        node = cluster.joiner(f"meta-{cluster.settings.meta_nodes + self._made}")
        node.start()
        membership = await self._membership()
        await membership.let_in(node.name, cluster.joined[node.name])
        await membership.caught_up(node.name)
        await membership.promote(node.name)

    async def shrink(self, node: SimulatedNode) -> None:
        """One less."""
        membership = await self._membership()
        await membership.remove(node.name)
        await self._ground.cluster.sleep(2.0)
        self._retire(node)

    async def replace(self, node: SimulatedNode) -> None:
        """Its disk is lost; another one takes its place, under another name."""
        node.crash()
        self._ground.broken[node.name] = None
        membership = await self._membership()
        await membership.remove(node.name)
        self._retire(node)
        await self.grow()

    def _retire(self, node: SimulatedNode) -> None:
        node.kill()
        self._ground.broken.pop(node.name, None)
        if node.name in self._ground.cluster.meta:
            self._ground.cluster.removed(node.name)

    # The end.

    async def finish(self) -> None:
        """Everybody who belongs votes and runs, nobody else runs."""
        cluster = self._ground.cluster
        if not self._made and self._client is None:
            return
        await cluster.until(lambda: not self._busy, PATIENCE + cluster.settings.patience, "the operator's last change")
        end = self._ground.world.clock.now + PATIENCE
        while True:
            membership = await self._membership()
            found = (await membership.members()).members
            for node in list(cluster.meta.values()):
                if node.name not in {member.name for member in found}:
                    self._retire(node)
            learners = [member.name for member in found if not member.voter]
            if not learners or self._ground.world.clock.now > end:
                assert not learners, f"{learners} do not vote {PATIENCE:g} s after the heal"
                return
            try:
                await membership.caught_up(learners[0])
                await membership.promote(learners[0])
            except (DFSError, NoSuchMember) as error:
                self._ground.world.note(f"the operator is told: {type(error).__name__}")
                await cluster.sleep(0.5)


def transfer(ground: Ground, operator: Operator) -> None:
    """A planned change of leader (R58)."""
    if len(ground.cluster.meta) > 1:
        operator.begin("leadership transfer", "", operator.transfer)


def grow(ground: Ground, operator: Operator) -> None:
    """One metadata server more."""
    if len(ground.cluster.meta) < MOST_MEMBERS:
        operator.begin("member added", "", operator.grow)


def shrink(ground: Ground, operator: Operator) -> None:
    """One metadata server less, the leader now and then."""
    if len(ground.cluster.meta) > 2:
        node = ground.dice.pick(list(ground.cluster.meta.values()))
        operator.begin("member removed", node.name, partial(operator.shrink, node))


def replace(ground: Ground, operator: Operator) -> None:
    """A metadata server's disk is lost while all others are well."""
    members = list(ground.cluster.meta.values())
    if len(members) > 2 and all(node.up and node.name not in ground.excused for node in members):
        node = ground.dice.pick(members)
        operator.begin("member replaced", node.name, partial(operator.replace, node))


Kind = Callable[[Ground, Operator], None]

KINDS: dict[str, tuple[Kind, float]] = {
    "transfer": (transfer, 1.0),
    "grow": (grow, 0.5),
    "shrink": (shrink, 0.5),
    "replace": (replace, 0.3),
}
"""Each kind with its usual weight."""
