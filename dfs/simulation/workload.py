"""Clients drawn from a seed, under faults drawn from a seed, and the judgement: one seed, one outcome.

A run has three phases.  In the first, clients upload, download, delete and list while faults come and go.  Then
everything is healed, and the clients end what they are at.  Within SETTLE virtual seconds the cluster must be
whole (:meth:`dfs.simulation.promise.Promise.settled`); then every name is read back, and the history of each must have
an explanation (:mod:`dfs.simulation.history`).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from dfs.client.errors import BadRequest, DFSError, FileExists, FileNotFound
from dfs.kv.errors import StoreFailed
from dfs.protocol.limits import MAX_SMALL
from dfs.protocol.messages import FilePage, ListFiles
from dfs.raft.errors import StorageFailed
from dfs.simulation.cluster import LOCAL, ClusterClient, HostDown, SimulatedCluster
from dfs.simulation.dice import Dice
from dfs.simulation.faults import Faults
from dfs.simulation.history import History, Kind, Operation, Outcome
from dfs.simulation.host import NeverHappened, World
from dfs.simulation.logs import LogWatch
from dfs.simulation.plan import Plan, Result
from dfs.simulation.platter import peek, remove_file
from dfs.simulation.promise import Promise
from dfs.simulation.scrub import Scrub
from dfs.simulation.swarm import plan_of

SETTLE = 90.0
"""Virtual seconds after the heal within which the cluster must be whole."""

GIVE_UP = 400.0
"""Virtual seconds after which a run that has not ended is a violation."""

ELECTIONS, AT_LEAST = 10, 5.0
"""Election time-outs, and seconds at any rate, within which a fresh write must be done once the cluster is whole."""


class Workload:
    """One run in the making."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.cluster = SimulatedCluster(world, plan.settings)
        self.history = History()
        self.promise = Promise(self.cluster)
        self.faults = Faults(self.cluster, plan.mix, plan.keep, plan.pace)
        self.counts: Counter[str] = Counter()
        self._active = True
        world.network.latency = world.network.jitter = plan.latency
        self._acts = [(getattr(self, f"_{act}"), weight) for act, weight in plan.acts.items()]

    async def run(self) -> None:
        """All three phases."""
        cluster = self.cluster
        cluster.start()
        self.promise.watch()
        await cluster.wait_ready()
        dice = Dice(self.world.random("clients"))
        made = [cluster.client(dice.chance(self.plan.any_member)) for _ in range(self.plan.clients)]
        clients = [Deferred.fromCoroutine(self._live(client)) for client in made]
        await self.faults.run(self.plan.seconds)
        self.faults.heal()
        self._active = False
        await gatherResults(clients, consumeErrors=True)
        await self.faults.operator.finish()
        await self.faults.upkeep.finish()
        reader = cluster.client()
        scrub = Scrub(self.promise, reader, self.faults.atlas)
        scrubbing = Deferred.fromCoroutine(scrub.run())
        await self.promise.settled(SETTLE)
        scrub.stop()
        await scrubbing
        await self._write_soon(reader)
        await self._read_back(reader)
        await self.promise.settled(SETTLE)
        self.promise.stop()
        self._judge_ends()
        ledger = cluster.ledger
        for violation in (*self.faults.ground.violations, *self.history.violations(), *ledger.violations()):
            self.promise.violated(violation)
        self.counts["metadata requests in order"] = ledger.count
        self.counts["names undecided"] = self.history.undecided + ledger.undecided

    # Clients.

    async def _live(self, client: ClusterClient) -> None:
        """One client's life until the faults end."""
        dice = Dice(self.world.random(client.host.name))
        while self._active:
            await self.cluster.sleep(dice.between(0.02, self.plan.think))
            act = dice.weighted(self._acts)
            if dice.chance(0.05):
                client.open()
            if await self._enter(client):
                await act(client, dice)

    async def _enter(self, client: ClusterClient) -> bool:
        """Whether it has reached the cluster."""
        try:
            await client.enter()
        except DFSError as error:
            self._count("connect", error)
            return False
        return True

    def _name(self, client: ClusterClient, dice: Dice) -> str:
        owner = "shared" if dice.chance(self.plan.shared) else client.host.name
        return f"{owner}/{dice.below(self.plan.names)}"

    def _content(self, dice: Dice) -> bytes:
        """Lengths around the edges of chunks, and some between (S45)."""
        if self.plan.small:
            return dice.content(dice.below(2))
        chunk = self.plan.settings.chunk_size
        length = dice.pick([0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, dice.below(6 * chunk)])
        return dice.content(length)

    async def _upload(self, client: ClusterClient, dice: Dice) -> None:
        name, content = self._name(client, dice), self._content(dice)
        chunk_size = self.plan.settings.chunk_size
        if dice.chance(0.3):
            stream = pieces_of(content, 1 + dice.below(100_000))
            await self._try_upload(client, name, content, client.files.upload(stream, name, chunk_size=chunk_size))
            return
        path = client.put_local(content)
        await self._upload_file(client, dice, name, content, path)
        remove_file(client.host.disk, path)

    async def _upload_file(self, client: ClusterClient, dice: Dice, name: str, content: bytes, path: str) -> None:
        chunk_size = self.plan.settings.chunk_size
        death = self.world.clock.callLater(dice.between(0.0, 0.2), client.host.kill) if dice.chance(0.15) else None
        await self._try_upload(client, name, content, client.files.upload(path, name, chunk_size=chunk_size))
        if death is not None and death.active():
            death.cancel()
        if not client.host.up:  # killed in the middle: it goes on where it stopped (S40)
            client.open()
            if not await self._enter(client):
                return
            upload = client.files.upload(path, name, chunk_size=chunk_size)
            await self._try_upload(client, name, content, upload, again=True)

    async def _upload_many(self, client: ClusterClient, dice: Dice) -> None:
        """Small files at once, which share their requests; names may come twice among them."""
        uploads = []
        for _ in range(2 + dice.below(8)):
            name, length = self._name(client, dice), dice.pick([0, 1, 4096, MAX_SMALL - 1, MAX_SMALL])
            content = dice.content(dice.below(2) if self.plan.small else length)
            upload = client.files.upload(content, name, chunk_size=self.plan.settings.chunk_size)
            uploads.append(Deferred.fromCoroutine(self._try_upload(client, name, content, upload)))
        await gatherResults(uploads, consumeErrors=True)

    async def _try_upload(
        self, client: ClusterClient, name: str, content: bytes, upload: Coroutine[Any, Any, Any], again: bool = False
    ) -> None:
        digest = hashlib.sha256(content).hexdigest()
        operation = self.history.begin(client.host.name, Kind.UPLOAD, name, digest, self.world.clock.now, again)
        await self._end(client, operation, upload, FileExists)

    async def _delete(self, client: ClusterClient, dice: Dice) -> None:
        name = self._name(client, dice)
        operation = self.history.begin(client.host.name, Kind.DELETE, name, "", self.world.clock.now)
        await self._end(client, operation, client.files.delete(name), FileNotFound)

    async def _download(self, client: ClusterClient, dice: Dice) -> None:
        name = dice.pick(self.history.names() or ["nothing"])
        if dice.chance(0.5):
            await self.read(client, name)
            return
        operation = self.history.begin(client.host.name, Kind.READ, name, "", self.world.clock.now)
        path = f"{LOCAL}/out-{operation.number}"
        client.host.disk.make_folders(LOCAL)

        async def fetch() -> str:
            await client.files.download(name, path)
            return hashlib.sha256(peek(client.host.disk, path) or b"").hexdigest()

        await self._end(client, operation, fetch(), FileNotFound)
        remove_file(client.host.disk, path)

    async def read(self, client: ClusterClient, name: str) -> Outcome:
        """Read a whole file in memory; what came of it."""
        operation = self.history.begin(client.host.name, Kind.READ, name, "", self.world.clock.now)

        async def fetch() -> str:
            return hashlib.sha256(await client.download(name)).hexdigest()

        await self._end(client, operation, fetch(), FileNotFound)
        return operation.outcome

    async def _read_many(self, client: ClusterClient, dice: Dice) -> None:
        """Several files at once, opened and read whole: small ones share their requests."""
        names = self.history.names() or ["nothing"]
        await gatherResults([Deferred.fromCoroutine(self._open(client, dice.pick(names))) for _ in range(6)])

    async def _open(self, client: ClusterClient, name: str) -> None:
        operation = self.history.begin(client.host.name, Kind.READ, name, "", self.world.clock.now)

        async def fetch() -> str:
            file = await client.files.open(name)
            return hashlib.sha256(await file.read()).hexdigest()

        await self._end(client, operation, fetch(), FileNotFound)

    async def _stat(self, client: ClusterClient, dice: Dice) -> None:
        """Whether a name is there, and of how many bytes."""
        name = dice.pick(self.history.names() or ["nothing"])
        try:
            await client.run(client.files.stat(name))
        except (DFSError, HostDown) as error:
            self._count("stat", error)
        else:
            self._count("stat", None)

    async def _list(self, client: ClusterClient, dice: Dice) -> None:
        """Names by pages, small ones; the ledger has what each said."""
        prefix = dice.pick(["", "shared/", f"{client.host.name}/"])
        size = dice.pick([1, 2, 3, 1000])

        async def fetch() -> None:
            token = b""
            while True:
                page = await client.files._context.ask(ListFiles(prefix, token, size), FilePage)
                token = page.token
                if not token:
                    return

        try:
            await client.run(fetch())
        except (DFSError, HostDown) as error:
            self._count("list", error)
        else:
            self._count("list", None)

    async def _end(
        self, client: ClusterClient, operation: Operation, doing: Coroutine[Any, Any, Any], refusal: type[DFSError]
    ) -> None:
        """Wait for an operation and record what its client was told."""
        try:
            found = await client.run(doing)
        except refusal as error:
            self.history.end(operation, Outcome.REFUSED)
            self._count(operation.kind.value, error)
        except BadRequest as error:
            self.history.end(operation, Outcome.UNKNOWN)
            self.promise.violated(f"a client made no sense to a server: {error} in {operation}")
        except (DFSError, HostDown) as error:
            self.history.end(operation, Outcome.UNKNOWN)
            self._count(operation.kind.value, error)
        except Exception as error:  # noqa: BLE001 - anything else is a defect of the client, and the run tells it
            self.history.end(operation, Outcome.UNKNOWN)
            self.promise.violated(f"a client met {type(error).__name__}: {error} in {operation}")
        else:
            self.history.end(operation, Outcome.DONE, found if operation.kind is Kind.READ else None)
            self._count(operation.kind.value, None)

    def _count(self, what: str, error: Exception | None) -> None:
        outcome = "done" if error is None else type(error).__name__
        self.counts[f"{what} {outcome}"] += 1
        self.world.note(f"operation {what} {outcome}")

    async def _write_soon(self, client: ClusterClient) -> None:
        """A fresh write, now that all is well again."""
        settings, began = self.plan.settings, self.world.clock.now
        content = Dice(self.world.random("last write")).content(settings.chunk_size + 1)
        path = client.put_local(content)
        if await self._enter(client):
            upload = client.files.upload(path, "last/write", chunk_size=settings.chunk_size)
            await self._try_upload(client, "last/write", content, upload)
        waited = self.world.clock.now - began
        limit = max(ELECTIONS * 2 * settings.election_ticks * settings.tick, AT_LEAST)
        if waited > limit or not self.history.of("last/write"):
            self.promise.violated(f"a fresh write took {waited:.1f} s, more than {limit:g}")

    def _judge_ends(self) -> None:
        """No server may have ended by itself without a fault that explains it."""
        for name, node in self.cluster.nodes.items():
            if node.fatal and name not in self.faults.ground.excused:
                self.promise.violated(f"{name} ended by itself: {node.fatal[0]}")

    async def _read_back(self, reader: ClusterClient) -> None:
        """Every name once more, by a client that knows nothing; none may fail."""
        for name in self.history.names():
            if await self.read(reader, name) is Outcome.UNKNOWN:
                self.promise.violated(f"{name!r} could not be read after all was well again")


