"""Every metadata node is lost for good, and the namespace is made anew from the chunk servers (S16, S28)."""

from __future__ import annotations

import io
from functools import partial

from dfs.client.errors import Forbidden, Unavailable
from dfs.client.rebuilding import Rebuild, Report, Settings
from dfs.client.recovery import Finding, Verdict
from dfs.protocol.trust import read_key_file
from dfs.simulation.cluster import DATA, KEY_FILE, ClusterClient
from dfs.simulation.inspection import machine_of
from dfs.simulation.stage import Scenario, Stage, check, ending, refused

LOST_FOR = 15.0
"""Virtual seconds from the loss to the rebuild: chunk servers believe in it after ten."""


async def rebuilt(
    stage: Stage, found: list[Finding], operator: ClusterClient | None = None, **options: bool
) -> Report:
    """What an operator's `dfs rebuild` does, on a machine of its own unless one is named."""
    cluster = stage.cluster
    host = (operator or cluster.client()).host
    key = read_key_file(next(iter(cluster.meta.values())).host.disk, KEY_FILE)
    settings = Settings(
        key=key,
        meta=tuple(cluster.peers.values()),
        chunk_servers=tuple(f"{node.host.ip}:7000" for node in cluster.chunks.values()),
        dry_run=options.get("dry_run", False),
        allow_missing=options.get("allow_missing", False),
        patience=10.0,
    )
    return await Rebuild(host.runtime, settings, found.append).run()


def lose_metadata(stage: Stage, moved: bool) -> None:
    """All its nodes, with their disks; empty ones are started in their place, with the same key.  ``moved``: one less,
    so the new cluster has a founding of its own."""
    cluster = stage.cluster
    for node in cluster.meta.values():
        node.kill()
        node.host.disk.remove_tree(DATA)
    if moved:
        del cluster.meta["meta-3"], cluster.peers["meta-3"]
    for node in cluster.meta.values():
        node.start()


def start_again(stage: Stage) -> None:
    """Whatever ended by itself."""
    for node in stage.cluster.chunks.values():
        node.start()


async def store_all_kinds(stage: Stage) -> None:
    """Files of one chunk and of many, in folders, from streams, one in place of a deleted one."""
    await stage.put("one", 1)
    await stage.put("many/chunks", 300_000)
    await stage.put("full", 2 * stage.cluster.settings.chunk_size)
    await stage.put("again", 90_000)
    await stage.client.files.delete("again")
    await stage.put("again", 80_000)
    for name, length in (("stream/odd", 150_000), ("stream/full", 2 * stage.cluster.settings.chunk_size)):
        content = stage.content(length)
        await stage.client.files.upload(io.BytesIO(content), name, chunk_size=stage.cluster.settings.chunk_size)
        stage.stored[name] = content


async def metadata_is_lost(stage: Stage) -> None:
    """All metadata is lost while a chunk server is down, and its nodes begin anew: the others name every acknowledged
    file; what only the late one has is found by a second run, and what was deleted in between stays deleted."""
    lost, only_there = await lose_all(stage, moved=False)
    await cut_off(stage)
    report = await rebuilt(stage, lost, allow_missing=True)
    check(report.adopted == [], f"{report.adopted} left a cluster of the same founding")
    await recovered_without(stage, only_there)
    await recovered_with_all(stage, only_there)


async def cut_off(stage: Stage) -> None:
    """Rebuilds that are cut off in the middle, each a little later: whoever begins anew finds what was done."""
    for recorded in (1, 4, 9):
        operator = stage.cluster.client()
        ending(operator.run(rebuilt(stage, [], operator, allow_missing=True)))
        await stage.cluster.until(partial(holds_chunks, stage, recorded), 60.0, "some chunks are recorded", 0.001)
        operator.host.kill()


def holds_chunks(stage: Stage, count: int) -> bool:
    """Whether so many chunks are recorded."""
    leader = stage.cluster.leader()
    machine = machine_of(leader.program) if leader is not None else None
    return machine is not None and machine.head.chunks >= count


async def metadata_is_lost_and_moves(stage: Stage) -> None:
    """The same, and the new metadata has other members: chunk servers leave the lost cluster by the rebuild alone, and
    not while they hear of it."""
    found, only_there = await lose_all(stage, moved=True)
    late = stage.cluster.chunks["chunk-1"]
    await stage.sleep(LOST_FOR)
    report = await rebuilt(stage, found, allow_missing=True)
    check(len(report.adopted) == 2, f"{report.adopted} left the lost cluster")
    await stage.sleep(1.0)
    check(not any(node.up for node in stage.cluster.chunks.values()), "a server that left goes on as if nothing were")
    start_again(stage)
    await stage.sleep(5.0)
    check(not ready_without(stage, ""), f"{late.name} was let in without having left the lost cluster")
    await recovered_without(stage, only_there)
    report = await rebuilt(stage, found)
    check(report.adopted == [late.name], f"{report.adopted} left the lost cluster")
    await stage.sleep(1.0)
    await recovered_with_all(stage, only_there)


