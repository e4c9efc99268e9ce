"""Many small replicas read by one call on a thread, each checked and told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.reading import ChunkReader
from dfs.chunkserver.records import SMALL, Place
from dfs.disk.errors import DiskError, NotFound
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import BadRequest, DFSError, DiskFailed, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.values import ChunkRef

if TYPE_CHECKING:
    from dfs.chunkserver.store import ChunkStore


async def get_batch(
    store: ChunkStore, refs: Sequence[ChunkRef], most: int
) -> dict[ChunkRef, memoryview | DFSError]:
    """Replicas that are listed, as :func:`read_batch` has them.  A bad one is set aside and told as any other is that
    was read wrongly (S11).  Raises DiskFailed."""
    found = await _read_listed(store, refs, most)
    left = most - sum(len(each) for each in found.values() if isinstance(each, memoryview))
    for ref, error in list(found.items()):
        if isinstance(error, ReplicaCorrupt | ReplicaNotFound | Unreadable):
            found[ref] = again = await _look_again(store, ref, error, left)
            left -= len(again) if isinstance(again, memoryview) else 0
    return found


async def _look_again(store: ChunkStore, ref: ChunkRef, error: DFSError, most: int) -> memoryview | DFSError:
    """The error stands unless the replica is whole: it got another place while it was read, or was read wrongly
    once."""
    try:
        if await store.doubt(ref, str(error)) is None:
            return error
        return (await _read_listed(store, [ref], most))[ref]
    except DFSError as failed:
        return failed


async def _read_listed(
    store: ChunkStore, refs: Sequence[ChunkRef], most: int
) -> dict[ChunkRef, memoryview | DFSError]:
    wanted = [(ref, store.index.place(ref)) for ref in refs]
    read: list[memoryview | DFSError] = await store.run(read_batch, store.disk, store.layout, wanted, most)
    return dict(zip(refs, read, strict=True))


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
