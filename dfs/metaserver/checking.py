"""Opens a node's folder once and closes it again, while a refusal can still be told to the user.

A folder of another node or cluster, damage, a second process, a store of another engine: all this is found by the same
code that opens the folder for good a moment later.  A new folder is not founded here.
"""

from __future__ import annotations

from twisted.python.failure import Failure

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.kv.errors import StoreError
from dfs.metaserver.config import MetaConfig
from dfs.metaserver.fatal import fatal_sentence
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.node import lock_folder
from dfs.raft.errors import RaftError
from dfs.raft.identity import Identity, check_identity, check_members
from dfs.raft.storage import open_storage
from dfs.runtime.errors import SettingError


def check_folder(config: MetaConfig, disk: IDisk) -> None:
    """Raise SettingError with a sentence where the node could not open its folder.  Blocks."""
    try:
        lock = lock_folder(disk, config.folder)
        try:
            if disk.exists(f"{config.folder}/raft/identity"):
                _check_log(config, disk)
            if disk.exists(f"{config.folder}/tables"):
                MetadataMachine(
                    config.open_tables(disk, f"{config.folder}/tables", config.store), config.cluster_id
                ).close()
        finally:
            lock.release()
    except (DiskError, RaftError, StoreError):
        raise SettingError(fatal_sentence(config.node, config.folder, Failure(), "cannot start")) from None


def _check_log(config: MetaConfig, disk: IDisk) -> None:
    founder = Identity(config.node, config.cluster_id, bytes(16), config.raft().founding_payload())
    storage = open_storage(disk, f"{config.folder}/raft", founder)
    try:
        check_identity(storage.identity, config.node, config.cluster_id)
        check_members(storage.identity, config.peers, storage.membership_changed)
    finally:
        storage.close()
