"""Leaders that die, are cut off, forget; all at once (S24, S25, S27 to S29, S31)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import DeferredList

from dfs.client.errors import DFSError, FileNotFound, Unavailable
from dfs.disk.errors import DiskError
from dfs.protocol.interfaces import Identity
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.messages import DeleteFile, GetFile, ListFiles, Operation
from dfs.protocol.values import Role
from dfs.simulation.cluster import ClusterClient, ClusterSettings
from dfs.simulation.inspection import leads, raft_term
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.stage import Scenario, Stage, check, outcome, refused

ROOM = ClusterSettings(chunk_servers=3, patience=20.0)


async def leader_dies_in_a_hundred_uploads(stage: Stage) -> None:
    """kill -9 of the leader in the middle of 100 concurrent uploads: each ends, acknowledged ones are intact."""
    clients = [stage.client, *(stage.cluster.client() for _ in range(4))]
    content = {f"{c}/{n}": stage.content(70_000) for c in range(len(clients)) for n in range(20)}
    uploads = [
        client.run(client.upload(content[f"{c}/{n}"], f"{c}/{n}"))
        for c, client in enumerate(clients)
        for n in range(20)
    ]
    await stage.until(lambda: sum(upload.called for upload in uploads) >= 10, 30.0, "some uploads are done")
    (await stage.leader()).kill()
    results: Sequence[tuple[bool, Any]] = await DeferredList(uploads, consumeErrors=True)
    for name, (succeeded, result) in zip(content, results, strict=True):
        if succeeded:
            stage.stored[name] = content[name]
            stage.counts["upload"] += 1
        else:
            check(isinstance(result.value, DFSError), f"the upload of {name} met {result.value!r}")
    check(len(stage.stored) >= 90, f"only {len(stage.stored)} of 100 uploads were done")
    names = set(await stage.client.names())
    check(names >= set(stage.stored), f"acknowledged names are missing: {sorted(set(stage.stored) - names)}")
    for name in sorted(names - set(stage.stored)):  # its client was not told, but it may have been committed, whole
        stage.stored[name] = content[name]


def caller_of(client: ClusterClient, node: SimulatedNode) -> LeaderCaller:
    """Speaks to one metadata server only."""
    runtime = client.host.runtime
    identity = Identity(Role.CLIENT, "stubborn", b"", runtime.entropy(16), b"")
    return LeaderCaller(runtime, identity, [client.cluster.peers[node.name]])


async def leader_is_cut_off(stage: Stage) -> None:
    """The leader is cut off from the other members, but not from clients: it answers no read and acknowledges no
    write, while the others do."""
    await stage.put("kept")
    await stage.put("deleted")
    old = await stage.leader()
    followers = await stage.followers()
    stubborn = caller_of(stage.client, old)
    await stubborn.call(GetFile("kept", None), 2.0, 5.0)
    for follower in followers:
        stage.world.partition(old.name, follower.name)
    session = stubborn.cluster_time_ms().to_bytes(8, "big") + bytes(8)
    early = stubborn.call(DeleteFile(Operation(session, 1, 1), "kept", None), 3.0, 3.0)
    early_read = stubborn.call(GetFile("kept", None), 3.0, 3.0)
    await refused(early_read, Unavailable)
    await refused(early, Unavailable)
    await stage.until(lambda: any(leads(node.program) for node in followers), 10.0, "another leader")
    other = stage.cluster.client()
    await other.enter()
    await other.files.delete("deleted")
    del stage.stored["deleted"]
    await stage.put("new", client=other)
    for request in (GetFile("deleted", None), ListFiles("", b"", 10)):
        await refused(stubborn.call(request, 1.0, 2.0), Unavailable)
    check(not leads(old.program), "the cut-off leader still serves")
    stage.world.heal()
    await stage.sleep(2.0)
    check("kept" in await other.names(), "a write that was not acknowledged took effect after all")


async def all_metadata_killed(stage: Stage) -> None:
    """All metadata servers are killed at once, then all lose power at once: everything acknowledged is there."""
    for turn in range(3):
        await stage.put(f"f{turn}", 100_000)
        await stage.put(f"g{turn}", 10)
        await stage.client.files.delete(f"g{turn}")
        del stage.stored[f"g{turn}"]
        for node in stage.cluster.meta.values():
            if turn % 2:
                node.kill()
            else:
                node.crash()
        await stage.sleep(1.0)
        for node in stage.cluster.meta.values():
            node.start()
        await stage.cluster.wait_ready()
        await stage.check_readable()


async def slow_follower_acknowledges(stage: Stage) -> None:
    """A majority of the leader and a follower with a slow disk acknowledges, and both lose power at once; the leader
    stays away: the slow follower and the one that was cut off have everything that was acknowledged."""
    for turn in range(4):
        leader = await stage.leader()
        slow, cut = await stage.followers()
        stage.world.partition(cut.name, leader.name)
        stage.world.partition(cut.name, slow.name)
        slow.host.disk.slowness = stage.dice.pick([200.0, 600.0])
        await stage.put(f"f{turn}", stage.dice.pick([0, 1000]))
        slow.crash()
        leader.crash()
        slow.host.disk.slowness = 1.0
        stage.world.heal()
        await stage.sleep(1.0)
        slow.start()
        await stage.cluster.wait_ready()
        await stage.check_readable()
        leader.start()
        await stage.sleep(2.0)


async def restart_with_the_same_flags(stage: Stage) -> None:
    """Members restart with the flags that founded the cluster: a lone one founds nothing, together they go on."""
    await stage.put("f")
    terms = [raft_term(server) for _, server in stage.cluster.meta_servers()]
    for node in stage.cluster.meta.values():
        node.crash()
    for name, node in stage.cluster.meta.items():
        node.start()
        await stage.sleep(5.0)
        check(stage.cluster.leader() is None, f"{name} leads alone")
        node.kill()
    for node in stage.cluster.meta.values():
        node.start()
    leader = await stage.leader()
    check(raft_term(leader.program) > max(terms), "the terms began anew")
    await stage.check_readable()


async def leaders_come_and_go(stage: Stage) -> None:
    """Leaders die one after the other while slow disks delay what a new one must do first: none serves before its
    no-op is applied (looked at all the time), and no file id is given twice."""
    ids: list[int] = []
    for turn in range(4):
        for node in await stage.followers():
            node.host.disk.slowness = stage.dice.pick([1.0, 30.0, 100.0])
        upload = stage.client.run(stage.put(f"f{turn}", 70_000))
        await stage.sleep(stage.dice.between(0.0, 0.02))
        leader = await stage.leader()
        leader.kill()
        ids.append((await upload).file_id)
        leader.start()
        for node in stage.cluster.meta.values():
            node.host.disk.slowness = 1.0
        await stage.cluster.wait_ready()
    check(len(set(ids)) == len(ids), f"a file id was given twice: {ids}")


async def failed_sync_of_a_metadata_server(stage: Stage) -> None:
    """A sync of the leader's log fails: it ends, it never goes on as if nothing had been; the others go on."""
    leader = await stage.leader()
    leader.host.disk.inject("sync", error=DiskError)
    await stage.put("f")
    await stage.until(lambda: leader.fatal, 10.0, "the leader ends")
    check(not leader.up, "it still runs")
    await stage.check_readable()
    leader.host.disk.recover()
    leader.crash()


