"""The leader's book of snapshot transfers (R20, R40, R41); the bytes are the shell's."""

from __future__ import annotations

from dfs.raft.core import replication
from dfs.raft.core.progress import Mode, Progress
from dfs.raft.core.state import State
from dfs.raft.core.types import SnapshotMark


def _waiting(s: State, member: str) -> Progress | None:
    progress = s.progress.get(member)
    return progress if progress is not None and progress.mode is Mode.SNAPSHOT else None


def started(s: State, member: str, mark: SnapshotMark) -> None:
    """The transfer carries ``mark``: what follows it is kept."""
    progress = _waiting(s, member)
    if progress is not None:
        progress.snapshot_index = mark.index


def sent(s: State, member: str, mark: SnapshotMark) -> None:
    """It was installed: go on after it."""
    progress = _waiting(s, member)
    if progress is not None:
        progress.probe(mark.index + 1)
        replication.send_appends(s, member)


def failed(s: State, member: str) -> None:
    """Ask anew with the next heartbeat what the member needs."""
    progress = _waiting(s, member)
    if progress is not None:
        needed = progress.next
        progress.probe(needed)
        progress.paused = progress.put_off = True


def keep_from(s: State) -> int:
    """The first entry that a transfer in progress will need after it; beyond the log where there is none."""
    marks = [p.snapshot_index + 1 for p in s.progress.values() if p.snapshot_index is not None]
    return min(marks, default=s.log.last_index + 1)
