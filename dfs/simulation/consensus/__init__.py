"""Consensus alone, on virtual time: the real core of :mod:`dfs.raft.core`, everything around it made up.

The whole-cluster simulation next door runs every room's code; this one runs one room's heart, and so lives through a
thousand times as many elections in the same time.

- :mod:`~dfs.simulation.consensus.plan`: what a seed draws;
- :mod:`~dfs.simulation.consensus.agenda`: time; :mod:`~dfs.simulation.consensus.network`,
  :mod:`~dfs.simulation.consensus.disk`, :mod:`~dfs.simulation.consensus.machine`: the surroundings;
- :mod:`~dfs.simulation.consensus.member`, :mod:`~dfs.simulation.consensus.transfer`: the shell of one core;
- :mod:`~dfs.simulation.consensus.clients`, :mod:`~dfs.simulation.consensus.faults`: work and trouble;
- :mod:`~dfs.simulation.consensus.checks`: what must hold after every step;
- :mod:`~dfs.simulation.consensus.group`: a whole run; ``python -m dfs.simulation.consensus --seeds 0..100``.
"""

from dfs.simulation.consensus.group import run_plan, run_seed
from dfs.simulation.consensus.plan import Plan, plan_of

__all__ = ["Plan", "plan_of", "run_plan", "run_seed"]
