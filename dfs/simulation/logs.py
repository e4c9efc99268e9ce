"""What the rooms log during a run: a logged failure is a defect unless the run expects it.

Twisted catches what a timer, a protocol or a forgotten Deferred raises, and logs it; here it becomes a
sentence.  A forgotten Deferred tells its error when it is collected, so garbage is collected at both ends of a run.
Nothing of the log goes into the trace: texts may hold addresses of objects.

A coroutine of a killed process is collected in the middle of what it did, and Python says so on stderr where it then
waits for something in its ``finally``: that is the killing, not a defect, and is not told.
"""

from __future__ import annotations

import gc
import sys
from types import TracebackType
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from dfs.simulation.host import World


@implementer(ILogObserver)
class LogWatch:
    """A context: gathers failures while it is entered.

    :ivar failures: one sentence each, with the virtual time and the place it was raised.
    :ivar expected: the classes of failures that are part of the story.
    """

    def __init__(self, world: World, expected: tuple[type[BaseException], ...] = ()) -> None:
        self.failures: list[str] = []
        self.expected = expected
        self._world = world

    def __enter__(self) -> LogWatch:
        gc.collect()
        globalLogPublisher.addObserver(self)
        self._former_hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.collect()
        globalLogPublisher.removeObserver(self)
        sys.unraisablehook = self._former_hook

    def _unraisable(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "coroutine ignored GeneratorExit":
            self._former_hook(unraisable)

    def __call__(self, event: Any) -> None:
        failure = event.get("log_failure")
        if failure is None or (self.expected and failure.check(*self.expected)):
            return
        frames = failure.frames or failure.stack
        place = f"{frames[-1][1]}:{frames[-1][2]}" if frames else "?"
        level = event.get("log_level", LogLevel.critical).name
        self.failures.append(
            f"{self._world.clock.now:.3f} logged ({level}) {formatEvent(event)}: "
            f"{type(failure.value).__name__}: {failure.value} at {place}"
        )
