"""Disks that are slow, full, fail, or hold other bytes than were written."""

from __future__ import annotations

from collections.abc import Callable

from dfs.disk.errors import DiskError
from dfs.simulation.cluster import DATA
from dfs.simulation.faults.atlas import Atlas, Spot
from dfs.simulation.faults.ground import Ground
from dfs.simulation.inode import SECTOR
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.platter import paths, peek, peek_part

HUGE = 1 << 40
"""Bytes that are always enough."""


def slow_disk(ground: Ground, atlas: Atlas) -> None:
    """Everything takes 10 to 1000 times as long: a sync 4 ms to 0.4 s (S23)."""
    node = ground.any_node()
    node.host.disk.slowness = ground.dice.pick([10.0, 100.0, 1000.0])
    ground.note("slow disk", f"{node.name} {node.host.disk.slowness}")
    ground.later(0.3, 4.0, lambda: setattr(node.host.disk, "slowness", 1.0))


def full_disk(ground: Ground, atlas: Atlas) -> None:
    """Nothing more fits, or little (S21).  A metadata server ends if its tables are what does not fit."""
    node = ground.any_node()
    disk = node.host.disk
    ground.excused[node.name] = None
    disk.capacity = disk.used + ground.dice.pick([0, 1000, 100_000])
    ground.note("full disk", str(disk.capacity))

    def fits() -> None:
        disk.capacity = HUGE
        ground.start(node)

    ground.later(0.5, 5.0, fits)


def failed_sync(ground: Ground, atlas: Atlas) -> None:
    """One sync fails; a chunk server takes no writes after it, a metadata server ends (S31).  What its kernel has in
    memory is not on the disk and never will be, so the machine is started anew, not the process only."""
    node = ground.any_node()
    ground.note("failed sync", node.name)
    node.host.disk.inject("sync", error=DiskError)
    ground.excused[node.name] = None
    ground.broken[node.name] = None
    ground.later(1.0, 5.0, lambda: replace(ground, node))


def replace(ground: Ground, node: SimulatedNode) -> None:
    """Somebody has replaced the cable."""
    ground.broken.pop(node.name, None)
    node.host.disk.recover()
    node.crash()
    ground.start(node)


def read_error(ground: Ground, atlas: Atlas) -> None:
    """Some reads fail: sectors that come back at the next try."""
    node = ground.any_node()
    count = 1 + ground.dice.below(4)
    ground.note("read error", f"{node.name} {count}")
    ground.excused[node.name] = None
    disk = node.host.disk
    fault = disk.inject("pread", DATA, error=DiskError, count=count)

    def passes() -> None:
        disk.recover(fault)
        ground.start(node)

    ground.later(0.5, 4.0, passes)


def rot(ground: Ground, atlas: Atlas) -> None:
    """A bit of a replica flips at rest (S11)."""
    node = ground.dice.pick(list(ground.cluster.chunks.values()))
    found = atlas.areas(node.name)
    if found:
        path, start, length = ground.dice.pick(found)
        offset = start + ground.dice.below(length)
        before = peek_part(node.host.disk, path, offset, 1)
        ground.note("rot of a chunk", f"{node.name} {path} {offset}")
        atlas.spoil(node, path, offset, bytes([before[0] ^ 1 << ground.dice.below(8)]))


def misdirected(ground: Ground, atlas: Atlas) -> None:
    """Sectors that belong elsewhere are written over those of a replica."""
    node = ground.dice.pick(list(ground.cluster.chunks.values()))
    found = atlas.areas(node.name)
    if not found:
        return
    path, first, reach = ground.dice.pick(found)
    source = peek(node.host.disk, ground.dice.pick(paths(node.host.disk, DATA))) or b"\0"
    offset = first + ground.dice.below(reach // SECTOR + 1) * SECTOR
    start = ground.dice.below(len(source) // SECTOR + 1) * SECTOR
    length = min(SECTOR * ground.dice.pick([1, 8]), first + reach - offset, len(source) - start)
    ground.note("misdirected write", f"{node.name} {path} {offset} {length}")
    atlas.spoil(node, path, offset, source[start : start + length])


def rot_of_a_server(ground: Ground, atlas: Atlas) -> None:
    """A bit flips at rest in a server's own files: the log, the tables, the vote, the identity.  It may say so and end,
    and refuse to start; after a while the bytes are put back (S30)."""
    node = ground.any_node()
    found = atlas.own_files(node) if atlas.may_spoil(node) else []
    if not found:
        return
    path, reach = ground.dice.pick(found)
    offset = ground.dice.below(reach)
    content = peek(node.host.disk, path) or b""
    where = path.removeprefix(f"{DATA}/").split("/")[0]
    ground.note(f"rot of {where}", f"{node.name} {path} {offset}")
    ground.excused[node.name] = None
    if ground.dice.chance(0.6):
        node.kill()
    atlas.spots[node.name] = atlas.spoil(node, path, offset, bytes([content[offset] ^ 1 << ground.dice.below(8)]))
    ground.start(node)
    ground.later(1.0, 6.0, lambda: put_back(ground, atlas, atlas.spots.get(node.name)))


def put_back(ground: Ground, atlas: Atlas, spot: Spot | None) -> None:
    """The bytes are as they were, and the server starts anew."""
    if spot is not None and atlas.spots.get(spot.node.name) is spot:
        del atlas.spots[spot.node.name]
        ground.world.note(f"put back {spot.node.name} {spot.path}")
        spot.node.kill()
        spot.take_back()
        ground.start(spot.node)


Kind = Callable[[Ground, Atlas], None]

KINDS: dict[str, tuple[Kind, float]] = {
    "slow_disk": (slow_disk, 2.0),
    "full_disk": (full_disk, 1.0),
    "failed_sync": (failed_sync, 1.0),
    "read_error": (read_error, 1.0),
    "rot": (rot, 1.5),
    "misdirected": (misdirected, 0.7),
    "rot_of_a_server": (rot_of_a_server, 0.7),
}
"""Each kind with its usual weight."""
