"""Moves of replicas: surplus, drains, maintenance, racks, balance (S03, S04, S16, S17, S18, S20)."""

from __future__ import annotations

from dfs.metaserver import queries
from dfs.metaserver.racks import closeness
from dfs.metaserver.records import NodeRecord
from dfs.protocol.messages import NodeChange, RebalanceAction
from dfs.protocol.values import NodeState
from dfs.simulation.cluster import DATA, ClusterSettings
from dfs.simulation.inspection import store_of
from dfs.simulation.platter import paths
from dfs.simulation.promise import Chunk, committed_chunks
from dfs.simulation.scenarios.replicas import state
from dfs.simulation.stage import Scenario, Stage, check, outcome

FIVE = ClusterSettings(chunk_servers=5)
RACKS = ClusterSettings(chunk_servers=6, racks=("dc1/r1", "dc1/r2", "dc1/r3"))


def chunks(stage: Stage) -> list[Chunk]:
    """Every committed chunk by the leader's tables; none without a leader."""
    leader = stage.cluster.leader()
    return [] if leader is None else list(committed_chunks(store_of(leader.program)))


def nodes(stage: Stage) -> dict[int, NodeRecord]:
    """Every chunk server that the leader's tables have."""
    leader = stage.cluster.leader()
    return {} if leader is None else dict(queries.nodes_page(store_of(leader.program)))


def is_exact(stage: Stage) -> bool:
    """Whether each chunk is recorded as often as wanted, and no trim is under way."""
    leader = stage.cluster.leader()
    found = chunks(stage)
    if leader is None or not found or any(len(chunk.record.nodes) != chunk.wanted for chunk in found):
        return False
    return all(record.gone_ms for _, _, record in queries.retired_page(store_of(leader.program)))


def whole_without(stage: Stage, name: str) -> bool:
    """Whether each chunk lies whole on as many disks as wanted besides a node's."""
    found = chunks(stage)
    others = [other for other in stage.cluster.chunks if other != name]
    return bool(found) and all(
        sum(stage.promise.holds(other, chunk) for other in others) >= chunk.wanted for chunk in found
    )


def quarantined(stage: Stage) -> int:
    """How many files are set aside on all disks."""
    return sum(len(paths(node.host.disk, f"{DATA}/quarantine")) for node in stage.cluster.chunks.values())


async def change(stage: Stage, name: str, wish: NodeChange, seconds: float = 0.0) -> None:
    """What an operator asks of a node."""
    client = await stage.client.enter()
    await client.operator.change(name, wish, seconds)


async def fill(stage: Stage, count: int = 6) -> None:
    """Some files, with every replica there."""
    for number in range(count):
        await stage.put(f"f{number}")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")


async def surplus_is_trimmed(stage: Stage) -> None:
    """A dead node's chunks were copied when it comes back: the surplus is trimmed, into quarantine, and every chunk
    keeps as many whole replicas as wanted at any time."""
    await fill(stage)
    stage.cluster.chunks["chunk-1"].crash()
    await stage.until(lambda: whole_without(stage, "chunk-1"), 60.0, "three replicas without chunk-1")
    stage.cluster.chunks["chunk-1"].start()
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.ALIVE, 10.0, "chunk-1 alive again")
    check(not is_exact(stage), "there is surplus to trim")
    await stage.until(lambda: is_exact(stage) and not stage.promise.replica_problem(full=True), 60.0, "no surplus")
    check(quarantined(stage) > 0, "what was trimmed is in quarantine")


