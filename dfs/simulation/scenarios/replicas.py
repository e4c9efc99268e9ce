"""Replicas and nodes: power cuts of the room, silence, restarts, corruption, full disks (S01 to S21)."""

from __future__ import annotations

from dfs.client.errors import DFSError
from dfs.disk.errors import DiskFull
from dfs.metaserver import queries
from dfs.protocol.values import NodeState
from dfs.simulation.cluster import DATA, ClusterSettings
from dfs.simulation.inspection import chunk_server_states, store_of
from dfs.simulation.platter import paths
from dfs.simulation.stage import Scenario, Stage, check, ending, outcome

AWAY = 900.0
"""Virtual seconds: thirty times the time-out; what would happen within an hour has happened by then."""
SLOW = ClusterSettings(tick=0.5, heartbeat_interval=3.0, suspect_after=10.0, dead_after=30.0)
FOUR = ClusterSettings(chunk_servers=4)
FIVE = ClusterSettings(chunk_servers=5)


def state(stage: Stage, node: str) -> NodeState | None:
    """What the leader thinks of a chunk server; None without a leader."""
    leader = stage.cluster.leader()
    return None if leader is None else chunk_server_states(leader.program).get(node)


async def power_cut_of_the_room(stage: Stage) -> None:
    """All chunk servers lose power, for long, while metadata stays up; nothing is evicted or deleted."""
    for number in range(3):
        await stage.put(f"f{number}")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    before = stage.shelves.all_names()
    for node in stage.cluster.chunks.values():
        node.crash()
    await stage.sleep(AWAY)
    check({state(stage, node) for node in before} == {NodeState.DEAD}, "silent for so long, they are dead")
    for node in stage.cluster.chunks.values():
        node.start()
    await stage.until(lambda: {state(stage, node) for node in before} == {NodeState.ALIVE}, 60.0, "all alive again")
    check(stage.shelves.all_names() == before, "replicas were deleted or copied")
    check(not stage.promise.replica_problem(full=True), "replicas were evicted from the tables")


async def new_leader_gives_time(stage: Stage) -> None:
    """A node was silent for most of its time-out when the leader dies: the new leader gives it a whole one."""
    settings = stage.cluster.settings
    stage.cluster.chunks["chunk-1"].kill()
    await stage.sleep(settings.dead_after * 0.8)
    (await stage.leader()).kill()
    await stage.leader()
    began = stage.world.clock.now
    while state(stage, "chunk-1") is not NodeState.DEAD:
        waited = stage.world.clock.now - began
        check(waited < settings.dead_after + 3.0, "it is never declared dead")
        for other in ("chunk-2", "chunk-3"):
            check(state(stage, other) is not NodeState.DEAD, f"{other} speaks and is declared dead")
        await stage.sleep(0.05)
    waited = stage.world.clock.now - began
    check(waited >= settings.dead_after - 0.1, f"declared dead after {waited:.2f} s of this leader")


async def dead_node_comes_back(stage: Stage) -> None:
    """A node that was declared dead comes back: it is alive and its replicas count again."""
    await stage.put("f")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    before = stage.shelves.names("chunk-1")
    stage.cluster.chunks["chunk-1"].crash()
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, 10.0, "chunk-1 declared dead")
    await stage.check_readable()
    stage.cluster.chunks["chunk-1"].start()
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.ALIVE, 5.0, "chunk-1 alive again")
    check(not stage.promise.replica_problem(full=True), "its replicas do not count")
    check(stage.shelves.names("chunk-1") == before, "its replicas were touched")


async def cut_off_node_comes_back(stage: Stage) -> None:
    """A node that was cut off long enough to be declared dead, and never restarted, beats again: it is alive."""
    await stage.put("f")
    stage.world.isolate("chunk-2")
    await stage.until(lambda: state(stage, "chunk-2") is NodeState.DEAD, 10.0, "chunk-2 declared dead")
    stage.world.heal()
    await stage.until(lambda: state(stage, "chunk-2") is NodeState.ALIVE, 10.0, "chunk-2 alive again")


