"""One chunk from its body to its primary, as fast as the slowest replica takes it.

Reading, checksums and hashing run on a thread a READ at a time, one batch ahead
of the network; the transport's flow control shuts a gate that the loop waits at.
At most two batches (2 MiB) and what the transport buffers are held per chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from dfs.client.concurrency import Gate
from dfs.client.sources import READ, ChunkBody
from dfs.protocol.blocks import cut_blocks
from dfs.protocol.errors import Cancelled
from dfs.protocol.interfaces import Block, IConnection, IPut
from dfs.protocol.messages import ChunkWritten, PutChunk
from dfs.runtime.interfaces import IThreads

R = TypeVar("R")


@implementer(IPushProducer)
class GateProducer:
    """Lets a transport shut and open a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def pauseProducing(self) -> None:
        self._gate.shut()

    def resumeProducing(self) -> None:
        self._gate.open()

    def stopProducing(self) -> None:
        self._gate.open()


def read_batch(body: ChunkBody, digest: Any, offset: int) -> list[Block]:
    """The next READ bytes as blocks; updates ``digest``.  Blocks: runs on a thread."""
    data = body.read(offset, min(READ, body.length - offset))
    digest.update(data)
    return cut_blocks(data, offset)


def hash_body(body: ChunkBody) -> bytes:
    """SHA-256 of a whole body.  Blocks: runs on a thread."""
    digest = hashlib.sha256()
    for offset in range(0, body.length, READ):
        digest.update(body.read(offset, min(READ, body.length - offset)))
    return digest.digest()


async def send_chunk(
    connection: IConnection,
    request: PutChunk,
    body: ChunkBody,
    threads: IThreads,
    idle_timeout: float,
    moved: Callable[[int], None],
) -> ChunkWritten:
    """Stream a body; the primary's answer, whose SHA-256 is the one computed here.

    ``moved(n)`` is told of bytes handed to the transport, and of minus all of them if the put fails.
    Raises DFSError.  Cancelling aborts the stream.
    """
    put: IPut = connection.open_put(request, idle_timeout)
    gate = Gate()
    ended: list[bool] = []

    def over(result: R) -> R:
        ended.append(True)
        gate.open()
        return result

    put.answer.addBoth(over)
    put.register_producer(GateProducer(gate))
    sent = 0
    digest = hashlib.sha256()
    try:
        batch = await threads.run(read_batch, body, digest, 0)
        while not ended:
            for block in batch:
                put.write(block)
                sent += block.length
                moved(block.length)
            if sent == body.length:
                put.end(sent, digest.digest())
                break
            ahead = threads.run(read_batch, body, digest, sent)
            await gate.passed()
            batch = await ahead
        written: ChunkWritten = await put.answer
        sent = 0
        return written
    except BaseException:
        put.abort(Cancelled("the sender gave the chunk up"))
        raise
    finally:
        put.unregister_producer()
        moved(-sent)
