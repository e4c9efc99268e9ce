"""From a folder to what the core begins with: open or found, check whose it is, reconcile with the state machine.

After a crash the state machine is behind the log (it replays), level with it, or ahead
of it (a snapshot was installed and the log not yet begun anew: the core's first
Ready does that).  Behind the log's *beginning* it cannot be after any crash, since the log
is compacted only up to what is durable in the state machine: then its store was
lost or replaced, and the member is refused (R39).
"""

from __future__ import annotations

from attrs import frozen

from dfs.disk.interfaces import IDisk
from dfs.raft.codec import CodecError
from dfs.raft.core import CoreHalted, RaftCore
from dfs.raft.core.types import LogView, SnapshotMark
from dfs.raft.errors import StorageCorrupt
from dfs.raft.identity import Identity, check_identity, check_members
from dfs.raft.interfaces import IStateMachine
from dfs.raft.membership import decode_configuration
from dfs.raft.node_config import NodeConfig
from dfs.raft.storage import LogStorage, open_storage
from dfs.runtime.interfaces import ILane, Runtime


@frozen
class Opened:
    """What was found; ``durable_index`` is the state machine's."""

    storage: LogStorage
    view: LogView
    applied: SnapshotMark
    durable_index: int

    def core(self, config: NodeConfig, runtime: Runtime) -> RaftCore:
        """The core as it begins.  Raises StorageCorrupt where what is on disk contradicts itself."""
        try:
            return RaftCore(
                config.core_config(),
                self.storage.hard_state,
                self.view,
                runtime.random,
                configuration=decode_configuration(self.storage.identity.configuration),
                applied=self.applied,
                commit=self.storage.commit_index,
            )
        except (CoreHalted, CodecError) as error:
            reason = f"what this member has on disk contradicts itself: {error}. Keep the folder for inspection."
            raise StorageCorrupt(reason) from error


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
    founder = Identity(config.node, config.founding().cluster, runtime.entropy(16), config.founding_payload())
    storage: LogStorage = await log_lane.run(
        open_storage, disk, folder, founder, config.segment_length, config.reserve_length
    )
    try:
        check_identity(storage.identity, config.node, config.cluster_id)
        check_members(storage.identity, config.members)
        applied: SnapshotMark = await apply_lane.run(machine.applied)
        if applied.index < storage.base.index:
            raise StorageCorrupt(
                f"the state machine ends at entry {applied.index}, before the log begins ({storage.base.index}): its "
                "store was lost or replaced by an older one. Restore the store that belongs to this folder, or bring "
                "the member back as doc/raft.md tells."
            )
        durable: int = await apply_lane.run(machine.durable_index)
        return Opened(storage, await log_lane.run(storage.view), applied, durable)
    except BaseException:
        await log_lane.run(storage.close)
        raise
