"""The garbage collector of a process that serves.

Python frees nearly everything of ours by counting references.  The collector, which finds cycles, runs when young
objects grow by 700, which dozens of requests in flight do again and again, and its full runs walk everything that was
ever imported: 80 ms and more, in which no request is answered.  So what is there when the process begins to serve is
never looked at again, and the young are looked at when there are many of them.
"""

from __future__ import annotations

import gc
from typing import Any

YOUNG = 10_000
"""How many more objects there must be than at the last look; some megabytes of cycles at most wait for it."""


def spare_garbage_collector(reactor: Any) -> None:
    """Once the reactor runs: everything is imported then, and twistd has forked."""
    reactor.callWhenRunning(settle)


def settle() -> None:
    """Now; for whoever has no reactor."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