async def pieces_of(content: bytes, length: int) -> AsyncIterator[bytes]:
    """A stream of unknown length."""
    for start in range(0, len(content), length):
        yield content[start : start + length]


def run_plan(seed: int, plan: Plan, write_trace: Callable[[str], Any] | None = None) -> Result:
    """A whole run in this process; see World for ``write_trace``."""
    began = time.perf_counter()
    world = World(seed, write_trace)
    with LogWatch(world, (StorageFailed, StoreFailed)) as logs:
        workload = Workload(world, plan)
        promise = workload.promise
        try:
            world.run_until(Deferred.fromCoroutine(workload.run()), plan.seconds + GIVE_UP)
        except (NeverHappened, AssertionError) as error:
            promise.violated(f"the run did not end well: {error}")
        promise.stop()
    for sentence in logs.failures:
        promise.violated(sentence)
    return Result(
        seed,
        world.digest,
        world.clock.now,
        time.perf_counter() - began,
        world.clock.events,
        dict(sorted(workload.faults.ground.counts.items())),
        dict(sorted(workload.counts.items())),
        tuple(promise.violations),
        tuple(workload.faults.ground.schedule),
    )


def run_seed(seed: int) -> Result:
    """The run that a seed draws."""
    return run_plan(seed, plan_of(seed))