async def failed_sync_of_a_chunk_server(stage: Stage) -> None:
    """A sync of a chunk server fails: it takes no more writes, and serves what it has."""
    await stage.put("before")
    node = stage.cluster.chunks["chunk-1"]
    node.host.disk.inject("sync", error=DiskError)
    for number in range(6):
        await stage.put(f"f{number}", 100_000)
    check(node.up and node.program.store.failure, "it goes on writing")
    held = len(node.program.store.index)
    for number in range(3):
        await stage.put(f"g{number}", 100_000)
    check(len(node.program.store.index) == held, "it took a replica after the failed sync")
    await stage.check_readable()
    node.crash()


async def minority_is_told(stage: Stage) -> None:
    """With a minority of the metadata servers nothing is served, and a client is told so in time."""
    await stage.put("f")
    for node in await stage.followers():
        node.kill()
    began = stage.world.clock.now
    for doing in (stage.client.download("f"), stage.client.upload(b"x", "g")):
        error = await outcome(doing)
        check(isinstance(error, Unavailable), f"a client is told {error!r}")
    waited = stage.world.clock.now - began
    check(waited < 2.5 * stage.cluster.settings.patience, f"it took {waited:.0f} s to tell")
    other = caller_of(stage.client, any_running(stage))
    await refused(other.call(GetFile("f", None), 1.0, 2.0), Unavailable, FileNotFound)


def any_running(stage: Stage) -> SimulatedNode:
    """A metadata server that runs."""
    return next(node for node in stage.cluster.meta.values() if node.up)


SCENARIOS = (
    Scenario("S24", "the leader dies in the middle of a hundred uploads", leader_dies_in_a_hundred_uploads),
    Scenario("S25", "the leader is cut off", leader_is_cut_off),
    Scenario("S25", "a minority serves nothing", minority_is_told, ROOM),
    Scenario("S27", "all metadata servers die at once", all_metadata_killed),
    Scenario("S27", "a slow follower acknowledges", slow_follower_acknowledges),
    Scenario("S28", "a restart with the founding flags", restart_with_the_same_flags),
    Scenario("S29", "leaders come and go", leaders_come_and_go),
    Scenario("S31", "a failed sync of a metadata server", failed_sync_of_a_metadata_server, expected=(DiskError,)),
    Scenario("S31", "a failed sync of a chunk server", failed_sync_of_a_chunk_server, ClusterSettings(chunk_servers=4)),
)
