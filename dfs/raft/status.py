"""What a member tells of itself at once, from memory."""

from __future__ import annotations

from dfs.raft.interfaces import MemberProgress, RaftStatus
from dfs.raft.node_config import NodeConfig
from dfs.raft.turns import RunningMember


def status_of(config: NodeConfig, running: RunningMember | None) -> RaftStatus:
    """See IRaft.status; ``running`` is None before the start."""
    if running is None:
        return RaftStatus(config.node, "follower", 0, None, 0, 0, 0, tuple(sorted(config.members)), 0.0)
    core = running.core
    return RaftStatus(
        node=config.node,
        role=str(core.role) if running.serving else "follower",
        term=core.term,
        leader=core.leader,
        last_index=core.last_index,
        commit_index=core.commit_index,
        applied_index=core.applied_index,
        members=core.configuration.voters,
        lag=running.lag.worst,
        learners=core.configuration.learners,
        removed=core.removed,
        progress=tuple(MemberProgress(*one) for one in core.progress()),
    )
