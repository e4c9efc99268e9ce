"""`dfs init`: the key that makes a cluster, and what to do with it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from dfs.cli.errors import CommandFailed
from dfs.cli.output import print_json
from dfs.disk.errors import DiskError, Exists, NotFound
from dfs.disk.real import RealDisk
from dfs.protocol.trust import new_cluster_key, write_key_file
from dfs.protocol.values import cluster_id_of
from dfs.runtime.interfaces import Runtime

STEPS = """Copy the key file to every node of the cluster, mode 0600; clients need none. Then start, for example:
  twistd dfs-meta  --key-file {key} --data DIR --listen tcp:7001 --advertise HOST:7001 --node-id meta-1 \\
                   --peers meta-1=HOST:7001,meta-2=HOST2:7001,meta-3=HOST3:7001
  twistd dfs-chunk --key-file {key} --data DIR --listen tcp:7002 --advertise HOST:7002 --node-id chunk-1 \\
                   --meta HOST:7001,HOST2:7001,HOST3:7001
and look at it: dfs --meta HOST:7001,HOST2:7001,HOST3:7001 status"""


def make_key(path: str) -> bytes:
    """Write a new key; the cluster's id.  Blocks.  Raises CommandFailed; a key that is there is never replaced."""
    key = new_cluster_key(os.urandom)
    try:
        write_key_file(RealDisk(), path, key)
    except Exists as error:
        raise CommandFailed(
            f"{path} exists already", "a key is never replaced: its cluster could not be opened without it", 4
        ) from error
    except NotFound as error:
        raise CommandFailed(f"cannot write {error}", "make the folder first") from error
    except DiskError as error:
        raise CommandFailed(f"cannot write {error}", "choose another --key-file") from error
    return cluster_id_of(key)


async def init(options: argparse.Namespace, runtime: Runtime, say: Callable[[str], None]) -> int:
    """`dfs init`."""
    path = os.path.abspath(options.key_file)
    cluster_id = (await runtime.threads.run(make_key, path)).hex()
    if options.json:
        print_json({"key_file": path, "cluster_id": cluster_id})
        return 0
    say(f"wrote the key of cluster {cluster_id} to {path}; whoever holds it is a node, so keep it")
    say(STEPS.format(key=path))
    return 0