async def lose_all(stage: Stage, moved: bool) -> tuple[list[Finding], list[str]]:
    """Everything is stored, one upload is not finished, one chunk server is down: then the metadata is lost.  The
    findings, still empty, and the names of two files that only the one that is down has."""
    stage.promise.stop()  # it watches one history of the metadata
    await store_all_kinds(stage)
    late = stage.cluster.chunks["chunk-1"]
    only_there = [await lonely(stage, late.name, "lonely"), await lonely(stage, late.name, "taken")]
    path = stage.client.put_local(stage.content(2_000_000))
    unfinished = stage.client.files.upload(path, "unfinished", chunk_size=stage.cluster.settings.chunk_size)
    ends = ending(stage.client.run(unfinished))
    await stage.sleep(0.05)
    stage.client.host.kill()
    check(all(isinstance(end, Exception) for end in ends), "the upload was not cut")
    late.kill()
    lose_metadata(stage, moved)
    await stage.leader()
    await refused(rebuilt(stage, []), Unavailable)
    return [], only_there


async def recovered_without(stage: Stage, only_there: list[str]) -> None:
    """The servers that are up are let in, all that they had is readable, and life goes on: a name that is not known to
    be anybody's is given anew."""
    await stage.until(lambda: ready_without(stage, "chunk-1"), 60.0, "the servers are let in")
    contents = [stage.stored.pop(name) for name in only_there]
    client = stage.cluster.client()
    await check_stored(stage, client)
    await stage.put("new", 100_000, client=client)
    await stage.put(only_there[1], 10_000, client=client)
    await client.files.delete("one")
    del stage.stored["one"]
    stage.stored[only_there[0]] = contents[0]


async def recovered_with_all(stage: Stage, only_there: list[str]) -> None:
    """The late server is back."""
    start_again(stage)
    await stage.cluster.wait_ready(60.0)
    found: list[Finding] = []
    report = await rebuilt(stage, found)
    verdicts = {finding.name: finding.verdict for finding in found}
    check(verdicts["one"] is Verdict.REFUSED, f"a file that was deleted meanwhile is {verdicts['one']}")
    check(verdicts["many/chunks"] is Verdict.KNOWN, f"what was recovered before is {verdicts['many/chunks']}")
    check(verdicts["unfinished"] is Verdict.INCOMPLETE, f"an unfinished upload is {verdicts['unfinished']}")
    check(verdicts["new"] is Verdict.KNOWN, f"what was stored since is {verdicts['new']}")
    recovered = verdicts[only_there[0]] in (Verdict.RECOVERED, Verdict.KNOWN)
    check(recovered, f"what the late server has is {verdicts[only_there[0]]}")
    apart = [name for name in verdicts if name.startswith("lost+found/") and name.endswith(only_there[1])]
    check(len(apart) == 1, f"the file whose name was given anew is at {apart}")
    check(report.exit_code == 6, f"the exit code is {report.exit_code}")
    await check_stored(stage, stage.cluster.client())


async def check_stored(stage: Stage, client: ClusterClient) -> None:
    """All that was stored is readable under its name; whatever else there is lies under lost+found."""
    for name, content in stage.stored.items():
        found = await client.download(name)
        check(found == content, f"{name!r} came back as other bytes")
    others = set(await client.names()) - set(stage.stored)
    back = [name for name in sorted(others) if not name.startswith(("lost+found/", "lonely-", "taken-"))]
    check(not back, f"there are also {back}")


async def lonely(stage: Stage, node: str, prefix: str) -> str:
    """A file whose one copy is at ``node``.  Those that came elsewhere are deleted, and may come back with a rebuild:
    not all of their bytes are gone yet."""
    for turn in range(20):
        name = f"{prefix}-{turn}"
        await stage.put(name, 1000, replication=1)
        info = await stage.client.files.stat(name)
        chunks = [chunk async for chunk in stage.client.files.chunks(info)]
        if [replica.node for replica in chunks[0].replicas] == [node]:
            return name
        await stage.client.files.delete(name)
        del stage.stored[name]
    raise AssertionError(f"no file came to {node}")


def ready_without(stage: Stage, absent: str) -> bool:
    """Whether the leader takes all others for alive."""
    leader = stage.cluster.leader()
    names = [name for name in stage.cluster.chunks if name != absent]
    return leader is not None and not stage.cluster.not_alive(leader, names)


async def nothing_to_rebuild(stage: Stage) -> None:
    """A rebuild of a cluster that has its metadata changes nothing and says so; a look is allowed."""
    await stage.put("f", 100_000)
    found: list[Finding] = []
    report = await rebuilt(stage, found, dry_run=True)
    check([finding.name for finding in found] == ["f"], f"{found} was found")
    check(report.exit_code == 0, f"the exit code of a look is {report.exit_code}")
    error = await refused(rebuilt(stage, []), Forbidden)
    check("nothing is rebuilt into it" in error.message, f"it says {error.message!r}")


SCENARIOS = (
    Scenario("S16", "metadata is lost", metadata_is_lost, heals=False),
    Scenario("S28", "metadata is lost and moves", metadata_is_lost_and_moves, heals=False),
    Scenario("S28", "nothing to rebuild", nothing_to_rebuild),
)
