"""The replicated state machine: committed entries in, answers out, one store transaction for a run of them.

Invariants:

- deterministic: what an entry does is a function of the tables and its bytes (R34).  No clock, no chance; every loop is
  over a tuple, a dict in order of insertion, or a sorted list, never over a set;
- how entries are cut into batches leaves no trace: the same entries give the same tables and the same hash;
- one batch carries the changes, the answers that are remembered, the applied index and the hash (R33, S38); it ends
  at a checkpoint, so that the hash is known there on every replica;
- an entry that is refused changes nothing but the applied index, the clock and (if final) its remembered answer;
- cluster time never goes back, and one entry moves it by at most MAX_STEP_MS (S34);
- no entry costs more as files or tables grow (S37).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from dfs.kv.errors import StoreCorrupt
from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import (
    chunks,
    commands,
    eventlog,
    files,
    founding,
    garbage,
    nodes,
    rebuilding,
    retiring,
    standing,
    tables,
    together,
    uploads,
)
from dfs.metaserver import commands_moving as moving
from dfs.metaserver import commands_together as batches
from dfs.metaserver.answers import Changed, encode_answer
from dfs.metaserver.checkpoints import Checkpoints
from dfs.metaserver.overlay import Overlay
from dfs.metaserver.packing import Malformed
from dfs.metaserver.records import Head, head_codec
from dfs.metaserver.sessions import MAX_SESSIONS, Sessions
from dfs.metaserver.snapshotting import IStoreFolder, Sink, Source
from dfs.metaserver.statehash import EMPTY, updated
from dfs.metaserver.transaction import MAX_EVENTS, Event, Transaction
from dfs.protocol import messages
from dfs.protocol.errors import Advice, BadRequest, DFSError
from dfs.raft.errors import WrongCluster
from dfs.raft.interfaces import Command, ISnapshotSink, ISnapshotSource, IStateMachine, SnapshotMark

MAX_STEP_MS = 5_000


def _advance(state: Transaction, command: commands.AdvanceTime) -> Changed:
    """The envelope carried the time; it is counted already."""
    return Changed(0)


RULES: dict[type[Any], Callable[[Transaction, Any], object]] = {
    commands.CreateUpload: uploads.create,
    commands.ResumeUpload: uploads.resume,
    commands.AllocateChunks: uploads.allocate,
    commands.ReplaceChunk: uploads.replace,
    commands.CommitChunks: chunks.commit,
    commands.AddReplicas: chunks.add,
    commands.RemoveReplicas: chunks.remove,
    commands.CommitFile: files.commit,
    commands.AbortUpload: uploads.abort,
    commands.DeleteFile: files.delete,
    commands.ExpireUpload: uploads.expire,
    commands.RegisterNode: nodes.register,
    commands.NodeDied: nodes.died,
    commands.NodeReturned: nodes.returned,
    commands.PinMember: nodes.pin,
    commands.AdvanceTime: _advance,
    commands.CollectGarbage: garbage.collect,
    commands.RaiseIncarnation: nodes.raise_incarnation,
    commands.BeginHistory: founding.begin,
    moving.DrainNode: standing.drain,
    moving.UndrainNode: standing.undrain,
    moving.NodeDrained: standing.drained,
    moving.BeginMaintenance: standing.begin_maintenance,
    moving.EndMaintenance: standing.end_maintenance,
    moving.RemoveNode: standing.remove,
    moving.ForgetReplicas: standing.forget_replicas,
    moving.ForgetNode: standing.forget,
    moving.RetireReplicas: retiring.retire,
    moving.TrimmedReplicas: retiring.trimmed,
    moving.NoteEvent: eventlog.note_event,
    moving.SetBalancing: standing.set_balancing,
    batches.CreateUploads: together.create,
    batches.CommitFiles: together.commit,
    batches.FinishUploads: together.finish,
    messages.BeginRebuild: rebuilding.begin,
    messages.RecoverFile: rebuilding.recover,
}


def new_head(cluster_id: bytes) -> Head:
    """Before the first entry.  BeginHistory draws the incarnation; it is never 0, so that no file id is."""
    return Head(
        cluster_id=cluster_id,
        index=0,
        term=0,
        time_ms=0,
        incarnation=1,
        file_counter=0,
        generation=0,
        node=0,
        session_floor=0,
        sessions=0,
        files=0,
        file_bytes=0,
        uploads=0,
        garbage=0,
        chunks=0,
        hash=EMPTY,
    )


@implementer(IStateMachine)
class MetadataMachine:
    """The metadata over a store folder (the folder so that a snapshot can be received beside the tables in use).

    :param folder: provides the store in use and the place for its replacement.
    :param cluster_id: 16 bytes.  Raises WrongCluster where the tables belong to another cluster (S28).
    """

    def __init__(self, folder: IStoreFolder, cluster_id: bytes, max_sessions: int = MAX_SESSIONS) -> None:
        self._folder = folder
        self._cluster_id = cluster_id
        self._max_sessions = max_sessions
        self.checkpoints = Checkpoints()
        self._events: deque[Event] = deque()
        self._overflowed = False
        self._adopt(folder.open())
        self._durable = self._head.index
        self._source: Source | None = None
        self._sink: Sink | None = None

    def _adopt(self, store: IKeyValueStore) -> None:
        raw = store.get(tables.HEAD)
        head = new_head(self._cluster_id) if raw is None else head_codec.decode(raw)
        if head.cluster_id != self._cluster_id:
            raise WrongCluster(f"the tables belong to cluster {head.cluster_id.hex()}, not {self._cluster_id.hex()}")
        self._store = store
        self._head = head

    @property
    def store(self) -> IKeyValueStore:
        """The tables in use, for :mod:`dfs.metaserver.queries`; another object after a snapshot was installed."""
        return self._store

    @property
    def head(self) -> Head:
        """A copy of the counters as of the last apply."""
        return self._head.copied()

    def applied(self) -> SnapshotMark:
        return SnapshotMark(self._head.index, self._head.term)

    def durable_index(self) -> int:
        return self._durable

    def state_hash(self) -> bytes:
        """32 bytes: equal on two replicas at the same index, or one of them is wrong (S38).  Covers the head too."""
        return updated(self._head.hash, {tables.HEAD: None}, {tables.HEAD: head_codec.encode(self._head)})

    def apply(self, entries: Sequence[Command]) -> list[bytes]:
        answers: list[bytes] = []
        for run in self.checkpoints.runs(entries):
            answers += self._apply_run(run)
            if self.checkpoints.is_due(self._head.index):
                self.checkpoints.note(self._head.index, self.state_hash())
        return answers

    def _apply_run(self, entries: Sequence[Command]) -> list[bytes]:
        overlay = Overlay(self._store)
        state = Transaction(overlay, self._head.copied())
        sessions = Sessions(state, self._max_sessions)
        answers = []
        for entry in entries:
            if entry.index <= state.head.index:
                raise StoreCorrupt(f"entry {entry.index} comes after {state.head.index} was applied")
            answers.append(self._apply_one(state, sessions, entry))
            state.head.index, state.head.term = entry.index, entry.term
        sessions.write()
        batch = overlay.batch()
        state.head.hash = updated(state.head.hash, overlay.originals, batch.changes)
        batch.put(tables.HEAD, head_codec.encode(state.head))
        self._store.apply(batch)
        self._head = state.head
        self._note(state)
        return answers

    def _apply_one(self, state: Transaction, sessions: Sessions, entry: Command) -> bytes:
        if not entry.payload:
            return b""
        try:
            time_ms, command = commands.decode_command(entry.payload)
        except Malformed as error:  # the same on every replica
            return encode_answer(BadRequest(f"entry {entry.index} is malformed: {error}"))
        head = state.head
        head.time_ms = max(head.time_ms, min(time_ms, head.time_ms + MAX_STEP_MS))
        state.begin(entry.index)
        operation = getattr(command, "operation", None)
        try:
            if operation is not None and (before := sessions.answered(operation)) is not None:
                return before
        except DFSError as error:
            return encode_answer(error)
        answer: object
        try:
            answer = RULES[type(command)](state, command)
            final = True
        except DFSError as error:
            state.roll_back()
            answer, final = error, error.advice is Advice.FAIL
        encoded = encode_answer(answer)
        if operation is not None and final:
            sessions.remember(operation, encoded)
        return encoded

    def _note(self, state: Transaction) -> None:
        self._events.extend(state.events)
        while len(self._events) > MAX_EVENTS:
            self._events.popleft()
            self._overflowed = True

    def take_events(self) -> tuple[tuple[Event, ...], bool]:
        """What happened since the last call, for the leader's planner, and whether some was forgotten (then it looks
        at the tables anew).  No part of the replicated state."""
        events, overflowed = tuple(self._events), self._overflowed
        self._events.clear()
        self._overflowed = False
        return events, overflowed

    def sync(self) -> int:
        index = self._head.index
        self._store.sync()
        self._durable = index
        return index

    def open_snapshot(self) -> ISnapshotSource:
        if self._source is not None:
            self._source.close()
        self._source = Source(self._store.snapshot(), self._cluster_id, self._head, self.state_hash())
        return self._source

    def receive_snapshot(self) -> ISnapshotSink:
        if self._sink is not None:
            self._sink.abort()
        self._sink = Sink(self._folder, self._cluster_id, self._head.index, self._installed)
        return self._sink

    def _installed(self, store: IKeyValueStore) -> SnapshotMark:
        """The folder has switched to ``store``."""
        self._adopt(store)
        self.checkpoints.forget()
        self._durable = self._head.index
        self._sink = None
        self._source = None
        self._overflowed = True
        return self.applied()

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        if self._sink is not None:
            self._sink.abort()
        self._folder.close()
