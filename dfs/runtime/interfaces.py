"""What every room takes as an argument: threads, time, chance.

Time and sockets are Twisted's own reactor slices (IReactorTime, IReactorTCP);
production passes the global reactor with a monotonic clock installed, the
simulator passes a reactor of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class ILane(Interface):
    """One thread's worth of work in order: the owner of a store, a log, a file."""

    name = Attribute("For logs and traces.")
    depth = Attribute("How many calls are queued or running, an int.")

    def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call it on the lane's thread after everything asked before; the Deferred fires on the
        reactor thread, in the order of the calls.  Cancelling gives up the result, not the work."""

    def stop() -> Deferred[None]:
        """Refuse further calls; fires when the last one ended."""


class IThreads(Interface):
    """The thread seam: all blocking work goes through it."""

    def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call it on some pooled thread; the Deferred fires on the reactor thread.  No order is promised."""

    def lane(name: str) -> ILane:
        """A new lane.  It lives until its ``stop``."""

    def stop() -> Deferred[None]:
        """Stop all; fires when every thread ended."""


@frozen
class Runtime:
    """What a node is given to live on.

    :ivar reactor: provides IReactorTime and IReactorTCP; ``seconds()`` is monotonic.
    :ivar random: for time-outs, jitter and choices; only ``random()`` and ``getrandbits()`` of it
        are used, directly or not, so that a seed draws the same on every machine.
    :ivar wall_time: seconds since the epoch, for display only; it may step.
    :ivar entropy: ``entropy(n)`` gives n unguessable bytes for keys, nonces and ids.
    """

    reactor: Any
    threads: IThreads
    random: random.Random
    wall_time: Callable[[], float]
    entropy: Callable[[int], bytes]
