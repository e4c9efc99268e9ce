"""A fault-tolerant distributed file system on Twisted.

Rooms, from the ground up (an arrow only ever points down)::

    dfs.cli                                     the command; nothing imports it
    dfs.simulation                              the whole cluster under virtual time
    dfs.client | dfs.metaserver | dfs.chunkserver
    dfs.raft | dfs.protocol
    dfs.kv
    dfs.disk | dfs.runtime

doc/architecture.md follows one chunk through all of them.
"""

__version__ = "0.1.0"
