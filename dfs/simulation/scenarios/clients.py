"""Uploads and downloads that are killed, files of every length, names that two want, Ctrl-C (S40 to S48)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from dfs.client.errors import ChunkUnreadable, DFSError, FileExists, FileNotFound, LocalFileChanged
from dfs.simulation.cluster import LOCAL, ClusterSettings
from dfs.simulation.platter import paths, peek
from dfs.simulation.scenarios.collection import uploads
from dfs.simulation.scenarios.replicas import FOUR
from dfs.simulation.stage import Scenario, Stage, check, ending, refused

CHUNK = 64 << 10


async def killed_upload_resumes(stage: Stage) -> None:
    """An upload is killed and goes on where it stopped; a changed local file begins anew."""
    content = stage.content(40 * CHUNK)
    client = stage.client
    client.put_local(content, "big")
    path = f"{LOCAL}/big"
    await client.enter()
    ending(client.run(client.files.upload(path, "big", chunk_size=CHUNK, parallel=2)))
    await stage.until(lambda: held(stage) >= 3 * 12, 20.0, "a part is stored")
    client.host.kill()
    await stage.sleep(1.0)
    client.open()
    await client.enter()
    result = await client.files.upload(path, "big", chunk_size=CHUNK, parallel=2)
    check(result.resumed >= 5 * CHUNK, f"only {result.resumed} bytes were not sent again")
    check(result.resumed + result.sent == len(content), f"{result.resumed} + {result.sent} bytes")
    again = await client.files.upload(path, "big", chunk_size=CHUNK)
    check(again.sent == 0 and again.file_id == result.file_id, f"finished again, it sent {again.sent} bytes")
    stage.stored["big"] = content
    ending(client.run(client.files.upload(client.put_local(content, "two"), "two", chunk_size=CHUNK, parallel=2)))
    await stage.until(lambda: held(stage) >= 3 * 50, 20.0, "a part is stored")
    client.host.kill()
    client.open()
    changed = stage.content(1) + content[1:]
    await client.enter()
    await stage.sleep(0.01)
    path = client.put_local(changed, "two")
    result = await client.files.upload(path, "two", chunk_size=CHUNK)
    check(result.resumed == 0, "chunks of the file as it was before were taken for its own")
    stage.stored["two"] = changed
    await changed_behind_its_time(stage)


async def changed_behind_its_time(stage: Stage) -> None:
    """The local file changed while the upload was killed, and kept its size and time: that is noticed too."""
    client, content = stage.client, stage.content(20 * CHUNK)
    path = client.put_local(content, "three")
    began = held(stage)
    ending(client.run(client.files.upload(path, "three", chunk_size=CHUNK, parallel=2)))
    await stage.until(lambda: held(stage) >= began + 3 * 6, 20.0, "a part is stored")
    client.host.kill()
    client.open()
    client.host.disk.flip_bits(path, 0)
    await client.enter()
    await refused(client.files.upload(path, "three", chunk_size=CHUNK), LocalFileChanged)
    check("three" not in await client.names(), "a mix of two files has the name")


def held(stage: Stage) -> int:
    """Whole replicas on all disks."""
    return sum(map(len, stage.shelves.all_names().values()))


async def killed_download_resumes(stage: Stage) -> None:
    """A download is killed at any point: no file has the final name; the next one goes on and ends well."""
    await stage.put("f", 30 * CHUNK)
    client = stage.cluster.client()
    client.host.disk.make_folders(LOCAL)
    out = f"{LOCAL}/out"
    await client.enter()
    began = stage.world.clock.now
    await client.files.download("f", out, parallel=2)
    whole = stage.world.clock.now - began
    client.host.disk.unlink(out)
    for turn in range(12):
        await client.enter()
        ending(client.run(client.files.download("f", out, parallel=2)))
        await stage.sleep(whole * stage.dice.between(0.2, 1.02))
        if turn % 2:
            client.host.kill()
        else:
            client.host.crash()
        found = peek(client.host.disk, out)
        check(found is None or found == stage.stored["f"], "a half file has the final name")
        client.open()
        if found is not None:
            client.host.disk.unlink(out)
    await client.enter()
    result = await client.files.download("f", out)
    check(peek(client.host.disk, out) == stage.stored["f"], "other bytes came back")
    check(result.size == 30 * CHUNK, f"{result.size} bytes")
    check(paths(client.host.disk, LOCAL) == [out], f"left are {paths(client.host.disk, LOCAL)}")


async def every_replica_fails(stage: Stage) -> None:
    """Every replica of a chunk is corrupt: the error names file, chunk and what was tried at which node."""
    await stage.put("f", 3 * CHUNK)
    await stage.until(lambda: not stage.promise.replica_problem(full=True), 10.0, "three replicas of each chunk")
    victim = min(min(names) for names in stage.shelves.all_names().values())
    for name, node in stage.cluster.chunks.items():
        for replica in stage.shelves.stored(name):
            if replica.name == victim:
                replica.rot(node.host.disk, 70)
    error = await refused(stage.client.download("f"), ChunkUnreadable)
    for word in ("'f'", "chunk", *stage.cluster.chunks):
        check(word in str(error), f"{word} is not named: {error}")
    check(error.exit_code == 6, f"exit code {error.exit_code}")
    await refused(stage.client.files.download("f", f"{LOCAL}/out"), DFSError)
    check(peek(stage.client.host.disk, f"{LOCAL}/out") is None, "a half file has the final name")


async def every_length(stage: Stage) -> None:
    """Empty files, one byte, exactly n chunks, one more and one less, from files and from streams."""
    for length in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1, 3 * CHUNK, 3 * CHUNK + 1):
        result = await stage.put(f"file-{length}", length)
        check((result.size, result.chunks) == (length, -(-length // CHUNK)), f"{result}")
        content = stage.content(length)

        async def stream(content: bytes = content) -> Any:
            for start in range(0, len(content), 50_000):
                yield content[start : start + 50_000]

        result = await stage.client.files.upload(stream(), f"stream-{length}", chunk_size=CHUNK)
        check((result.size, result.chunks) == (length, -(-length // CHUNK)), f"{result}")
        stage.stored[f"stream-{length}"] = content
    await stage.check_readable()


async def two_want_one_name(stage: Stage) -> None:
    """Several clients upload one name at once: one wins whole, the others are told."""
    clients = [stage.cluster.client() for _ in range(3)]
    for turn in range(4):
        contents = [stage.content(100_000) for _ in clients]
        tries = [
            client.run(client.upload(content, f"n{turn}")) for client, content in zip(clients, contents, strict=True)
        ]
        if turn == 3:
            await stage.sleep(0.03)
            (await stage.leader()).kill()
        results: Any = await DeferredList(tries, consumeErrors=True)
        winners = [number for number, (succeeded, _) in enumerate(results) if succeeded]
        losers = [result.value for succeeded, result in results if not succeeded]
        check(len(winners) == 1, f"{len(winners)} uploads of one name were acknowledged: {losers}")
        check(all(isinstance(error, FileExists) for error in losers), f"the others are told {losers}")
        check([error.exit_code for error in losers] == [4, 4], "not exit code 4")
        stage.stored[f"n{turn}"] = contents[winners[0]]
        stage.cluster.start()
        await stage.check_readable()
    await stage.until(lambda: uploads(stage) == 0, 60.0, "what the others left has expired")


async def reader_of_a_deleted_file(stage: Stage) -> None:
    """A file is deleted and uploaded again under its name while it is read: the old bytes to the end, or an error."""
    readers = [stage.cluster.client() for _ in range(3)]
    outcomes: set[str] = set()
    for turn in range(6):
        await stage.put("f", 20 * CHUNK)
        old = stage.stored["f"]
        for reader in readers:
            await reader.enter()
        reads = [reader.run(reader.download("f", parallel=1)) for reader in readers]
        await stage.sleep(0.003 * (turn + 1))
        await stage.client.files.delete("f")
        await stage.put("f", 20 * CHUNK)
        new = stage.stored["f"]
        results: Any = await DeferredList(reads, consumeErrors=True)
        for succeeded, result in results:
            if succeeded:
                check(result in (old, new), "old and new bytes were mixed")
                outcomes.add("read")
            else:
                check(isinstance(result.value, ChunkUnreadable | FileNotFound), f"a reader met {result.value!r}")
                outcomes.add("told")
        await stage.client.files.delete("f")
        del stage.stored["f"]
    stage.counts.update(outcomes)


async def ended_by_ctrl_c(stage: Stage) -> None:
    """Any command is cancelled at any moment, with and without a leader: it ends within a second, nothing half has a
    final name here or there, and the same command given again does its work."""
    await stage.put("there", 12 * CHUNK)
    client = stage.cluster.client()
    client.host.disk.make_folders(LOCAL)
    files = await client.enter()
    content, out = stage.content(12 * CHUNK), f"{LOCAL}/out"
    path = client.put_local(content, "in")

    async def listing() -> None:
        async for _ in files.list():
            pass

    commands: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "upload": lambda: files.upload(path, "new", chunk_size=CHUNK, parallel=2),
        "download": lambda: files.download("there", out, parallel=2),
        "delete": lambda: files.delete("none"),
        "stat": lambda: files.stat("there"),
        "list": listing,
    }
    for turn in range(6):
        leader = await stage.leader()
        if turn % 3 == 2:
            leader.kill()
        for name, command in commands.items():
            doing = Deferred.fromCoroutine(command())
            ends = ending(doing)
            await stage.sleep(stage.dice.between(0.0, 0.03 if turn % 2 else 0.003))
            doing.cancel()
            await stage.until(lambda: ends, 1.0, f"{name} ends within a second of Ctrl-C")  # noqa: B023 - called here
            stage.counts[f"{name} {type(ends[0]).__name__}"] += 1
            found = peek(client.host.disk, out)
            check(found is None or found == stage.stored["there"], "a half file has the final name")
        leader.start()
    await stage.leader()
    if "new" not in await client.names():
        await files.upload(path, "new", chunk_size=CHUNK)
    stage.stored["new"] = content
    await files.download("there", f"{LOCAL}/again")
    check(peek(client.host.disk, f"{LOCAL}/again") == stage.stored["there"], "other bytes came back")
    check(stage.counts["upload CancelledError"] > 0, f"no upload was cut short: {stage.counts}")


SCENARIOS = (
    Scenario("S40", "a killed upload resumes", killed_upload_resumes, FOUR),
    Scenario("S41", "a killed download resumes", killed_download_resumes),
    Scenario("S42", "every replica fails", every_replica_fails, heals=False),
    Scenario("S45", "files of every length", every_length),
    Scenario("S46", "two want one name", two_want_one_name),
    Scenario("S48", "ended by Ctrl-C", ended_by_ctrl_c, FOUR),
    Scenario("S47", "a reader of a deleted file", reader_of_a_deleted_file, ClusterSettings(chunk_servers=3)),
)
