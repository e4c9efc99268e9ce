"""What every room takes as an argument instead of importing it.

- :mod:`dfs.runtime.interfaces`: threads, and :class:`Runtime`, what a node lives on;
- :mod:`dfs.runtime.real`: that in production; ``dfs.simulation.host`` gives the simulated one;
- :mod:`dfs.runtime.clock`, :mod:`~dfs.runtime.ticker`, :mod:`~dfs.runtime.timeout`, :mod:`~dfs.runtime.lag`: time;
- :mod:`dfs.runtime.threads`: real threads; :mod:`dfs.runtime.garbage`: the collector of a process that serves;
- :mod:`dfs.runtime.dial`, :mod:`~dfs.runtime.backoff`: addresses, connecting, waiting before the next try;
- :mod:`dfs.runtime.settings`, :mod:`~dfs.runtime.options`, :mod:`~dfs.runtime.units`: configuration.
"""

from dfs.runtime.backoff import Backoff, full_jitter
from dfs.runtime.clock import install_monotonic
from dfs.runtime.dial import Address, endpoint, parse_address, parse_addresses
from dfs.runtime.errors import DeadlineExceeded, SettingError, ThreadsStopped
from dfs.runtime.interfaces import ILane, IThreads, Runtime
from dfs.runtime.lag import LagMonitor
from dfs.runtime.real import real_runtime
from dfs.runtime.threads import PoolThreads
from dfs.runtime.ticker import Ticker
from dfs.runtime.timeout import deadline

__all__ = [
    "Address",
    "Backoff",
    "DeadlineExceeded",
    "ILane",
    "IThreads",
    "LagMonitor",
    "PoolThreads",
    "Runtime",
    "SettingError",
    "ThreadsStopped",
    "Ticker",
    "deadline",
    "endpoint",
    "full_jitter",
    "install_monotonic",
    "parse_address",
    "parse_addresses",
    "real_runtime",
]
