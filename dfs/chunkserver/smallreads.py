"""Many small replicas read by one call on a thread, each checked and told apart."""

from __future__ import annotations

from collections.abc import Sequence

from dfs.chunkserver.layout import Layout
from dfs.chunkserver.reading import ChunkReader
from dfs.chunkserver.records import SMALL, Place
from dfs.disk.errors import DiskError, NotFound
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import BadRequest, DFSError, DiskFailed, ReplicaNotFound
from dfs.protocol.values import ChunkRef


def read_batch(
    disk: IDisk, layout: Layout, wanted: Sequence[tuple[ChunkRef, Place | None]], most: int
) -> list[memoryview | DFSError]:
    """Whole small replicas, each compared with its checksum; an error for each that cannot be had.  Blocks.

    :param wanted: with where each is packed, if it is.
    :param most: bytes of all together; what is beyond is refused.
    """
    found: list[memoryview | DFSError] = []
    for ref, place in wanted:
        try:
            content = _read(disk, layout, ref, place, most)
        except NotFound:
            found.append(ReplicaNotFound("the replica is not there"))
        except DiskError as error:
            found.append(DiskFailed(f"the replica cannot be read: {error}"))
        except DFSError as error:
            found.append(error)
        else:
            most -= len(content)
            found.append(content)
    return found


def _read(disk: IDisk, layout: Layout, ref: ChunkRef, place: Place | None, most: int) -> memoryview:
    reader = ChunkReader(disk, layout, ref, place)
    try:
        length = reader.footer.length
        if not 0 < length <= min(SMALL, most):
            raise BadRequest(f"{length} bytes do not fit in a batch here")
        (block,) = reader.read(0, length)
        return block.pieces[0]
    finally:
        reader.close()
