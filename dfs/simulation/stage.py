"""Scripted scenarios: a short story of a whole cluster, played on virtual time and judged.

A scenario is a coroutine over a :class:`Stage`; what must not be raises AssertionError.  Unless it says
otherwise, at its end everything is started and healed, the cluster must become whole, and what the stage stored must
be readable byte for byte.  The same scenario runs as a test and under ``dfs sim --scenario``, with any seed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.client.errors import DFSError
from dfs.kv.errors import StoreFailed
from dfs.raft.errors import StorageFailed
from dfs.simulation.cluster import ClusterClient, ClusterSettings, SimulatedCluster
from dfs.simulation.dice import Dice
from dfs.simulation.host import NeverHappened, World
from dfs.simulation.logs import LogWatch
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.plan import Result
from dfs.simulation.promise import Promise
from dfs.simulation.stored import Shelves

PATIENCE = 3 * 3600.0
"""Virtual seconds that a scenario may take."""

SETTLE = 120.0
"""Virtual seconds from the end of the story until the cluster is whole."""


@frozen
class Scenario:
    """:ivar line: the failure that it is about (``S24``).
    :ivar heals: at the end the cluster is to become whole.
    :ivar expected: classes of logged failures that belong to the story.
    """

    line: str
    name: str
    story: Callable[[Stage], Coroutine[Deferred[Any], Any, None]]
    settings: ClusterSettings = field(factory=ClusterSettings)
    heals: bool = True
    expected: tuple[type[BaseException], ...] = ()


class Stage:
    """A cluster that runs, a client, and what was stored so far."""

    def __init__(self, world: World, settings: ClusterSettings) -> None:
        self.world = world
        self.cluster = SimulatedCluster(world, settings)
        self.promise = Promise(self.cluster)
        self.shelves = Shelves(self.cluster)
        self.dice = Dice(world.random("stage"))
        self.stored: dict[str, bytes] = {}
        self.counts: Counter[str] = Counter()
        self.client: ClusterClient

    async def begin(self) -> None:
        """Everything is up and known."""
        self.cluster.start()
        self.promise.watch()
        await self.cluster.wait_ready()
        self.client = self.cluster.client()

    # What stories are told with.

    def content(self, length: int) -> bytes:
        """Random bytes."""
        return self.dice.content(length)

    async def put(self, name: str, length: int = 200_000, client: ClusterClient | None = None, **options: Any) -> Any:
        """Store a file of random bytes; its UploadResult.  From then on it must be readable."""
        content = self.content(length)
        result = await (client or self.client).upload(content, name, **options)
        self.stored[name] = content
        self.counts["upload"] += 1
        return result

    async def check_readable(self, client: ClusterClient | None = None) -> None:
        """Everything that was stored is there, byte for byte, and nothing else is listed."""
        reader = client or self.cluster.client()
        for name, content in self.stored.items():
            found = await reader.download(name)
            self.counts["download"] += 1
            check(found == content, f"{name!r} came back as other bytes")
        names = await reader.names()
        check(names == sorted(self.stored), f"the names are {names}, not {sorted(self.stored)}")

    async def leader(self) -> SimulatedNode:
        """The metadata server that leads."""
        return await self.cluster.wait_leader()

    async def followers(self) -> list[SimulatedNode]:
        """The others that run."""
        leader = await self.leader()
        return [node for node in self.cluster.meta.values() if node is not leader and node.up]

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self.cluster.sleep(seconds)

    async def until(self, predicate: Callable[[], Any], timeout: float, what: str) -> None:
        """See SimulatedCluster.until."""
        await self.cluster.until(predicate, timeout, what)

    def heal(self) -> None:
        """Everything that is down is started, every cut ends."""
        self.world.heal()
        self.world.network.restore()
        self.cluster.start()


def check(condition: object, sentence: str) -> None:
    """Raises AssertionError with a sentence."""
    if not condition:
        raise AssertionError(sentence)


async def refused(doing: Awaitable[Any], *errors: type[BaseException]) -> Any:
    """The error, one of ``errors``, that ``doing`` must end with."""
    try:
        result = await doing
    except errors as error:
        return error
    raise AssertionError(f"it should have been refused with {[error.__name__ for error in errors]}, not {result!r}")


def ending(doing: Deferred[Any]) -> list[Any]:
    """A list that gets what ``doing`` ends with: its result, or its error; nobody else need look at it."""
    ends: list[Any] = []

    def ended(result: Any) -> None:
        ends.append(result.value if isinstance(result, Failure) else result)

    doing.addBoth(ended)  # type: ignore[unused-awaitable]
    return ends


async def outcome(doing: Awaitable[Any]) -> Any:
    """What ``doing`` returns, or the DFSError that it ends with."""
    try:
        return await doing
    except DFSError as error:
        return error


async def perform(scenario: Scenario, stage: Stage) -> None:
    """The story and its end."""
    await stage.begin()
    await scenario.story(stage)
    if scenario.heals:
        stage.heal()
        await stage.promise.settled(SETTLE)
        await stage.check_readable()


def play(scenario: Scenario, seed: int, write_trace: Callable[[str], Any] | None = None) -> Result:
    """Play it in a world of its own; see World for ``write_trace``."""
    began = time.perf_counter()
    world = World(seed, write_trace)
    with LogWatch(world, (StorageFailed, StoreFailed, *scenario.expected)) as logs:
        stage = Stage(world, scenario.settings)
        promise = stage.promise
        try:
            world.run_until(Deferred.fromCoroutine(perform(scenario, stage)), PATIENCE)
        except (AssertionError, NeverHappened, DFSError) as error:
            promise.violated(f"{scenario.line} {scenario.name}: {type(error).__name__}: {error}")
        promise.stop()
    for sentence in logs.failures:
        promise.violated(sentence)
    return Result(
        seed,
        world.digest,
        world.clock.now,
        time.perf_counter() - began,
        world.clock.events,
        {scenario.line: 1},
        dict(sorted(stage.counts.items())),
        tuple(promise.violations),
    )
