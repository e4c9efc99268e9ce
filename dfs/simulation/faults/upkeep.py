"""What operators ask of chunk servers while files are stored and other things fail: drain one and take it back, retire
it for good, announce that it will be away, add one, balance the others.

The same operator as of the metadata servers, so one change at a time.  A drain may find no place, or not end in its
time: it is left with its reason, and taken back after the heal (:meth:`Upkeep.finish`).  Where a server is said to be
drained, everything must be recorded elsewhere as often as wanted; its disk is destroyed at that moment, and nothing may
be lost (S18).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dfs.client.errors import DFSError
from dfs.client.operating import Operator as NodeOperator
from dfs.metaserver import queries
from dfs.metaserver.records import Standing
from dfs.protocol.messages import NodeChange, RebalanceAction
from dfs.protocol.values import NodeState
from dfs.simulation.cluster import SimulatedCluster
from dfs.simulation.faults.ground import Ground
from dfs.simulation.faults.operators import Change, Operator
from dfs.simulation.inspection import store_of
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.promise import Chunk, committed_chunks

MOST_SERVERS = 8
FEWEST_SERVERS = 4
"""A server is retired only while so many others are there: three copies and one that may be down."""
ROOM = 1 << 27
"""Bytes of a disk where it matters how full it is: one per mille of it is about two chunks."""
DRAIN_SECONDS = 8.0
PATIENCE = 60.0
"""Seconds from the heal until what was asked is taken back and done."""
WATCH = 0.1
ACTIONS = (RebalanceAction.START, RebalanceAction.PAUSE, RebalanceAction.RESUME, RebalanceAction.STOP)


class Upkeep:
    """:param operator: who asks, one change at a time.
    :param retires: disks may be lost for good, for nothing else takes copies away.
    """

    def __init__(self, ground: Ground, operator: Operator, retires: bool) -> None:
        self._ground = ground
        self._cluster: SimulatedCluster = ground.cluster
        self._operator = operator
        self.retires = retires
        self._touched: dict[str, None] = {}
        self._leaving: dict[str, None] = {}
        self._made = 0
        self._balanced = False

    def begin(self, kind: str, what: str, change: Change) -> None:
        """See Operator.begin."""
        self._operator.begin(kind, what, change)

    async def _asked(self) -> NodeOperator:
        return (await self._operator.client().enter()).operator

    async def _change(self, node: SimulatedNode, change: NodeChange, seconds: float = 0.0) -> None:
        self._touched[node.name] = None
        await (await self._asked()).change(node.name, change, seconds)

    # Changes.

    async def drain(self, node: SimulatedNode, seconds: float, then: str) -> None:
        """Empty a server, for at most so many seconds; ``then`` it stays so, is taken back or retired."""
        await self._change(node, NodeChange.DRAIN)
        drained = await self._drained(node.name, seconds)
        if then == "undrain":
            await self._change(node, NodeChange.UNDRAIN)
        elif then == "retire" and drained:
            await self._retire(node)

    async def _drained(self, name: str, seconds: float) -> bool:
        end = self._ground.world.clock.now + seconds
        while self._ground.world.clock.now < end and name in self._cluster.chunks:
            leader = self._cluster.leader()
            if leader is not None and standing(leader, name) is Standing.DRAINED:
                for problem in not_elsewhere(self._cluster, leader, name):
                    self._ground.violated(f"S18: {name} is said to be drained, but {problem}")
                return True
            await self._cluster.sleep(WATCH)
        self._ground.world.note(f"{name} is not drained after {seconds:.1f} s")
        return False

    async def _retire(self, node: SimulatedNode) -> None:
        """Its disk is destroyed, then it is forgotten."""
        self._leaving[node.name] = None
        node.crash()
        self._ground.retired[node.name] = None
        await self._change(node, NodeChange.REMOVE)

    async def maintain(self, node: SimulatedNode, announced: float, away: float) -> None:
        """It is away for longer or shorter than was announced."""
        await self._change(node, NodeChange.MAINTENANCE, announced)
        await node.stop()
        await self._cluster.sleep(away)
        self._ground.start(node)

    async def balance(self, action: RebalanceAction) -> None:
        """Make disks so small that it matters who holds how much, and move replicas."""
        for node in self._cluster.chunks.values():
            node.host.disk.capacity = min(node.host.disk.capacity, ROOM)
        self._balanced = True
        await (await self._asked()).rebalance(action, 1 if action is RebalanceAction.START else 0)

    def enlarge(self) -> None:
        """One chunk server more, on a new disk."""
        self._made += 1
        name = f"chunk-{self._cluster.settings.chunk_servers + self._made}"
        self._ground.note("chunk server added", name)
        self._cluster.add_chunk_server(name).start()

    # The end.

    async def finish(self) -> None:
        """Whoever was asked to leave is taken back, or gone if its disk is; nothing is balanced any more."""
        end = self._ground.world.clock.now + PATIENCE
        while True:
            try:
                problem = await self._take_back()
            except DFSError as error:
                problem = f"{type(error).__name__}: {error}"
            if not problem or self._ground.world.clock.now > end:
                assert not problem, f"{PATIENCE:g} s after the heal the operator is not done: {problem}"
                return
            self._ground.world.note(f"the operator waits: {problem}")
            await self._cluster.sleep(0.5)

    async def _take_back(self) -> str:
        if self._balanced:
            await (await self._asked()).rebalance(RebalanceAction.STOP)
        if not self._touched:
            return ""
        operator = await self._asked()
        known = {info.name: info for info in await operator.nodes()}
        waits = []
        for name in self._touched:
            if name in self._leaving and name not in known:
                self._forgotten(name)
            elif name in self._leaving:
                waits.append(name)
                if known[name].state in (NodeState.DRAINED, NodeState.DEAD):
                    await operator.change(name, NodeChange.REMOVE)
            else:
                await operator.change(name, NodeChange.UNDRAIN)
                await operator.change(name, NodeChange.END_MAINTENANCE)
        return f"{waits} are not forgotten yet" if waits else ""

    def _forgotten(self, name: str) -> None:
        self._ground.broken.pop(name, None)
        self._cluster.chunks.pop(name, None)


def standing(leader: SimulatedNode, name: str) -> Standing | None:
    """What a leader's tables have of a server now: what it shows of it is a moment older."""
    found = [record for _, record in queries.nodes_page(store_of(leader.program)) if record.name == name]
    return Standing(found[-1].standing) if found else None


