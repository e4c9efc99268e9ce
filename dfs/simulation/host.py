"""Simulated machines, and the world that they live in.

A :class:`SimulatedHost` has an address and a disk that last; each start gives it a new reactor,
new threads and a new :class:`dfs.runtime.interfaces.Runtime`.  It goes down in two ways: ``crash`` is
a power cut (unsynced bytes may be lost, nobody is told), ``kill`` is ``kill -9`` (the kernel
keeps what was written and closes the connections).

A :class:`World` owns clock, network and hosts.  Everything random in it is drawn from generators whose
seeds are hashes of (world seed, purpose), so one component's draws do not shift another's, and the same seed
gives the same trace whatever PYTHONHASHSEED.  The trace is a running SHA-256 with its last lines, and on request
a text: ``diff`` shows where two runs part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.runtime.interfaces import Runtime
from dfs.simulation.clock import HeapClock
from dfs.simulation.disk import SimulatedCrash, SimulatedDisk
from dfs.simulation.network import SimulatedNetwork
from dfs.simulation.reactor import SimulatedReactor
from dfs.simulation.threads import SimulatedThreads

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Wall time when a world begins."""
LAST_LINES = 1000
"""Lines of the trace that are kept, and that gather before they are hashed."""


class NeverHappened(AssertionError):
    """What a run waited for did not come in its virtual time."""


def seeded(seed: int, purpose: str) -> Random:
    """A generator for one purpose; the same on every machine as long as only random() and getrandbits() are used."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return Random(int.from_bytes(digest, "big"))


class SimulatedHost:
    """One machine.

    :ivar runtime: what its program lives on; a new one after each start.
    :ivar clock_rate: seconds of its monotonic clock in a second of the world; counts from the next start.
    :ivar wall_offset: seconds that its wall clock is ahead.
    :ivar on_down: called when it goes down for whatever reason; what runs the program drops it there.
    """

    def __init__(self, world: World, name: str, ip: str) -> None:
        self.world = world
        self.name = name
        self.ip = ip
        self.clock_rate = 1.0
        self.wall_offset = 0.0
        self.on_down: list[Callable[[], None]] = []
        self.disk = SimulatedDisk(now=self.wall_time)
        self._starts = 0
        self._crash_random = seeded(world.seed, f"{name}:crash")
        self.reactor: SimulatedReactor
        self.runtime: Runtime
        self._start()

    @property
    def up(self) -> bool:
        return self.reactor.running

    def wall_time(self) -> float:
        return EPOCH + self.world.clock.now + self.wall_offset

    def crash(self) -> None:
        """A power cut, now.  Fine when it is down."""
        self._down("crash")
        self.world.network.power_off(self.ip)
        self.disk.crash(self._crash_random)

    def kill(self) -> None:
        """kill -9, now.  Fine when it is down."""
        if self.up:
            self._down("kill")
            self.world.network.kill(self.ip)
            self.disk.end_process()

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so many seconds later."""
        self.world.note(f"pause {self.name} {seconds:.3f}")
        self.reactor.hold(seconds)

    @property
    def paused(self) -> bool:
        """Whether its process is stopped just now."""
        return self.reactor.held_until > self.world.clock.now

    def restart(self) -> Runtime:
        """Start again on the same disk and address; killed first if it is up."""
        self.kill()
        self._start()
        return self.runtime

    def _start(self) -> None:
        self._starts += 1
        boot = f"{self.name}:{self._starts}"
        seed = self.world.seed
        self.reactor = SimulatedReactor(
            self.world.clock,
            self.world.network,
            self.ip,
            rate=self.clock_rate,
            origin=1000.0 + 100_000.0 * seeded(seed, f"{boot}:origin").random(),
            on_stop=self.kill,
        )
        threads = SimulatedThreads(self.reactor, seeded(seed, f"{boot}:threads"), self.disk, self._crashed)
        entropy = seeded(seed, f"{boot}:entropy")
        self.runtime = Runtime(
            reactor=self.reactor,
            threads=threads,
            random=seeded(seed, f"{boot}:random"),
            wall_time=self.wall_time,
            entropy=lambda length: entropy.getrandbits(8 * length).to_bytes(length, "big") if length else b"",
        )
        self.world.network.power_on(self.ip)
        self.world.note(f"start {self.name}")

    def _crashed(self, crash: SimulatedCrash) -> None:
        self.world.note(f"{self.name} at {crash}")
        self.crash()

    def _down(self, how: str) -> None:
        if self.reactor.running:
            self.world.note(f"{how} {self.name}")
            self.reactor.running = False
            listeners, self.on_down = self.on_down, []
            for listener in listeners:
                listener()


