"""What a chunk server answers: puts, gets, verifies; everything else is refused."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from dfs.chunkserver.clustertime import ClusterClock
from dfs.chunkserver.get import Gets
from dfs.chunkserver.put import Put, Surroundings
from dfs.chunkserver.putmany import PutMany
from dfs.chunkserver.rebuilding import Rebuilding
from dfs.chunkserver.tree import check_tree
from dfs.protocol.errors import BadRequest, Busy, Forbidden, Unavailable, UnknownRequest, WrongCluster
from dfs.protocol.interfaces import IBlockSink, IConnection, IIncomingStream, IOutgoingStream, IService
from dfs.protocol.labels import check_label, label_evidence
from dfs.protocol.limits import MAX_BATCH, MAX_SMALL
from dfs.protocol.messages import (
    AdoptCluster,
    GetChunk,
    GetChunks,
    ListReplicas,
    PutChunk,
    PutChunks,
    PutLabelled,
    Verified,
    VerifyChunk,
)
from dfs.protocol.trust import KeyRing, Spread
from dfs.protocol.values import MAX_CHUNK_SIZE, ChunkRef, Grant, GrantKind, Label, Role

MOST_PUTS = 64
"""Chunks coming in at once; see :mod:`dfs.chunkserver.put` for the memory of one."""

MOST_VERIFIES = 2
"""Whole replicas re-read at once on request."""


@implementer(IService)
class ChunkService:
    """The service behind a chunk server's port."""

    def __init__(self, around: Surroundings, keys: KeyRing, clock: ClusterClock, gets: Gets) -> None:
        self._around, self._keys, self._clock, self._gets = around, keys, clock, gets
        self._puts: set[Put | PutMany] = set()
        self._hanging: list[Put | PutMany] = []
        self.rebuilding: Rebuilding | None = None
        self._verifies = 0
        self._draining = False
        self._drained: list[Deferred[None]] = []

    @property
    def streams(self) -> int:
        """Transfers in progress."""
        return len(self._puts) + len(self._gets)

    @property
    def clients(self) -> int:
        """Those of clients among them."""
        return sum(put.is_clients for put in self._puts) + len(self._gets)

    def drain(self) -> Deferred[None]:
        """Take no more puts; fires when nothing of those in progress runs any more."""
        self._draining = True
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._tell_drained()
        return drained

    def _put_finished(self, put: Put | PutMany) -> None:
        self._puts.discard(put)
        if put.is_clients:
            self._gets.traffic.count(put.received)
        if put.hangs:
            self._hanging.append(put)
        self._tell_drained()

    def _tell_drained(self) -> None:
        if not self._puts:
            waiting, self._drained = self._drained, []
            for drained in waiting:
                drained.callback(None)

    def connected(self, connection: IConnection) -> None:
        """Nothing is kept for a connection."""

    def disconnected(self, connection: IConnection) -> None:
        """Its streams are told by the connection."""

    def handle(self, connection: IConnection, request: object) -> Deferred[object]:
        """Answer VerifyChunk, and what a rebuild asks."""
        if isinstance(request, ListReplicas | AdoptCluster) and self.rebuilding is not None:
            return shielded(self.rebuilding.answer(request))
        return shielded(self._verify(request))

    async def _verify(self, request: object) -> object:
        if not isinstance(request, VerifyChunk):
            raise UnknownRequest(f"a chunk server does not answer {type(request).__name__}")
        if self._verifies >= MOST_VERIFIES:
            raise Busy(f"{self._around.node} verifies {MOST_VERIFIES} replicas already")
        self._verifies += 1
        try:
            footer = await self._around.store.verify(ChunkRef(request.file_id, request.index, request.generation))
        finally:
            self._verifies -= 1
        return Verified(footer.length, footer.sha256)

    def put_opened(
        self, connection: IConnection, request: object, stream: IIncomingStream
    ) -> tuple[IBlockSink, Deferred[object]]:
        """Check the request, the grant and the limits, then receive.  Raises DFSError."""
        assert isinstance(request, PutChunk | PutChunks)
        put: Put | PutMany
        if isinstance(request, PutChunks):
            self._check_room(request)
            check_batch(request, self._check_clock(), self._keys)
            put = PutMany(self._around, request, stream)
        else:
            self._check_put(connection, request)
            put = Put(self._around, request, stream)
        self._puts.add(put)
        put.finished.addCallback(lambda _: self._put_finished(put))  # type: ignore[unused-awaitable]
        return put, put.answer

    def _check_put(self, connection: IConnection, request: PutChunk) -> None:
        self._check_room(request)
        if not 0 < request.limit <= MAX_CHUNK_SIZE or (request.length is not None and request.length > request.limit):
            raise BadRequest(f"a chunk has at most {MAX_CHUNK_SIZE} bytes, and no more than its limit")
        self._check_grant(connection, request)

    def _check_room(self, request: PutChunk | PutChunks) -> None:
        node = self._around.node
        if self._draining:
            raise Unavailable(f"{node} is stopping", nodes=(node,))
        check_tree(request.targets, request.position, request.quorum)
        if request.targets[request.position].name != node:
            raise WrongCluster(f"this is {node}, not {request.targets[request.position].name}")
        self._hanging = [put for put in self._hanging if put.hangs]
        if self._hanging:  # each more would keep a thread, a file and its buffers, without a bound
            raise Busy(f"the disk of {node} does not answer", nodes=(node,))
        if len(self._puts) >= MOST_PUTS:
            raise Busy(f"{node} receives {MOST_PUTS} chunks already", nodes=(node,))
        self._around.store.check_writable()

    def _check_grant(self, connection: IConnection, request: PutChunk) -> None:
        """A copy comes from a chunk server that proved the key; a put from anybody with metadata's leave."""
        kind = request.grant.kind
        if request.commit != (kind == GrantKind.PUT and request.position == 0):
            raise Forbidden("the primary of a put commits it, and nobody else")
        if kind == GrantKind.COPY:
            if not connection.peer.trusted or connection.peer.role != Role.CHUNK:
                raise Forbidden("a copy comes from a chunk server of this cluster")
        elif kind != GrantKind.PUT:
            raise Forbidden("this grant is not for writing")
        now_ms = self._check_clock()
        spread = Spread(request.targets, request.quorum)
        self._keys.check(request.grant, kind, request.file_id, request.index, request.generation, now_ms, spread)
        if isinstance(request, PutLabelled) and kind == GrantKind.PUT:
            check_label(request.grant, request.description.label)

    def _check_clock(self) -> int:
        """Cluster time in ms, in which grants expire.  Raises Busy."""
        if not self._clock.known:
            raise Busy(f"{self._around.node} has not reached the metadata nodes yet", nodes=(self._around.node,))
        return self._clock.now_ms(self._around.runtime.reactor.seconds())

    def get_opened(self, connection: IConnection, request: object, stream: IOutgoingStream) -> Deferred[object]:
        """The head; the blocks follow."""
        host = connection.peer.address.rpartition(":")[0]
        if isinstance(request, GetChunks):
            return shielded(self._gets.open_many(request, stream, host))
        assert isinstance(request, GetChunk)
        return shielded(self._gets.open(request, stream, host))

    def message_received(self, connection: IConnection, payload: bytes) -> None:
        """Chunk servers exchange no one-way messages."""


