"""The consensus algorithm: pure, deterministic, copyable.

::

    core.py         RaftCore: the door
    types.py        the values in and out; Ready says what its receiver owes
    state.py        everything a member remembers; which message may leave before the disk answers
    log.py          terms, the newest entries, what is durable
    election.py     pre-vote, votes, stickiness
    replication.py  the leader's side; progress.py: what it knows of a follower
    following.py    the follower's side
    reads.py        read index
    transfers.py    who is being sent a snapshot
    configuring.py  which configuration counts, how the next one is begun
    handing.py      transfer of leadership
    readying.py     from state to Ready and back
"""

from dfs.raft.core.core import RaftCore
from dfs.raft.core.types import (
    Arrived,
    Chance,
    Config,
    Configuration,
    CoreHalted,
    EntryRead,
    HardState,
    LogView,
    Outgoing,
    Proposed,
    ReadState,
    Ready,
    Refusal,
    Role,
    SnapshotMark,
    SnapshotWanted,
    Standing,
    Unknown,
)

__all__ = [
    "Arrived",
    "Chance",
    "Config",
    "Configuration",
    "CoreHalted",
    "EntryRead",
    "HardState",
    "LogView",
    "Outgoing",
    "Proposed",
    "RaftCore",
    "ReadState",
    "Ready",
    "Refusal",
    "Role",
    "SnapshotMark",
    "SnapshotWanted",
    "Standing",
    "Unknown",
]