async def planned_restart(stage: Stage) -> None:
    """A node restarts within the grace time: nothing is copied.  It stays away: everything of it is copied."""
    for number in range(4):
        await stage.put(f"f{number}")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    before = stage.shelves.all_names()
    node = stage.cluster.chunks["chunk-1"]
    await node.stop()
    await stage.sleep(stage.cluster.settings.dead_after * 0.5)
    node.start()
    await stage.sleep(stage.cluster.settings.dead_after * 2)
    check(stage.shelves.all_names() == before, "a planned restart made copies")
    await node.stop()
    others = [name for name in before if name != "chunk-1"]
    every = sorted({name for names in before.values() for name in names})
    await stage.until(
        lambda: all(stage.shelves.names(name) == every for name in others), 60.0, "everything on the other three"
    )


async def acknowledged_is_durable(stage: Stage) -> None:
    """The whole room loses power at the very moment of each acknowledgement, while some disks are slow: what was
    acknowledged is there, on as many disks as the write quorum."""
    for number in range(6):
        for node in stage.cluster.chunks.values():
            node.host.disk.slowness = stage.dice.pick([1.0, 100.0, 300.0])
        await stage.put(f"f{number}", stage.dice.pick([1, 65536, 200_000]))
        for node in stage.cluster.nodes.values():
            node.crash()
            node.host.disk.slowness = 1.0
        await stage.sleep(0.5)
        stage.cluster.start()
        await stage.cluster.wait_ready()
        problem = stage.promise.replica_problem()
        check(not problem, problem)
        await stage.check_readable()


async def below_the_quorum(stage: Stage) -> None:
    """All chunk servers but one lose power in the middle of an upload: it is not acknowledged, its name does not
    appear, and no chunk of it was committed on fewer disks than the write quorum."""
    await stage.put("before")
    upload = stage.client.run(stage.client.upload(stage.content(4_000_000), "too few"))
    ends = ending(upload)
    await stage.until(lambda: len(stage.shelves.names("chunk-1")) > 8, 10.0, "an upload in progress")
    for name in ("chunk-2", "chunk-3"):
        stage.cluster.chunks[name].crash()
    await stage.until(lambda: ends, 60.0, "the upload ends")
    check(isinstance(ends[0], DFSError), f"one disk alone took an upload: {ends[0]}")
    check(await stage.client.names() == ["before"], "its name appeared")
    problem = stage.promise.replica_problem()
    check(not problem, problem)


async def inventories_beside_writes(stage: Stage) -> None:
    """Chunk servers register and tell what they hold, again and again, while files are written: no write is lost."""
    others = [stage.cluster.client() for _ in range(2)]
    for turn in range(5):
        uploads = [
            client.run(stage.put(f"{turn}/{number}", 150_000, client)) for number, client in enumerate(others)
        ]
        for node in stage.cluster.chunks.values():
            await stage.sleep(stage.dice.between(0.0, 0.02))
            for meta in stage.cluster.meta.values():
                stage.world.network.reset(node.host.ip, meta.host.ip)
        for upload in uploads:
            await upload
    await stage.sleep(2.0)
    problem = stage.promise.replica_problem(full=True)
    check(not problem, problem)


async def retry_beside_first_try(stage: Stage) -> None:
    """The answers of a primary are held up, so the client writes its chunks again elsewhere while the first tries go
    on: every replica is whole, no temporary file is left."""
    for node in ("chunk-1", "chunk-2"):
        stage.world.partition(node, stage.client.host.name, both=False)
    upload = stage.client.run(stage.put("f", 400_000))
    await stage.sleep(9.0)
    stage.world.heal()
    await upload
    await stage.sleep(8.0)
    await stage.until(lambda: not any(map(stage.shelves.unfinished, stage.cluster.chunks)), 5.0, "nothing unfinished")
    half = [name for node in stage.cluster.chunks for name in stage.shelves.half(node)]
    check(not half, f"not whole are {half}")


