"""Operations whose answers are lost, followers that were away (S26, S32, S34)."""

from __future__ import annotations

from functools import partial

from dfs.client.errors import FileNotFound
from dfs.simulation.cluster import ClusterSettings
from dfs.simulation.inspection import core_of, machine_of
from dfs.simulation.stage import Scenario, Stage, check, refused

PATIENCE_OF_A_CALL = 5.0
"""Seconds after which a client asks again."""


async def lost_answers(stage: Stage) -> None:
    """The leader's answers to a client are held up, so the client asks again, over a new connection and of a new
    leader: each create, commit and delete takes effect once and is acknowledged."""
    for turn in range(3):
        leader = await stage.leader()
        stage.world.partition(leader.name, stage.client.host.name, both=False)
        upload = stage.client.run(stage.put(f"f{turn}", 100_000))
        await stage.sleep(stage.dice.between(0.5, 4.0))
        if turn == 1:
            leader.kill()
        stage.world.heal()
        await upload
        leader.start()
    for turn in range(3):
        leader = await stage.leader()
        await stage.client.names()  # so that there is a connection to this leader
        stage.world.partition(leader.name, stage.client.host.name, both=False)
        delete = stage.client.run(stage.client.files.delete(f"f{turn}"))
        await stage.until(partial(files_are, stage, 2 - turn), 30.0, "the delete is applied")
        await stage.sleep(PATIENCE_OF_A_CALL + 1.0)
        if turn == 1:
            leader.kill()
        stage.world.heal()
        await delete
        del stage.stored[f"f{turn}"]
        leader.start()
    await refused(stage.client.files.delete("f0"), FileNotFound)
    stored = sorted(info.name for info in [info async for info in stage.client.files.list()])
    check(stored == [], f"left are {stored}")


def files_are(stage: Stage, count: int) -> bool:
    """Whether the tables of the most advanced member hold so many files."""
    machines = [machine for _, server in stage.cluster.meta_servers() if (machine := machine_of(server)) is not None]
    return max((machine.head for machine in machines), key=lambda head: head.index).files == count


async def connections_break(stage: Stage) -> None:
    """Answers of metadata take their time, and connections break again and again before they come: all operations take
    effect once."""
    for node in stage.cluster.meta.values():
        stage.world.network.slow(node.host.ip, stage.client.host.ip, 0.02)
    stage.cluster.world.clock.callLater(0, breaking, stage, 150)
    for turn in range(10):
        await stage.put(f"f{turn}", 80_000)
        if turn % 3 == 0:
            await stage.client.files.delete(f"f{turn}")
            del stage.stored[f"f{turn}"]


def breaking(stage: Stage, left: int) -> None:
    """Break all connections of the client to the metadata servers, and again a little later."""
    for node in stage.cluster.meta.values():
        stage.world.network.reset(stage.client.host.ip, node.host.ip)
    if left:
        stage.world.clock.callLater(stage.dice.between(0.03, 0.2), breaking, stage, left - 1)


async def follower_was_away(stage: Stage) -> None:
    """A follower is away while more happens than the log keeps: it catches up by a snapshot while writes go on."""
    away = (await stage.followers())[0]
    away.kill()
    for turn in range(12):
        await stage.put(f"f{turn}", 20_000)
        await stage.client.files.delete(f"f{turn}")
        del stage.stored[f"f{turn}"]
    for turn in range(4):
        await stage.put(f"g{turn}", 20_000)
    leader = await stage.leader()
    await stage.until(lambda: boundary(leader.program) > 30, 20.0, "the log is compacted")
    behind = leader.program
    away.start()
    await stage.put("meanwhile")

    def caught_up() -> bool:
        machine = machine_of(away.program) if away.up else None
        return machine is not None and machine.head.index >= boundary(behind)

    await stage.until(caught_up, 20.0, "the follower has caught up")
    check(boundary(away.program) > 30, "it caught up without a snapshot: the story shows nothing")


async def metadata_was_away(stage: Stage) -> None:
    """All metadata nodes are down for two hours while the chunk servers stay up: cluster time stood still, and what is
    granted afterwards is good at once."""
    await stage.put("before")
    for node in stage.cluster.meta.values():
        node.kill()
    await stage.sleep(7200.0)
    for node in stage.cluster.meta.values():
        node.start()
    await stage.leader()
    await stage.put("after")


def boundary(server: object) -> int:
    """The last compacted entry of a member's log."""
    core = core_of(server)  # type: ignore[arg-type]  # a MetaServer
    return 0 if core is None else core.state.log.boundary.index


SHORT_LOG = ClusterSettings(trailing_entries=10, sync_interval=0.5, segment_length=4096)

SCENARIOS = (
    Scenario("S26", "answers are lost", lost_answers),
    Scenario("S26", "connections break", connections_break),
    Scenario("S34", "metadata was away", metadata_was_away),
    Scenario("S32", "a follower was away", follower_was_away, SHORT_LOG),
)
