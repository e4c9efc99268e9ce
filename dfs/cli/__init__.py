"""The `dfs` command and the local cluster; nothing imports this room."""
