"""Names ``twistd dfs-chunk``."""

from twisted.application.service import ServiceMaker

dfs_chunk = ServiceMaker("dfs-chunk", "dfs.chunkserver.tap", "A chunk server of dfs.", "dfs-chunk")
