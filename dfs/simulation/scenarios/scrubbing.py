"""What nobody reads: rot, unreadable sectors and vanished files, found by the scrub and healed (S11)."""

from __future__ import annotations

from dfs.chunkserver.damage import Damage
from dfs.chunkserver.store import ChunkStore
from dfs.disk.errors import DiskError
from dfs.protocol.messages import DamageKind
from dfs.simulation.cluster import DATA, ClusterSettings
from dfs.simulation.platter import paths
from dfs.simulation.stage import Scenario, Stage, check
from dfs.simulation.stored import Stored

THREE = ClusterSettings(scrub_period=20.0, quarantine=60.0)
FOUR = ClusterSettings(chunk_servers=4, scrub_period=20.0)


async def _stored(stage: Stage) -> list[Stored]:
    """Files with three replicas of each chunk; those on chunk-1."""
    for number in range(3):
        await stage.put(f"f{number}", 300_000)
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    found = stage.shelves.stored("chunk-1")
    check(bool(found), "chunk-1 got nothing")
    return found


def _store(stage: Stage) -> ChunkStore:
    """That of chunk-1."""
    store = dict(stage.cluster.chunk_servers())["chunk-1"].store
    assert store is not None
    return store


async def rot_that_nobody_reads(stage: Stage) -> None:
    """Replicas rot and nobody reads them: the scrub finds all of them, they are set aside and replaced."""
    rotten = await _stored(stage)
    disk = stage.cluster.chunks["chunk-1"].host.disk
    for replica in rotten:
        replica.rot(disk, 1000)
    aside = f"{DATA}/quarantine"
    await stage.until(lambda: len(paths(disk, aside)) >= len(rotten), 120.0, "all that is rotten is set aside")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def rot_through_restarts(stage: Stage) -> None:
    """The node restarts again and again, by SIGTERM and by kill: the scrub comes to its end all the same."""
    rotten = await _stored(stage)
    node = stage.cluster.chunks["chunk-1"]
    for replica in rotten:
        replica.rot(node.host.disk, 1000)
    for turn in range(30):
        await stage.until(lambda: stage.shelves.is_open("chunk-1"), 20.0, "chunk-1 has gone through its folder")
        if not stage.shelves.half("chunk-1"):
            break
        await stage.sleep(6.0)
        if turn % 2:
            node.kill()
        else:
            await node.stop()
        node.start()
    check(stage.shelves.is_open("chunk-1") and not stage.shelves.half("chunk-1"), "what is rotten was not found")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def unreadable_sector(stage: Stage) -> None:
    """The disk does not read one replica any more: it is set aside and replaced, and the node goes on serving."""
    bad = (await _stored(stage))[0]
    node = stage.cluster.chunks["chunk-1"]
    node.host.disk.inject("pread", bad.path, DiskError, count=None, area=bad.area)
    damaged = _store(stage).doubts
    await stage.until(lambda: damaged.unreadable == 1, 120.0, "the sector is found")
    check(not damaged.trouble, "one sector is not the disk")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def vanished_file(stage: Stage) -> None:
    """Somebody deletes the files that replicas lie in: the scrub misses them, and they are made anew."""
    gone = await _stored(stage)
    disk = stage.cluster.chunks["chunk-1"].host.disk
    for path in {replica.path for replica in gone}:
        disk.unlink(path)
    damaged = _store(stage).doubts
    found: list[DamageKind] = []
    told = damaged.on_damage

    def note(damage: Damage) -> None:
        found.append(damage.kind)
        told(damage)

    damaged.on_damage = note
    await stage.until(lambda: len(found) >= len(gone), 120.0, "all that is missing is found")
    check(set(found) == {DamageKind.MISSING}, f"{found}")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def rot_leaves_the_disk(stage: Stage) -> None:
    """What is rotten is replaced elsewhere, kept for its time, and then deleted on metadata's word."""
    rotten = await _stored(stage)
    disk = stage.cluster.chunks["chunk-1"].host.disk
    for replica in rotten:
        replica.rot(disk, 1000)
    aside = f"{DATA}/quarantine"
    await stage.until(lambda: len(paths(disk, aside)) >= len(rotten), 120.0, "all that is rotten is set aside")
    await stage.sleep(stage.cluster.settings.quarantine * 0.5)
    check(len(paths(disk, aside)) >= len(rotten), "some of it is gone before its time")
    await stage.until(lambda: not paths(disk, aside), 240.0, "the quarantine is empty")
    check(not stage.promise.replica_problem(full=True), "three good replicas of each chunk")


async def whole_after_all(stage: Stage) -> None:
    """The last live replica of a chunk cannot be read for a while, and is set aside: as soon as it can be read again it
    is served again."""
    bad = (await _stored(stage))[0]
    node = stage.cluster.chunks["chunk-1"]
    for other in ("chunk-2", "chunk-3"):
        stage.cluster.chunks[other].crash()
    fault = node.host.disk.inject("pread", bad.path, DiskError, count=None, area=bad.area)
    store = _store(stage)
    held = len(store.index)
    await stage.until(lambda: store.doubts.unreadable == 1, 120.0, "the sector is found")
    check(len(store.index) == held - 1, "what cannot be read is listed")
    node.host.disk.recover(fault)
    await stage.until(lambda: len(store.index) == held, 60.0, "it is served again")
    await stage.until(lambda: not paths(node.host.disk, f"{DATA}/quarantine"), 60.0, "nothing is set aside any more")
    await stage.check_readable()


SCENARIOS = (
    Scenario("S11", "rot that nobody reads", rot_that_nobody_reads, FOUR),
    Scenario("S11", "rot found through restarts", rot_through_restarts, FOUR),
    Scenario("S11", "an unreadable sector", unreadable_sector, FOUR, expected=(DiskError,)),
    Scenario("S11", "vanished files", vanished_file, FOUR),
    Scenario("S16", "rot leaves the disk in the end", rot_leaves_the_disk, FOUR),
    Scenario("S11", "whole after all", whole_after_all, THREE, expected=(DiskError,)),
)
