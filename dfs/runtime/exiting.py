"""How a daemon that cannot go on ends its process: in order, and with exit code 1.

twistd exits with 0 whenever its reactor stops.  To raise SystemExit in a reactor's call is no way out (it is logged
and swallowed), and os._exit at once would leave the pid file and lose the last lines of the log.  So the reactor is
stopped as by SIGTERM, services end in order, twistd removes its pid file, and the interpreter's last act is to exit
with 1.  A shutdown that hangs (a disk that does not answer) is cut short.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from twisted.internet.error import ReactorNotRunning

GRACE = 10.0
"""Seconds that an orderly shutdown may take."""


def end_process(reactor: Any, grace: float = GRACE) -> None:
    """Stop the reactor (a real one); the process exits with 1, after ``grace`` seconds at the latest."""
    atexit.register(exit_now)  # among the last: handlers run in the reverse order of their registration
    reactor.callLater(grace, exit_now)
    reactor.callWhenRunning(_stop, reactor)


def _stop(reactor: Any) -> None:
    try:
        reactor.stop()
    except ReactorNotRunning:
        """It is stopping already."""


def exit_now() -> None:
    """Exit with 1, whatever still runs."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    os._exit(1)
