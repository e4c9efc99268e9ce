"""Exactly once: each client's operations and their answers, within a bound (R44; Raft thesis 6.3).

A session is 16 bytes: cluster time in ms at its birth (8) and chance (8).  Its operations carry a sequence number and
a *floor* below which the client has all its answers.  Answers above the floor are remembered, at most MAX_ANSWERS a
session: a client with more outstanding is told Busy.  At most MAX_SESSIONS are remembered: the one that was active
longest ago is forgotten first, and then the *session floor* rises to its birth.  An unknown session born at or below
the session floor may be a forgotten one: it is refused, never executed again.  So that the limit is not the rule, each
new session also lets go up to AGED_AT_ONCE that were silent for AGE_MS.

Only final answers are remembered: an error that advises to try again (Unavailable, Busy) executed nothing, and the same
sequence number is executed anew when it is tried again.

A session's record is decoded and encoded once for all its operations of one apply: with many at once it names many
answers, and to rewrite it for each of them would cost more than what most of them do.

All of it is in the tables, in the same transaction as what the operation did (R33), and judged by cluster time
carried in the log, never by a local clock (R45).
"""

from __future__ import annotations

from bisect import bisect_left, insort

from attrs import define

from dfs.metaserver import tables
from dfs.metaserver.records import MAX_ANSWERS, SessionRecord, session_codec
from dfs.metaserver.transaction import Transaction
from dfs.protocol.errors import BadRequest, Busy, SessionExpired
from dfs.protocol.messages import Operation

MAX_SESSIONS = 100_000
AGE_MS = 24 * 3_600_000  # a session without an operation for so long is forgotten
AGED_AT_ONCE = 2
ACTIVITY_STEP_MS = 10_000  # an activity is noted when it is that much newer: not a record moved an operation
FUTURE_MS = 60_000  # how far a session's birth may lie ahead of us (its leader reckons, we lag)


def born(session: bytes) -> int:
    """Cluster time in ms at the session's birth."""
    return int.from_bytes(session[:8], "big")


@define(eq=False)
class _Session:
    """A SessionRecord while an apply changes it; ``sequences`` ascend."""

    floor: int
    active_ms: int
    sequences: list[int]


class Sessions:
    """The rules, over the transaction's tables; :meth:`write` ends the apply.  They are outside of what the transaction
    undoes, for an answer is remembered only once nothing is undone any more."""

    def __init__(self, state: Transaction, limit: int = MAX_SESSIONS) -> None:
        self._state = state
        self._limit = limit
        self._seen: dict[bytes, _Session | None] = {}
        self._changed: dict[bytes, _Session] = {}

    def write(self) -> None:
        """Put what changed into the tables."""
        for session, record in self._changed.items():
            encoded = session_codec.encode(SessionRecord(record.floor, record.active_ms, tuple(record.sequences)))
            self._state.put_raw(tables.session_key(session), encoded)
        self._changed.clear()

    def answered(self, operation: Operation) -> bytes | None:
        """The answer given before, or None: then execute it.  Raises SessionExpired, Busy, BadRequest."""
        if len(operation.session) != 16:
            raise BadRequest("a session has 16 bytes")
        if operation.sequence < operation.floor:
            raise BadRequest("an operation below its own floor has been answered already")
        session = self._session(operation.session)
        if session is None:
            self._check_birth(born(operation.session))
            return None
        sequences = session.sequences
        place = bisect_left(sequences, operation.sequence)
        if place < len(sequences) and sequences[place] == operation.sequence:
            return self._state.raw(tables.answer_key(operation.session, operation.sequence))
        if operation.sequence < session.floor:
            raise SessionExpired(f"the answer to operation {operation.sequence} was forgotten, as its client allowed")
        if len(sequences) - bisect_left(sequences, operation.floor) >= MAX_ANSWERS:
            raise Busy(f"{MAX_ANSWERS} answers above the floor are remembered; raise the floor first")
        return None

    def remember(self, operation: Operation, answer: bytes) -> None:
        """Called after the operation was executed (or finally refused)."""
        state = self._state
        session = self._session(operation.session) or self._begin(operation.session)
        session.floor = max(session.floor, operation.floor)
        forgotten = bisect_left(session.sequences, session.floor)
        for sequence in session.sequences[:forgotten]:
            state.put_raw(tables.answer_key(operation.session, sequence), None)
        del session.sequences[:forgotten]
        insort(session.sequences, operation.sequence)
        state.put_raw(tables.answer_key(operation.session, operation.sequence), answer)
        self._note_active(operation.session, session)
        self._changed[operation.session] = session

    def _session(self, session: bytes) -> _Session | None:
        if session in self._seen:
            return self._seen[session]
        raw = self._state.raw(tables.session_key(session))
        found = None
        if raw is not None:
            record = session_codec.decode(raw)
            found = _Session(record.floor, record.active_ms, list(record.sequences))
        self._seen[session] = found
        return found

    def _check_birth(self, birth: int) -> None:
        head = self._state.head
        if birth <= head.session_floor or birth > head.time_ms + FUTURE_MS:
            raise SessionExpired("this session is beyond what is remembered", hint="begin a new session")

    def _begin(self, session: bytes) -> _Session:
        state = self._state
        if state.head.sessions >= self._limit:
            self._forget_oldest()
        for _ in range(AGED_AT_ONCE):
            oldest = state.first(tables.ACTIVITY)
            if oldest is None or tables.active_ms_of(oldest) + AGE_MS > state.head.time_ms:
                break
            self._forget_oldest()
        state.head.sessions += 1
        now = state.head.time_ms
        state.put_raw(tables.activity_key(now, session), b"\x01")
        record = self._seen[session] = _Session(0, now, [])
        return record

    def _note_active(self, session: bytes, record: _Session) -> None:
        now = self._state.head.time_ms
        if now < record.active_ms + ACTIVITY_STEP_MS:
            return
        self._state.put_raw(tables.activity_key(record.active_ms, session), None)
        self._state.put_raw(tables.activity_key(now, session), b"\x01")
        record.active_ms = now

    def _forget_oldest(self) -> None:
        state = self._state
        oldest = state.first(tables.ACTIVITY)
        assert oldest is not None  # as many as head.sessions counts
        session = oldest[9:]
        record = self._session(session)
        assert record is not None
        for sequence in record.sequences:
            state.put_raw(tables.answer_key(session, sequence), None)
        state.put_raw(oldest, None)
        state.put_raw(tables.session_key(session), None)
        self._seen[session] = None
        self._changed.pop(session, None)
        state.head.sessions -= 1
        state.head.session_floor = max(state.head.session_floor, born(session))