async def rotten_survivors(stage: Stage) -> None:
    """When the surplus is to be trimmed, most of what would stay has rotted unseen: nothing good goes for its sake."""
    await fill(stage)
    stage.cluster.chunks["chunk-1"].crash()
    await stage.until(lambda: whole_without(stage, "chunk-1"), 60.0, "three replicas without chunk-1")
    for name in ("chunk-2", "chunk-3"):
        disk = stage.cluster.chunks[name].host.disk
        for replica in stage.shelves.stored(name):
            replica.rot(disk, 1000)
    stage.cluster.chunks["chunk-1"].start()
    for _ in range(100):
        await stage.sleep(0.25)
        for chunk in chunks(stage):
            good = [name for name in stage.cluster.chunks if stage.promise.holds(name, chunk)]
            check(good, f"no good replica of {chunk} is left in its place")
    await stage.until(lambda: is_exact(stage) and not stage.promise.replica_problem(full=True), 90.0, "all whole again")


async def moves_through_crashes(stage: Stage) -> None:
    """Nodes are drained and taken back while whoever has a part in it is killed or loses power at any moment."""
    await fill(stage)
    everybody = list(stage.cluster.nodes)
    for turn in range(8):
        drained = f"chunk-{1 + turn % 5}"
        await outcome(change(stage, drained, NodeChange.DRAIN))
        for _ in range(3):
            await stage.sleep(stage.dice.between(0.0, 1.5))
            victim = stage.cluster.nodes[stage.dice.pick(everybody)]
            if stage.dice.pick([True, False]):
                victim.crash()
            else:
                victim.kill()
            await stage.sleep(stage.dice.between(0.0, 0.5))
            victim.start()
        await stage.cluster.wait_leader()
        await outcome(change(stage, drained, NodeChange.UNDRAIN))
        problem = stage.promise.replica_problem()
        check(not problem, problem)
    for record in nodes(stage).values():
        await outcome(change(stage, record.name, NodeChange.UNDRAIN))


async def drained_while_written(stage: Stage) -> None:
    """A node is drained while files are written to it; when it says drained, everything is whole without it, and it
    can be removed."""
    await fill(stage, 3)
    writers = [stage.cluster.client() for _ in range(2)]
    uploads = [
        writer.run(stage.put(f"w{number}", 1_500_000, writer)) for number, writer in enumerate(writers)
    ]
    await stage.until(lambda: len(stage.shelves.names("chunk-2")) > 8, 10.0, "uploads in progress")
    await change(stage, "chunk-2", NodeChange.DRAIN)
    for _ in range(4_000):
        if state(stage, "chunk-2") is NodeState.DRAINED:
            check(whole_without(stage, "chunk-2"), "it says drained, and something is not whole without it")
        if state(stage, "chunk-2") is NodeState.DRAINED and all(upload.called for upload in uploads):
            break
        await stage.sleep(0.05)
    for upload in uploads:
        await upload
    await stage.until(lambda: state(stage, "chunk-2") is NodeState.DRAINED, 60.0, "drained after the uploads")
    check(whole_without(stage, "chunk-2"), "everything is whole without it")
    await change(stage, "chunk-2", NodeChange.REMOVE)
    await stage.until(
        lambda: "chunk-2" not in {record.name for record in nodes(stage).values()}, 60.0, "chunk-2 is forgotten"
    )
    removed = stage.cluster.chunks.pop("chunk-2")
    await stage.until(lambda: not removed.up, 20.0, "its process ends by itself")
    await stage.check_readable()


async def dead_node_is_removed(stage: Stage) -> None:
    """A node that never comes back is forgotten, with the garbage that it held; nothing waits for it any more."""
    await fill(stage)
    stage.cluster.chunks["chunk-1"].crash()
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, 10.0, "chunk-1 declared dead")
    await stage.client.files.delete("f0")
    del stage.stored["f0"]
    await change(stage, "chunk-1", NodeChange.REMOVE)
    await stage.until(
        lambda: "chunk-1" not in {record.name for record in nodes(stage).values()}, 90.0, "chunk-1 is forgotten"
    )
    del stage.cluster.chunks["chunk-1"]


