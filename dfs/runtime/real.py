"""What a node lives on in production."""

from __future__ import annotations

import os
import random
import time
from typing import Any

from dfs.runtime.interfaces import Runtime
from dfs.runtime.threads import PoolThreads


def real_runtime(reactor: Any) -> Runtime:
    """The kernel's clocks and entropy, real threads.

    :param reactor: a real reactor, already monotonic (:func:`dfs.runtime.clock.install_monotonic`).
    """
    return Runtime(
        reactor=reactor,
        threads=PoolThreads(reactor),
        random=random.Random(os.urandom(32)),
        wall_time=time.time,
        entropy=os.urandom,
    )
