"""Servers of several releases beside each other (S39)."""

from __future__ import annotations

from dfs.protocol.values import NodeState
from dfs.simulation.cluster import ClusterSettings
from dfs.simulation.inspection import spoken_versions
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.scenarios.moves import whole_without
from dfs.simulation.scenarios.replicas import state
from dfs.simulation.stage import Scenario, Stage, check

OLD, NEW, TOO_NEW = (1, 1), (1, 2), (3, 3)


async def restarted(stage: Stage, node: SimulatedNode, versions: tuple[int, int]) -> None:
    """One server goes down in order and comes up with another release."""
    stage.cluster.versions[node.name] = versions
    await node.stop()
    node.start()


async def rolling_upgrade(stage: Stage) -> None:
    """One server after the other gets a release that speaks a later version as well, in the middle one goes back, and
    clients of the old release work all the while: each pair speaks the highest version that both know."""
    await stage.put("before")
    for number, node in enumerate(list(stage.cluster.nodes.values())):
        upload = stage.client.run(stage.put(f"f{number}", 300_000))
        await restarted(stage, node, NEW)
        await upload
        if number == 2:  # the metadata servers are new, the chunk servers old
            leader = await stage.leader()
            await stage.until(lambda: stage.cluster.leader() is not None, 10.0, "a leader")
            await stage.sleep(2.0)
            check(spoken_versions(leader.program) == {1, 2}, f"it speaks {spoken_versions(leader.program)}")
            await restarted(stage, node, OLD)
            await stage.put("gone back")
            await restarted(stage, node, NEW)
        await stage.check_readable()


async def too_new(stage: Stage) -> None:
    """A server of a release that does not speak our version any more is refused by everybody and disturbs nobody: a
    chunk server's replicas are copied elsewhere, a metadata server changes no leader.  Put back, both belong again."""
    for number in range(4):
        await stage.put(f"f{number}")
    chunk, (follower, *_) = stage.cluster.chunks["chunk-1"], await stage.followers()
    await restarted(stage, chunk, TOO_NEW)
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, 20.0, "chunk-1 is dead to the others")
    leader = await stage.leader()
    await restarted(stage, follower, TOO_NEW)
    for number in range(4, 8):
        await stage.put(f"f{number}")
        await stage.sleep(2.0)
    check(stage.cluster.leader() is leader, "a server that nobody understands has changed who leads")
    check(chunk.up and follower.up, f"it ended: {chunk.fatal} {follower.fatal}")
    for node in (chunk, follower):
        check(spoken_versions(node.program) <= {3}, f"{node.name} speaks {spoken_versions(node.program)}")
    await restarted(stage, chunk, OLD)
    await restarted(stage, follower, OLD)


async def packing_on_and_off(stage: Stage) -> None:
    """Chunk servers begin to pack small chunks one after the other, while replicas of the same chunks lie in files
    elsewhere, and leave off again: what is there stays where it is and is read, copied between both layouts, and
    deleted."""
    await stage.put("files")
    check(layouts(stage) == {name: {FILE} for name in stage.cluster.chunks}, f"at first: {layouts(stage)}")
    for name, node in list(stage.cluster.chunks.items()):
        before = stage.shelves.names(name)
        await packs(stage, node, True)
        check(stage.shelves.names(name) == before, "a start that packs has touched what is there")
        await stage.put(f"with {name}")
        await stage.check_readable()
    found = layouts(stage)
    check(sum(len(each) == 2 for each in found.values()) > 1, f"in between: {found}")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "all replicas of each chunk")
    stage.cluster.chunks["chunk-1"].kill()
    await packs(stage, stage.cluster.chunks["chunk-2"], False)
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, 20.0, "chunk-1 is dead to the others")
    await stage.until(lambda: whole_without(stage, "chunk-1"), 60.0, "copies between both layouts")
    for node in list(stage.cluster.chunks.values())[1:]:
        await packs(stage, node, False)
        await stage.put(f"without {node.name}")
        await stage.check_readable()
    for name in list(stage.stored):
        await stage.client.files.delete(name)
        del stage.stored[name]
    others = list(stage.cluster.chunks)[1:]
    await stage.until(lambda: not any(map(stage.shelves.names, others)), 150.0, "nothing is left of either layout")


async def packs(stage: Stage, node: SimulatedNode, wanted: bool) -> None:
    """A chunk server goes down in order and comes up with DFS_SEGMENTS on or off."""
    stage.cluster.packs[node.name] = wanted
    await node.stop()
    node.start()
    await stage.until(lambda: stage.shelves.is_open(node.name), 20.0, "it has gone through its folder")


FILE, SEGMENT = "file", "segment"


def layouts(stage: Stage) -> dict[str, set[str]]:
    """In which way replicas lie on each chunk server."""
    return {
        name: {FILE if replica.sha256 is None else SEGMENT for replica in stage.shelves.stored(name)}
        for name in stage.cluster.chunks
    }


SCENARIOS = (
    Scenario("S39", "packing on and off", packing_on_and_off, ClusterSettings(chunk_servers=4, segments=False)),
    Scenario("S39", "a rolling upgrade", rolling_upgrade, ClusterSettings(chunk_servers=4)),
    Scenario("S39", "a release too new", too_new, ClusterSettings(chunk_servers=4)),
)