async def announced_restart(stage: Stage) -> None:
    """A node whose absence was announced is away for much longer than the time-out: nothing is copied.  Its time over,
    and still away, it is dead and everything is healed."""
    await fill(stage)
    before = stage.shelves.all_names()
    settings = stage.cluster.settings
    await change(stage, "chunk-1", NodeChange.MAINTENANCE, settings.dead_after * 4)
    node = stage.cluster.chunks["chunk-1"]
    await node.stop()
    await stage.sleep(settings.dead_after * 3)
    check(stage.shelves.all_names() == before, "an announced restart made copies")
    check(state(stage, "chunk-1") is NodeState.MAINTENANCE, f"it is {state(stage, 'chunk-1')}")
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, settings.dead_after * 3, "dead in the end")
    await stage.until(lambda: whole_without(stage, "chunk-1"), 60.0, "three replicas without chunk-1")


def badly_spread(stage: Stage) -> list[str]:
    """Chunks whose replicas could lie farther apart, by the racks of the leader's tables."""
    records = nodes(stage)
    racks = sorted({record.rack for record in records.values()})
    found = []
    for chunk in chunks(stage):
        mine = [records[number].rack for number in chunk.record.nodes]
        for place, rack in enumerate(mine):
            others = mine[:place] + mine[place + 1 :]
            if any(closeness(other, others) < closeness(rack, others) for other in racks):
                found.append(f"{chunk} lies in {mine}")
                break
    return found


async def labels_change(stage: Stage) -> None:
    """Two replicas of a chunk never share a rack while another has room; when labels change it is corrected, and
    nothing is trimmed before it is copied."""
    await fill(stage)
    check(not badly_spread(stage), f"from the beginning: {badly_spread(stage)[:3]}")
    for name, rack in (("chunk-2", "dc1/r1"), ("chunk-5", "dc2/r1")):
        node = stage.cluster.chunks[name]
        stage.cluster.relabel(name, rack)
        node.kill()
        node.start()
    await stage.until(lambda: badly_spread(stage), 20.0, "the labels have changed")
    for _ in range(1_200):
        problem = stage.promise.replica_problem()
        check(not problem, problem)
        if not badly_spread(stage) and is_exact(stage):
            break
        await stage.sleep(0.1)
    check(not badly_spread(stage), f"in the end: {badly_spread(stage)[:3]}")


async def rebalanced(stage: Stage) -> None:
    """A new node is empty while the others fill up: rebalancing moves replicas there, and stops by itself."""
    for node in stage.cluster.chunks.values():
        node.host.disk.capacity = 1 << 27
    await fill(stage, 12)
    joined = stage.cluster.add_chunk_server("chunk-9")
    joined.host.disk.capacity = 1 << 27
    joined.start()
    await stage.until(lambda: state(stage, "chunk-9") is NodeState.ALIVE, 10.0, "chunk-9 is known")
    client = await stage.client.enter()
    await client.operator.rebalance(RebalanceAction.START, 1)

    def spread() -> int:
        held = [record.bytes for record in nodes(stage).values()]
        return max(held) - min(held)

    before = spread()
    await stage.until(lambda: spread() < before // 3, 200.0, "the nodes are filled alike")
    await stage.until(lambda: is_exact(stage), 60.0, "nothing is left over")
    await client.operator.rebalance(RebalanceAction.STOP)


SCENARIOS = (
    Scenario("S03", "the surplus of a node that came back is trimmed", surplus_is_trimmed, FIVE),
    Scenario("S04", "an announced restart", announced_restart, FIVE),
    Scenario("S15", "a dead node is removed", dead_node_is_removed, FIVE),
    Scenario("S16", "rotten survivors", rotten_survivors, FIVE),
    Scenario("S17", "moves through crashes", moves_through_crashes, FIVE),
    Scenario("S18", "a node is drained while it is written to", drained_while_written, FIVE),
    Scenario("S20", "labels of racks change", labels_change, RACKS),
    Scenario("S20", "rebalanced onto a new node", rebalanced, ClusterSettings(chunk_servers=4)),
)
