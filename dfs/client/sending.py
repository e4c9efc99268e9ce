"""One chunk from its body to its primary, as fast as the slowest replica takes it.

Reading, checksums and hashing run on a thread a READ at a time, one batch ahead
of the network; the transport's flow control shuts a gate that the loop waits at.
At most two batches (2 MiB) and what the transport buffers are held per chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.client.concurrency import Gate, cancellable
from dfs.client.sources import READ, ChunkBody
from dfs.protocol.blocks import cut_blocks
from dfs.protocol.errors import Cancelled, ReplicaCorrupt
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


class Sending:
    """One try to send one chunk.

    :param moved: told of bytes handed to the transport, and of minus all of them if the put fails.
    """

    def __init__(
        self,
        connection: IConnection,
        request: PutChunk,
        body: ChunkBody,
        threads: IThreads,
        idle_timeout: float,
        moved: Callable[[int], None],
    ) -> None:
        self._body = body
        self._threads = threads
        self._moved = moved
        self._digest = hashlib.sha256()
        self._sent = 0
        self._gate = Gate()
        self._over = False
        self._put: IPut = connection.open_put(request, idle_timeout)
        self._node = request.targets[0].name
        self._answer: Deferred[Any] = cancellable(self._put.answer.addBoth(self._ended))
        self._put.register_producer(GateProducer(self._gate))
        self._ahead = self._read()

    def _ended(self, result: R) -> R:
        """The answer came, or the put failed: whoever waits at the gate looks again."""
        self._over = True
        self._gate.open()
        return result

    async def run(self) -> ChunkWritten:
        """The primary's answer, about just these bytes.  Raises DFSError.  Cancelling aborts the stream."""
        try:
            await self._send()
            written = self._checked(await self._answer)
        except Exception:
            self._put.unregister_producer()
            self._moved(-self._sent)
            self._put.abort(Cancelled("the sender gave the chunk up"))
            self._answer.addErrback(_heard).cancel()
            self._ahead.addErrback(_heard).cancel()
            raise
        self._put.unregister_producer()
        return written

    async def _send(self) -> None:
        """All of the body, unless the put ends before."""
        while not self._over:
            self._write(await self._ahead)
            if self._sent == self._body.length:
                self._put.end(self._sent, self._digest.digest())
                return
            self._ahead = self._read()
            await self._gate.passed()
        self._ahead.addErrback(_heard).cancel()

    def _read(self) -> Deferred[list[Block]]:
        return self._threads.run(read_batch, self._body, self._digest, self._sent)

    def _write(self, batch: list[Block]) -> None:
        for block in batch:
            self._put.write(block)
            self._sent += block.length
            self._moved(block.length)

    def _checked(self, written: ChunkWritten) -> ChunkWritten:
        if (written.length, written.sha256) != (self._body.length, self._digest.digest()):
            raise ReplicaCorrupt(f"{self._node} says that it stored other bytes than were sent", nodes=(self._node,))
        return written


def _heard(failure: Failure) -> Any:
    """What else went wrong in a try that has failed; the first error is the one that is told."""
