"""etcd: three nodes, durable writes and linearizable reads over gRPC, and the time without writes after kill -9.

The load comes from one Python process, as for us; two fields of two messages are written by hand, so nothing needs its
generated classes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from bench.metadata import figures
from bench.peers.install import load_grpc, program
from bench.peers.processes import Peer, free_ports, listens, pause, wait

PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
VALUE = b"v" * 100
Call = Callable[[bytes], Awaitable[bytes]]


def fields(*values: bytes) -> bytes:
    """Fields 1, 2, ... of a protobuf message, each of fewer than 128 bytes."""
    return b"".join(bytes([8 * number + 2, len(value)]) + value for number, value in enumerate(values, 1))


class Etcd(Peer):
    """Use with ``with``."""

    name = "etcd"

    def __init__(self) -> None:
        super().__init__()
        ports = free_ports(6)
        self.clients, self._peers = ports[:3], ports[3:]

    def begin(self) -> None:
        for number in range(3):
            self.start(number)
        wait(lambda: all(listens(port) for port in self.clients) and self.leader() is not None, "etcd")

    def start(self, number: int) -> None:
        """One member, founding or again."""
        peers = ",".join(f"m{i}=http://127.0.0.1:{port}" for i, port in enumerate(self._peers))
        client, peer = (f"http://127.0.0.1:{ports[number]}" for ports in (self.clients, self._peers))
        self.processes.start(
            f"m{number}",
            [program("etcd"), "--name", f"m{number}", "--data-dir", self.processes.path(f"data-{number}"),
             "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
             "--initial-advertise-peer-urls", peer, "--initial-cluster", peers, "--initial-cluster-state", "new",
             "--log-level", "error"],
        )  # fmt: skip

    def leader(self) -> int | None:
        """Which member leads."""
        for port in self.clients:
            command = [program("etcdctl"), "--endpoints", f"127.0.0.1:{port}", "endpoint", "status", "-w", "json"]
            done = subprocess.run(command, capture_output=True, check=False, env={"ETCDCTL_API": "3"})
            if done.returncode == 0:
                status = json.loads(done.stdout)[0]["Status"]
                if status["leader"] == status["header"]["member_id"]:
                    return self.clients.index(port)
        return None


async def timed(
    etcd: Etcd, operation: Callable[[int], Awaitable[object]], count: int, at_once: int
) -> dict[str, float]:
    """As bench.metadata.timed, on asyncio, which gRPC's client wants."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await operation(number)
            latencies.append(time.perf_counter() - began)

    began, used = time.perf_counter(), time.process_time() + etcd.processes.cpu_seconds()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    return figures(count, seconds, latencies, time.process_time() + etcd.processes.cpu_seconds() - used)


async def _operations(etcd: Etcd, counts: dict[int, int]) -> dict[str, Any]:
    grpc = load_grpc()
    leader = etcd.leader()
    assert leader is not None
    found: dict[str, Any] = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{etcd.clients[leader]}") as channel:
        put, get = channel.unary_unary(PUT), channel.unary_unary(RANGE)
        for at_once, count in counts.items():

            async def write(number: int, at_once: int = at_once) -> None:
                await put(fields(b"k/%d/%d" % (at_once, number), VALUE))

            async def read(number: int, at_once: int = at_once) -> None:
                if VALUE not in await get(fields(b"k/%d/%d" % (at_once, number))):
                    raise AssertionError("etcd gave something else back")

            writes = await timed(etcd, write, count, at_once)
            found[str(at_once)] = {"write": writes, "read": await timed(etcd, read, count, at_once)}
    return found


def operations(etcd: Etcd, counts: dict[int, int]) -> dict[str, Any]:
    """Writes and linearizable reads, ``counts[n]`` of them with n at once, asked of the leader."""
    return asyncio.run(_operations(etcd, counts))


async def _first_write(etcd: Etcd, without: int) -> None:
    """Until any member but one acknowledges a write."""
    grpc = load_grpc()
    ports = [port for number, port in enumerate(etcd.clients) if number != without]

    async def ask(port: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            put = channel.unary_unary(PUT)
            while True:
                try:
                    await put(fields(b"failover", VALUE), timeout=0.5)
                    return
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.005)

    asking = [asyncio.ensure_future(ask(port)) for port in ports]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


def fail_over(etcd: Etcd, rounds: int) -> dict[str, Any]:
    """kill -9 of the leader to the next acknowledged write, in seconds."""
    times = []
    for _ in range(rounds):
        wait(lambda: etcd.leader() is not None, "a leader of etcd")
        leader = etcd.leader()
        assert leader is not None
        etcd.processes.kill(f"m{leader}")
        killed = time.perf_counter()
        asyncio.run(_first_write(etcd, leader))
        times.append(time.perf_counter() - killed)
        etcd.start(leader)
        wait(lambda leader=leader: listens(etcd.clients[leader]), "the member of etcd")  # type: ignore[misc]
        pause(1.0)
    return {"median_s": median(times), "worst_s": max(times), "all_s": times}
