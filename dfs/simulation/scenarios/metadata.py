"""Operations whose answers are lost, followers that were away, large files, states that
differ (S26, S32, S34, S37, S38)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from attrs import evolve

from dfs.client.errors import FileNotFound
from dfs.kv.interfaces import Batch, scan_all
from dfs.metaserver import tables
from dfs.metaserver.checkpoints import EVERY
from dfs.metaserver.comparing import INTERVAL as COMPARING_INTERVAL
from dfs.metaserver.records import node_codec
from dfs.protocol.messages import FilePage, ListFiles
from dfs.simulation.cluster import ClusterSettings
from dfs.simulation.inspection import core_of, machine_of, store_of
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


async def very_large_file(stage: Stage) -> None:
    """What one more chunk changes in the tables does not grow with the file, and the pages of a listing name each name
    once, while others come and go."""
    chunk = stage.cluster.settings.chunk_size
    changed: dict[int, int] = {}

    async def stream(count: int) -> AsyncIterator[bytes]:
        before = await records(stage)
        for number in range(count):
            yield stage.dice.content(chunk)
            if number in (20, count - 3):
                await stage.sleep(0.5)  # what was sent is committed
                before = await records(stage)
            if number in (21, count - 2):
                await stage.sleep(0.5)
                after = await records(stage)
                changed[number] = sum(len(value) for key, value in after.items() if before.get(key) != value)

    files = await stage.client.enter()
    await files.upload(stream(160), "large", chunk_size=chunk, parallel=1)
    await files.delete("large")
    early, late = changed[21], changed[158]
    check(0 < late < 2 * early, f"the 22nd chunk changed {early} bytes of records, the 159th {late}")
    for number in range(60):
        await stage.put(f"n{number:03}", 0)
    seen: list[str] = []
    token = b""
    while len(seen) < 60:
        page = await files._context.ask(ListFiles("n", token, 7), FilePage)
        check(len(page.files) <= 7, f"a page of {len(page.files)} names")
        seen += [info.name for info in page.files]
        token = page.token
        await stage.client.files.delete(page.files[0].name)
        del stage.stored[page.files[0].name]
        if not token:
            break
    check(seen == [f"n{number:03}" for number in range(60)], f"the pages name {seen}")


async def records(stage: Stage) -> dict[bytes, bytes]:
    """All records of the leader's tables."""
    store = store_of((await stage.leader()).program)
    return dict(scan_all(store, b""))


async def a_member_differs(stage: Stage) -> None:
    """One member's tables are changed behind its back: as soon as entries touch it the leader names that member in an
    alarm, and before that there is none."""
    await stage.put("before")
    victim = (await stage.followers())[0]
    await stage.sleep(COMPARING_INTERVAL + 1.0)
    check(not await alarms(stage), f"an alarm before anything differs: {await alarms(stage)}")
    stage.promise.stop()  # it would see the difference at once
    store = store_of(victim.program)
    key, value = next(scan_all(store, tables.node_key(1)))
    record = node_codec.decode(value)
    batch = Batch()
    batch.put(key, node_codec.encode(evolve(record, bytes=record.bytes + 1)))
    store.apply(batch)
    for number in range(EVERY // 2):
        await stage.put(f"f{number}", 1)
    await stage.sleep(COMPARING_INTERVAL + 1.0)
    (alarm,) = await alarms(stage)
    others = " and ".join(sorted(set(stage.cluster.meta) - {victim.name}))
    check(f"the tables of {victim.name} differ from those of {others} at entry " in alarm, f"the alarm says: {alarm}")


async def alarms(stage: Stage) -> tuple[str, ...]:
    """What `dfs status` shows of them."""
    return (await (await stage.client.enter()).status()).alarms


def boundary(server: object) -> int:
    """The last compacted entry of a member's log."""
    core = core_of(server)  # type: ignore[arg-type]  # a MetaServer
    return 0 if core is None else core.state.log.boundary.index


SHORT_LOG = ClusterSettings(trailing_entries=10, sync_interval=0.5, segment_length=4096)

SCENARIOS = (
    Scenario("S26", "answers are lost", lost_answers),
    Scenario("S26", "connections break", connections_break),
    Scenario("S34", "metadata was away", metadata_was_away),
    Scenario("S37", "a very large file and long listings", very_large_file),
    Scenario("S38", "a member differs", a_member_differs, heals=False),
    Scenario("S32", "a follower was away", follower_was_away, SHORT_LOG),
)
