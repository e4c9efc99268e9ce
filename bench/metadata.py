"""Metadata operations, small files and fail-over, driven through the Python API from one process."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred

from bench.local import LocalCluster
from dfs.client.api import Client, ClientOptions, connect
from dfs.client.concurrency import gather, pause
from dfs.protocol.errors import DFSError
from dfs.runtime.clock import install_monotonic
from dfs.runtime.garbage import spare_garbage_collector

Operation = Callable[[int], Awaitable[Any]]
MANY = 64


def run_on_reactor(work: Callable[[Any], Any]) -> Any:
    """Run one coroutine function on the global reactor, which can be run once in a process."""
    from twisted.internet import reactor as global_reactor

    reactor: Any = global_reactor
    install_monotonic(reactor)
    spare_garbage_collector(reactor)  # for whatever load this process makes: a generator that pauses is measured too
    outcome: list[Any] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(work(reactor))
        ending = running.addBoth(outcome.append)
        ending.addCallback(lambda _: reactor.stop())  # type: ignore[unused-awaitable]

    reactor.callWhenRunning(begin)
    reactor.run()
    result = outcome[0]
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def percentile(values: list[float], share: float) -> float:
    """Of sorted or unsorted values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def timed(
    reactor: Any, operation: Operation, count: int, at_once: int, servers_cpu: Callable[[], float] = lambda: 0.0
) -> dict[str, float]:
    """``count`` operations, ``at_once`` in flight: operations a second, latency in ms, and CPU time of an operation in
    microseconds, this process's and the servers' by ``servers_cpu``: contention moves that least."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await operation(number)
            latencies.append(time.perf_counter() - began)

    began, used = time.perf_counter(), time.process_time() + servers_cpu()
    await gather(reactor, (worker() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    return figures(count, seconds, latencies, time.process_time() + servers_cpu() - used)


def figures(count: int, seconds: float, latencies: list[float], used: float) -> dict[str, float]:
    """Of ``count`` operations, for which ``used`` seconds of CPU time were used."""
    return {
        "per_second": count / seconds,
        "p50_ms": 1000 * median(latencies),
        "p99_ms": 1000 * percentile(latencies, 0.99),
        "cpu_us": used / count * 1e6,
    }


async def small_files(
    client: Client,
    reactor: Any,
    count: int,
    at_once: int,
    prefix: str = "small/",
    servers_cpu: Callable[[], float] = lambda: 0.0,
) -> dict[str, Any]:
    """Files of 4 KiB up and down."""
    bodies = [os.urandom(4096) for _ in range(16)]

    async def upload(number: int) -> None:
        await client.upload(io.BytesIO(bodies[number % 16]), f"{prefix}{number}", parallel=1)

    async def download(number: int) -> None:
        file = await client.open(f"{prefix}{number}")
        if await file.read() != bodies[number % 16]:
            raise AssertionError(f"{prefix}{number} came back different")

    return {
        "up": await timed(reactor, upload, count, at_once, servers_cpu),
        "down": await timed(reactor, download, count, at_once, servers_cpu),
    }


@asynccontextmanager
async def many_clients(cluster: LocalCluster, reactor: Any) -> AsyncIterator[list[Client]]:
    """MANY clients in this process, each with its own connection and session: they share no request."""
    options = ClientOptions(patience=30.0, state_folder=os.path.join(cluster.folder, "state"))
    async with AsyncExitStack() as stack:
        meta = cluster.meta()
        yield [await stack.enter_async_context(connect(meta, reactor, options=options)) for _ in range(MANY)]


async def operations(
    clients: list[Client],
    reactor: Any,
    counts: dict[int, int],
    prefix: str,
    servers_cpu: Callable[[], float] = lambda: 0.0,
) -> dict[str, Any]:
    """Creates (an empty file: create and commit, two durable log entries), stats and deletes: by the first client,
    whose creates travel together, and, where there are more clients, ``apart``, each in flight by one of its own."""
    found: dict[str, Any] = {}
    for at_once, count in counts.items():
        rows: dict[str, Any] = {}
        for suffix, chosen in (("", clients[:1]), ("_apart", clients[:at_once])):
            if suffix and len(chosen) == 1:
                continue
            names = f"{prefix}{at_once}{suffix}/"

            async def create(number: int, chosen: list[Client] = chosen, names: str = names) -> None:
                await chosen[number % len(chosen)].upload(io.BytesIO(b""), f"{names}{number}", parallel=1)

            async def stat(number: int, chosen: list[Client] = chosen, names: str = names) -> None:
                await chosen[number % len(chosen)].stat(f"{names}{number}")

            async def delete(number: int, chosen: list[Client] = chosen, names: str = names) -> None:
                await chosen[number % len(chosen)].delete(f"{names}{number}")

            for kind, operation in (("create_and_commit", create), ("stat", stat), ("delete", delete)):
                rows[f"{kind}{suffix}"] = await timed(reactor, operation, count, at_once, servers_cpu)
        found[str(at_once)] = rows
    return found


async def fail_over(client: Client, cluster: LocalCluster, reactor: Any, rounds: int) -> dict[str, Any]:
    """kill -9 of the leader to the next acknowledged write, in seconds."""
    times = []
    for number in range(rounds):
        leader = cluster.dfs("status")["leader"]
        pid = next(node["pid"] for node in cluster.nodes() if node["name"] == leader)
        os.kill(pid, signal.SIGKILL)
        killed = time.perf_counter()
        attempt = 0
        while True:
            try:
                await client.upload(io.BytesIO(b""), f"failover/{number}/{attempt}", parallel=1)
                break
            except DFSError:
                attempt += 1
        times.append(time.perf_counter() - killed)
        cluster.dfs("cluster", "restart", leader)
        await pause(reactor, 1.0)
    return {"median_s": median(times), "worst_s": max(times), "all_s": times}


def run(files: int, rounds: int, quick: bool) -> dict[str, Any]:
    """All of it on one cluster."""
    counts = {1: 100, 16: 400, 64: 800} if quick else {1: 500, 16: 2000, 64: 4000}
    with LocalCluster() as cluster:

        async def work(reactor: Any) -> dict[str, Any]:
            options = ClientOptions(patience=30.0, state_folder=os.path.join(cluster.folder, "state"))
            async with connect(cluster.meta(), reactor, options=options) as client:
                cpu = cluster.cpu_meter()
                small = await small_files(client, reactor, files, 16, servers_cpu=cpu)
                found: dict[str, Any] = {"small_files": small}
                async with many_clients(cluster, reactor) as clients:
                    found["operations"] = await operations(clients, reactor, counts, "meta/", cpu)
                found["resident"] = cluster.resident()
                found["fail_over"] = await fail_over(client, cluster, reactor, rounds)
                return found

        result: dict[str, Any] = run_on_reactor(work)
        return result
