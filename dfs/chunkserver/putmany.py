"""A batch of small chunks coming in as one stream: stored here with shared syncs and forwarded to the same children.

A batch has at most MAX_BATCH bytes, so it is simply held in memory until it is whole, here and in each child's
transport; a stalled member holds up nobody's reading.  Otherwise it is the path of a single chunk
(dfs.chunkserver.put): blocks are forwarded while they come, own disk and children work at once, and the order of the
answer is the same (S05): own replicas durable, quorum durable, the rest durable or dropped, committed with metadata if
we are the primary, answered.

Each chunk has an outcome of its own.  One that is bad, or that has no quorum, is refused; the others are not held up.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from dfs.chunkserver.child import Child
from dfs.chunkserver.put import GRACE, PATIENCE, TICK, Surroundings
from dfs.chunkserver.segments import SmallPut
from dfs.chunkserver.tree import child_quorum, subtrees
from dfs.protocol.errors import BadRequest, Cancelled, DeadlinePassed, DFSError, DiskFailed, InternalError, QuorumFailed
from dfs.protocol.interfaces import Block, IBlockSink, IIncomingStream
from dfs.protocol.messages import (
    ChunkCommit,
    ChunkOutcome,
    ChunksWritten,
    DurableReplica,
    HeldReplica,
    PutChunks,
    Refusal,
)
from dfs.protocol.values import ChunkRef, Description, Label, Target

_log = Logger()


def refusal_of(error: DFSError) -> Refusal:
    """The error as one part's outcome."""
    return Refusal(error.code, error.message[:500], error.hint[:250])


def small_puts(request: PutChunks, content: bytes) -> list[SmallPut]:
    """The chunks of a whole batch."""
    puts, start = [], 0
    for chunk in request.chunks:
        end = start + chunk.length
        ref = ChunkRef(chunk.file_id, 0, chunk.generation)
        label = Label(chunk.name, chunk.length, request.chunk_size, request.replication)
        description = Description(label, True, 0)
        puts.append(SmallPut(ref, content[start:end], (chunk.crc,), chunk.sha256, description))
        start = end
    return puts


