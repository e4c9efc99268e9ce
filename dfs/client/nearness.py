"""Which replicas are asked first."""

from __future__ import annotations

from dfs.protocol.values import NodeState

RANK = {NodeState.ALIVE: 0, NodeState.DRAINING: 1, NodeState.MAINTENANCE: 2, NodeState.SUSPECT: 3}
"""By the state of the node; those that are not named come last."""

LAST = 4
