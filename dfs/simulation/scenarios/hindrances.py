"""Servers that are short, slow or out of reach, snapshots all the time, strangers, odd names (S13, S14, S22, S23, S33,
S43, S44)."""

from __future__ import annotations

from functools import partial

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from dfs.chunkserver.put import PATIENCE
from dfs.client.errors import BadName
from dfs.protocol.values import NodeState
from dfs.simulation.cluster import DATA, PORT, ClusterSettings
from dfs.simulation.inspection import core_of, raft_term
from dfs.simulation.platter import paths
from dfs.simulation.scenarios.collection import short_chunks
from dfs.simulation.scenarios.replicas import FOUR, state
from dfs.simulation.stage import Scenario, Stage, check, refused

SOON = 8.0
"""Seconds within which an upload of some chunks must be done while one server is in trouble."""


async def one_candidate(stage: Stage) -> None:
    """Two of three copies are lost and one server has room for one: it gets one, and when another server joins the rest
    follows without a nudge."""
    for number in range(4):
        await stage.put(f"f{number}", 150_000)
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    for name in ("chunk-1", "chunk-2"):
        stage.cluster.chunks[name].crash()
    for name in ("chunk-1", "chunk-2"):
        await stage.until(partial(is_dead, stage, name), 10.0, f"{name} declared dead")
    short = short_chunks(stage)
    check(short == 4 * 3, f"{short} chunks are short")
    stage.cluster.add_chunk_server("chunk-4").start()
    await stage.until(lambda: len(stage.shelves.names("chunk-4")) == short, 60.0, "a second copy of each chunk")
    check(short_chunks(stage) == short, "two copies are not three")
    stage.cluster.add_chunk_server("chunk-5").start()
    await stage.until(lambda: short_chunks(stage) == 0, 60.0, "a third copy of each chunk")


def is_dead(stage: Stage, node: str) -> bool:
    """Whether the leader takes a chunk server for dead."""
    return state(stage, node) is NodeState.DEAD


async def a_pair_that_does_not_hear(stage: Stage) -> None:
    """Two chunk servers do not hear one another, both hear the leader: every upload is done soon."""
    stage.world.partition("chunk-1", "chunk-2")
    for number in range(12):
        began = stage.world.clock.now
        await stage.put(f"f{number}", 200_000)
        waited = stage.world.clock.now - began
        check(waited < SOON, f"upload {number} took {waited:.1f} s")


async def a_slow_disk(stage: Stage) -> None:
    """A chunk server's disk takes ten seconds for a sync, then the leader's own: whoever meets the disk first may wait
    for what a put waits for a disk, all later uploads are done soon; leadership moves to where the disk is well."""
    stage.cluster.chunks["chunk-1"].host.disk.slowness = 25_000.0
    met = 0
    for number in range(8):
        began = stage.world.clock.now
        await stage.put(f"f{number}", 130_000)
        waited = stage.world.clock.now - began
        met += waited >= SOON
        check(met <= 1 and waited < 1.5 * PATIENCE, f"upload {number} took {waited:.1f} s")
    stage.cluster.chunks["chunk-1"].host.disk.slowness = 1.0
    leader = await stage.leader()
    leader.host.disk.slowness = 25_000.0
    began = stage.world.clock.now
    for number in range(4):
        await stage.put(f"g{number}", 1000)
    waited = stage.world.clock.now - began
    check(waited < 2 * SOON, f"with a leader whose disk hangs four small uploads took {waited:.1f} s")
    check(stage.cluster.leader() is not leader, "it leads on with a disk that does not answer")
    leader.host.disk.slowness = 1.0


async def snapshots_all_the_time(stage: Stage) -> None:
    """The log keeps three entries, a follower falls behind again and again, and snapshots are sent all the time: no
    heartbeat is missed, the leader stays the same."""
    leader = await stage.leader()
    term = raft_term(leader.program)
    for turn in range(6):
        away = (await stage.followers())[turn % 2]
        away.kill()
        for number in range(4):
            await stage.put(f"{turn}/{number}", 1000)
        away.start()
        core = core_of(leader.program)
        assert core is not None
        goal = core.commit_index

        def caught_up(name: str = away.name, goal: int = goal) -> bool:
            core = core_of(stage.cluster.meta[name].program)
            return core is not None and core.applied_index >= goal

        await stage.until(caught_up, 20.0, f"{away.name} has caught up")
    check(raft_term(leader.program) == term, "there was an election")
    check(leader.up and stage.cluster.leader() is leader, "the leader changed")


async def strangers(stage: Stage) -> None:
    """Strangers send noise to every port, drip single bytes, and open connections that say nothing: clients are served
    meanwhile, and no server ends."""
    stranger = stage.world.host("stranger")
    for turn in range(5):
        for node in stage.cluster.nodes.values():
            for kind in range(3):
                endpoint = TCP4ClientEndpoint(stranger.reactor, node.host.ip, PORT)
                protocol = await connectProtocol(endpoint, Protocol())
                transport = protocol.transport
                assert transport is not None
                if kind:
                    transport.write(stage.content(1 if kind == 1 else 5000))
        await stage.put(f"f{turn}", 100_000)
    await stage.check_readable()
    check(all(node.up and not node.fatal for node in stage.cluster.nodes.values()), "a server ended")


async def odd_names(stage: Stage) -> None:
    """Names that look like paths out of the store, with line ends, other scripts, 4,096 bytes: stored as data, and no
    server writes outside its folder; NUL, nothing, and one byte too many are refused."""
    before = {name: outside(stage, name) for name in stage.cluster.nodes}
    for name in ("../../etc/passwd", "/etc/cluster.key", "a\nb\r\n", "名前/ключ", "..", ".", "//", " ", "é" * 2048):
        await stage.put(name, 100)
    for name in ("", "a\x00b", "x" * 4097, "\udcff"):
        await refused(stage.client.upload(b"x", name), BadName)
    await stage.check_readable()
    for name, files in before.items():
        check(outside(stage, name) == files, f"{name} wrote outside its folder")


def outside(stage: Stage, node: str) -> list[str]:
    """The files of a server that are not below its data folder."""
    found = paths(stage.cluster.nodes[node].host.disk, "/")
    return [path for path in found if not path.startswith(f"{DATA}/")]


TINY_LOG = ClusterSettings(trailing_entries=3, sync_interval=0.1, segment_length=4096)

SCENARIOS = (
    Scenario("S14", "one candidate for two copies", one_candidate, ClusterSettings(chunk_servers=3)),
    Scenario("S22", "a pair that does not hear one another", a_pair_that_does_not_hear, FOUR),
    Scenario("S23", "a slow disk", a_slow_disk, FOUR),
    Scenario("S33", "snapshots all the time", snapshots_all_the_time, TINY_LOG),
    Scenario("S43", "strangers", strangers),
    Scenario("S44", "odd names", odd_names),
)
