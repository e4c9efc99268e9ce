"""How fast a cluster heals, and what its clients notice of it.

    python -m bench.healing [--size MIB] [--uploads 20] [--rounds 1] [--only idle|busy] [--json FILE]

A cluster of three metadata nodes and five chunk servers on this machine, ``--size`` stored at three copies, default
settings but for the time-outs of silence (``--dead-after``).  One chunk server is killed with -9.  Measured is the time
from the moment at which it is *dead* to the one at which every chunk has three live copies again, beside the time that
the bytes which it held take at the rate that the limits allow: each of the nodes left may move so many bytes/s, as
source and target together.

*Busy* does the same while so many clients upload and delete.  Their rate while the cluster heals stands beside that of
the same clients on the same nodes just before (the killed one is suspect already) and just after.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from bench.local import LocalCluster, warm
from bench.metadata import run_on_reactor
from bench.uploads import MIB, Uploads
from dfs.client.api import Client, ClientOptions, connect
from dfs.client.concurrency import pause
from dfs.protocol.messages import Status
from dfs.protocol.values import NodeState
from dfs.runtime.options import NODE_MOVE_RATE

COPIES = 3
SERVERS = 5
LOOK = 0.1
LIMIT = 400.0
WINDOW = 15.0  # seconds for which the clients' own rate is measured, before and after
PART = 128 * MIB  # of what is stored: one file


class Trial:
    """One cluster and one death."""

    def __init__(self, cluster: LocalCluster, client: Client, reactor: Any, size: int) -> None:
        self.cluster, self.client, self.reactor, self.size = cluster, client, reactor, size
        self.trace: list[tuple[float, int]] = []

    async def fill(self) -> None:
        """Store the bytes, and see each replica reported."""
        path = os.path.join(self.cluster.folder, "part")
        with open(path, "wb") as file:
            file.write(os.urandom(PART))
        for number in range(self.size // PART):
            await self.client.upload(path, f"healing/{number}")
        while sum(server.chunks for server in (await self.client.status()).chunk_servers) < self.replicas:
            await pause(self.reactor, LOOK)

    @property
    def replicas(self) -> int:
        """How many there are when nothing is short."""
        return COPIES * self.size // (4 * MIB)

    async def kill(self) -> int:
        """kill -9 of the server that holds most; the bytes that it held."""
        servers = (await self.client.status()).chunk_servers
        victim = max(servers, key=lambda server: server.used)
        pid = next(node["pid"] for node in self.cluster.nodes() if node["name"] == victim.name)
        os.kill(int(pid), signal.SIGKILL)
        return victim.used

    async def until_state(self, state: NodeState) -> float:
        """The moment at which some server is in the state."""
        return await self._until(lambda status: any(server.state is state for server in status.chunk_servers), state)

    async def until_healed(self) -> float:
        """The moment at which nothing lacks copies any more."""
        seen: list[int] = []

        def is_healed(status: Status) -> bool:
            live = sum(server.chunks for server in status.chunk_servers if server.state is NodeState.ALIVE)
            self.trace.append((time.monotonic(), live))
            seen.append(status.debt_chunks)
            return status.debt_chunks == 0 and max(seen) > 0

        return await self._until(is_healed, "healed")

    async def _until(self, condition: Any, what: object) -> float:
        end = time.monotonic() + LIMIT
        while not condition(await self.client.status()):
            if time.monotonic() > end:
                raise AssertionError(f"nothing was {what} within {LIMIT:.0f} s")
            await pause(self.reactor, LOOK)
        return time.monotonic()


def allowed(held: int, rate: int) -> float:
    """Seconds that so many bytes take at ``rate`` bytes/s of a node: each move takes of its source and its target."""
    return held / (rate * (SERVERS - 1) / 2) if rate else 0.0


async def idle(trial: Trial) -> dict[str, Any]:
    """Without clients."""
    before = trial.cluster.cpu_seconds()
    held = await trial.kill()
    dead = await trial.until_state(NodeState.DEAD)
    seconds = await trial.until_healed() - dead
    cpu = trial.cluster.cpu_seconds() - before
    first = next(at for at, live in trial.trace if live > trial.trace[0][1]) - dead
    trace = [(round(at - dead, 2), live) for at, live in trial.trace]
    return {"bytes": held, "seconds": seconds, "first": first, "cpu_seconds": cpu, "trace": trace}


async def busy(trial: Trial, count: int) -> dict[str, Any]:
    """With clients."""
    uploads = Uploads(trial.client, count)
    held = await trial.kill()
    await trial.until_state(NodeState.SUSPECT)
    began = time.monotonic() + 2.0
    dead = await trial.until_state(NodeState.DEAD)
    healed = await trial.until_healed()
    await pause(trial.reactor, WINDOW)
    rates = [uploads.rate(began, dead), uploads.rate(dead, healed), uploads.rate(healed, healed + WINDOW)]
    await uploads.stop()
    return {"bytes": held, "seconds": healed - dead, "before": rates[0], "during": rates[1], "after": rates[2]}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, each on a cluster of its own, idle and busy in turn."""
    environment = {"DFS_DEAD_AFTER": f"{options.dead_after:g}", "DFS_SUSPECT_AFTER": "5"}
    kinds = [options.only] if options.only else ["idle", "busy"]
    size = options.size * MIB // PART * PART

    async def once(reactor: Any, kind: str) -> dict[str, Any]:
        warm()
        with LocalCluster(chunks=SERVERS, environment=environment) as cluster:
            state = ClientOptions(patience=LIMIT, state_folder=os.path.join(cluster.folder, "state"))
            async with connect(cluster.meta(), reactor, options=state) as client:
                trial = Trial(cluster, client, reactor, size)
                await trial.fill()
                return await (busy(trial, options.uploads) if kind == "busy" else idle(trial))

    async def work(reactor: Any) -> dict[str, Any]:
        return {kind: [await once(reactor, kind) for _ in range(options.rounds)] for kind in kinds}

    found: dict[str, Any] = run_on_reactor(work)
    return found


