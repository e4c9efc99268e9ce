"""What a member tells of itself at once, from memory."""

from __future__ import annotations

from dfs.raft.core import RaftCore
from dfs.raft.interfaces import RaftStatus
from dfs.raft.node_config import NodeConfig


def status_of(config: NodeConfig, core: RaftCore | None, serving: bool, lag: float) -> RaftStatus:
    """See IRaft.status; ``core`` is None before the start."""
    if core is None:
        return RaftStatus(config.node, "follower", 0, None, 0, 0, 0, tuple(sorted(config.members)), 0.0)
    return RaftStatus(
        node=config.node,
        role=str(core.role) if serving else "follower",
        term=core.term,
        leader=core.leader,
        last_index=core.last_index,
        commit_index=core.commit_index,
        applied_index=core.applied_index,
        members=core.configuration.voters,
        lag=lag,
        learners=core.configuration.learners,
    )
