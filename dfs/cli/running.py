"""Running one command on the reactor, from its coroutine to an exit code.

Ctrl-C cancels the coroutine, which lets go of what it holds, and the process
ends within a second whatever a thread may still be doing (S48).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

from dfs.cli.errors import CommandFailed, UsageError
from dfs.cli.output import print_error
from dfs.client.errors import DFSError
from dfs.runtime.clock import install_monotonic
from dfs.runtime.errors import SettingError

INTERRUPTED = 130
GRACE = 0.7  # seconds that a cancelled command has to let go


def exit_code_of(error: BaseException, as_json: bool) -> int:
    """Print what the user should know; the code to exit with."""
    if isinstance(error, KeyboardInterrupt | CancelledError):
        print_error(INTERRUPTED, "interrupted", "", as_json)
        return INTERRUPTED
    if isinstance(error, DFSError | CommandFailed):
        print_error(error.exit_code, error.message, error.hint, as_json)
        return error.exit_code
    if isinstance(error, SettingError | UsageError):
        print_error(2, str(error), getattr(error, "hint", "see dfs --help"), as_json)
        return 2
    if isinstance(error, BrokenPipeError):
        return 1
    if os.environ.get("DFS_DEBUG"):
        traceback.print_exception(error)
    name = type(error).__name__
    print_error(1, f"unexpected failure: {name}: {error}", "set DFS_DEBUG=1 to see where, and report it", as_json)
    return 1


@provider(ILogObserver)
def log_nothing(event: Any) -> None:
    """A command speaks for itself; its libraries' log would only disturb."""


def run_command(
    begin: Callable[[Any], Coroutine[Deferred[Any], Any, int]], as_json: bool, at_end: Callable[[], None]
) -> int:
    """Run ``begin(reactor)`` to its end; its exit code.  ``at_end`` runs last (it ends a progress line)."""
    from twisted.internet import reactor as global_reactor

    reactor: Any = global_reactor
    install_monotonic(reactor)
    globalLogBeginner.beginLoggingTo([log_nothing], redirectStandardIO=False, discardBuffer=True)
    outcome: list[int] = []
    interrupted: list[bool] = []

    def ended(result: int | Failure) -> None:
        at_end()
        if isinstance(result, Failure):
            error = result.value or RuntimeError(str(result))
            outcome.append(exit_code_of(KeyboardInterrupt() if interrupted else error, as_json))
        else:
            outcome.append(INTERRUPTED if interrupted else result)
        if interrupted:
            leave(INTERRUPTED)  # stopping the reactor would wait for a thread that resolves a name
        if reactor.running:
            reactor.stop()

    def interrupt(number: int, frame: Any) -> None:
        reactor.callFromThread(give_up)

    def give_up() -> None:
        if interrupted:
            leave(INTERRUPTED)
        interrupted.append(True)
        reactor.callLater(GRACE, leave, INTERRUPTED)
        command.cancel()

    def leave(code: int) -> None:
        at_end()
        flush()
        os._exit(code)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    command: Deferred[Any] = Deferred()
    reactor.callWhenRunning(lambda: command.callback(None))
    command = command.addCallback(lambda _: Deferred.fromCoroutine(begin(reactor))).addBoth(ended)
    reactor.run(installSignalHandlers=False)
    flush()
    return outcome[0] if outcome else INTERRUPTED


def flush() -> None:
    """What was printed is out, or its reader is gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