def not_elsewhere(cluster: SimulatedCluster, leader: SimulatedNode, name: str) -> list[str]:
    """Committed chunks of a server that are not recorded on as many others as wanted."""
    store = store_of(leader.program)
    names = {number: record.name for number, record in queries.nodes_page(store)}

    def short(chunk: Chunk) -> bool:
        holders = [names[number] for number in chunk.record.nodes]
        return name in holders and len(holders) - 1 < chunk.wanted

    return [f"{chunk} needs it" for chunk in committed_chunks(store) if short(chunk)]


def staying(ground: Ground) -> list[SimulatedNode]:
    """The chunk servers that were not retired."""
    return [node for node in ground.cluster.chunks.values() if node.name not in ground.retired]


def drain(ground: Ground, upkeep: Upkeep) -> None:
    """Files have to be elsewhere, for a while or for good (S18)."""
    servers = staying(ground)
    node = ground.dice.pick(servers)
    then = ground.dice.pick(["stay", "undrain", "undrain", "retire", "retire"])
    if then == "retire" and (len(servers) <= FEWEST_SERVERS or not upkeep.retires):
        then = "undrain"
    seconds = ground.dice.between(0.2, DRAIN_SECONDS)
    upkeep.begin("drain", f"{node.name}, then {then}", partial(upkeep.drain, node, seconds, then))


def maintain(ground: Ground, upkeep: Upkeep) -> None:
    """A server will be away, and is (S04)."""
    node = ground.dice.pick(staying(ground))
    announced, away = ground.dice.between(1.0, 12.0), ground.dice.between(0.5, 8.0)
    if node.up and not node.stopping and not node.host.paused:
        upkeep.begin("maintenance", node.name, partial(upkeep.maintain, node, announced, away))


def balance(ground: Ground, upkeep: Upkeep) -> None:
    """Some hold more than others."""
    action = ground.dice.weighted([(action, 1.0 + (action is RebalanceAction.START)) for action in ACTIONS])
    upkeep.begin("rebalance", action.name, partial(upkeep.balance, action))


def enlarge(ground: Ground, upkeep: Upkeep) -> None:
    """One more, empty (S14)."""
    if len(staying(ground)) < MOST_SERVERS:
        upkeep.enlarge()


Kind = Callable[[Ground, Upkeep], None]

KINDS: dict[str, tuple[Kind, float]] = {
    "drain": (drain, 1.0),
    "maintain": (maintain, 0.5),
    "balance": (balance, 0.5),
    "enlarge": (enlarge, 0.3),
}
"""Each kind with its usual weight."""
