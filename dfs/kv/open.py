"""Open the store of a folder, whichever engine it has."""

from __future__ import annotations

from dfs.disk.interfaces import IDisk
from dfs.disk.real import RealDisk
from dfs.kv.engines import CACHE
from dfs.kv.folder import StoreFolder, choose, read_marker
from dfs.kv.interfaces import IKeyValueStore


def open_store(engine: str, folder: str, disk: IDisk | None = None, cache: int = CACHE) -> IKeyValueStore:
    """The store in ``folder`` (absolute), made where it is missing; its close releases the folder.

    :param engine: ``auto``, ``berkeleydb``, ``semidbm`` or ``memory``.
    :param disk: None for the kernel's.  berkeleydb and semidbm need real files; memory takes any.
    :param cache: bytes for berkeleydb's page cache.

    Raises WrongStore, StoreCorrupt, StoreFailed, and Locked where another process has it.
    """
    place = StoreFolder(disk or RealDisk(), folder, engine, cache)
    try:
        return place.hand_over()
    except BaseException:
        place.close()
        raise


def chosen_sentence(engine: str, folder: str, disk: IDisk | None = None) -> str:
    """One line for the log: which engine :func:`open_store` will use here, and why.  Raises WrongStore."""
    return choose(engine, read_marker(disk or RealDisk(), folder), folder).sentence
