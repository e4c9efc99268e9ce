"""`dfs bench`: what this cluster does, beside what this machine can do.

- :mod:`~dfs.cli.bench.command`: the words, the table, the history
- :mod:`~dfs.cli.bench.cluster`: the cluster's figures, through the client that every program uses
- :mod:`~dfs.cli.bench.machine`: the hardware's, measured on the spot
- :mod:`~dfs.cli.bench.history`: earlier runs
"""
