"""The end of a Deferred that nobody awaits: its result and its failure both have a taker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def when(done: Deferred[Any], then: Callable[[Any], object], failed: Callable[[Failure], object]) -> None:
    """Call ``then`` with the result; ``failed`` with the failure of ``done`` or of ``then``."""
    _ = done.addCallback(then).addErrback(failed)
