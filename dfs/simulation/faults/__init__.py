"""Faults drawn from a seed, one after the other and overlapping, each with its end.

- :mod:`~dfs.simulation.faults.drawing`: which kind comes when, and the end of them all;
- :mod:`~dfs.simulation.faults.ground`: what every kind needs: the cluster, the dice, the books;
- :mod:`~dfs.simulation.faults.processes`: processes and clocks;
- :mod:`~dfs.simulation.faults.links`: the network;
- :mod:`~dfs.simulation.faults.operators`: what operators do to metadata servers;
- :mod:`~dfs.simulation.faults.upkeep`: what they ask of chunk servers;
- :mod:`~dfs.simulation.faults.disks`: disks, rot among them, within :mod:`~dfs.simulation.faults.atlas`.

Bounds, so that every fault can be recovered from: no disk is lost for good but that of a server that was drained; of
each chunk one server's copies rot at most, and of the metadata servers' disks a minority at most; mostly a majority of
the metadata servers is up.
"""

from dfs.simulation.faults.drawing import KINDS, USUAL, Faults, Mix
from dfs.simulation.faults.ground import Decision

__all__ = ["KINDS", "USUAL", "Decision", "Faults", "Mix"]
