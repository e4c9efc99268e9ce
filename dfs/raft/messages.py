"""What members of a consensus group say to one another, as values.

The encoding is in :mod:`dfs.raft.codec`.  Every message carries the sender's term; who sent it is known from
the connection and is passed beside it.  A pre-vote carries the term that its sender *would* campaign in.

Source: Raft thesis 3.4 to 3.8, 6.4 (read index), 9.6 (pre-vote), 4.2.3 (vote stickiness).
"""

from __future__ import annotations

import enum

from attrs import field, frozen


class EntryKind(enum.IntEnum):
    """What an entry of the log holds."""

    NOOP = 0  # a leader's first entry of its term (thesis 6.4); its payload is empty
    COMMAND = 1  # for the state machine
    CONFIGURATION = 2  # who belongs (dfs.raft.membership); never shown to the state machine


@frozen
class Entry:
    """One entry of the log, encoded once: ``encoded`` is what goes to the disk and to peers, byte for byte.

    :ivar previous: the ``checksum`` of the entry before (R30), 0 where its proposer did not know it.
    :ivar checksum: CRC-32C over all other bytes of ``encoded``.
    """

    index: int = field(eq=False)
    term: int = field(eq=False)
    kind: EntryKind = field(eq=False)
    previous: int = field(eq=False, repr=False)
    checksum: int = field(eq=False, repr=False)
    encoded: bytes = field(repr=False)

    @property
    def payload(self) -> bytes:
        """What was proposed: a copy."""
        return self.encoded[ENTRY_HEADER_LENGTH:]


ENTRY_HEADER_LENGTH = 30
"""Bytes of an encoded entry before its payload (dfs.raft.codec has the table)."""


@frozen
class VoteRequest:
    """A candidate asks for a vote in ``term``; with ``pre`` it asks whether it would get it (thesis 9.6).

    :ivar transfer: the former leader asked for this election, so a voter does not insist on hearing it (R08).
    """

    term: int
    last_index: int
    last_term: int
    pre: bool
    transfer: bool = False


@frozen
class VoteReply:
    """A granted pre-vote answers in the term asked for; everything else in the voter's own term."""

    term: int
    granted: bool
    pre: bool


@frozen
class AppendRequest:
    """Entries after (previous_index, previous_term); with none it is a heartbeat or a probe.

    :ivar commit: the leader's commit index; the follower takes at most what this message verified (R15).
    :ivar round: echoed in the reply: it confirms leadership as of the sending of that round (R47).
    """

    term: int
    previous_index: int
    previous_term: int
    commit: int
    round: int
    entries: tuple[Entry, ...] = ()


@frozen
class AppendReply:
    """Whether the follower holds what the request assumed.

    :ivar index: accepted: the last index verified *and durable* (R16); refused: the previous index refused.
    :ivar hint_index: refused: the last index at which its log may agree with the leader's; accepted: 0.
    :ivar hint_term: refused: the term of the entry at ``hint_index``; accepted: 0.
    :ivar wants_snapshot: the follower's tables were lost: it holds the entries and cannot apply them.
    """

    term: int
    round: int
    accepted: bool
    index: int
    hint_index: int = 0
    hint_term: int = 0
    wants_snapshot: bool = False


@frozen
class SnapshotPiece:
    """A piece of the state as of (index, mark_term), at most 1 MiB (R40).

    :ivar configuration: the payload of the configuration as of (index, mark_term) (R38), in the piece at offset 0 only.
    """

    term: int
    index: int
    mark_term: int
    offset: int
    last: bool
    configuration: bytes
    data: bytes = field(repr=False)


class SnapshotProgress(enum.IntEnum):
    """How a follower answers a piece."""

    WANTED = 0  # go on at ``offset``
    INSTALLED = 1  # verified, switched to and durable
    REFUSED = 2  # a check failed or it is not needed: end this transfer


@frozen
class SnapshotReply:
    """An answer to a piece of the snapshot whose mark is at ``index``: ``offset`` is the next byte wanted (R40)."""

    term: int
    index: int
    offset: int
    progress: SnapshotProgress


@frozen
class TimeoutNow:
    """The leader hands over: the receiver, which has caught up, campaigns at once (thesis 3.10)."""

    term: int


@frozen
class ReadRequest:
    """A follower asks the leader for a read index, for all its reads that wait (thesis 6.4).  ``epoch`` is drawn
    when the follower starts and ``number`` rises, so that no request is ever mistaken for another one (R47)."""

    term: int
    epoch: int
    number: int


@frozen
class ReadReply:
    """A quorum confirmed, in a round begun after the request came, that ``index`` covers all that was committed."""

    term: int
    epoch: int
    number: int
    index: int


@frozen
class RemovedNotice:
    """The receiver was removed from the group; the sender knows that to be committed (R57)."""

    term: int


Message = (
    VoteRequest | VoteReply | AppendRequest | AppendReply | SnapshotPiece | SnapshotReply
    | TimeoutNow | ReadRequest | ReadReply | RemovedNotice
)  # fmt: skip
