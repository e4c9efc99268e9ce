"""Repair and collection in the middle of other failures, and folders that two servers claim (S12, S15, S19)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred

from dfs.client.errors import DFSError
from dfs.metaserver import queries
from dfs.protocol.values import NodeState
from dfs.simulation.cluster import DATA, ClusterSettings
from dfs.simulation.inspection import chunk_server_states, machine_of, store_of
from dfs.simulation.platter import clone as copy_folder
from dfs.simulation.promise import committed_chunks
from dfs.simulation.scenarios.replicas import FIVE, FOUR, state
from dfs.simulation.stage import Scenario, Stage, check, ending
from dfs.simulation.workload import pieces_of


def short_chunks(stage: Stage) -> int:
    """How many committed chunks have fewer recorded replicas on live nodes than wanted; -1 without a leader."""
    leader = stage.cluster.leader()
    if leader is None:
        return -1
    store, states = store_of(leader.program), chunk_server_states(leader.program)
    alive = {number for number, record in queries.nodes_page(store) if states.get(record.name) is NodeState.ALIVE}
    return sum(len(alive.intersection(chunk.record.nodes)) < chunk.wanted for chunk in committed_chunks(store))


async def repair_never_stops(stage: Stage) -> None:
    """While a dead node's chunks are copied, the leader dies, a source dies and a target dies: it all heals."""
    for number in range(8):
        await stage.put(f"f{number}", 250_000)
    stage.cluster.chunks["chunk-1"].crash()
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, 10.0, "chunk-1 declared dead")
    (await stage.leader()).kill()
    await stage.leader()
    await stage.sleep(0.3)
    stage.cluster.chunks["chunk-2"].kill()
    await stage.sleep(0.5)
    stage.cluster.chunks["chunk-3"].crash()
    await stage.sleep(1.0)
    stage.cluster.chunks["chunk-2"].start()
    await stage.sleep(1.0)
    stage.cluster.chunks["chunk-3"].start()
    for node in stage.cluster.meta.values():
        node.start()
    check(not stage.cluster.chunks["chunk-1"].up, "chunk-1 is not to come back")
    await stage.until(lambda: short_chunks(stage) == 0, 90.0, "three live replicas of each chunk without chunk-1")


async def deleted_is_collected(stage: Stage) -> None:
    """The chunks of deleted files and of an abandoned upload go from every disk."""
    for number in range(4):
        await stage.put(f"f{number}", 200_000)
    abandoned = stage.cluster.client()
    ending(abandoned.run(abandoned.upload(stage.content(2_000_000), "never", parallel=1)))
    await stage.until(lambda: uploads(stage) == 1 and some_chunks(stage) > 4 * 4 + 6, 10.0, "an upload in progress")
    abandoned.host.kill()
    await stage.sleep(6.0)  # what its primaries still wait for ends
    await delete_all(stage)
    await stage.until(lambda: uploads(stage) == 0, 60.0, "the abandoned upload has expired")
    await stage.until(lambda: not any(stage.shelves.all_names().values()), 150.0, "no replica is left on any disk")


async def delete_all(stage: Stage) -> None:
    """Delete every file."""
    for name in list(stage.stored):
        await stage.client.files.delete(name)
        del stage.stored[name]


async def deleted_during_repair(stage: Stage) -> None:
    """Files are deleted while a dead node's chunks are copied: the repair ends, and the collection too, that of
    the node that comes back included."""
    for number in range(8):
        await stage.put(f"f{number}", 300_000)
    stage.cluster.chunks["chunk-4"].crash()
    await stage.until(lambda: state(stage, "chunk-4") is NodeState.DEAD, 10.0, "chunk-4 declared dead")
    await stage.sleep(0.1)
    await delete_all(stage)
    stage.cluster.chunks["chunk-4"].start()
    await stage.until(lambda: garbage(stage) == 0, 150.0, "all garbage is collected")
    await stage.until(lambda: not stage.shelves.names("chunk-4"), 10.0, "nothing is left on chunk-4")
    await stage.put("after")
    await stage.until(lambda: short_chunks(stage) == 0, 30.0, "nothing waits for repair")


def garbage(stage: Stage) -> int:
    """How many ended files the leader's tables still hold."""
    leader = stage.cluster.leader()
    machine = machine_of(leader.program) if leader is not None else None
    return -1 if machine is None else machine.head.garbage


def uploads(stage: Stage) -> int:
    """How many uploads the leader's tables hold."""
    leader = stage.cluster.leader()
    machine = machine_of(leader.program) if leader is not None else None
    return -1 if machine is None else machine.head.uploads


def some_chunks(stage: Stage) -> int:
    """How many replicas there are in all."""
    return sum(len(names) for names in stage.shelves.all_names().values())


async def two_servers_on_one_folder(stage: Stage) -> None:
    """A second server on a folder in use is refused, and a cloned folder on another machine is refused."""
    await stage.put("f")
    first = stage.cluster.chunks["chunk-1"]
    reasons: list[str] = []
    ended: Deferred[None] = Deferred()

    def fatal(sentence: str) -> None:
        reasons.append(sentence)
        if not ended.called:
            ended.callback(None)

    second = first.build(first.host.runtime, first.host.disk, fatal)
    second.startService()
    await ended
    check("use" in reasons[0], f"the second server says: {reasons[0]}")
    before = stage.shelves.names("chunk-1")
    clone = stage.cluster.add_chunk_server("chunk-9")
    copy_folder(first.host.disk, clone.host.disk, DATA)
    clone.start()
    await stage.until(lambda: clone.fatal, 10.0, "the server on the cloned folder ends")
    check("chunk-1" in clone.fatal[0], f"the server on the cloned folder says: {clone.fatal[0]}")
    del stage.cluster.chunks["chunk-9"]
    check(stage.shelves.names("chunk-1") == before and first.up, "the first server was disturbed")


async def delete_of_an_upload(stage: Stage) -> None:
    """Somebody ends an upload by its id while it runs: its writer is told, and its chunks go."""
    content = stage.content(3_000_000)
    writer = stage.cluster.client()
    await writer.enter()
    found = ending(writer.run(writer.files.upload(slow_pieces(stage, content), "gone", chunk_size=65536)))
    await stage.until(lambda: uploads(stage) == 1 and some_chunks(stage) > 3, 10.0, "an upload in progress")
    file_id = queries.uploads_page(store_of((await stage.leader()).program))[0][0]
    await stage.client.enter()
    await stage.client.files.delete(file_id=file_id)
    await stage.until(lambda: found, 20.0, "the writer is told")
    check(isinstance(found[0], DFSError), f"the writer met {found[0]!r}")
    check(await stage.client.names() == [], "the name appeared")
    await stage.until(lambda: not any(stage.shelves.all_names().values()), 150.0, "no replica is left on any disk")


async def slow_pieces(stage: Stage, content: bytes) -> AsyncIterator[bytes]:
    """A stream that takes its time."""
    async for piece in pieces_of(content, 65536):
        await stage.sleep(0.1)
        yield piece


SCENARIOS = (
    Scenario("S12", "repair through the deaths of leader, source and target", repair_never_stops, FIVE),
    Scenario("S15", "what was deleted or abandoned is collected", deleted_is_collected, FOUR),
    Scenario("S15", "files are deleted during their repair", deleted_during_repair, FOUR),
    Scenario("S19", "two servers on one folder", two_servers_on_one_folder),
    Scenario("S36", "a delete during an upload", delete_of_an_upload, ClusterSettings(chunk_servers=4)),
)