async def corrupt_replica(stage: Stage) -> None:
    """One replica rots: readers get good bytes, it is set aside and replaced."""
    await stage.put("f", 300_000)
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    disk = stage.cluster.chunks["chunk-1"].host.disk
    rotten = stage.shelves.stored("chunk-1")
    for replica in rotten:
        replica.rot(disk, 1000)
    reader = stage.cluster.client()
    for _ in range(40):
        await stage.check_readable(reader)
        if len(paths(disk, f"{DATA}/quarantine")) == len(rotten):
            break
    aside = paths(disk, f"{DATA}/quarantine")
    check(len(aside) == len(rotten), f"{len(aside)} of {len(rotten)} were set aside")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def full_disk(stage: Stage) -> None:
    """A disk is full in the middle of a chunk: other targets are chosen, nothing half is left, deletes still work."""
    disk = stage.cluster.chunks["chunk-1"].host.disk
    await stage.put("before")
    disk.capacity = disk.used + 90_000
    for number in range(4):
        await stage.put(f"f{number}", 300_000)
    await stage.sleep(1.0)
    await stage.until(lambda: not stage.shelves.unfinished("chunk-1"), 5.0, "nothing unfinished is left")
    for node in stage.cluster.chunks.values():
        node.host.disk.capacity = node.host.disk.used
    error = await outcome(stage.client.upload(stage.content(100_000), "too much"))
    check(isinstance(error, DFSError), f"with every disk full an upload is refused, not {error}")
    files = stage.shelves.all_names()
    await stage.client.files.delete("before")
    del stage.stored["before"]
    await stage.until(lambda: stage.shelves.all_names() != files, 60.0, "the deleted file's chunks are collected")
    for node in stage.cluster.chunks.values():
        node.host.disk.capacity = 1 << 40


async def old_inventory(stage: Stage) -> None:
    """What a chunk server tells of its replicas is on its way for long, while others commit chunks that it has stored
    meanwhile: the old inventory takes none of them off the record."""
    slow = stage.cluster.chunks["chunk-1"]
    for turn in range(4):
        for meta in stage.cluster.meta.values():
            stage.world.network.slow(slow.host.ip, meta.host.ip, 0.3)
        slow.kill()
        slow.start()  # a new process is asked what it holds
        highest = 0
        uploads = [stage.client.run(stage.put(f"{turn}/{number}", 130_000)) for number in range(2)]
        for number in range(120):
            await stage.sleep(0.02)
            recorded = replicas_on_record(stage, "chunk-1")
            check(recorded >= highest, f"{highest - recorded} replicas of chunk-1 were taken off the record")
            highest = max(highest, recorded)
            if number % 4 == 0:
                uploads.append(stage.client.run(stage.put(f"{turn}/{number + 2}", 1000)))
        for upload in uploads:
            await upload
        stage.world.network.restore()


def replicas_on_record(stage: Stage, node: str) -> int:
    """How many replicas of a chunk server the tables of the leader have."""
    leader = stage.cluster.leader()
    if leader is None:
        return 0
    nodes = queries.nodes_page(store_of(leader.program))
    return sum(record.chunks for _, record in nodes if record.name == node)


SCENARIOS = (
    Scenario("S01", "power cut of the room", power_cut_of_the_room, SLOW),
    Scenario("S02", "a new leader gives a whole time-out", new_leader_gives_time),
    Scenario("S03", "a dead node comes back", dead_node_comes_back),
    Scenario("S03", "a cut-off node comes back", cut_off_node_comes_back),
    Scenario("S04", "planned restart", planned_restart, FOUR),
    Scenario("S05", "power cut at each acknowledgement", acknowledged_is_durable),
    Scenario("S05", "below the quorum", below_the_quorum, ClusterSettings(patience=8.0)),
    Scenario("S06", "inventories beside writes", inventories_beside_writes),
    Scenario("S06", "an old inventory", old_inventory),
    Scenario("S08", "a retry beside the first try", retry_beside_first_try, FOUR),
    Scenario("S11", "a corrupt replica", corrupt_replica, FOUR),
    Scenario("S21", "a full disk", full_disk, FIVE, expected=(DiskFull,)),
)
