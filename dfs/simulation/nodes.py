"""One program on one simulated host: started, stopped, killed, crashed and started again on the same disk.

The program is what production builds, from the host's runtime and disk and nothing else.  What twistd does around it is
here: a fatal error ends the process, SIGTERM stops the service and then ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.disk.interfaces import IDisk
from dfs.runtime.interfaces import Runtime
from dfs.simulation.host import SimulatedHost

STOP_PATIENCE = 20.0
"""Virtual seconds after SIGTERM until the process is killed, as an init system does."""


class Program(Protocol):
    """What production builds: a Twisted service."""

    running: Any

    def startService(self) -> None: ...

    def stopService(self) -> Any: ...


Build = Callable[[Runtime, IDisk, Callable[[str], None]], Program]
"""Runtime, disk, and what to call with a sentence when the process cannot go on."""


class SimulatedNode:
    """A host and what runs on it.

    :ivar build: makes the program.
    :ivar program: what runs now; None while it is down.
    :ivar fatal: the sentences with which it ended by itself, in order.
    :ivar boots: how often it was started.
    :ivar stopping: it had SIGTERM and has not ended yet.
    """

    def __init__(self, host: SimulatedHost, build: Build) -> None:
        self.host = host
        self.program: Any = None
        self.fatal: list[str] = []
        self.boots = 0
        self.stopping = False
        self.build = build

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def up(self) -> bool:
        return self.program is not None

    def start(self) -> None:
        """Start it; again on what its disk holds if it ran before.  Fine when it is up; killed first if it is
        stopping."""
        if self.program is not None and not self.stopping:
            return
        if self.boots:
            self.host.restart()
        self.boots += 1
        self.host.on_down.append(self._down)
        self.program = self.build(self.host.runtime, self.host.disk, self._fatal)
        self.program.startService()

    def kill(self) -> None:
        """kill -9."""
        self.host.kill()

    def crash(self) -> None:
        """A power cut."""
        self.host.crash()

    def stop(self) -> Deferred[None]:
        """SIGTERM: fires when the process has ended, in its own time or by force."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        program = self.program
        if program is None or self.stopping:
            return
        self.stopping = True
        ended: Deferred[None] = Deferred()
        self.host.on_down.append(lambda: ended.callback(None))
        self.host.reactor.callLater(STOP_PATIENCE, self.host.kill)
        stopping: Deferred[Any] = Deferred.fromCoroutine(stop_program(program))
        stopping.addBoth(self._stopped, program)  # type: ignore[unused-awaitable]
        await ended

    def _stopped(self, result: object, program: Program) -> None:
        if isinstance(result, Failure):
            self.host.world.note(f"{self.name} failed to stop: {result.value}")
        if self.program is program:
            self.host.kill()

    def _fatal(self, reason: object) -> None:
        """The process ends by itself, at the end of this turn, as a twistd process does."""
        sentence = str(reason)
        self.fatal.append(sentence)
        self.host.world.note(f"{self.name} ends: {sentence}")
        self.host.reactor.callLater(0, self.host.kill)

    def _down(self) -> None:
        self.program = None
        self.stopping = False


async def stop_program(program: Program) -> None:
    """Stop a service and wait for it."""
    await as_deferred(program.stopService())


def as_deferred(result: Any) -> Deferred[Any]:
    """What a service's stop returns, which may be None."""
    if isinstance(result, Deferred):
        return result
    done: Deferred[Any] = Deferred()
    done.callback(result)
    return done
