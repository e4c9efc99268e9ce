"""The chunk server: keeps replicas of chunks on one disk, streams them, copies them, reports them.

- on disk: :mod:`~dfs.chunkserver.layout` (names), :mod:`~dfs.chunkserver.footer` (what ends a chunk file),
  :mod:`~dfs.chunkserver.numbers` (adds and removes are counted), :mod:`~dfs.chunkserver.identity` (whose folder);
- blocking, on threads: :mod:`~dfs.chunkserver.writing`, :mod:`~dfs.chunkserver.reading`,
  :mod:`~dfs.chunkserver.startup`, :mod:`~dfs.chunkserver.quarantine`;
- what is read wrongly: :mod:`~dfs.chunkserver.damage`; what nobody reads: :mod:`~dfs.chunkserver.scrubbing`;
- :mod:`~dfs.chunkserver.store`: the shell round these, with :mod:`~dfs.chunkserver.index` in memory;
- streams: :mod:`~dfs.chunkserver.put` (cut-through writes), :mod:`~dfs.chunkserver.child` (one target of one),
  :mod:`~dfs.chunkserver.commit` (the primary's word to metadata), :mod:`~dfs.chunkserver.get`;
- orders and reports: :mod:`~dfs.chunkserver.jobs`, :mod:`~dfs.chunkserver.heartbeat`;
- :mod:`~dfs.chunkserver.service` answers peers; :mod:`~dfs.chunkserver.node` is the whole; :mod:`~dfs.chunkserver.tap`
  is ``twistd dfs-chunk``.
"""
