"""A real local cluster whose metadata servers adopt tables that were made beforehand.

The state becomes every member's, and their logs begin anew after it: what an installed snapshot leaves.
"""

from __future__ import annotations

import os
import shutil
import time

from bench.local import LocalCluster
from bench.scale.tables import KEY, open_machine
from dfs.disk.real import RealDisk
from dfs.protocol.trust import write_key_file
from dfs.protocol.values import cluster_id_of
from dfs.raft.identity import Identity
from dfs.raft.storage import Write, open_storage

MEMBERS = ("meta-1", "meta-2", "meta-3")


def prepare(cluster: LocalCluster) -> None:
    """Give the cluster that is to be started the bench's key."""
    os.makedirs(cluster.dir)
    write_key_file(RealDisk(), os.path.join(cluster.dir, "cluster.key"), KEY)


def adopt(cluster: LocalCluster, tables: str) -> float:
    """Stop it, give every member a copy of the tables, start it; seconds until all nodes serve."""
    cluster.dfs("cluster", "down")
    machine = open_machine(tables, cluster_id_of(KEY))
    mark = machine.applied()
    machine.close()
    for member in MEMBERS:
        folder = os.path.join(cluster.dir, member, "data")
        shutil.rmtree(os.path.join(folder, "tables"))
        shutil.copytree(tables, os.path.join(folder, "tables"))
        nobody = Identity(member, cluster_id_of(KEY), bytes(16), b"")  # the folder is not new
        storage = open_storage(RealDisk(), os.path.join(folder, "raft"), nobody)
        view = storage.view()
        configuration = view.configurations[-1].payload if view.configurations else storage.configuration
        storage.write(Write(reset_to=mark, reset_configuration=configuration))
        storage.close()
    began = time.perf_counter()
    cluster.dfs("cluster", "up")
    return time.perf_counter() - began
