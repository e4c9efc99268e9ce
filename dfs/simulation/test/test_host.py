"""Hosts go down and come back; one seed decides everything."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.host import NeverHappened, SimulatedHost, World

TRACED = """
import sys
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from dfs.simulation.host import World

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

world = World(int(sys.argv[1]))
hosts = {name: world.host(name) for name in ("one", "two", "three")}
for host in hosts.values():
    TCP4ServerEndpoint(host.reactor, 7000).listen(Factory.forProtocol(Echo))
for host in hosts.values():
    for other in hosts.values():
        client = world.run_until(connectProtocol(TCP4ClientEndpoint(host.reactor, other.ip, 7000), Protocol()))
        client.transport.write(host.runtime.entropy(1000) * 100)
        host.runtime.threads.run(host.disk.make_folders, "/d").addCallback(lambda _: world.note("made"))
world.run(0.001)
hosts["two"].crash()
world.run(5)
hosts["two"].restart()
world.note(str(hosts["two"].runtime.random.random()))
world.run(5)
print(world.digest)
"""


class Noting(Protocol):
    """Notes what comes."""

    def __init__(self, received: list[bytes]) -> None:
        self.received = received

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)


class HostTests(SynchronousTestCase):
    """One host through its starts."""

    def setUp(self) -> None:
        self.world = World(1)
        self.host = self.world.host("a")
        self.events: list[float] = []

    def note(self) -> None:
        self.events.append(round(self.world.clock.now, 6))  # a timer is late, if only by a nanosecond

    def test_addresses(self) -> None:
        """Hosts get addresses from 10.0.0.1 on; a name is given once."""
        self.assertEqual([self.host.ip, self.world.host("b").ip], ["10.0.0.1", "10.0.0.2"])
        self.assertRaises(ValueError, self.world.host, "a")

    def test_crash_ends_timers(self) -> None:
        """Nothing that a crashed host had scheduled happens, also not after its restart."""
        self.host.reactor.callLater(1, self.note)
        self.host.crash()
        self.host.restart()
        self.host.reactor.callLater(2, self.note)
        self.world.run(5)
        self.assertEqual(self.events, [2])

    def test_power_cut_of_a_sender(self) -> None:
        """Bytes that a partition holds come after the heal if their sender was killed, not if it lost power: nobody is
        left to send them again."""
        for take_down, expected in ((SimulatedHost.kill, b"held"), (SimulatedHost.crash, b"")):
            world = World(1)
            sender, receiver = world.host("a"), world.host("b")
            received: list[bytes] = []
            factory = Factory.forProtocol(partial(Noting, received))
            TCP4ServerEndpoint(receiver.reactor, 7000).listen(factory)
            endpoint = TCP4ClientEndpoint(sender.reactor, receiver.ip, 7000)
            client: Any = world.run_until(connectProtocol(endpoint, Protocol()))
            world.partition("a", "b")
            client.transport.write(b"held")
            world.run(1.0)
            take_down(sender)
            world.heal()
            world.run(5.0)
            self.assertEqual(b"".join(received), expected)

    def test_crash_loses_what_was_not_synced_and_kill_does_not(self) -> None:
        """Unsynced bytes outlive a kill always and a power cut only by luck."""
        outcomes = set()
        for seed in range(20):
            host = World(seed).host("a")
            host.disk.open("/f", create=True).pwrite([b"x"], 0)
            host.kill()
            host.restart()
            self.assertEqual(host.disk.stat("/f").length, 1)
            host.crash()
            host.restart()
            outcomes.add(host.disk.stat("/f").length if host.disk.exists("/f") else None)
        self.assertEqual(outcomes, {None, 0, 1})

    def test_locks_end_with_the_process(self) -> None:
        """A restarted host can take the lock that its former process held."""
        self.host.disk.lock("/lock")
        self.host.restart()
        self.host.disk.lock("/lock")

    def test_down_is_told_once(self) -> None:
        """Whoever runs the program hears once that its host went down."""
        told: list[str] = []
        self.host.on_down.append(lambda: told.append("down"))
        self.host.crash()
        self.host.crash()
        self.host.kill()
        self.assertEqual(told, ["down"])
        self.assertFalse(self.host.up)

    def test_program_stops_itself(self) -> None:
        """A program that stops its reactor runs its shutdown triggers and is gone."""
        reactor = self.host.reactor
        reactor.addSystemEventTrigger("before", "shutdown", self.note)
        reactor.removeSystemEventTrigger(reactor.addSystemEventTrigger("after", "shutdown", self.note))
        reactor.callLater(1, reactor.stop)
        reactor.callLater(2, self.note)
        self.world.run(5)
        self.assertEqual(self.events, [1])
        self.assertFalse(self.host.up)

    def test_clocks(self) -> None:
        """Each host's monotonic clock starts elsewhere and has its own pace; the wall clock can be ahead."""
        slow = self.world.host("slow")
        slow.clock_rate = 0.5
        slow.restart()
        slow.wall_offset = 3600.0
        start, other = slow.reactor.seconds(), self.host.reactor.seconds()
        self.assertNotEqual(start, other)
        done = deferLater(slow.reactor, 5, self.note)
        self.world.run(20)
        self.successResultOf(done)
        self.assertEqual(self.events, [10])
        self.assertAlmostEqual(slow.reactor.seconds() - start, 10)
        self.assertAlmostEqual(self.host.reactor.seconds() - other, 20)
        self.assertAlmostEqual(slow.runtime.wall_time() - self.host.runtime.wall_time(), 3600)

    def test_draws_differ_by_host_and_start(self) -> None:
        """Randomness and entropy are of the host and of the start, and repeat with the seed."""
        other = self.world.host("b")
        again = World(1).host("a")
        draws = [self.host.runtime.random.random(), other.runtime.random.random()]
        keys = [self.host.runtime.entropy(16), other.runtime.entropy(16)]
        self.host.restart()
        draws.append(self.host.runtime.random.random())
        keys.append(self.host.runtime.entropy(16))
        self.assertEqual((len(set(draws)), len(set(keys))), (3, 3))
        self.assertEqual((draws[0], keys[0]), (again.runtime.random.random(), again.runtime.entropy(16)))