class World:
    """Everything that one seed decides.

    :ivar hosts: by name, in the order of their making.
    :param write_trace: called with pieces of the trace as text, in order; the last comes with :attr:`digest`.
    """

    def __init__(self, seed: int, write_trace: Callable[[str], Any] | None = None) -> None:
        self.seed = seed
        self.clock = HeapClock()
        self.hosts: dict[str, SimulatedHost] = {}
        self._lines: list[str] = []
        self._former: list[str] = []
        self._hash = hashlib.sha256()
        self._write_trace = write_trace
        self.network = SimulatedNetwork(self.clock, seeded(seed, "network"), self.trace)

    def random(self, purpose: str) -> Random:
        """A generator of the world's seed for a purpose of the caller's."""
        return seeded(self.seed, f"world:{purpose}")

    def host(self, name: str) -> SimulatedHost:
        """A new host, up, at the next address from 10.0.0.1 on."""
        if name in self.hosts:
            raise ValueError(f"there is a host {name} already")
        number = len(self.hosts) + 1
        self.hosts[name] = host = SimulatedHost(self, name, f"10.0.{number // 250}.{number % 250}")
        return host

    # Faults, by host names.

    def partition(self, one: str, other: str, both: bool = True) -> None:
        """Hold what goes from one host to the other, and with ``both`` also what comes back."""
        self.network.partition(self.hosts[one].ip, self.hosts[other].ip, both)

    def isolate(self, name: str) -> None:
        """Cut a host off from all others."""
        for other in self.hosts:
            if other != name:
                self.partition(name, other)

    def heal(self) -> None:
        """End all partitions."""
        self.network.heal()

    # The trace.

    def note(self, event: str) -> None:
        """Trace an event with its time."""
        self.trace(f"{self.clock.now:.9f} {event}")

    def trace(self, line: str) -> None:
        """Add a line to the trace."""
        self._lines.append(line)
        if len(self._lines) >= LAST_LINES:
            self._flush()

    def _flush(self) -> None:
        """Hash and write the lines that gathered: one by one they would cost as much as the network."""
        if self._lines:
            text = "\n".join(self._lines) + "\n"
            self._hash.update(text.encode())
            if self._write_trace is not None:
                self._write_trace(text)
            self._former, self._lines = (self._former + self._lines)[-LAST_LINES:], []

    @property
    def last_lines(self) -> list[str]:
        """The last 1,000 lines of the trace."""
        return (self._former + self._lines)[-LAST_LINES:]

    @property
    def digest(self) -> str:
        """SHA-256 of the trace so far, in hex."""
        self._flush()
        return self._hash.hexdigest()

    # Running.

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.clock.advance(seconds)

    def run_until(self, condition: Callable[[], Any] | Deferred[T], timeout: float = 60.0) -> T | None:
        """Let time pass until a Deferred fires (its result is returned or raised) or a predicate is true.

        A predicate is asked after every call of every host.  Raises NeverHappened after ``timeout`` virtual
        seconds, or when nothing is left to happen.
        """
        if isinstance(condition, Deferred):
            return self._run_until_fired(condition, timeout)
        self._run_until_true(condition, timeout)
        return None

    def _run_until_true(self, predicate: Callable[[], Any], timeout: float) -> None:
        end = self.clock.now + timeout
        if not self.clock.run_until_true(predicate, end):
            self.clock.run_until(end)
            if not predicate():
                raise NeverHappened(f"not within {timeout:g} s; the last events: {self.last_lines[-10:]}")

    def _run_until_fired(self, deferred: Deferred[T], timeout: float) -> T:
        results: list[Any] = []
        deferred.addBoth(results.append)  # type: ignore[unused-awaitable]
        self._run_until_true(results.__len__, timeout)  # asked before every event: no frame of Python for it
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result
