"""Whole clusters in one process, on virtual time: one seed decides everything.

The rooms' code runs unmodified on simulated providers of the production interfaces:

- :mod:`dfs.simulation.clock`: the world's time, a heap of calls;
- :mod:`dfs.simulation.network`, :mod:`~dfs.simulation.sockets`: links, partitions, sockets;
- :mod:`dfs.simulation.reactor`: one host's reactor, under Twisted's own transports;
- :mod:`dfs.simulation.disk`, :mod:`~dfs.simulation.inode`, :mod:`~dfs.simulation.folders`: disks that forget what
  was not synced;
- :mod:`dfs.simulation.threads`: threads in seeded order;
- :mod:`dfs.simulation.host`: hosts that crash and restart, and the world with its trace.
"""

from dfs.simulation.clock import HeapClock
from dfs.simulation.disk import SimulatedCrash, SimulatedDisk
from dfs.simulation.host import NeverHappened, SimulatedHost, World
from dfs.simulation.network import SimulatedNetwork
from dfs.simulation.reactor import SimulatedReactor
from dfs.simulation.threads import SimulatedThreads

__all__ = [
    "HeapClock",
    "NeverHappened",
    "SimulatedCrash",
    "SimulatedDisk",
    "SimulatedHost",
    "SimulatedNetwork",
    "SimulatedReactor",
    "SimulatedThreads",
    "World",
]
