"""``twistd dfs-meta``: a metadata server.  Names only; dfs.metaserver.tap does the rest."""

from twisted.application.service import ServiceMaker

dfs_meta = ServiceMaker(
    "dfs-meta", "dfs.metaserver.tap", "A metadata server of the distributed file system.", "dfs-meta"
)
