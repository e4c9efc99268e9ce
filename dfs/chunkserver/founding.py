"""Which cluster of a key this folder's replicas belong to: the founding that metadata named when it first let us in.

One key may have founded two clusters by mistake, where founders were given different member lists.  A server that
spoke to both would take orders from two sources of truth, so it stays with the first one it met: nodes of another
founding refuse it in Hello, and it refuses them (S28).

The file ``founding`` in the data folder, written once, big endian::

    offset size
       0     1   version, 1
       1     3   magic, "DFF"
       4    16   founding
      20     4   CRC-32C of bytes 0 to 19
"""

from __future__ import annotations

from collections.abc import Callable

from crc32c import crc32c
from twisted.logger import Logger

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.identity import sentence
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DiskFailed, WrongCluster
from dfs.protocol.interfaces import IConnection
from dfs.runtime.interfaces import IThreads

_log = Logger()

HEAD = bytes([1]) + b"DFF"
LENGTH = 24


def read_founding(disk: IDisk, root: str) -> bytes:
    """16 bytes, b"" before the first registration.  Blocks.  Raises RefusedStart."""
    path = f"{root}/founding"
    try:
        if not disk.exists(path):
            return b""
        file = disk.open(path, writable=False)
        try:
            content = file.pread(LENGTH + 1, 0)
        finally:
            file.close()
    except DiskError as error:
        raise RefusedStart(sentence(root, error)) from error
    if len(content) != LENGTH or content[:4] != HEAD or crc32c(content[:20]).to_bytes(4, "big") != content[20:]:
        raise RefusedStart(f"{path} is damaged: make sure that --meta names this server's own cluster, and remove it")
    return content[4:20]


def write_founding(disk: IDisk, root: str, founding: bytes) -> None:
    """Durable when it returns.  Blocks.  Raises DiskError."""
    body = HEAD + founding
    file = disk.open(f"{root}/founding.tmp", create=True)
    try:
        file.truncate(0)
        file.pwrite([body + crc32c(body).to_bytes(4, "big")], 0)
        file.sync()
    finally:
        file.close()
    disk.rename(f"{root}/founding.tmp", f"{root}/founding")
    disk.sync_folder(root)


class Founding:
    """:param known: as read from the folder.
    :param pinned: called with the founding once it is known, from where on all our Hellos name it.
    """

    def __init__(
        self, disk: IDisk, threads: IThreads, root: str, known: bytes, pinned: Callable[[bytes], None]
    ) -> None:
        self.known = known
        self._disk, self._threads, self._root, self._pinned = disk, threads, root, pinned

    def check(self, connection: IConnection) -> None:
        """Raises WrongCluster, and closes, where the other side is of another founding: its Hello came before ours
        was known."""
        theirs = connection.peer.founding
        if self.known and theirs and theirs != self.known:
            connection.close()
            raise WrongCluster(
                f"{connection.peer.name} belongs to another cluster of this key than the one that let this server in",
                hint="stop the cluster that is not meant; each cluster has a key of its own",
            )

    async def change(self, founding: bytes) -> None:
        """Stay with another cluster from the next start on; durable when it returns.  Raises DiskFailed."""
        try:
            await self._threads.run(write_founding, self._disk, self._root, founding)
        except DiskError as error:
            raise DiskFailed(f"the founding could not be written: {error}") from error

    async def registered(self, connection: IConnection) -> None:
        """This node let us in: stay with its cluster."""
        self.check(connection)
        founding = connection.peer.founding
        if self.known or not founding:
            return
        self.known = founding
        self._pinned(founding)
        try:
            await self._threads.run(write_founding, self._disk, self._root, founding)
        except DiskError as error:
            _log.warn("the cluster's founding was not written down, and is learnt again: {error}", error=error)
