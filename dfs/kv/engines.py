"""The table of engines: which there are, which can be used here, how each is opened."""

from __future__ import annotations

from importlib import import_module

from dfs.disk import suspicion
from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.kv.errors import StoreFailed, WrongStore
from dfs.kv.interfaces import IKeyValueStore

BERKELEYDB = "berkeleydb"
SEMIDBM = "semidbm"
MEMORY = "memory"
AUTO = "auto"
ENGINES = (BERKELEYDB, SEMIDBM, MEMORY)
CACHE = 64 << 20  # bytes of page cache, where the engine has one


def is_installed(engine: str) -> bool:
    """False only for berkeleydb where its extra is not installed."""
    if engine != BERKELEYDB:
        return engine in ENGINES
    try:
        import_module("dfs.kv.berkeley")
    except ImportError:
        return False
    return True


def open_engine(
    engine: str, disk: IDisk, folder: str, lock: IDiskLock | None = None, cache: int = CACHE
) -> IKeyValueStore:
    """Open or make a store of that engine in its own folder.

    The caller holds a lock over ``folder``; given as ``lock`` the store releases it at its close.
    Raises StoreFailed where a sync failed in it since the machine was started.
    """
    with suspicion.marking(disk, folder):
        disk.make_folders(folder)
    if doubt := suspicion.doubt(disk, folder):
        raise StoreFailed(doubt)
    if engine == MEMORY:
        from dfs.kv.memory import MemoryStore

        return MemoryStore(disk, folder, lock)
    if engine == SEMIDBM:
        from dfs.kv.semidbm_store import SemidbmStore

        return SemidbmStore(disk, folder, lock)
    if engine != BERKELEYDB:
        raise WrongStore(f"there is no store engine {engine!r}; there are {', '.join(ENGINES)}")
    try:
        from dfs.kv.berkeley import BerkeleyStore
    except ImportError as error:
        raise WrongStore(
            f"{folder}: needs berkeleydb, which is not installed here; run: pip install 'dfs-twisted[berkeleydb]'"
        ) from error
    return BerkeleyStore(disk, folder, lock, cache)
