"""Scripted scenarios by the failure that they are about: ``SCENARIOS["S24"]``.

- :mod:`~dfs.simulation.scenarios.replicas`: replicas, nodes and repair (S01 to S23);
- :mod:`~dfs.simulation.scenarios.scrubbing`: what nobody reads, and is found all the same (S11);
- :mod:`~dfs.simulation.scenarios.moves`: drains, trims, racks, balance (S03 to S20);
- :mod:`~dfs.simulation.scenarios.damage`: disks that hold something else than was written (S07, S09, S10, S30);
- :mod:`~dfs.simulation.scenarios.hindrances`: who is short, slow, out of reach, strange (S14, S22, S23, S33, S43, S44);
- :mod:`~dfs.simulation.scenarios.consensus`: metadata and consensus (S24 to S39);
- :mod:`~dfs.simulation.scenarios.metadata`: answers that are lost, large files, states that differ (S26 to S38);
- :mod:`~dfs.simulation.scenarios.upgrades`: releases beside each other (S39);
- :mod:`~dfs.simulation.scenarios.membership`: who belongs to the metadata cluster (S28, S35);
- :mod:`~dfs.simulation.scenarios.rebuilding`: all metadata is lost for good (S16, S28);
- :mod:`~dfs.simulation.scenarios.clients`: clients and strangers (S40 to S48).
"""

from __future__ import annotations

from dfs.simulation.scenarios import (
    clients,
    collection,
    consensus,
    damage,
    hindrances,
    membership,
    metadata,
    moves,
    rebuilding,
    replicas,
    scrubbing,
    upgrades,
)
from dfs.simulation.stage import Scenario

ALL: tuple[Scenario, ...] = (
    *replicas.SCENARIOS,
    *scrubbing.SCENARIOS,
    *collection.SCENARIOS,
    *moves.SCENARIOS,
    *damage.SCENARIOS,
    *hindrances.SCENARIOS,
    *consensus.SCENARIOS,
    *metadata.SCENARIOS,
    *membership.SCENARIOS,
    *upgrades.SCENARIOS,
    *rebuilding.SCENARIOS,
    *clients.SCENARIOS,
)

SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    line: tuple(scenario for scenario in ALL if scenario.line == line)
    for line in sorted({scenario.line for scenario in ALL})
}

__all__ = ["ALL", "SCENARIOS"]