def show(found: dict[str, Any]) -> None:
    """For people: medians."""
    for kind, rounds in ((kind, found[kind]) for kind in ("idle", "busy") if kind in found):
        for each in rounds:
            least = allowed(each["bytes"], found["node_rate"])
            rate = each["bytes"] / MIB / each["seconds"]
            said = f"{each['seconds'] / least:.2f} of {least:.1f} s" if least else "no limit"
            print(f"  {kind}: {each['bytes'] / MIB:.0f} MiB in {each['seconds']:.1f} s, {rate:.0f} MiB/s ({said})")
            if kind == "idle":
                print(f"    first copies {each['first']:.2f} s after dead; {each['cpu_seconds']:.1f} CPU s")
            else:
                parts = ", ".join(f"{when} {each[when] / MIB:.0f}" for when in ("before", "during", "after"))
                print(f"    clients, MiB/s: {parts}: {100 * share(each):.0f} %")
    if found.get("busy"):
        print(f"  clients keep {100 * median(share(each) for each in found['busy']):.0f} % (median)")


def share(each: dict[str, Any]) -> float:
    """Of their rate without healing, what the clients kept."""
    kept: float = 2 * each["during"] / (each["before"] + each["after"])
    return kept


def main() -> int:
    """0 unless something did not heal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=4096, metavar="MIB")
    parser.add_argument("--uploads", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--dead-after", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--only", choices=("idle", "busy"))
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rate = parse_rate(os.environ)
    found = {"cpus": os.cpu_count(), "command": " ".join(sys.argv), "node_rate": rate, **run(options)}
    show(found)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    return 0


def parse_rate(environment: Mapping[str, str]) -> int:
    """The limit of a node that is in force."""
    return NODE_MOVE_RATE.parse(environment.get(NODE_MOVE_RATE.name, NODE_MOVE_RATE.default))


if __name__ == "__main__":
    sys.exit(main())
