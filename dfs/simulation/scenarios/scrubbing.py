"""What nobody reads: rot, unreadable sectors and vanished files, found by the scrub and healed (S11)."""

from __future__ import annotations

from dfs.chunkserver.damage import Damage, Doubts
from dfs.disk.errors import DiskError
from dfs.protocol.messages import DamageKind
from dfs.simulation.cluster import DATA, ClusterSettings
from dfs.simulation.platter import paths
from dfs.simulation.stage import Scenario, Stage, check

THREE = ClusterSettings(scrub_period=20.0, quarantine=60.0)
FOUR = ClusterSettings(chunk_servers=4, scrub_period=20.0)


async def _stored(stage: Stage) -> list[str]:
    """Files with three replicas of each chunk; the paths of those on chunk-1."""
    for number in range(3):
        await stage.put(f"f{number}", 300_000)
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    found = paths(stage.cluster.chunks["chunk-1"].host.disk, f"{DATA}/chunks")
    check(bool(found), "chunk-1 got nothing")
    return found


def _doubts(stage: Stage) -> Doubts:
    """What chunk-1 thinks of its replicas."""
    store = dict(stage.cluster.chunk_servers())["chunk-1"].store
    assert store is not None
    return store.doubts


async def rot_that_nobody_reads(stage: Stage) -> None:
    """Replicas rot and nobody reads them: the scrub finds all of them, they are set aside and replaced."""
    rotten = await _stored(stage)
    disk = stage.cluster.chunks["chunk-1"].host.disk
    for path in rotten:
        disk.flip_bits(path, 1000)
    aside = f"{DATA}/quarantine"
    await stage.until(lambda: len(paths(disk, aside)) >= len(rotten), 120.0, "all that is rotten is set aside")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def rot_through_restarts(stage: Stage) -> None:
    """The node restarts again and again, by SIGTERM and by kill: the scrub comes to its end all the same."""
    rotten = await _stored(stage)
    node = stage.cluster.chunks["chunk-1"]
    for path in rotten:
        node.host.disk.flip_bits(path, 1000)
    aside = f"{DATA}/quarantine"
    for turn in range(30):
        if len(paths(node.host.disk, aside)) >= len(rotten):
            break
        await stage.sleep(6.0)
        if turn % 2:
            node.kill()
        else:
            await node.stop()
        node.start()
    check(len(paths(node.host.disk, aside)) >= len(rotten), "what is rotten was not found")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def unreadable_sector(stage: Stage) -> None:
    """The disk does not read one replica any more: it is set aside and replaced, and the node goes on serving."""
    bad = (await _stored(stage))[0]
    node = stage.cluster.chunks["chunk-1"]
    node.host.disk.inject("pread", bad, DiskError, count=None)
    damaged = _doubts(stage)
    await stage.until(lambda: damaged.unreadable == 1, 120.0, "the sector is found")
    check(not damaged.trouble, "one sector is not the disk")
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 60.0, "three good replicas again")


async def vanished_file(stage: Stage) -> None:
    """Somebody deletes the files of replicas: the scrub misses them, and they are made anew."""
    gone = await _stored(stage)
    disk = stage.cluster.chunks["chunk-1"].host.disk
    for path in gone:
        disk.unlink(path)
    damaged = _doubts(stage)
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
    for path in rotten:
        disk.flip_bits(path, 1000)
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
    fault = node.host.disk.inject("pread", bad, DiskError, count=None)
    damaged = _doubts(stage)
    await stage.until(lambda: damaged.unreadable == 1, 120.0, "the sector is found")
    node.host.disk.recover(fault)
    await stage.until(lambda: not paths(node.host.disk, f"{DATA}/quarantine"), 60.0, "it is served again")
    await stage.check_readable()


SCENARIOS = (
    Scenario("S11", "rot that nobody reads", rot_that_nobody_reads, FOUR),
    Scenario("S11", "rot found through restarts", rot_through_restarts, FOUR),
    Scenario("S11", "an unreadable sector", unreadable_sector, FOUR, expected=(DiskError,)),
    Scenario("S11", "vanished files", vanished_file, FOUR),
    Scenario("S16", "rot leaves the disk in the end", rot_leaves_the_disk, FOUR),
    Scenario("S11", "whole after all", whole_after_all, THREE, expected=(DiskError,)),
)