@implementer(IBlockSink)
class PutMany:
    """One batch.  ``answer`` fires once; ``finished`` fires when nothing of it runs any more."""

    is_clients = True

    def __init__(self, around: Surroundings, request: PutChunks, stream: IIncomingStream) -> None:
        """The request's tree, grants and limits were checked by the caller."""
        self._around, self._request, self._stream = around, request, stream
        self._clock = around.runtime.reactor
        self.answer: Deferred[object] = Deferred(lambda _: self.fail(Cancelled("the sender gave the put up")))
        self.finished: Deferred[None] = Deferred()
        self.received = 0
        """Bytes of the batch so far."""
        self._length = sum(chunk.length for chunk in request.chunks)
        self._pieces: list[memoryview] = []
        self._own: Sequence[HeldReplica | DFSError] | None = None
        self._replicas: list[list[DurableReplica]] = [[] for _ in request.chunks]
        self._failure: DFSError | None = None
        self._answered = self._decided = self._idle = self._hangs = False
        self._last_block = self._clock.seconds()
        self._whole_since: float | None = None
        self._enough_since: float | None = None
        below = subtrees(request.targets, request.position)
        self._me = request.targets[request.position]
        size = 1 + sum(map(len, below))
        self._quorum = child_quorum(request.quorum, len(request.targets), size)
        self._dropped: list[str] = []
        self._children = [self._child_of(tuple(request.targets[at] for at in group), group[0]) for group in below]
        self._pending = dict.fromkeys(self._children)
        self._received: Deferred[bytes] = Deferred()
        self._timer: IDelayedCall | None = self._clock.callLater(TICK, self._tick)
        tasks = [self._store(), *(self._forward(child) for child in self._children)]
        self._tasks = DeferredList([Deferred.fromCoroutine(task) for task in tasks]).addCallback(self._members_ended)
        self._conclusion: Deferred[None] | None = None

    def _child_of(self, targets: tuple[Target, ...], position: int) -> Child[ChunksWritten]:
        forwarded = evolve(self._request, position=position)
        return Child(self._clock, self._around.pool, targets, forwarded, lambda: None, self._checked)

    def _checked(self, answer: object) -> ChunksWritten:
        """A child's answer has an outcome for each chunk.  Raises BadRequest."""
        if not isinstance(answer, ChunksWritten) or len(answer.outcomes) != len(self._request.chunks):
            raise BadRequest("a batch was answered with something else")
        return answer

    @property
    def hangs(self) -> bool:
        """Whether it is over but a thread of it still hangs in the disk."""
        return self._hangs and not self._idle

    # ---- the stream -------------------------------------------------------------------------------

    def block_received(self, block: Block) -> None:
        """Keep it and forward it."""
        if self._failure is not None:
            return
        self._last_block = self._clock.seconds()
        self.received += block.length
        if self.received > self._length:
            self.fail(BadRequest(f"a batch of {self._length} bytes goes on behind its end"))
            return
        self._pieces += block.pieces
        for child in self._children:
            child.write(block)

    def end_received(self, length: int, sha256: bytes) -> None:
        """All is here."""
        if self._failure is not None:
            return
        if length != self._length or self.received != self._length:
            self.fail(BadRequest(f"the batch ended after {self.received} bytes, not {self._length}"))
            return
        self._whole_since = self._clock.seconds()
        for child in self._children:
            child.end(length, sha256)
        content, self._pieces = b"".join(self._pieces), []
        self._received.callback(content)

    def stream_failed(self, error: DFSError) -> None:
        """The sender aborted or is gone: nothing is written."""
        self.fail(error)

    # ---- the members ------------------------------------------------------------------------------

    async def _store(self) -> None:
        """Our own replicas."""
        content = await self._received
        if self._failure is not None:
            return
        try:
            own = await self._around.store.put_small(small_puts(self._request, content))
        except DFSError as error:
            self.fail(error)
            return
        except Exception:  # noqa: BLE001 - a defect of ours must not leave the sender waiting
            _log.failure("writing a batch of small chunks failed")
            self.fail(InternalError(f"{self._around.node} failed to write a batch", nodes=(self._around.node,)))
            return
        for at, held in enumerate(own):
            if isinstance(held, HeldReplica):
                self._replicas[at].append(DurableReplica(self._me.node, held.number))
        self._own = own
        self._review()

    async def _forward(self, child: Child[ChunksWritten]) -> None:
        """One child's replicas, and those below it."""
        nodes = {target.node for target in child.targets}
        try:
            written = await child.run()
            dropped: tuple[str, ...] = written.dropped
            for at, outcome in enumerate(written.outcomes):
                replicas = [one for one in outcome.replicas if one.node in nodes]
                self._replicas[at] += replicas
                if self._decided and replicas:
                    self._around.add(self._commit_of(at, replicas))
        except DFSError as error:
            _log.info("{name} has no replicas of a batch: {error}", name=child.targets[0].name, error=error)
            dropped = tuple(target.name for target in child.targets)
        except Exception:  # noqa: BLE001 - one child's failure must not take the others along
            _log.failure("forwarding a batch to {name} failed", name=child.targets[0].name)
            dropped = tuple(target.name for target in child.targets)
        self._dropped += dropped
        del self._pending[child]
        self._review()

    def _review(self) -> None:
        """Something changed: conclude, or go on waiting."""
        if self._failure is not None or self._decided or self._own is None:
            return
        if not self._pending:
            self._conclude()
        elif self._enough_since is None and all(map(self._is_enough, range(len(self._replicas)))):
            self._enough_since = self._clock.seconds()

    def _is_enough(self, at: int) -> bool:
        """The chunk has its quorum, or never will: we do not hold it ourselves."""
        assert self._own is not None
        return len(self._replicas[at]) >= self._quorum or isinstance(self._own[at], DFSError)

    def _conclude(self) -> None:
        self._decided = True
        self._conclusion = Deferred.fromCoroutine(self._commit())

    async def _commit(self) -> None:
        """Commit what has its quorum, then answer."""
        refused = {at: error for at in range(len(self._replicas)) if (error := self._refusal(at)) is not None}
        taken = [at for at in range(len(self._replicas)) if at not in refused]
        told = [tuple(replicas) for replicas in self._replicas]
        finished: set[int] = set()
        if self._request.position == 0 and taken:
            done = await self._around.finish_all([self._commit_of(at, told[at]) for at in taken])
            refused |= {at: error for at, error in zip(taken, done, strict=True) if isinstance(error, DFSError)}
            finished = {at for at, whole in zip(taken, done, strict=True) if whole is True}
        if not self._answered:
            self._answered = True
            outcomes = [
                ChunkOutcome((), False, refusal_of(refused[at]))
                if at in refused
                else ChunkOutcome(told[at], at in finished, None)
                for at in range(len(told))
            ]
            self.answer.callback(ChunksWritten(tuple(outcomes), tuple(self._dropped)))
        self._close()

    def _refusal(self, at: int) -> DFSError | None:
        """Why a chunk is not stored."""
        assert self._own is not None
        own = self._own[at]
        if isinstance(own, DFSError):
            return own
        if len(self._replicas[at]) < self._quorum:
            return QuorumFailed(
                f"only {len(self._replicas[at])} of the {self._quorum} replicas needed became durable",
                nodes=tuple(self._dropped),
            )
        return None

    def _commit_of(self, at: int, replicas: Sequence[DurableReplica]) -> ChunkCommit:
        chunk = self._request.chunks[at]
        return ChunkCommit(chunk.file_id, 0, chunk.generation, chunk.length, chunk.sha256, tuple(replicas))

    # ---- the end ----------------------------------------------------------------------------------

    def fail(self, error: DFSError) -> None:
        """Give all up; the sender is told.  Ignored once answered."""
        if self._failure is not None or self._answered:
            return
        self._failure = error
        self._answered = True
        self._pieces.clear()
        for child in list(self._pending):
            child.give_up(error)
        if not self._received.called:
            self._received.callback(b"")
        self.answer.errback(error)

    def _tick(self) -> None:
        """Once a second: who made no progress for too long?"""
        self._timer = self._clock.callLater(TICK, self._tick)
        now = self._clock.seconds()
        if self._whole_since is None and now - self._last_block > PATIENCE:
            self.fail(DeadlinePassed(f"{self._around.node} received nothing for {PATIENCE:g} s"))
        if self._enough_since is not None and not self._decided and now - self._enough_since > GRACE:
            self._dropped += [target.name for child in self._pending for target in child.targets]
            self._conclude()
        elif self._whole_since is not None and now - self._whole_since > PATIENCE:
            self._out_of_patience()

    def _out_of_patience(self) -> None:
        for child in list(self._pending):
            child.give_up(DeadlinePassed(f"no progress for {PATIENCE:g} s"))
        if self._own is None and not self._decided:
            self._hangs = True
            node = self._around.node
            self.fail(DiskFailed(f"the disk of {node} did nothing for {PATIENCE:g} s", nodes=(node,)))
            self._close()

    def _members_ended(self, _: object) -> None:
        self._idle = True
        self._close()

    def _close(self) -> None:
        """Fire ``finished`` once the answer is out and nobody runs, or nobody but a thread that hangs."""
        if self._timer is not None and self._answered and (self._idle or self._hangs):
            self._timer.cancel()
            self._timer = None
            self.finished.callback(None)
