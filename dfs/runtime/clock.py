"""A reactor whose clock never steps (R59).

Twisted's reactors take ``seconds()`` from the wall clock (``time.time``).  When it
is set back by an hour every timer of the process sleeps for an hour, heartbeats
too; set forward, every time-out ends at once.  ``DelayedCall`` and
``LoopingCall`` ask the reactor instance, so replacing the method there, before
anything is scheduled, is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def install_monotonic(reactor: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Make ``reactor.seconds()`` monotonic.  Idempotent.

    :param reactor: a real Twisted reactor.
    :raises RuntimeError: when calls are scheduled already: their times are of the other clock.
    """
    if reactor.seconds == monotonic:
        return
    if reactor.getDelayedCalls():
        raise RuntimeError("the monotonic clock must be installed before anything is scheduled")
    reactor.seconds = monotonic
