"""From a folder to what the core begins with: open or found, check whose it is, reconcile with the state machine.

After a crash the state machine is behind the log (it replays), level with it, or ahead
of it: a snapshot was installed and the log not yet begun anew, which the core's first
Ready does; who belonged as of that snapshot was noted before the switch.  Ahead without
such a note it cannot be: then one of the two was replaced.

Behind the log's *beginning* it cannot be after any crash, since the log is compacted only up to
what is durable in the state machine: its tables were lost.  The log and the votes are
whole, so the member goes on as one that votes and stores, and waits for a snapshot (R35, R39);
unless it is the only voter, whom nobody can send one.  The other way round, a new
folder for the log beside tables that hold something, is refused: it could vote twice (R35).
"""

from __future__ import annotations

from attrs import frozen
from twisted.logger import Logger

from dfs.disk.interfaces import IDisk
from dfs.raft.codec import CodecError
from dfs.raft.core import CoreHalted, RaftCore
from dfs.raft.core.types import Configuration, LogView, SnapshotMark
from dfs.raft.errors import StorageCorrupt
from dfs.raft.identity import FILE_NAME as IDENTITY_NAME
from dfs.raft.identity import Identity, check_identity, check_members
from dfs.raft.interfaces import IStateMachine
from dfs.raft.membership import decode_configuration
from dfs.raft.node_config import NodeConfig
from dfs.raft.storage import LogStorage, open_storage
from dfs.runtime.interfaces import ILane, Runtime

_log = Logger()


@frozen
class Opened:
    """What was found; ``durable_index`` is the state machine's.

    :ivar base: the configuration as of the log's boundary.
    :ivar installed: the one that the snapshot brought which the state machine is at, where the log does not reach.
    """

    storage: LogStorage
    view: LogView
    applied: SnapshotMark
    durable_index: int
    base: Configuration
    installed: Configuration | None = None

    def core(self, config: NodeConfig, runtime: Runtime) -> RaftCore:
        """The core as it begins.  Raises StorageCorrupt where what is on disk contradicts itself."""
        try:
            return RaftCore(
                config.core_config(),
                self.storage.hard_state,
                self.view,
                runtime.random,
                configuration=self.base,
                applied=self.applied,
                installed=self.installed,
                commit=self.storage.commit_index,
            )
        except (CoreHalted, CodecError) as error:
            raise _contradiction(str(error)) from error


async def open_member(
    config: NodeConfig,
    runtime: Runtime,
    disk: IDisk,
    folder: str,
    machine: IStateMachine,
    log_lane: ILane,
    apply_lane: ILane,
) -> Opened:
    """Open the folder, founding it if it is new.  Raises WrongCluster, StorageCorrupt, StorageFailed, Locked; then
    nothing stays open."""
    applied: SnapshotMark = await apply_lane.run(machine.applied)
    if applied.index and not await log_lane.run(disk.exists, f"{folder}/{IDENTITY_NAME}"):
        raise StorageCorrupt(
            f"{folder} holds no log, and the tables beside it end at entry {applied.index}: the log and its votes were "
            "lost. This member must not vote again under its name; doc/raft.md tells how to replace it."
        )
    cluster = config.cluster_id or config.founding().cluster
    founder = Identity(config.node, cluster, runtime.entropy(16), config.founding_payload())
    storage: LogStorage = await log_lane.run(
        open_storage, disk, folder, founder, config.segment_length, config.reserve_length
    )
    try:
        check_identity(storage.identity, config.node, config.cluster_id)
        check_members(storage.identity, config.members, storage.membership_changed)
        durable: int = await apply_lane.run(machine.durable_index)
        return _opened(storage, await log_lane.run(storage.view), applied, durable)
    except Exception:
        await log_lane.run(storage.close)
        raise


def _opened(storage: LogStorage, view: LogView, applied: SnapshotMark, durable: int) -> Opened:
    try:
        base = _base(storage)
        opened = Opened(storage, view, applied, durable, base, _installed(storage, view, applied))
    except CodecError as error:
        raise _contradiction(str(error)) from error
    if applied.index < view.boundary.index:
        last = decode_configuration(view.configurations[-1].payload) if view.configurations else base
        if last.voters == (storage.identity.node,):
            raise StorageCorrupt(
                f"the state machine ends at entry {applied.index}, before the log begins ({view.boundary.index}): its "
                "store was lost, and there is no other voter to fetch it from. Restore the store from a backup."
            )
        _log.error(
            "the tables end at entry {applied}, before the log begins ({base}): this member waits for a snapshot",
            applied=applied.index,
            base=view.boundary.index,
        )
    return opened


def _base(storage: LogStorage) -> Configuration:
    """The configuration as of the boundary: kept with it, or the founders', or nobody for one that has just joined."""
    payload = storage.configuration or storage.identity.configuration
    return decode_configuration(payload) if payload else Configuration((), cluster=storage.identity.cluster_id)


def _installed(storage: LogStorage, view: LogView, applied: SnapshotMark) -> Configuration | None:
    """What a snapshot brought if the state machine is at its mark and the log does not hold that."""
    if applied.index <= view.boundary.index or _term(view, applied.index) == applied.term:
        return None
    payload = storage.brought_by(applied)
    if not payload:
        raise _contradiction(
            f"the state machine is at entry {applied.index}/{applied.term}, which the log does not hold and no "
            "snapshot brought"
        )
    return decode_configuration(payload)


def _term(view: LogView, index: int) -> int | None:
    """The term of an entry after the boundary."""
    if index > view.last_index:
        return None
    return [term for first, term in ((view.boundary.index, view.boundary.term), *view.runs) if first <= index][-1]


def _contradiction(reason: str) -> StorageCorrupt:
    return StorageCorrupt(f"what this member has on disk contradicts itself: {reason}. Keep the folder for inspection.")