class WorldTests(SynchronousTestCase):
    """Running and tracing."""

    def setUp(self) -> None:
        self.world = World(1)

    def test_run_until_deferred(self) -> None:
        """A Deferred's result is returned, its failure raised, and time passes only until then."""
        self.assertEqual(self.world.run_until(succeed(3)), 3)
        self.assertEqual(self.world.run_until(deferLater(self.world.clock, 2, lambda: "late")), "late")
        self.assertEqual(self.world.clock.now, 2)
        self.assertRaises(ZeroDivisionError, self.world.run_until, fail(ZeroDivisionError()))

    def test_run_until_predicate(self) -> None:
        """A predicate ends the run at the event that makes it true."""
        events: list[int] = []
        for number in range(5):
            self.world.clock.callLater(number, events.append, number)
        self.world.run_until(lambda: 3 in events)
        self.assertEqual((self.world.clock.now, events), (3, [0, 1, 2, 3]))

    def test_never(self) -> None:
        """What does not come in time raises, at the time-out and not before."""
        self.world.clock.callLater(11, lambda: None)
        never: Deferred[None] = Deferred()
        self.assertRaises(NeverHappened, self.world.run_until, never, 10)
        self.assertEqual(self.world.clock.now, 10)
        self.assertRaises(NeverHappened, self.world.run_until, lambda: False, 5)
        self.assertEqual(self.world.clock.now, 15)

    def test_trace(self) -> None:
        """The digest covers every line in order; the last lines are kept."""
        other = World(1)
        for line in ("a", "b"):
            self.world.trace(line)
        for line in ("b", "a"):
            other.trace(line)
        self.assertNotEqual(self.world.digest, other.digest)
        self.assertEqual(self.world.last_lines, ["a", "b"])

    def test_same_seed_same_trace_in_every_process(self) -> None:
        """The same seed gives the same trace whatever PYTHONHASHSEED, another seed another one."""

        def digest(seed: int, hash_seed: int) -> str:
            ran = subprocess.run(
                [sys.executable, "-c", TRACED, str(seed)],
                capture_output=True,
                check=True,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": str(hash_seed)},
            )
            return ran.stdout

        first = digest(1, 1)
        self.assertEqual(len(first.strip()), 64)
        self.assertEqual(digest(1, 2), first)
        self.assertNotEqual(digest(2, 1), first)


class PauseTests(SynchronousTestCase):
    """SIGSTOP and SIGCONT."""

    def test_nothing_runs_meanwhile(self) -> None:
        """A process that is stopped runs no timer and reads nothing until it goes on; its clock goes on, its kernel
        takes connections and bytes, and then everything comes in order (R11)."""
        world = World(1)
        one, two = world.host("one"), world.host("two")
        received: list[bytes] = []
        factory = Factory()
        factory.buildProtocol = lambda address: Noting(received)  # type: ignore[method-assign, assignment]
        TCP4ServerEndpoint(two.reactor, 7000).listen(factory)
        fired: list[float] = []
        before = two.reactor.seconds()
        two.reactor.callLater(1.0, lambda: fired.append(world.clock.now))
        two.pause(3.0)
        self.assertTrue(two.paused)
        client = world.run_until(connectProtocol(TCP4ClientEndpoint(one.reactor, two.ip, 7000), Protocol()))
        assert client is not None
        client.transport.write(b"hello")
        world.run(2.5)
        self.assertEqual((fired, received), ([], []))
        world.run(1.0)
        self.assertEqual(fired, [3.0])
        self.assertEqual(received, [b"hello"])
        self.assertFalse(two.paused)
        self.assertGreater(two.reactor.seconds() - before, 3.0)
