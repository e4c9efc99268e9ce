"""A chunk coming in: written here and forwarded to the children while it is received.

Flow control is by bytes.  The incoming stream is paused while this disk is behind by
more than HIGH, or while any child's transport is full; so the slowest member sets the
pace and memory stays within a bound: for one put at most HIGH, one receive buffer (1 MiB)
and one block here, and one transport's high-water mark (1 MiB) for each child.

A copy is read back from the disk and compared before anybody hears that it is durable (S07, S17).

A member beyond the quorum is dropped after GRACE seconds without progress or when
its connection ends; one that the quorum needs, only after PATIENCE, and then the put fails.
What is durable stays: an uncommitted replica is nobody's garbage yet, and the next try
of the same generation finds it.

The order of the answer (S05): own replica durable, quorum durable, the rest durable or dropped,
committed with metadata if we are the primary, answered.

Our own disk has PATIENCE for each step too (S23).  A thread that hangs in the kernel cannot be stopped: the put
fails, the children forget it, and the thread keeps the file until the disk answers or the process ends.

Rejected: an unbounded buffer for slow children beyond the quorum (memory), and dropping
them at once (every hiccup would cost a repair).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from dfs.chunkserver.child import Child, Pool
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.tree import Tally, child_quorum, subtrees
from dfs.protocol.errors import (
    Cancelled,
    DeadlinePassed,
    DFSError,
    Disconnected,
    DiskFailed,
    InternalError,
    QuorumFailed,
    ReplicaCorrupt,
)
from dfs.protocol.interfaces import Block, IBlockSink, IIncomingStream
from dfs.protocol.messages import ChunkCommit, ChunkWritten, DurableReplica, HeldReplica, PutChunk, PutLabelled
from dfs.protocol.values import ChunkRef, Description, GrantKind, Target
from dfs.runtime.interfaces import Runtime

_log = Logger()

HIGH = 4 << 20
"""Bytes waiting for this disk above which the incoming stream is paused."""

LOW = 1 << 20
"""Bytes below which it goes on."""

BATCH = 1 << 20
"""Bytes handed to a thread at once."""

GRACE = 5.0
"""Seconds without progress after which a member that the quorum does not need is dropped."""

PATIENCE = 30.0
"""Seconds without progress after which any member is lost; also of a sender that sends nothing."""

TICK = 1.0


@frozen
class Surroundings:
    """What puts work with.  ``commit`` records a chunk with metadata and raises where it must not be
    answered; ``add`` tells of replicas that became durable later; ``finish_all`` commits many that are all of
    their files: for each whether the file is finished, or the error with which it is answered."""

    runtime: Runtime
    node: str
    store: ChunkStore
    pool: Pool
    commit: Callable[[ChunkCommit], Awaitable[None]]
    add: Callable[[ChunkCommit], None]
    finish_all: Callable[[Sequence[ChunkCommit]], Awaitable[Sequence[DFSError | bool]]]


def described(request: PutChunk) -> Description | None:
    """What the replica is to say of its file.  Only a copy brings along when the chunk was stored first."""
    if not isinstance(request, PutLabelled):
        return None
    copied = request.grant.kind == GrantKind.COPY
    return request.description if copied else evolve(request.description, written_ms=0)


@implementer(IBlockSink)
class Put:
    """One put.  ``answer`` fires once; ``finished`` fires when nothing of it runs any more."""

    def __init__(self, around: Surroundings, request: PutChunk, stream: IIncomingStream) -> None:
        """Raises DiskFailed.  The request's tree and grant were checked by the caller."""
        self._around, self._request, self._stream = around, request, stream
        self._clock = around.runtime.reactor
        self.ref = ChunkRef(request.file_id, request.index, request.generation)
        self.answer: Deferred[object] = Deferred(lambda _: self.fail(Cancelled("the sender gave the put up")))
        self.finished: Deferred[None] = Deferred()
        self.buffered = 0
        """Bytes waiting for this disk."""
        self._writing = around.store.begin(self.ref, request.limit, request.length, described(request))
        self._queue: deque[Block] = deque()
        self._end: tuple[int, bytes] | None = None
        self._failure: DFSError | None = None
        self._answered = self._decided = self._paused = False
        self._wake: Deferred[None] | None = None
        self._last_block = self._clock.seconds()
        self._enough_since: float | None = None
        self._disk_since: float | None = None  # when the disk was given what it works on
        self._disk_hangs = False
        self._held: HeldReplica | None = None
        below = subtrees(request.targets, request.position)
        positions = [(request.position,), *below]
        groups = [tuple(request.targets[at] for at in group) for group in positions]
        self._me = groups[0][0]
        quorum = child_quorum(request.quorum, len(request.targets), sum(map(len, groups)))
        self._tally = Tally(quorum, groups)
        self._children = {number: self._child_of(groups[number], at) for number, (at, *_) in enumerate(below, 1)}
        self._idle = False
        self._timer: IDelayedCall | None = self._clock.callLater(TICK, self._tick)
        tasks = [self._receive(), *(self._forward(group) for group in list(self._children))]
        self._tasks = DeferredList([Deferred.fromCoroutine(task) for task in tasks]).addCallback(self._members_ended)
        self._conclusion: Deferred[None] | None = None

    def _child_of(self, targets: tuple[Target, ...], position: int) -> Child[ChunkWritten]:
        forwarded = evolve(self._request, position=position, commit=False)

        def checked(answer: object) -> ChunkWritten:
            name = targets[0].name
            if not isinstance(answer, ChunkWritten):
                raise Disconnected(f"{name} answered a put with {type(answer).__name__}")
            if (answer.length, answer.sha256) != self._end:
                raise ReplicaCorrupt(f"{name} wrote something else", nodes=(name,))
            return answer

        return Child(self._clock, self._around.pool, targets, forwarded, self._flow, checked)

    @property
    def is_clients(self) -> bool:
        """Whether a client writes, not a copy for repair."""
        return self._request.grant.kind == GrantKind.PUT

    @property
    def received(self) -> int:
        """Bytes of the chunk, once all are here."""
        return 0 if self._end is None else self._end[0]

    @property
    def hangs(self) -> bool:
        """Whether the put is over but a thread of it still hangs in the disk."""
        return self._disk_hangs and not self._idle

    # ---- the stream -------------------------------------------------------------------------------

    def block_received(self, block: Block) -> None:
        """Queue it for the disk and forward it."""
        if self._failure is not None:
            return
        self._last_block = self._clock.seconds()
        self._queue.append(block)
        self.buffered += block.length
        for child in self._children.values():
            child.write(block)
        self._flow()
        self._kick()

    def end_received(self, length: int, sha256: bytes) -> None:
        """All is here."""
        self._end = (length, sha256)
        for child in self._children.values():
            child.end(length, sha256)
        self._kick()

    def stream_failed(self, error: DFSError) -> None:
        """The sender aborted or is gone: nothing half is left here or at the children."""
        self.fail(error)

    def _flow(self) -> None:
        """Pause or resume the incoming stream."""
        behind = self.buffered > (LOW if self._paused else HIGH)
        children = any(child.paused for group, child in self._children.items() if self._tally.pending(group))
        wanted = self._failure is None and (behind or children)
        if wanted != self._paused:
            self._paused = wanted
            self._last_block = self._clock.seconds()
            if wanted:
                self._stream.pause()
            else:
                self._stream.resume()

    def _kick(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.callback(None)

    # ---- the members ------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Our own replica."""
        try:
            self._held = held = await self._write()
            self._tally.settle(0, [DurableReplica(self._me.node, held.number)])
        except DFSError as error:
            self.fail(error)
        except Exception:  # noqa: BLE001 - a defect of ours must not leave the sender waiting
            _log.failure("writing {ref} failed", ref=self.ref)
            self.fail(InternalError(f"{self._around.node} failed to write a chunk", nodes=(self._around.node,)))
        self._queue.clear()
        self._review()

    async def _write(self) -> HeldReplica:
        try:
            while True:
                if self._failure is not None:
                    raise self._failure
                batch = self._next_batch()
                if self._end is not None and not self._queue:
                    self._disk_since = self._clock.seconds()
                    held = await self._writing.finish(batch, *self._end)
                    if self._request.grant.kind == GrantKind.COPY:  # what was there before may go on our word
                        await self._around.store.verify(self.ref)
                    return held
                if batch:
                    self._disk_since = self._clock.seconds()
                    await self._writing.append(batch)
                    self._disk_since = None
                    self.buffered -= sum(block.length for block in batch)
                    self._flow()
                else:
                    self._wake = Deferred()
                    await self._wake
        except Exception:
            self._disk_since = self._clock.seconds()
            await self._writing.abort()
            raise
        finally:
            self._disk_since = None

    def _next_batch(self) -> list[Block]:
        batch: list[Block] = []
        length = 0
        while self._queue and length < BATCH:
            batch.append(self._queue.popleft())
            length += batch[-1].length
        return batch

    async def _forward(self, group: int) -> None:
        """One child's replica, and those below it."""
        child = self._children[group]
        try:
            written = await child.run()
            replicas = [one for one in written.replicas if any(one.node == target.node for target in child.targets)]
            if self._decided and self._end is not None:
                self._around.add(self._commit_of(replicas))
            self._tally.settle(group, replicas)
        except DFSError as error:
            _log.info("{name} has no replica of {ref}: {error}", name=child.targets[0].name, ref=self.ref, error=error)
            self._tally.lose(group)
        except Exception:  # noqa: BLE001 - one child's failure must not take the others along
            _log.failure("forwarding {ref} to {name} failed", ref=self.ref, name=child.targets[0].name)
            self._tally.lose(group)
        del self._children[group]
        self._flow()
        self._review()

    def _review(self) -> None:
        """Something changed: fail, conclude, or go on waiting."""
        if self._failure is not None or self._decided:
            return
        if self._tally.hopeless:
            lost = tuple(self._tally.lost)
            self.fail(
                QuorumFailed(
                    f"only {len(self._tally.durable)} of the {self._tally.quorum} replicas needed became durable: "
                    f"no answer in time from {', '.join(lost)}, or an error there",
                    nodes=lost,
                )
            )
        elif self._held is not None and self._tally.complete:
            self._decided = True
            self._conclusion = Deferred.fromCoroutine(self._conclude())
        elif self._held is not None and self._tally.enough and self._enough_since is None:
            self._enough_since = self._clock.seconds()

    async def _conclude(self) -> None:
        """Commit, then answer."""
        assert self._held is not None
        replicas = tuple(self._tally.durable.values())
        dropped = tuple(self._tally.lost)
        try:
            if self._request.commit:
                await self._around.commit(self._commit_of(replicas))
        except DFSError as error:
            self.fail(error)
        except Exception:  # noqa: BLE001 - as in _receive
            _log.failure("committing {ref} failed", ref=self.ref)
            self.fail(InternalError(f"{self._around.node} failed to commit a chunk"))
        if not self._answered:
            self._answered = True
            self.answer.callback(ChunkWritten(self._held.length, self._held.sha256, replicas, dropped))
        self._close()

    def _commit_of(self, replicas: Iterable[DurableReplica]) -> ChunkCommit:
        ref = self.ref
        assert self._end is not None
        return ChunkCommit(ref.file_id, ref.index, ref.generation, *self._end, tuple(replicas))

    # ---- the end ----------------------------------------------------------------------------------

    def fail(self, error: DFSError) -> None:
        """Give up: nothing half is left here or at the children, the sender is told.  Ignored once answered."""
        if self._failure is not None or self._answered:
            return
        self._failure = error
        self._answered = True
        for child in list(self._children.values()):
            child.give_up(error)
        self._flow()
        self._kick()
        self.answer.errback(error)

    def _tick(self) -> None:
        """Once a second: who made no progress for too long?"""
        self._timer = self._clock.callLater(TICK, self._tick)
        now = self._clock.seconds()
        if self._end is None and not self._paused and now - self._last_block > PATIENCE:
            self.fail(DeadlinePassed(f"{self._around.node} received nothing for {PATIENCE:g} s"))
        if self._disk_since is not None and now - self._disk_since > PATIENCE:
            self._disk_hangs = True
            node = self._around.node
            self.fail(DiskFailed(f"the disk of {node} did nothing for {PATIENCE:g} s", nodes=(node,)))
            self._close()
        late = self._enough_since is not None and now - self._enough_since > GRACE
        for group, child in list(self._children.items()):
            stalled = now - child.since if child.paused or child.ended else 0.0
            if stalled > PATIENCE or (child.paused and stalled > GRACE and self._tally.may_lose(group)):
                self._tally.lose(group)
                child.give_up(DeadlinePassed(f"no progress for {stalled:.0f} s"))
            elif late and self._tally.pending(group):
                self._tally.lose(group)  # it has all the bytes: it goes on, and is added when it is durable
        self._flow()
        self._review()

    def _members_ended(self, _: object) -> None:
        self._idle = True
        self._close()

    def _close(self) -> None:
        """Fire ``finished`` once the answer is out and nobody runs, or nobody but a thread that hangs."""
        if self._timer is not None and self._answered and (self._idle or self._disk_hangs):
            self._timer.cancel()
            self._timer = None
            self.finished.callback(None)
