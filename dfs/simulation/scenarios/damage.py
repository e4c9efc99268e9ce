"""Disks that hold something else than was written, servers that die in the middle of a write (S07, S09, S10, S11, S30).
"""

from __future__ import annotations

from dfs.client.errors import DFSError
from dfs.protocol.values import NodeState
from dfs.raft.log_format import SECTOR
from dfs.simulation.cluster import DATA, LOCAL, ClusterSettings
from dfs.simulation.faults.atlas import CHUNKS, LOG, QUARANTINE, Atlas
from dfs.simulation.inode import Inode
from dfs.simulation.platter import paths, peek
from dfs.simulation.scenarios.replicas import FIVE, state
from dfs.simulation.stage import Scenario, Stage, check, outcome


async def settled_replicas(stage: Stage) -> None:
    """Each chunk lies whole on as many disks as wanted."""
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "all good replicas of each chunk")


async def corrupt_source(stage: Stage) -> None:
    """A node dies and all that another one holds has rotted: whatever is copied comes from what is sound, and the
    rotten copies are found out on the way."""
    for number in range(6):
        await stage.put(f"f{number}", 200_000)
    await settled_replicas(stage)
    disk = stage.cluster.chunks["chunk-2"].host.disk
    for replica in stage.shelves.stored("chunk-2"):
        replica.rot(disk, stage.dice.below(replica.length))
    stage.cluster.chunks["chunk-1"].crash()
    await stage.until(lambda: state(stage, "chunk-1") is NodeState.DEAD, 10.0, "chunk-1 declared dead")
    await stage.sleep(20.0)
    for name, node in stage.cluster.chunks.items():
        if name not in ("chunk-1", "chunk-2"):
            check(not paths(node.host.disk, QUARANTINE), f"{name} was given something corrupt")
    reader = stage.cluster.client()
    for _ in range(40):
        await stage.check_readable(reader)
        if not stage.promise.replica_problem(full=True):
            return
        await stage.sleep(1.0)
    raise AssertionError(stage.promise.replica_problem(full=True))


async def killed_at_each_step(stage: Stage) -> None:
    """A chunk server dies at one operation of its disk after the other while it takes a chunk: after its restart each
    replica is whole or absent, and nothing temporary is left."""
    await stage.put("before", 70_000)
    node = stage.cluster.chunks["chunk-1"]
    for turn in range(24):
        node.host.disk.crash_at(1 + turn)
        result = await outcome(stage.put(f"f{turn}", 70_000))
        check(not isinstance(result, DFSError), f"the upload ended with {result}")
        node.host.disk.crash_at(None)
        node.start()
        await stage.cluster.wait_ready()
        await stage.until(lambda: stage.shelves.is_open("chunk-1"), 20.0, "chunk-1 has gone through its folder")
        left = stage.shelves.unfinished("chunk-1")
        check(not left, f"left are {left}")
        half = stage.shelves.half("chunk-1")
        check(not half, f"not whole are {half}")
    check(not paths(node.host.disk, QUARANTINE), "a half replica had a replica's name")


async def cut_short_at_rest(stage: Stage) -> None:
    """While a server is down its replicas become empty, zeros, or lose their tails: at its start none of them counts,
    what is sound elsewhere is copied to it anew."""
    for number in range(6):
        await stage.put(f"f{number}", 150_000)
    await settled_replicas(stage)
    node = stage.cluster.chunks["chunk-1"]
    node.kill()
    found = sorted({replica.path for replica in stage.shelves.stored("chunk-1")})
    for number, path in enumerate(found):
        inode = node.host.disk.tree.find(path)
        assert isinstance(inode, Inode)
        length = len(inode.content)
        inode.content[:] = [b"", bytes(length), bytes(inode.content[: length // 2])][number % 3]
    node.start()
    await stage.until(lambda: stage.shelves.is_open("chunk-1"), 20.0, "chunk-1 has gone through its folder")
    half = stage.shelves.half("chunk-1")
    check(not half, f"listed are {half}")
    alone = sum(path.startswith(CHUNKS) for path in found)  # a segment stays where it is, whatever is left of it
    check(len(paths(node.host.disk, QUARANTINE)) == alone, "every file is set aside")
    await stage.check_readable()
    await settled_replicas(stage)


async def rotten_log(stage: Stage) -> None:
    """In the middle of one member's log a bit flips: it refuses to start with a sentence that names the file, it cuts
    nothing off, the others go on; with the bytes put back it is a member again."""
    for number in range(5):
        await stage.put(f"f{number}", 1000)
    node = (await stage.followers())[0]
    node.kill()
    log = next(path for path in paths(node.host.disk, DATA) if path.startswith(LOG))
    atlas = Atlas(stage.cluster)
    check(dict(atlas.own_files(node))[log] > SECTOR, "the log is too short for this story")
    before = peek(node.host.disk, log)
    spot = atlas.spoil(node, log, SECTOR + 5, b"\xff")
    node.start()
    await stage.until(lambda: node.fatal, 10.0, "the member refuses")
    check(log in node.fatal[0], f"it says {node.fatal[0]}")
    spot.take_back()
    check(peek(node.host.disk, log) == before, "the log was changed")
    await stage.put("meanwhile")
    node.start()
    await stage.sleep(1.0)
    check(node.up, "it does not start with its own log")


async def one_after_the_other(stage: Stage) -> None:
    """Every replica that a reader is given first has rotted, one after the other: it gets good bytes every time."""
    await stage.put("f", 260_000)
    await settled_replicas(stage)
    for name in ("chunk-1", "chunk-2", "chunk-3"):
        disk = stage.cluster.chunks[name].host.disk
        for replica in stage.shelves.stored(name):
            replica.rot(disk, 100)
        for _ in range(20):
            await stage.check_readable()
        await settled_replicas(stage)
    check(not [path for path in paths(stage.client.host.disk, LOCAL) if path.endswith(".part")], "a part is left")


SCENARIOS = (
    Scenario("S07", "a corrupt source", corrupt_source, FIVE),
    Scenario("S09", "killed at each step of a write", killed_at_each_step, ClusterSettings(chunk_servers=4)),
    Scenario("S10", "replicas cut short at rest", cut_short_at_rest, ClusterSettings(chunk_servers=3)),
    Scenario("S30", "a rotten log", rotten_log),
    Scenario("S11", "one rotten server after the other", one_after_the_other, ClusterSettings(chunk_servers=3)),
)