def check_batch(request: PutChunks, now_ms: int, keys: KeyRing) -> None:
    """Raises BadRequest where a limit is broken, Forbidden where a grant is not metadata's for just this chunk."""
    if not request.chunks or sum(chunk.length for chunk in request.chunks) > MAX_BATCH:
        raise BadRequest(f"a batch has at least one chunk and at most {MAX_BATCH} bytes")
    spread = Spread(request.targets, request.quorum)
    for chunk in request.chunks:
        if not 0 < chunk.length <= MAX_SMALL:
            raise BadRequest(f"a small chunk has 1 to {MAX_SMALL} bytes, not {chunk.length}")
        named = (chunk.file_id, 0, chunk.generation)
        label = Label(chunk.name, chunk.length, request.chunk_size, request.replication)
        grant = Grant(GrantKind.PUT, *named, request.expires_ms, label_evidence(label), chunk.mac)
        keys.check(grant, GrantKind.PUT, *named, now_ms, spread)


def shielded(work: Coroutine[Any, Any, object]) -> Deferred[object]:
    """The result of ``work``.  Cancelling gives up the result, not the work: a thread may be in a file, and
    only the work itself knows what to close."""
    result: Deferred[object] = Deferred(lambda _: None)

    def forward(outcome: object) -> None:
        if not result.called:
            result.callback(outcome)  # a Failure makes it an errback

    result.work = Deferred.fromCoroutine(work).addBoth(forward)  # type: ignore[attr-defined]
    return result
