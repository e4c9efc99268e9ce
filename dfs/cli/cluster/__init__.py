"""A local cluster: real twistd processes on 127.0.0.1, one folder each.

- :mod:`~dfs.cli.cluster.layout`: cluster.toml and the folders;
- :mod:`~dfs.cli.cluster.processes`: starting, finding, signalling one node's process;
- :mod:`~dfs.cli.cluster.commands`: up, down, status, logs, kill, restart;
- :mod:`~dfs.cli.cluster.changing`: add, remove.
"""
