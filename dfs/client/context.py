"""What every operation of a client shares."""

from __future__ import annotations

from attrs import frozen

from dfs.client.session import Session
from dfs.disk.interfaces import IDisk
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.pool import BulkPool
from dfs.runtime.interfaces import Runtime


@frozen
class Context:
    """``patience``: seconds without any progress after which an operation gives up.
    ``idle_timeout``: seconds without progress after which one transfer is given up and another replica tried."""

    runtime: Runtime
    disk: IDisk
    caller: LeaderCaller
    pool: BulkPool
    session: Session
    state_folder: str
    patience: float = 30.0
    idle_timeout: float = 10.0
    hedge_after: float = 1.0
